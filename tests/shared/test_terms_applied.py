"""What terms make of rounds at the edges: changed bounds, trained rounds, and a run that rounding left over epsilon."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest

from fedcart.shared.errors import ConfigError, PrivacyRefused
from fedcart.shared.learners.base import STEP, Round
from fedcart.shared.privacy import terms as module
from fedcart.shared.privacy.accounting import epsilon, run_rho
from fedcart.shared.privacy.conversion import zcdp_rho
from fedcart.shared.privacy.release import Release
from fedcart.shared.privacy.terms import Bound, PrivacyTerms, with_changes, with_step

ROUNDS = (Round(0, "once", (Release(name="a", shape=(3, 2), kind="cross"),)),)
TRAINED = (Release(name="w", shape=(2, 2), kind="trained"), Release(name="v", shape=(3,), kind="trained"))
COUNT = Release(name="count", shape=(1,))
ALONE = {"honest": 1, "attempts": 1, "customers_bound": 6040}


def terms(epsilon: float = 4.0, **changes: Any) -> PrivacyTerms:
    return PrivacyTerms(**{"epsilon": epsilon, "delta": 1e-5, "bounds": {"a": Bound(clip_norm=1.0)}, **changes})


def test_a_configuration_replaces_the_numbers_that_it_names_and_no_others():
    bounds = {"a": Bound(clip_norm=1.0, share=0.2), "b": Bound(clip_norm=0.3)}
    assert with_changes(bounds, {}) == bounds
    assert with_changes(bounds, {"a": {"clip_norm": 2.0}}) == bounds | {"a": Bound(clip_norm=2.0, share=0.2)}
    assert bounds["a"] == Bound(clip_norm=1.0, share=0.2)


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"first": {}}, "[privacy] bounds: no release 'first'; nothing was planned", "known: a, b"),
        (
            {"a": {"clip_nrm": 2.0}},
            "[privacy] bounds.a: unknown key 'clip_nrm'; nothing was planned",
            "did you mean 'clip_norm'?",
        ),
    ],
)
def test_refuses_changes_of_what_is_not_there(changes, message, hint):
    with pytest.raises(ConfigError) as caught:
        with_changes({"a": Bound(clip_norm=1.0), "b": Bound(clip_norm=0.3)}, changes)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_stores_divide_one_clip_under_one_noise_only():
    shared = terms(overlap="weights", colluders=1, min_survivors=3).apply(ROUNDS, **ALONE | {"honest": 2})
    assert shared == terms(colluders=1, min_survivors=3).apply(ROUNDS, **ALONE | {"honest": 2})
    with pytest.raises(ConfigError, match="overlap weights divides one clip"):
        terms(overlap="weights").apply(ROUNDS, **ALONE)
    for overlap in ("pair", "declared"):
        assert terms(overlap=overlap).apply(ROUNDS, **ALONE)


@pytest.mark.parametrize("steps", [1, 3])
def test_each_step_of_a_trained_round_is_a_release_of_all_parameters_and_nothing_else_leaves(steps):
    round_ = Round(0, "local", (*TRAINED, COUNT), local_steps=steps)
    assert with_step(round_) == Round(
        0, "local", TRAINED, local_steps=steps, step=Release(name=STEP, shape=(2 * 2 + 3,))
    )
    (made,) = terms(bounds={STEP: Bound(clip_norm=2.0)}).apply([round_], **ALONE)
    assert made.releases == TRAINED
    assert made.step is not None
    assert (made.step.shape, made.step.clip_norm) == ((7,), 2.0)
    each = zcdp_rho(4.0, 1e-5) / steps
    assert made.step.noise_multiplier == pytest.approx(math.sqrt(1 / (2 * each)), rel=1e-9)
    assert 0.98 * 4 <= epsilon(run_rho([made], 1, 1), 1e-5) <= 4


def test_rounds_that_release_nothing_are_left_as_they_are():
    silent = Round(0, "silent", ())
    assert terms(bounds={}).apply([], **ALONE) == ()
    assert terms(bounds={}).apply([silent], **ALONE | {"attempts": 3}) == (silent,)


def test_a_run_that_costs_all_of_its_epsilon_is_taken(monkeypatch):
    monkeypatch.setattr(module, "zcdp_rho", lambda *_: 0.5)
    made = terms(50.0).apply(ROUNDS, **ALONE)
    assert made[0].releases[0].noise_multiplier == 1.0
    exactly = epsilon(run_rho(made, 1, 1), 1e-5)
    assert terms(exactly).apply(ROUNDS, **ALONE) == made


def test_noise_rises_until_a_run_that_rounding_left_over_its_epsilon_fits(monkeypatch):
    """rho too large by 14e-12, more than any rounding of a real run: one step is 1e-12 of it, and 15 are taken."""
    exact = zcdp_rho(4.0, 1e-5)
    monkeypatch.setattr(module, "zcdp_rho", lambda *_: exact * (1 + 14e-12))
    made = terms().apply(ROUNDS, **ALONE)
    assert epsilon(run_rho(made, 1, 1), 1e-5) <= 4
    assert run_rho(made, 1, 1) >= Fraction(exact) * (1 - Fraction(2, 10**12))
    monkeypatch.setattr(module, "zcdp_rho", lambda *_: exact * (1 + 16e-12))
    with pytest.raises(PrivacyRefused, match=r"no noise was found for epsilon 4\.0 at delta 1e-05; nothing was"):
        terms().apply(ROUNDS, **ALONE)
