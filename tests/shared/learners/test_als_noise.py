"""The noised item step: always finite, right without noise, a popularity model when noise hides everything."""

from __future__ import annotations

import numpy as np
import pytest

from fedcart.shared.errors import ConfigError
from fedcart.shared.learners import als
from fedcart.shared.learners.als import ITEMS, POPULARITY, Als
from fedcart.shared.learners.als_noise import NoisedStep, nearest_positive, predictors, unit_rows
from fedcart.shared.learners.base import Block
from fedcart.shared.learners.solve import packing
from fedcart.shared.learners.spectral.learner import public_features
from fedcart.shared.learners.spectral.shrink import shrink
from fedcart.shared.learners.spectral.sketch import first_basis
from fedcart.shared.learners.spectral.table import item_vectors
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
@pytest.mark.parametrize("share", [0.1, 0.3, 0.89])
def test_shares_of_the_budget_add_up_to_all_of_it(shared, share):
    bounds = Als(shared_curvature=shared, popularity_share=share).bounds()
    assert sum(bound.share for bound in bounds.values()) == pytest.approx(1.0)
    assert bounds[POPULARITY].share == share
    assert min(bound.share for bound in bounds.values()) > 0


@pytest.mark.parametrize(
    "settings", [{"popularity_share": 0.9}, {"popularity_share": 0.0}, {"solve_regularization": -1}]
)
def test_refuses(settings):
    with pytest.raises(ConfigError, match="nothing was run"):
        Als(**settings)


def test_items_start_along_public_directions_of_the_released_popularity():
    learner, catalogue = Als(embedding_dim=D, sweeps=1, public_start=True), toy_catalogue(N)
    rounds = learner.rounds(catalogue, 100)
    counted = np.append(np.arange(1.0, N + 1), 40.0)
    state = learner.update(learner.initial_state(catalogue, 0), rounds[0], {POPULARITY: counted})
    q = counted[:-1] / counted[:-1].sum()
    wanted = item_vectors(first_basis(public_features(catalogue, D, 0), q, D), q)[:, :-1]
    np.testing.assert_allclose(state.public[ITEMS], wanted, atol=1e-6)
    assert np.sqrt((wanted**2).sum(axis=1).mean()) == pytest.approx(1.0, rel=1e-5)


def test_public_features_take_noise_out_of_sums_that_they_explain():
    """Mean squared error of right-hand sides, 300 items: below a third of that without features in each of 5 draws."""
    for seed in range(5):
        draw = np.random.default_rng(seed)
        public, q = draw.normal(size=(300, 6)), np.full(300, 1 / 300)
        truth = 40.0 * np.sqrt(q)[:, None] * (public @ draw.normal(size=(6, D)))
        noised = truth + draw.normal(0, 5.0, truth.shape)
        with_features, without = (
            ((shrink(noised, 5.0, predictors(q, x), q) - truth) ** 2).mean() for x in (public, None)
        )
        assert with_features < without / 3


def test_each_band_of_each_sweep_is_pulled_to_its_own_items_features(monkeypatch):
    seen, solve = [], NoisedStep.solve
    monkeypatch.setattr(als, "MOST_WORDS", 20 * D)
    monkeypatch.setattr(NoisedStep, "solve", lambda *given: seen.append(given[-1]) or solve(*given))
    private_run(Als(embedding_dim=D, sweeps=2, shared_curvature=True, public_start=True), 4.0)
    assert len(seen) == 6
    wanted = public_features(toy_catalogue(N), D, 0)
    assert np.array_equal(np.vstack(seen[:3]), wanted)
    assert np.array_equal(np.vstack(seen[3:]), wanted)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("start", [{}, {"public_start": True, "solve_regularization": 20.0}])
@pytest.mark.parametrize("epsilon", [0.01, 1.0, 50.0])
def test_a_private_run_ends_with_a_model_however_much_noise_there_is(shared, epsilon, start):
    learner = Als(embedding_dim=D, sweeps=2, shared_curvature=shared, **start)
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
