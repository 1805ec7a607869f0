"""The cost of a plan: the numbers that the gate will draw and charge, before anything is spent."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.cost import GDP, RDP, plan_cost
from fedcart.shared.cost_text import cost_lines, rounded, table
from fedcart.shared.plan import Plan, build_learner
from fedcart.shared.privacy.accounting import epsilon, run_rho
from fedcart.shared.privacy.grid import grid, share_variance
from fedcart.shared.privacy.terms import PrivacyTerms

CATALOGUE = Catalogue(("a", "b", "c"), "given", {"price": np.array([1.0, 2.5, np.nan])})
LEARNERS: dict[str, dict[str, Any]] = {
    "popularity": {},
    "gram": {"max_items": 3},
    "als": {"embedding_dim": 3, "sweeps": 2},
    "mf": {"local_steps": 0, "server_optimizer": "adam", "embedding_dim": 3, "round_count": 4},
}


def plan(learner: str = "gram", trust: str = "distributed", attempts: int = 1) -> Plan:
    settings = LEARNERS[learner]
    cohort = {"colluders": 1, "min_survivors": 4} if trust == "distributed" else {}
    bounds = build_learner(learner, settings).bounds()
    terms = None if trust == "none" else PrivacyTerms(epsilon=4.0, delta=1e-4, bounds=bounds, **cohort)
    return Plan(
        catalogue_hash=CATALOGUE.hash,
        catalogue_source="given",
        as_of=None,
        participants=5,
        learner=learner,
        hyper_parameters=settings,
        trust=trust,  # type: ignore[arg-type]
        privacy=terms,
        customers_bound=100,
        seed=0,
        attempts=attempts,
    )


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("trust", ["local", "distributed"])
def test_the_rows_are_what_the_gate_draws_and_charges(learner: str, trust: str) -> None:
    wanted = plan(learner, trust, attempts=3)
    rounds = wanted.rounds(CATALOGUE)
    cost = plan_cost(wanted, rounds, opinions=False)
    spent = Fraction(0)
    for round_, row in zip(rounds, cost.rounds, strict=True):
        for release, found in zip(round_.releases, row.releases, strict=True):
            variance, D = share_variance(release, wanted.honest), grid(release).sensitivity
            assert (found.name, found.words, found.bytes) == (release.name, release.words, 8 * release.words)
            assert found.sensitivity == D
            assert found.rho == Fraction(D * D, 2 * wanted.honest * variance)
            assert found.sigma == pytest.approx(release.noise_multiplier * release.sensitivity(), rel=1e-6)
            assert found.sigma_store == pytest.approx(found.sigma / math.sqrt(wanted.honest), rel=1e-12)
            spent += found.rho
        assert row.epsilon_after == epsilon(spent, 1e-4)
    assert cost.rho == run_rho(rounds, wanted.honest, 3)
    assert cost.epsilon == epsilon(cost.rho, 1e-4)
    assert 0.98 * 4 <= cost.epsilon <= 4
    assert cost.epsilon_once == cost.rounds[-1].epsilon_after
    assert cost.epsilon_once < cost.epsilon
    assert cost.upload_bytes == sum(row.bytes for row in cost.rounds)


def test_one_person_in_several_stores_costs_what_the_noise_says() -> None:
    for trust, power in (("distributed", 2), ("local", 1)):
        wanted = plan(trust=trust)
        cost = plan_cost(wanted, wanted.rounds(CATALOGUE), opinions=False)
        assert cost.in_stores is not None
        assert cost.rho is not None
        assert set(cost.in_stores) == {2, 3, 5}
        assert cost.in_stores[3] == epsilon(cost.rho * 3**power, 1e-4)


def test_one_person_whose_stores_divide_a_clip_costs_what_the_run_does() -> None:
    wanted = plan()
    assert wanted.privacy is not None
    divided = dataclasses.replace(wanted, privacy=dataclasses.replace(wanted.privacy, overlap="weights"))
    cost = plan_cost(divided, divided.rounds(CATALOGUE), opinions=False)
    assert cost.rho == plan_cost(wanted, wanted.rounds(CATALOGUE), opinions=False).rho
    assert cost.document()["epsilon_in_stores"] is None
    assert any("by a linkage that is trusted" in line for line in cost_lines(cost))


def test_second_opinions_are_near_and_marked() -> None:
    wanted = plan()
    cost = plan_cost(wanted, wanted.rounds(CATALOGUE))
    assert cost.epsilon is not None
    assert cost.opinions is not None
    assert cost.opinions[RDP] == pytest.approx(cost.epsilon, rel=1e-3)
    assert 0.85 * cost.epsilon < cost.opinions[GDP] < cost.epsilon
    assert "(proven)" in GDP
    assert sum(line.startswith("2nd opinion") for line in cost_lines(cost)) == 2


def test_without_noise_nothing_is_promised_and_the_upload_is_still_known() -> None:
    wanted = plan(trust="none")
    cost = plan_cost(wanted, wanted.rounds(CATALOGUE))
    told = cost.document()
    assert told["epsilon"] is None
    assert told["second_opinions"] is None
    assert told["upload_bytes_per_store"] == 8 * (3 + 6)
    assert any("no customer is promised anything" in line for line in cost_lines(cost))


def test_an_item_list_made_from_interactions_is_said_to_be_uncovered() -> None:
    catalogue = Catalogue(CATALOGUE.ids, "derived")
    wanted = dataclasses.replace(plan(), catalogue_hash=catalogue.hash, catalogue_source="derived")
    cost = plan_cost(wanted, wanted.rounds(catalogue), opinions=False)
    assert any("not covered by epsilon" in line for line in cost_lines(cost))
    assert not any("not covered" in line for line in cost_lines(dataclasses.replace(cost, catalogue="given")))


def test_rounds_that_cost_the_same_are_one_line() -> None:
    wanted = plan("mf")
    lines = cost_lines(plan_cost(wanted, wanted.rounds(CATALOGUE), opinions=False))
    assert lines[1].startswith("0-3")
    assert lines[2] == "" or lines[2].startswith(" ")


def test_the_table_is_aligned() -> None:
    assert table([("a", "long"), ("bcd", "1")]) == ["a    long", "bcd     1"]


@pytest.mark.parametrize(("value", "told"), [(1.00001, "1.0001"), (0.0, "0.0000"), (3.5, "3.5000"), (math.inf, "inf")])
def test_epsilons_are_rounded_up(value: float, told: str) -> None:
    assert rounded(value) == told
