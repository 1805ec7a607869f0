"""Implicit ALS: the loss goes down, the solutions are right, federated equals centralised, bands change nothing."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcart.shared.errors import ConfigError
from fedcart.shared.interactions import Histories, build_histories
from fedcart.shared.learners import als as module
from fedcart.shared.learners.als import FACTORS, ITEMS, Als
from fedcart.shared.learners.base import Block
from fedcart.shared.learners.memory import MemoryCustomers, run_rounds
from fedcart.shared.learners.toy import toy_catalogue, toy_interactions

CUSTOMERS, N = 40, 30


def toy(seed: int, weighted: bool = False) -> Histories:
    histories = build_histories(toy_interactions(seed, CUSTOMERS, N), CUSTOMERS, N)
    if not weighted:
        return histories
    weights = np.random.default_rng(seed).uniform(0.2, 4.0, len(histories.items))
    return replace(histories, weights=weights.astype(np.float32))


def run(learner, *parts, seed=0):
    return run_rounds(learner, [MemoryCustomers(part) for part in parts], toy_catalogue(N), seed, CUSTOMERS)


def split(histories, stores):
    edges = [CUSTOMERS * store // stores for store in range(stores + 1)]
    return [histories.slice(a, b) for a, b in itertools.pairwise(edges)]


def dense(histories):
    w = np.zeros((histories.customers, N))
    w[histories.row_of_pair(), histories.items] = histories.weights
    return w


def loss(learner, w, x, v):
    """The objective of the module's docstring, term by term."""
    a, nu = learner.unobserved_weight, learner.regularization_exponent
    score = x @ v.T
    ridge_x = ((w.sum(1) + a * N) ** nu) @ (x**2).sum(1)
    ridge_v = ((w.sum(0) + a * len(w)) ** nu) @ (v**2).sum(1)
    return (w * (1 - score) ** 2).sum() + a * (score**2).sum() + learner.regularization * (ridge_x + ridge_v)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), stores=st.sampled_from([2, 10, 21]), weighted=st.booleans(), d=st.integers(1, 6))
def test_federated_factors_equal_centralised_ones(seed, stores, weighted, d):
    histories = toy(seed, weighted)
    learner = Als(embedding_dim=d, sweeps=4, regularization=0.05)
    central, together = run(learner, histories), run(learner, *split(histories, stores))
    assert np.abs(central.public[ITEMS] - together.public[ITEMS]).max() <= 1e-6


def test_the_equality_test_would_notice_one_missing_customer():
    histories = toy(0)
    learner = Als(embedding_dim=4, sweeps=4, regularization=0.05)
    central, short = run(learner, histories), run(learner, histories.slice(1, CUSTOMERS))
    assert np.abs(central.public[ITEMS] - short.public[ITEMS]).max() > 1e-4


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_both_halves_of_a_sweep_minimise_the_published_loss(exponent, weighted):
    histories = toy(3, weighted)
    learner = Als(embedding_dim=3, sweeps=1, regularization=0.1, regularization_exponent=exponent)
    begun = learner.initial_state(toy_catalogue(N), 0)
    x = learner.customer_solver(begun).solve(histories).astype(float)
    v = run(learner, histories).public[ITEMS].astype(float)
    w = dense(histories)
    start = begun.public[ITEMS].astype(float)
    generator = np.random.default_rng(0)
    for _ in range(20):
        nudge = generator.normal(0, 1e-2, x.shape)
        assert loss(learner, w, x, start) < loss(learner, w, x + nudge, start)
        nudge = generator.normal(0, 1e-2, v.shape)
        assert loss(learner, w, x, v) < loss(learner, w, x, v + nudge)


def test_every_sweep_lowers_the_loss():
    histories = toy(5)
    w = dense(histories)
    losses = []
    for sweeps in (1, 2, 3, 6):
        learner = Als(embedding_dim=4, sweeps=sweeps, regularization=0.05)
        state = run(learner, histories)
        x = learner.customer_solver(state).solve(histories).astype(float)
        losses.append(loss(learner, w, x, state.public[ITEMS].astype(float)))
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > losses[-1] * 1.01


