"""Denoised co-occurrences: what noise alone gives is dropped, what stands above it comes back, always solvable."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedcart.shared.errors import ConfigError
from fedcart.shared.learners.base import Block
from fedcart.shared.learners.denoise import beside_the_diagonal, cut_by, denoised, directions
from fedcart.shared.learners.gram import GRAM, Gram
from fedcart.shared.learners.memory import MemoryCustomers, run_rounds
from fedcart.shared.learners.spectral.contribution import DAMPING, SOFTENING
from fedcart.shared.learners.toy import toy_catalogue
from fedcart.shared.privacy.grid import grid
from fedcart.shared.privacy.terms import PrivacyTerms
from noised_run import CUSTOMERS, HISTORIES, N, private_run


def symmetric_noise(n, scale, seed):
    drawn = np.triu(np.random.default_rng(seed).normal(0, scale, (n, n)))
    return drawn + np.triu(drawn, 1).T


@pytest.mark.parametrize("seed", range(5))
def test_noise_alone_has_hardly_a_direction(seed):
    """The largest eigenvalue of noise lies at the edge, within n^(-2/3) of it: what little passes counts for little."""
    noise = symmetric_noise(200, 1.5, seed)
    _, values = directions(noise, 1.5)
    assert len(values) <= 1
    assert values.sum() < 0.4 * 2 * 1.5 * np.sqrt(200)


def test_a_direction_above_the_noise_comes_back_at_its_optimal_length():
    """Truth x u u^T shows at x + n s^2 / x, and x - n s^2 / x loses least in Frobenius norm."""
    n, scale, truth = 400, 1.0, 120.0
    u = np.random.default_rng(0).normal(size=n)
    u /= np.linalg.norm(u)
    vectors, values = directions(truth * np.outer(u, u) + symmetric_noise(n, scale, 1), scale)
    assert values[1:].sum() < 0.2 * truth
    assert values[0] == pytest.approx(truth - n * scale**2 / truth, rel=0.03)
    assert abs(vectors[:, 0] @ u) == pytest.approx(np.sqrt(1 - n * scale**2 / truth**2), rel=0.02)


@pytest.mark.parametrize("scale", [0.1, 10.0, 1e6])
def test_what_is_denoised_is_positive_definite(scale):
    popularity = np.random.default_rng(1).exponential(1.0, N) + 1e-6
    gram = np.diag(popularity) + symmetric_noise(N, scale, 2)
    assert np.linalg.eigvalsh(denoised(gram, scale, popularity)).min() > 0


def test_the_noise_that_a_learner_is_told_is_that_of_the_total():
    learner = Gram(max_items=N)
    terms = PrivacyTerms(epsilon=4.0, delta=1e-4, bounds=learner.bounds())
    rounds = terms.apply(learner.rounds(toy_catalogue(N), 100), honest=1, attempts=1, customers_bound=100)
    round_ = replace(rounds[1], noise_excess=1.2)
    (release,) = round_.releases
    told, steps = round_.noise_of(release), grid(release)
    on, off = steps.values(np.ones(release.words, np.int64))[:2]
    wide = 1.2 * release.noise_multiplier * steps.sensitivity
    assert release.name == GRAM
    assert on * wide == pytest.approx(told)
    assert off * wide == pytest.approx(beside_the_diagonal(told))


def test_the_clip_is_known_from_the_totals_alone():
    """Ten customers with 16 items each, rows cut to norm 1: squared rows are a sixteenth of what they were."""
    assert cut_by(1.0, np.full(40, 1.0), 10.0) == pytest.approx(1 / 16)
    assert cut_by(1.0, np.full(40, 1e-3), 10.0) == 1.0


@pytest.mark.parametrize("model", ["ease", "itemknn"])
@pytest.mark.parametrize("epsilon", [0.1, 1.0, 50.0])
def test_a_private_run_ends_with_a_model_however_much_noise_there_is(model, epsilon):
    learner = Gram(model=model, max_items=40)
    state = private_run(learner, epsilon)
    scores = learner.scorer(state, toy_catalogue(N)).score(Block(0, 0, HISTORIES), None)
    assert all(np.isfinite(array).all() for array in state.public.values())
    assert np.isfinite(scores).all()
    assert (state.public["popularity"] > 0).all()


def test_where_noise_hides_everything_the_head_ranks_by_popularity():
    learner = Gram(max_items=N)
    state = private_run(learner, 0.1)
    scores = learner.scorer(state, toy_catalogue(N)).score(Block(0, 0, HISTORIES), None)
    likeness = [np.corrcoef(row, state.public["popularity"])[0, 1] for row in scores]
    assert np.mean(likeness) > 0.5


def test_a_larger_epsilon_comes_closer_to_the_model_without_noise():
    learner = Gram(max_items=N, count_exponent=0.5, regularization=1.0)
    truth = run_rounds(learner, [MemoryCustomers(HISTORIES)], toy_catalogue(N), 0, CUSTOMERS)
    wanted = learner.scorer(truth, toy_catalogue(N)).score(Block(0, 0, HISTORIES), None).ravel()

    def likeness(epsilon):
        state = private_run(learner, epsilon)
        found = learner.scorer(state, toy_catalogue(N)).score(Block(0, 0, HISTORIES), None).ravel()
        return np.corrcoef(found, wanted)[0, 1]

    few, some, many = likeness(0.1), likeness(30.0), likeness(3000.0)
    assert few < some < many
    assert many > 0.9


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 1000.0])
def test_factors_rank_the_tail_too_and_are_finite_under_any_noise(epsilon):
    learner = Gram(model="factors", max_items=20)
    state = private_run(learner, epsilon)
    scores = learner.scorer(state, toy_catalogue(N)).score(Block(0, 0, HISTORIES), None)
    assert np.isfinite(scores).all()
    assert (scores.std(axis=1) > 0).all()


def test_factors_without_noise_are_directions_of_the_covariance():
    learner = Gram(model="factors", max_items=N, count_exponent=0.5)
    state = run_rounds(learner, [MemoryCustomers(HISTORIES)], toy_catalogue(N), 0, CUSTOMERS)
    model, popularity = state.public["model"].astype(float), state.public["popularity"].astype(float)
    z = learner.head_rows(HISTORIES, np.arange(N)).toarray()
    gram = z.T @ z
    covariance = gram - np.outer(popularity, popularity) / np.trace(gram)
    undamped = model * (N * popularity[:, None] / popularity.sum() + SOFTENING) ** DAMPING
    assert 1 < model.shape[1] <= 64
    for column in undamped.T[:5]:
        value = column @ covariance @ column / (column @ column)
        assert value > 0
        assert covariance @ column == pytest.approx(value * column, abs=1e-4 * value * np.linalg.norm(column))
    lengths = np.linalg.norm(undamped, axis=0)
    assert lengths[0] == pytest.approx(1.0, rel=1e-5)
    assert (np.diff(lengths) <= 1e-6).all()


@pytest.mark.parametrize("fields", [{"solve_regularization": 0.0}, {"popularity_weight": -1.0}])
def test_refuses_settings_of_factors_out_of_range(fields):
    with pytest.raises(ConfigError, match="nothing was run"):
        Gram(model="factors", **fields)
