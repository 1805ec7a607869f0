"""The noised item step: always finite, right without noise, a popularity model when noise hides everything."""

from __future__ import annotations

import numpy as np
import pytest

from fedcart.shared.learners.als import ITEMS, Als
from fedcart.shared.learners.als_noise import NoisedStep, nearest_positive, unit_rows
from fedcart.shared.learners.base import Block
from fedcart.shared.learners.solve import packing
from fedcart.shared.learners.toy import toy_catalogue
from noised_run import HISTORIES, N, private_run

D = 4


def sums(seed=0, items=30, customers=500):
    """Unit factors u and weights w of customers: (pull, curvature triangles, gram triangle, popularity)."""
    draw = np.random.default_rng(seed)
    u = unit_rows(draw.normal(size=(customers, D)))
    w = draw.random((customers, items)) < np.linspace(0.05, 0.6, items)
    pairs = np.einsum("ui,uj->uij", u, u).reshape(customers, -1)[:, packing(D)]
    return w.T @ u, w.T @ pairs, pairs.sum(axis=0), w.sum(axis=0).astype(float)


def step(gram, noise):
    return NoisedStep(gram=gram, gram_noise=noise, pull_noise=noise, curvature_noise=noise, unobserved_weight=0.3)


def test_a_step_with_next_to_no_noise_is_the_plain_ridge():
    pull, curvature, gram, popularity = sums()
    found = step(gram, 1e-9).solve(pull, curvature, popularity, np.full(30, 2.0))
    upper = packing(D)
    for item in range(30):
        system = np.zeros(D * D)
        system[upper] = curvature[item] + 0.3 * gram
        system = system.reshape(D, D)
        system = system + np.triu(system, 1).T + 2.0 * np.eye(D)
        assert np.allclose(found[item], np.linalg.solve(system, pull[item]), atol=1e-6)


def test_matrices_that_noise_made_indefinite_become_the_nearest_positive_ones():
    assert np.allclose(nearest_positive(np.diag([3.0, -2.0, 0.5])[None])[0], np.diag([3.0, 0.0, 0.5]))


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("noise", [1.0, 1e3, 1e8])
def test_a_step_under_any_noise_is_finite(own, noise):
    pull, curvature, gram, popularity = sums()
    draw = np.random.default_rng(1)
    pull, curvature, gram = (x + draw.normal(0, noise, x.shape) for x in (pull, curvature, gram))
    found = step(gram, noise).solve(pull, curvature if own else None, popularity, np.full(30, 1e-9))
    assert np.isfinite(found).all()


def test_a_customer_under_a_guarantee_uses_the_whole_clip():
    rows = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0], [np.nan, 1.0]]))
    assert np.array_equal(rows[:2], [[0.6, 0.8], [0.0, 0.0]])
    assert np.isnan(rows[2]).any()


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("epsilon", [0.01, 1.0, 50.0])
def test_a_private_run_ends_with_a_model_however_much_noise_there_is(shared, epsilon):
    learner = Als(embedding_dim=D, sweeps=2, shared_curvature=shared)
    state = private_run(learner, epsilon)
    scores = learner.scorer(state, toy_catalogue(N)).score(Block(0, 0, HISTORIES), None)
    assert np.isfinite(state.public[ITEMS]).all()
    assert np.isfinite(scores).all()


def test_a_larger_epsilon_ranks_more_of_what_customers_have_at_the_top():
    def hits(epsilon):
        learner = Als(embedding_dim=D, sweeps=3, shared_curvature=True, regularization=0.03)
        state = private_run(learner, epsilon)
        scores = learner.scorer(state, toy_catalogue(N)).score(Block(0, 0, HISTORIES), None)
        top = np.argsort(-scores, axis=1)[:, :5]
        own = [set(row) for row in np.split(HISTORIES.items, HISTORIES.indptr[1:-1])]
        return sum(len(own[u] & set(top[u])) for u in range(len(own)))

    assert hits(0.05) < hits(1000.0)


def test_where_noise_hides_everything_popularity_ranks():
    learner = Als(embedding_dim=D, sweeps=2, shared_curvature=True, popularity_weight=3.0)
    state = private_run(learner, 0.01)
    scores = learner.scorer(state, toy_catalogue(N)).score(Block(0, 0, HISTORIES), None)
    wanted = np.log(state.public["popularity"])
    assert np.mean([np.corrcoef(row, wanted)[0, 1] for row in scores]) > 0.9
