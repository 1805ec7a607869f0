"""What a baseline of a private run may know of popularity."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import Histories
from fedcart.shared.learners.popularity import POPULARITY
from fedcart.shared.learners.spectral import Spectral
from fedcart.shared.plan import Plan, hyper_parameters
from fedcart.shared.privacy import keystream
from fedcart.shared.privacy.terms import PrivacyTerms
from fedcart.simulation import baselines
from fedcart.simulation.released_popularity import released_popularity

ITEMS = 3000


def nobody():
    empty = np.zeros(0)
    return Histories(
        ITEMS,
        np.zeros(1, np.int64),
        empty.astype(np.int32),
        empty.astype(np.float32),
        empty.astype(np.uint8),
        empty.astype(np.float32),
    )


def plan(catalogue, trust="distributed"):
    cohort = {"colluders": 1, "min_survivors": 8} if trust == "distributed" else {}
    return Plan(
        catalogue_hash=catalogue.hash,
        catalogue_source="given",
        as_of=None,
        participants=10,
        learner="spectral",
        hyper_parameters=hyper_parameters(Spectral()),
        trust=trust,
        privacy=PrivacyTerms(epsilon=1.0, delta=1e-5, bounds=Spectral().bounds(), **cohort),
        customers_bound=1000,
        seed=0,
    )


@pytest.mark.parametrize("trust", ["distributed", "local"])
def test_its_noise_is_that_of_the_plans_whole_budget(monkeypatch, trust):
    catalogue, totals = Catalogue(tuple(map(str, range(ITEMS))), "given", {}), {}
    update = Spectral.update

    def keep(self, state, round_, given):
        totals.update(given, multiplier=round_.releases[0].noise_multiplier)
        return update(self, state, round_, given)

    monkeypatch.setattr(Spectral, "update", keep)
    found = released_popularity(plan(catalogue, trust), catalogue, nobody(), math.inf, 3)
    again = released_popularity(plan(catalogue, trust), catalogue, nobody(), math.inf, 3)
    assert (found == again).all()
    assert found.sum() == pytest.approx(1.0, rel=1e-5)
    wanted = totals["multiplier"] * math.sqrt(10 / (7 if trust == "distributed" else 1))
    assert totals[POPULARITY].std() == pytest.approx(wanted, rel=0.06)  # 4.6 standard errors of 3,000 numbers


def test_without_a_rehearsal_its_noise_is_fresh_and_as_wide(monkeypatch):
    catalogue, totals = Catalogue(tuple(map(str, range(ITEMS))), "given", {}), []
    update, fresh, asked = Spectral.update, keystream.fresh, []

    def keep(self, state, round_, given):
        totals.append((given[POPULARITY], round_.releases[0].noise_multiplier))
        return update(self, state, round_, given)

    def watched(*place):
        asked.append(place)
        return fresh(*place)

    monkeypatch.setattr(Spectral, "update", keep)
    monkeypatch.setattr(keystream, "fresh", watched)
    for _ in range(2):
        assert released_popularity(plan(catalogue), catalogue, nobody(), math.inf, None).sum() == pytest.approx(1.0)
    (one, multiplier), (two, _) = totals
    assert len(asked) == 2
    assert (one != two).any()
    wanted = multiplier * math.sqrt(10 / 7)
    assert one.std() == pytest.approx(wanted, rel=0.06)  # 4.6 standard errors of 3,000 numbers
    assert (one - two).std() == pytest.approx(wanted * math.sqrt(2.0), rel=0.06)  # neither is a part of the other


def test_a_baseline_that_is_given_popularity_counts_nothing_itself():
    catalogue, q = Catalogue(tuple(map(str, range(ITEMS))), "given", {}), np.linspace(1.0, 2.0, ITEMS)
    for name in baselines.POPULARITY_ALONE:
        scorer = baselines.fit(name, nobody(), catalogue, 0, popularity=q)
        from fedcart.shared.learners.base import Block

        one = Histories(
            ITEMS, np.array([0, 0]), *(np.zeros(0, t) for t in (np.int32, np.float32, np.uint8, np.float32))
        )
        assert (np.diff(scorer.score(Block(0, 0, one), None)[0]) >= 0).all()
