"""`spectral`: what comes out of noised sums, of histories, and of the local solve."""

from __future__ import annotations

import dataclasses
import math
import tracemalloc

import numpy as np
import pytest

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import ConfigError
from fedcart.shared.interactions import Histories
from fedcart.shared.learners.base import Block
from fedcart.shared.learners.memory import MemoryCustomers, run_rounds
from fedcart.shared.learners.spectral import Spectral
from fedcart.shared.learners.spectral.contribution import Centring, unit_history
from fedcart.shared.learners.spectral.local_solve import LocalSolve
from fedcart.shared.learners.spectral.own_history import recency_ranks
from fedcart.shared.learners.spectral.posterior import SURE, posterior_mean, shares
from fedcart.shared.learners.spectral.shrink import shrink
from fedcart.shared.learners.spectral.sketch import factors, first_basis
from fedcart.shared.learners.spectral.suited import STEPS, suited
from fedcart.shared.learners.toy import toy_catalogue
from fedcart.shared.plan import Plan, build_learner, hyper_parameters
from fedcart.shared.privacy.terms import PrivacyTerms

ITEMS = 60


def histories(rows, ages=None, items=ITEMS):
    counts = [len(row) for row in rows]
    pairs = np.concatenate([np.asarray(row, np.int32) for row in rows])
    return Histories(
        items,
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        pairs,
        np.ones(len(pairs), np.float32),
        np.full(len(pairs), 8, np.uint8),
        np.full(len(pairs), np.nan, np.float32) if ages is None else np.concatenate(ages).astype(np.float32),
    )


def two_tastes(customers, seed=0):
    """Each customer takes ten items from one half of the catalogue, which no public column tells apart."""
    draw = np.random.default_rng(seed)
    half = ITEMS // 2
    rows = [np.sort(draw.choice(half, 10, replace=False)) + half * (u % 2) for u in range(customers)]
    return histories(rows)


def plain_catalogue():
    return Catalogue(tuple(map(str, range(ITEMS))), "given", {})


def test_a_posterior_is_nearer_to_the_truth_than_the_noised_sum():
    draw = np.random.default_rng(0)
    truth, noise = np.exp(draw.normal(1.0, 1.5, 4000)), 7.0
    noised = truth + draw.normal(0.0, noise, len(truth))
    found = shares(noised, noise)
    exact = truth / truth.sum()
    floored = np.maximum(noised, 0.25) / np.maximum(noised, 0.25).sum()
    assert found.sum() == pytest.approx(1.0)
    assert (found > 0).all()
    assert ((found - exact) ** 2).sum() < 0.7 * ((floored - exact) ** 2).sum()
    assert np.abs(np.log(found / exact)).mean() < np.abs(np.log(floored / exact)).mean()


def test_popular_items_stay_apart_as_far_as_the_noise_tells_them_apart():
    noise = 1.5
    total = np.concatenate([np.linspace(1.0, 50.0, 500), np.linspace(4000.0, 5000.0, 500)])
    found = posterior_mean(total, noise)
    assert (np.diff(found) > 0).all()
    assert np.abs(found[500:] - total[500:]).max() < 0.1 * noise


def test_at_the_seam_both_ways_to_a_posterior_agree():
    noise = 2.0
    total = np.concatenate([np.linspace(1.0, 60.0, 300), noise * np.array([SURE - 1e-9, SURE + 1e-9])])
    below, above = posterior_mean(total, noise)[-2:]
    assert above == pytest.approx(below, abs=0.02 * noise)


@pytest.mark.parametrize(
    "total", [np.zeros(5), np.array([1e6, 1e5]), np.array([-3.0, -1.0, 0.0]), np.array([1e6, 1.0])]
)
@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_shares_are_shares_whatever_the_sum(total, noise):
    found = shares(total, noise)
    assert found.sum() == pytest.approx(1.0)
    assert (found > 0).all()


def test_shrinking_takes_noise_out_and_without_noise_does_nothing():
    draw = np.random.default_rng(1)
    items, noise = 600, 1.0
    q = np.sort(draw.gamma(1.0, size=items))[::-1] + 1e-3
    features = draw.normal(size=(items, 5))
    said = features @ draw.normal(size=(5, 8))
    own = draw.normal(size=(items, 8)) * np.linspace(2.0, 0.0, items)[:, None]
    noised = said + own + noise * draw.normal(size=said.shape)
    error = ((shrink(noised, noise, features, q) - said - own) ** 2).mean()
    assert error < 0.6 * noise**2
    assert error < 0.9 * ((shrink(noised, noise, np.zeros((items, 1)), q) - said - own) ** 2).mean()
    assert shrink(noised, 0.0, features, q) is noised


