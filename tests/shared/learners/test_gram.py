"""gram: EASE and item-kNN equal their textbook formulas; the head, the tail and the refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedcart.shared.errors import ConfigError, InputError, ProtocolError
from fedcart.shared.interactions import build_histories
from fedcart.shared.learners.base import Block, State
from fedcart.shared.learners.gram import HEAD, Gram, largest_head
from fedcart.shared.learners.item_models import cosine_neighbours, ease
from fedcart.shared.learners.memory import MemoryCustomers, run_rounds
from fedcart.shared.learners.toy import toy_catalogue, toy_interactions
from fedcart.shared.privacy.release import MOST_WORDS

CUSTOMERS, N = 25, 15
HISTORIES = build_histories(toy_interactions(4, CUSTOMERS, N), CUSTOMERS, N)


def scores_of(learner, histories=HISTORIES):
    state = run_rounds(learner, [MemoryCustomers(HISTORIES)], toy_catalogue(N), 0, CUSTOMERS)
    return learner.scorer(state, toy_catalogue(N)).score(Block(0, 0, histories), None)


def dense(histories=HISTORIES):
    x = np.zeros((histories.customers, N))
    x[histories.row_of_pair(), histories.items] = 1
    return x


def test_ease_is_the_constrained_least_squares_solution():
    """B minimises |X - X B|^2 + lambda |B|^2 with zero diagonal: check the optimality condition off the diagonal."""
    x, regularization = dense(), 3.0
    b = ease(x.T @ x, regularization)
    gradient = -x.T @ (x - x @ b) + regularization * b
    assert np.abs(gradient[~np.eye(N, dtype=bool)]).max() < 1e-9
    assert not np.diag(b).any()


def test_ease_scores_are_the_history_times_the_model():
    x = dense()
    assert np.allclose(scores_of(Gram(regularization=3.0)), x @ ease(x.T @ x, 3.0), atol=1e-5)


def test_item_knn_is_the_shrunk_cosine_of_the_nearest_items():
    x, shrink, k = dense(), 2.0, 4
    norms = np.sqrt((x**2).sum(axis=0))
    wanted = np.zeros((N, N))
    for j in range(N):
        cosine = np.array([0.0 if i == j else (x[:, i] @ x[:, j]) / (norms[i] * norms[j] + shrink) for i in range(N)])
        edge = np.sort(cosine)[-k]
        wanted[:, j] = np.where(cosine >= edge, cosine, 0.0)
    found = scores_of(Gram(model="itemknn", shrink=shrink, neighbours=k))
    assert np.allclose(found, x @ wanted, atol=1e-5)


def test_items_nobody_took_have_no_neighbours():
    gram = np.zeros((3, 3))
    gram[:2, :2] = [[2, 1], [1, 1]]
    similarity = cosine_neighbours(gram, 0.0, 3)
    assert not similarity[2].any()
    assert not similarity[:, 2].any()
    assert np.isfinite(similarity).all()


def test_the_count_exponent_divides_each_history_by_its_length():
    x = dense() / np.maximum(dense().sum(axis=1, keepdims=True), 1) ** 0.5
    found = scores_of(Gram(regularization=3.0, count_exponent=0.5))
    assert np.allclose(found, x @ ease(x.T @ x, 3.0), atol=1e-5)


def test_items_outside_the_head_rank_below_it_by_popularity():
    popularity = np.bincount(HISTORIES.items, minlength=N)
    scores = scores_of(Gram(regularization=3.0, max_items=6))
    head = np.sort(np.argsort(-popularity, kind="stable")[:6])
    tail = np.setdiff1d(np.arange(N), head)
    with_head = np.flatnonzero([np.isin(row, head).any() for row in np.split(HISTORIES.items, HISTORIES.indptr[1:-1])])
    for row in with_head:
        assert scores[row, tail].max() < scores[row, head].min()
        order = tail[np.argsort(-scores[row, tail], kind="stable")]
        assert np.array_equal(popularity[order], np.sort(popularity[tail])[::-1])


def test_a_customer_with_nothing_in_the_head_gets_popularity():
    nobody = HISTORIES.slice(0, 0)
    one = replace(nobody, indptr=np.zeros(2, np.int64))
    scores = scores_of(Gram(max_items=6), one)
    assert np.array_equal(scores[0], np.bincount(HISTORIES.items, minlength=N))


def test_the_largest_head_just_fits_one_release():
    n = largest_head()
    assert n * (n + 1) // 2 <= MOST_WORDS < (n + 1) * (n + 2) // 2
    assert Gram(max_items=n).rounds(toy_catalogue(3), 10)[1].releases[0].words == 6


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "slim"},
        {"max_items": 0},
        {"max_items": largest_head() + 1},
        {"regularization": 0.0},
        {"shrink": -1.0},
        {"neighbours": 0},
    ],
)
def test_refuses_settings_out_of_range(fields):
    with pytest.raises(ConfigError, match="nothing was run"):
        Gram(**fields)


@pytest.mark.parametrize("head", [[1.0, 1.0], [3.0, 2.0], [-1.0, 2.0], [0.0, N], [0.0, np.nan]])
def test_a_published_head_that_is_no_set_of_items_is_refused(head):
    learner, store = Gram(max_items=2), MemoryCustomers(HISTORIES)
    state = State({"popularity": np.ones(N, np.float32), HEAD: np.array(head, np.float32)})
    with pytest.raises(ProtocolError, match="nothing was added"):
        learner.contribute(state, learner.rounds(toy_catalogue(N), 9)[1], store, None)  # type: ignore[arg-type]


def test_co_occurrences_that_are_no_gram_matrix_are_refused():
    with pytest.raises(InputError, match="not positive definite"):
        ease(-np.eye(3), 0.5)