@pytest.mark.parametrize("words", [10 * 6, 20 * 6, 7 * 6])
def test_bands_of_items_change_nothing(monkeypatch, words):
    learner = Als(embedding_dim=3, sweeps=3)
    whole = run(learner, *split(toy(1), 3))
    monkeypatch.setattr(module, "MOST_WORDS", words)
    assert len(learner.bands(N)) > 1
    assert np.array_equal(run(learner, *split(toy(1), 3)).public[ITEMS], whole.public[ITEMS])


def test_factors_lost_between_bands_are_solved_again_to_the_same_bits(monkeypatch):
    monkeypatch.setattr(module, "MOST_WORDS", 60)

    class Forgetful(MemoryCustomers):
        def begin(self, round_index):
            self.__post_init__()

    learner = Als(embedding_dim=3, sweeps=2)
    histories = toy(1)
    kept = run(learner, histories)
    lost = run_rounds(learner, [Forgetful(histories)], toy_catalogue(N), 0, CUSTOMERS)
    assert np.array_equal(kept.public[ITEMS], lost.public[ITEMS])


def test_factors_are_solved_once_a_sweep_and_never_taken_from_an_earlier_one(monkeypatch):
    monkeypatch.setattr(module, "MOST_WORDS", 60)
    learner, histories = Als(embedding_dim=3, sweeps=2), toy(1)
    solved = []
    original = module.CustomerSolver.solve
    monkeypatch.setattr(module.CustomerSolver, "solve", lambda s, h: solved.append(1) or original(s, h))
    run(learner, histories)
    assert len(solved) == 2  # once a sweep, not once a band
    assert len(learner.bands(N)) == 3


def test_every_release_of_a_large_catalogue_is_within_the_limit():
    learner = Als(embedding_dim=64, sweeps=1)
    bands = learner.bands(100_000)
    assert bands[0][0] == 0
    assert bands[-1][1] == 100_000
    assert all(a[1] == b[0] for a, b in itertools.pairwise(bands))
    assert max(stop - first for first, stop in bands) * learner.triangle <= module.MOST_WORDS


def test_a_customer_without_history_gets_popularity():
    histories = toy(0)
    learner = Als(embedding_dim=3, sweeps=2)
    state = run(learner, histories)
    nobody = build_histories(toy_interactions(0, 1, N).select(slice(0, 0)), 1, N)
    scores = learner.scorer(state, toy_catalogue(N)).score(Block(0, 0, nobody), None)
    assert np.array_equal(scores[0], np.bincount(histories.items, minlength=N).astype(np.float32))


def test_the_table_of_factors_stays_at_the_store():
    learner, store = Als(embedding_dim=3, sweeps=2), MemoryCustomers(toy(0))
    state = run_rounds(learner, [store], toy_catalogue(N), 0, CUSTOMERS)
    kept = store.local.read(FACTORS, slice(0, CUSTOMERS), 4)
    assert np.abs(kept[:, :3]).max() > 0
    assert all(array.shape[0] != CUSTOMERS for array in (*state.public.values(), *state.carried.values()))


@pytest.mark.parametrize(
    "fields",
    [{"embedding_dim": 0}, {"sweeps": 0}, {"unobserved_weight": -1.0}, {"regularization": 0.0}, {"init_scale": np.nan}],
)
def test_refuses_settings_out_of_range(fields):
    with pytest.raises(ConfigError, match="nothing was run"):
        Als(**fields)


@pytest.mark.parametrize("shared", [False, True])
def test_factors_whose_matrix_fits_no_release_are_refused(shared: bool) -> None:
    """Bands cannot be made smaller than one item, and the sum of the customers' own matrices is one release."""
    assert Als(embedding_dim=5_792, shared_curvature=shared).triangle == 16_776_528
    with pytest.raises(ConfigError, match=r"embedding_dim 5793 needs 16782321 numbers .* limit of 16777216 a release"):
        Als(embedding_dim=5_793, shared_curvature=shared)