def test_the_first_basis_is_orthonormal_and_blind_to_popularity():
    draw = np.random.default_rng(2)
    q = draw.gamma(1.0, size=ITEMS)
    basis = first_basis(draw.normal(size=(ITEMS, 20)), q / q.sum(), 12)
    assert basis.T @ basis == pytest.approx(np.eye(12), abs=1e-9)
    assert basis.T @ np.sqrt(q) == pytest.approx(np.zeros(12), abs=1e-9)


def test_factors_of_exact_sketches_are_those_of_the_covariance():
    draw = np.random.default_rng(3)
    left, _ = np.linalg.qr(draw.normal(size=(ITEMS, 4)))
    covariance = left * [9.0, 5.0, 3.0, 1.0] @ left.T
    bases = draw.normal(size=(ITEMS, 30))
    found, values = factors(covariance @ bases, bases, 0.0, np.zeros((ITEMS, 1)), np.full(ITEMS, 1 / ITEMS), 6)
    assert np.abs(found[:, :4].T @ left).sum() > 3.5
    assert not found[:, 4:].any()
    assert not values[4:].any()


def test_the_run_learns_what_no_public_column_says():
    catalogue, train = plain_catalogue(), two_tastes(400)
    learner = Spectral(embedding_dim=4, first_dim=8, sketch_rounds=2, regularization=10.0)
    state = run_rounds(learner, [MemoryCustomers(train)], catalogue, 0, 400)
    scores = learner.scorer(state, catalogue).score(Block(0, 0, train), None)
    own_half = np.where(np.arange(400)[:, None] % 2 == 0, np.arange(ITEMS) < ITEMS // 2, np.arange(ITEMS) >= ITEMS // 2)
    assert scores[own_half].mean() > scores[~own_half].mean() + 2 * scores.std() * 0.5
    content = Spectral(sketch_rounds=0, regularization=10.0)
    flat = run_rounds(content, [MemoryCustomers(train)], catalogue, 0, 400)
    flat_scores = content.scorer(flat, catalogue).score(Block(0, 0, train), None)
    gap, flat_gap = (x[own_half].mean() - x[~own_half].mean() for x in (scores, flat_scores))
    assert flat_gap / flat_scores.std() < 0.5 < gap / scores.std()


def test_a_contribution_has_norm_one_and_is_the_customers_own():
    both = histories([[1, 2, 5], [7], range(50)])  # of the last one popularity alone would give more than 1 of an item
    draw = np.random.default_rng(4)
    q, basis = draw.dirichlet(np.ones(ITEMS)), draw.normal(size=(ITEMS, 3))
    assert 50 * q.max() > 1.0
    z, projections = Centring.of(q).rows(both, basis)
    x = np.zeros((3, ITEMS))
    x[both.row_of_pair(), both.items] = 1.0
    plain = (x - np.minimum(x.sum(axis=1, keepdims=True) * q, 1.0)) * (ITEMS * q + 0.05) ** -0.15
    assert z.toarray() == pytest.approx(plain / np.linalg.norm(plain, axis=1, keepdims=True))
    assert projections == pytest.approx(z.toarray() @ basis)
    alone, projected = Centring.of(q).rows(both.slice(1, 2), basis)
    assert (z.toarray()[1] == alone.toarray()[0]).all()
    assert (projections[1] == projected[0]).all()
    assert np.linalg.norm(unit_history(both, math.inf).toarray(), axis=1) == pytest.approx([1.0, 1.0, 1.0])


def test_a_history_that_popularity_explains_gives_next_to_nothing_before_it_is_scaled():
    q = np.full(ITEMS, 1 / ITEMS)
    everything = histories([range(ITEMS), range(ITEMS // 2)])
    z, _ = Centring.of(q).rows(everything, np.eye(ITEMS))
    assert np.isfinite(z.data).all()
    assert (z.toarray()[1, : ITEMS // 2] > 0).all()
    assert z.toarray()[1].sum() == pytest.approx(0.0, abs=1e-9)


def test_fading_takes_nothing_of_the_clip_until_a_customer_is_long_gone():
    rows = histories([[1, 2], [1, 2], [1, 2]], ages=[[0.0, 0.0], [30.0, 60.0], [300.0, 300.0]])
    found = unit_history(rows, 30.0).toarray()
    assert np.linalg.norm(found, axis=1) == pytest.approx([1.0, 1.0, 0.5**10 / 0.1])
    assert found[1, 1] == pytest.approx(2 * found[1, 2])


def test_ties_in_time_share_their_mean_rank_and_items_without_a_time_have_none():
    rows = histories([[0, 1, 2, 3], [4, 5]], ages=[[9.0, 1.0, 1.0, np.nan], [2.0, 1.0]])
    ranks = recency_ranks(rows)
    assert ranks[[0, 1, 2, 4, 5]].tolist() == [2.0, 0.5, 0.5, 1.0, 0.0]
    assert math.isnan(ranks[3])


def test_the_most_recent_item_decides_where_order_counts():
    vectors = np.zeros((4, 3), np.float32)
    vectors[[0, 1], 0] = vectors[[2, 3], 1] = 1.0  # 0 and 1 are alike, 2 and 3 are
    both = histories([[0, 2]], ages=[[0.0, 50.0]], items=4)
    plain = LocalSolve.of(vectors, 1.0, 100.0).score(Block(0, 0, both), None)[0]
    lifted = LocalSolve.of(vectors, 1.0, 100.0, order_weight=100.0, order_items=0.5).score(Block(0, 0, both), None)[0]
    assert plain[1] == pytest.approx(plain[3])
    assert lifted[1] > 1.5 * lifted[3]


def test_own_items_get_a_fading_bonus_and_no_other_item_moves():
    vectors = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    own = histories([[0, 2], [1]], ages=[[0.0, 30.0], [np.nan]], items=5)
    plain = LocalSolve.of(vectors, 1.0, 100.0, popularity_weight=0.5).score(Block(0, 0, own), None)
    bonus = LocalSolve.of(vectors, 1.0, 100.0, popularity_weight=0.5, own_weight=4.0, own_half_life_days=30.0)
    moved = bonus.score(Block(0, 0, own), None) - plain
    assert moved[0] == pytest.approx([4.0, 0.0, 2.0, 0.0, 0.0], abs=1e-5)
    assert moved[1] == pytest.approx([0.0, 4.0, 0.0, 0.0, 0.0], abs=1e-5)
    often = dataclasses.replace(own, visits=np.array([3, 1, 2], np.uint16))
    assert bonus.score(Block(0, 0, often), None)[0] - plain[0] == pytest.approx([12.0, 0.0, 2.0, 0.0, 0.0], abs=1e-5)


@pytest.mark.parametrize("trust", ["local", "distributed"])
def test_the_learner_is_told_the_noise_that_is_really_added(trust):
    catalogue = plain_catalogue()
    cohort = {"colluders": 1, "min_survivors": 8} if trust == "distributed" else {}
    learner = Spectral(sketch_rounds=1)
    terms = PrivacyTerms(epsilon=4.0, delta=1e-5, bounds=learner.bounds(), **cohort)
    plan = Plan(
        catalogue_hash=catalogue.hash,
        catalogue_source="given",
        as_of=None,
        participants=10,
        learner="spectral",
        hyper_parameters=hyper_parameters(learner),
        trust=trust,
        privacy=terms,
        customers_bound=1000,
        seed=0,
    )
    shares_added = 10 / (1 if trust == "local" else 7)
    for round_ in plan.rounds(catalogue):
        certain = round_.releases[0].noise_multiplier * round_.releases[0].clip_norm
        assert round_.noise_of(round_.releases[0]) == pytest.approx(certain * math.sqrt(shares_added))


def test_suited_settings_follow_epsilon_times_customers_alone():
    assert suited(1.0, 60_400) == suited(10.0, 6040) == STEPS[-2][1]
    assert suited(math.inf, 1) == STEPS[-1][1]
    assert suited(0.1, 6040) == STEPS[0][1]
    for settings in (suited(epsilon, 6040) for epsilon in (0.5, 1.0, 4.0, 8.0, math.inf)):
        assert dataclasses.is_dataclass(build_learner("spectral", settings))


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 4.0, 8.0, 16.0])
def test_a_run_of_ml_1m_sends_at_most_three_megabytes_of_64_bit_words_in_five_rounds(epsilon):
    rounds = build_learner("spectral", suited(epsilon, 6040)).rounds(toy_catalogue(3883), 6040)
    assert len(rounds) <= 5
    assert sum(8 * release.words for round_ in rounds for release in round_.releases) < 3_000_000


@pytest.mark.parametrize(
    "wrong",
    [
        {"sketch_rounds": -1},
        {"popularity_share": 1.0},
        {"clip": 0.0},
        {"regularization": 0.0},
        {"order_items": 0.0},
        {"popularity_weight": math.nan},
        {"own_weight": -1.0},
        {"own_half_life_days": 0.0},
    ],
)
def test_refuses_settings_out_of_range(wrong):
    with pytest.raises(ConfigError, match="nothing was run"):
        Spectral(**wrong)


@pytest.mark.slow
def test_memory_grows_with_items_not_with_their_square():
    items = 25_000
    draw = np.random.default_rng(6)
    texts = np.array([f"kind {i % 40}" for i in range(items)], object)
    catalogue = Catalogue(
        tuple(map(str, range(items))), "given", {"category": texts, "price": 1.0 + draw.random(items)}
    )
    train = histories([np.sort(draw.choice(items, 20, replace=False)) for _ in range(300)], items=items)
    learner = Spectral(sketch_rounds=1)
    tracemalloc.start()
    state = run_rounds(learner, [MemoryCustomers(train)], catalogue, 0, 300)
    scores = learner.scorer(state, catalogue).score(Block(0, 0, train.slice(0, 10)), None)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.isfinite(scores).all()
    assert peak < 8 * items**2 / 8  # an eighth of one [items, items] matrix
