"""Baselines: each does what its name says on data small enough to check by hand; the null models are at chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import ConfigError
from fedcart.shared.interactions import Interactions, build_histories
from fedcart.shared.learners.als import ITEMS, Als
from fedcart.shared.learners.base import Block
from fedcart.shared.learners.toy import toy_catalogue, toy_interactions
from fedcart.simulation import baselines
from fedcart.simulation.baselines.central import run_centrally
from fedcart.simulation.baselines.memoriser import negative_counts

CUSTOMERS, N = 60, 30
TRAIN = build_histories(toy_interactions(2, CUSTOMERS, N), CUSTOMERS, N, as_of=10**6)
CATALOGUE = toy_catalogue(N)


def scores_of(name, train=TRAIN, catalogue=CATALOGUE, seed=0, **settings):
    scorer = baselines.fit(name, train, catalogue, seed=seed, **settings)
    return scorer.score(Block(0, 0, train), None)


def dense(train=TRAIN):
    x = np.zeros((train.customers, train.items_total))
    x[train.row_of_pair(), train.items] = 1
    return x


@pytest.mark.parametrize("name", baselines.NAMES)
def test_every_baseline_scores_every_item_for_every_customer(name):
    scores = scores_of(name)
    assert scores.shape == (CUSTOMERS, N)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", baselines.NAMES)
def test_every_baseline_scores_a_customer_alone_as_in_the_batch(name):
    scorer = baselines.fit(name, TRAIN, CATALOGUE, seed=0)
    together = scorer.score(Block(0, 0, TRAIN), None)
    alone = [scorer.score(Block(0, row, TRAIN.slice(row, row + 1)), None)[0] for row in range(CUSTOMERS)]
    assert np.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("name", baselines.NAMES)
def test_every_baseline_survives_a_customer_without_history(name):
    empty = replace(TRAIN, indptr=np.concatenate([TRAIN.indptr, TRAIN.indptr[-1:]]))
    assert np.isfinite(scores_of(name, empty)).all()


def test_ease_that_reads_the_order_of_a_history_scores_by_its_latest_item_more():
    rows = Interactions.build([0, 0, 1, 1, 2, 2], [0, 2, 0, 1, 2, 3], time=[90, 10, 50, 50, 50, 50])
    train = build_histories(rows, 3, 4, as_of=100)
    plain, ordered = (
        scores_of("ease", train, toy_catalogue(4), regularization=1.0, order_weight=w, order_items=0.5)[0]
        for w in (0.0, 100.0)
    )
    assert plain[1] == pytest.approx(plain[3])  # 1 goes with 0, 3 with 2
    assert ordered[1] > 1.5 * ordered[3]


@pytest.mark.parametrize("name", ["content", "popularity", "recent", "ials", "ease"])
def test_who_has_no_history_sees_what_is_popular(name):
    empty = replace(TRAIN, indptr=np.concatenate([TRAIN.indptr, TRAIN.indptr[-1:]]))
    settings = {"half_life_days": np.inf} if name == "recent" else {}
    scores = scores_of(name, empty, **settings)
    popularity = np.bincount(TRAIN.items, minlength=N)
    assert np.array_equal(popularity[np.argsort(-scores[-1], kind="stable")], np.sort(popularity)[::-1])


def test_popularity_counts_customers():
    assert np.array_equal(scores_of("popularity")[3], dense().sum(axis=0))


def test_recent_popularity_halves_each_half_life():
    train = replace(TRAIN, ages=np.where(np.arange(len(TRAIN.ages)) % 2 == 0, 7.0, np.nan).astype(np.float32))
    wanted = np.bincount(train.items, weights=np.where(np.isnan(train.ages), 1.0, 0.5), minlength=N)
    assert np.allclose(scores_of("recent", train, half_life_days=7.0)[0], wanted)


def test_own_purchases_come_first_and_the_newest_of_them_before_the_oldest():
    events = Interactions.build([0, 0, 1, 1], [3, 5, 7, 7], time=[0, 20 * 86_400, 0, 0])
    train = build_histories(events, 2, N, as_of=20 * 86_400)
    first = np.argsort(-scores_of("recent_own", train, half_life_days=10.0)[0], kind="stable")
    assert first[:3].tolist() == [5, 3, 7]


def test_what_was_bought_on_more_days_comes_before_what_was_bought_last():
    days = np.array([0, 1, 2, 3, 3]) * 86_400
    train = build_histories(Interactions.build([0] * 5, [3, 3, 3, 5, 5], time=days), 1, N, as_of=4 * 86_400)
    assert np.argmax(scores_of("recent_own", train, own_half_life_days=100.0)[0]) == 3
    assert np.argmax(scores_of("recent_own", train, own_half_life_days=0.5)[0]) == 5


def test_item_knn_is_the_same_as_the_learner_gram():
    from fedcart.shared.learners.gram import Gram

    learner = Gram(model="itemknn", shrink=3.0, neighbours=N)
    state = run_centrally(learner, TRAIN, CATALOGUE, 0).state
    wanted = learner.scorer(state, CATALOGUE).score(Block(0, 0, TRAIN), None)
    assert np.allclose(scores_of("itemknn", shrink=3.0, neighbours=N), wanted, atol=1e-5)


def test_item_knn_in_slices_of_columns_is_the_same(monkeypatch):
    from fedcart.simulation.baselines import itemknn

    whole = scores_of("itemknn", neighbours=5)
    monkeypatch.setattr(itemknn, "COLUMNS_WORDS", 4 * N)
    assert np.array_equal(scores_of("itemknn", neighbours=5), whole)


@pytest.mark.parametrize("words", [1 << 23, 7 * CUSTOMERS])
def test_user_knn_adds_up_what_the_nearest_customers_took(monkeypatch, words):
    from fedcart.simulation.baselines import userknn

    monkeypatch.setattr(userknn, "WORDS", words)
    x = dense()
    units = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    similar = units @ units.T
    similar[similar > 1 - 1e-6] = 0
    edge = np.sort(similar, axis=1)[:, -8]
    wanted = np.where(similar >= edge[:, None] - 1e-7, similar, 0) @ x
    assert np.allclose(scores_of("userknn", neighbours=8), wanted, atol=1e-4)


def test_ials_is_the_learner_als_on_pooled_data():
    learner = Als(embedding_dim=4, sweeps=3)
    state = run_centrally(learner, TRAIN, CATALOGUE, 5).state
    wanted = learner.scorer(state, CATALOGUE).score(Block(0, 0, TRAIN), None)
    assert np.array_equal(scores_of("ials", seed=5, embedding_dim=4, sweeps=3), wanted)
    assert state.public[ITEMS].shape == (N, 4)


def test_progress_is_told_after_every_round():
    told = []
    run_centrally(Als(embedding_dim=2, sweeps=3), TRAIN, CATALOGUE, 0, progress=lambda *at: told.append(at))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_content_prefers_the_category_of_the_history():
    """Two customers of one taste each, over items that are equally popular."""
    customers = [0] * 5 + [1] * 5
    items = [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]
    train = build_histories(Interactions.build(customers, items), 2, N)
    scores = scores_of("content", train)
    fresh = np.arange(10, N)
    assert scores[0, fresh[fresh % 2 == 0]].min() > scores[0, fresh[fresh % 2 == 1]].max()
    assert scores[1, fresh[fresh % 2 == 1]].min() > scores[1, fresh[fresh % 2 == 0]].max()


def test_content_learns_nothing_together_but_popularity():
    """Who took which items is shuffled between customers: another customer's scores stay when the counts stay."""
    swapped = build_histories(Interactions.build([0, 0, 1, 1, 2, 2], [0, 1, 2, 3, 4, 5]), 3, N)
    other = build_histories(Interactions.build([0, 0, 1, 1, 2, 2], [0, 1, 2, 5, 4, 3]), 3, N)
    assert np.allclose(scores_of("content", swapped)[0], scores_of("content", other)[0], atol=1e-4)
    together = scores_of("userknn", TRAIN)[0], scores_of("userknn", TRAIN.slice(0, CUSTOMERS // 2))[0]
    assert not np.allclose(*together)


def test_content_without_any_public_column_still_ranks():
    bare = Catalogue(CATALOGUE.ids, "given")
    assert np.isfinite(scores_of("content", catalogue=bare)).all()


@pytest.mark.parametrize("name", baselines.NAMES)
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_every_baseline_ranks_a_few_items_that_nothing_tells_apart(name, n):
    """No public column, and every item as popular: nothing to learn from, and no reason to fail."""
    alike = build_histories(Interactions.build(np.repeat(np.arange(n), n), np.tile(np.arange(n), n)), n, n)
    assert np.isfinite(scores_of(name, alike, Catalogue(tuple(map(str, range(n))), "derived"))).all()


def test_content_uses_every_kind_of_public_column():
    generator = np.random.default_rng(0)
    plain = scores_of("content", catalogue=Catalogue(CATALOGUE.ids, "given"))
    columns = {
        "title": np.array([f"red thing {item % 5}" for item in range(N)], object),
        "category": np.array(["a|b" if item % 2 else "" for item in range(N)], object),
        "department": np.array([f"d{item % 3}" for item in range(N)], object),
        "brand": np.array([f"x{item % 4}" for item in range(N)], object),
        "price": np.where(np.arange(N) == 3, np.nan, generator.lognormal(1, 1, N)),
        "year": np.where(np.arange(N) == 4, np.nan, generator.integers(1950, 2020, N).astype(float)),
    }
    for name, column in columns.items():
        scores = scores_of("content", catalogue=Catalogue(CATALOGUE.ids, "given", {name: column}))
        assert np.isfinite(scores).all()
        assert not np.allclose(scores, plain, atol=1e-3), name


def test_the_same_seed_draws_the_same_scores():
    for name in ("random", "memoriser"):
        assert np.array_equal(scores_of(name, seed=1), scores_of(name, seed=1))
        assert not np.array_equal(scores_of(name, seed=1), scores_of(name, seed=2))


def ranks_among_the_unseen(scores, train, answer):
    """[customers] share of the unseen items that score higher than `answer`."""
    scores = scores.copy()
    scores[train.row_of_pair(), train.items] = -np.inf
    own = scores[np.arange(len(answer)), answer]
    unseen = np.isfinite(scores).sum(axis=1)
    return (scores > own[:, None]).sum(axis=1) / unseen


@pytest.mark.parametrize("name", ["random", "memoriser"])
def test_a_null_model_is_at_chance(name):
    """Mean rank of a random unseen item over 2,000 customers: .5, standard error .0065; five of them allowed."""
    customers = 2000
    train = build_histories(toy_interactions(3, customers, N), customers, N)
    generator = np.random.default_rng(0)
    answer = np.array([generator.choice(np.setdiff1d(np.arange(N), row)) for row in rows_of(train)])
    ranks = ranks_among_the_unseen(scores_of(name, train), train, answer)
    assert abs(ranks.mean() - 0.5) < 0.0325 + 0.5 / N


def test_the_memoriser_would_find_the_answer_if_negatives_avoided_it():
    """The leak of RESEARCH section 1.2: the only candidate that is never a negative is the held-out item."""
    free = np.ones(N, np.bool_)
    free[[1, 2, 3]] = False
    answer = 7
    honest = negative_counts(free, 2000, np.random.default_rng(0))
    assert honest[answer] > 0
    leaking = free.copy()
    leaking[answer] = False
    counts = negative_counts(leaking, 2000, np.random.default_rng(0))
    assert np.flatnonzero(free)[counts[free].argmin()] == answer


def rows_of(train):
    return [train.items[a:b] for a, b in zip(train.indptr[:-1], train.indptr[1:], strict=True)]


def test_an_unknown_baseline_or_setting_gets_a_hint():
    with pytest.raises(ConfigError, match="unknown baseline 'eas'") as unknown:
        baselines.fit("eas", TRAIN, CATALOGUE, seed=0)
    assert unknown.value.hint == "did you mean 'ease'?"
    with pytest.raises(ConfigError, match="no setting 'regularisation'") as setting:
        baselines.fit("ease", TRAIN, CATALOGUE, seed=0, regularisation=3.0)
    assert setting.value.hint == "did you mean 'regularization'?"
