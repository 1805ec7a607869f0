"""The store's own co-occurrences beside a model: EASE by its formula, scales, and what must not move."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from fedcart.shared.interactions import Histories, Interactions, build_histories
from fedcart.shared.learners import store_cooccurrences
from fedcart.shared.learners.base import Block, LocalTable
from fedcart.shared.learners.spectral.local_solve import LocalSolve
from fedcart.shared.learners.store_cooccurrences import (
    ORDER_ITEMS,
    ORDER_WEIGHT,
    REGULARIZATION,
    WEIGHT,
    BesideStore,
    StoreCooccurrences,
    beside_store,
)

ITEMS = 9


def histories(pairs: list[tuple[int, int]], customers: int = 0) -> Histories:
    table = np.array(pairs, np.int64).reshape(-1, 2)
    events = Interactions.build(table[:, 0], table[:, 1])
    return build_histories(events, customers or int(table[:, 0].max()) + 1, ITEMS)


STORE = histories([(0, 1), (0, 2), (0, 5), (1, 1), (1, 2), (2, 2), (2, 7), (3, 5), (3, 7), (3, 1)])


@dataclass(frozen=True)
class Given:
    scores: np.ndarray

    def score(self, block: Block, local: LocalTable | None) -> np.ndarray:
        return self.scores


def dense(h: Histories) -> np.ndarray:
    found = np.zeros((h.customers, h.items_total))
    found[h.row_of_pair(), h.items] = h.weights
    return found


def ease_by_formula(h: Histories, regularization: float) -> np.ndarray:
    """[items, items] Steck 2019, eq. 8."""
    x = dense(h)
    inverse = np.linalg.inv(x.T @ x + regularization * np.eye(ITEMS))
    found = -inverse / np.diag(inverse)[None, :]
    np.fill_diagonal(found, 0.0)
    return found


def test_it_is_ease_on_the_stores_own_rows_and_nothing_elsewhere() -> None:
    found = StoreCooccurrences.of(STORE)
    assert found.items.tolist() == [1, 2, 5, 7]
    np.testing.assert_allclose(found.score(STORE), dense(STORE) @ ease_by_formula(STORE, REGULARIZATION), atol=1e-7)
    assert found.score(STORE).dtype == np.float32


def test_the_items_most_had_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_cooccurrences, "MOST_ITEMS", 2)
    assert StoreCooccurrences.of(STORE).items.tolist() == [1, 2]


@pytest.mark.parametrize("empty", [histories([], 3), histories([], 1)])
def test_a_store_without_rows_leaves_the_models_order(empty: Histories) -> None:
    scores = np.arange(ITEMS, dtype=np.float32)[None, :] * 7.0
    found = BesideStore(Given(scores), StoreCooccurrences.of(empty)).score(Block(0, 0, STORE.slice(0, 1)), None)
    assert np.array_equal(np.argsort(found[0]), np.argsort(scores[0]))


def test_the_models_scores_have_spread_one_over_what_the_customer_has_not_had() -> None:
    draw = np.random.default_rng(0)
    one = STORE.slice(0, 1)  # had 1, 2, 5
    scores = draw.normal(3.0, 40.0, (1, ITEMS)).astype(np.float32)
    scores[0, [1, 2, 5]] = 1e6  # as a bonus for what is bought again
    found = BesideStore(Given(scores), StoreCooccurrences.of(histories([], 1))).score(Block(0, 0, one), None)
    rest = np.delete(found[0], [1, 2, 5])
    assert rest.std() == pytest.approx(1.0, rel=1e-5)
    assert found[0, 1] > 1e4


def test_the_two_are_added_and_what_cannot_be_ranked_stays_so() -> None:
    store, one = StoreCooccurrences.of(STORE), STORE.slice(0, 1)
    scores = np.array([[0.0, 1, 2, 3, -np.inf, 5, 6, 7, 8]], np.float32)
    before = scores.copy()
    found = BesideStore(Given(scores), store).score(Block(0, 0, one), None)
    others = np.array([0.0, 3, 6, 7, 8])
    wanted = scores / others.std() + WEIGHT * store.score(one)
    np.testing.assert_allclose(found[0, np.isfinite(wanted[0])], wanted[0, np.isfinite(wanted[0])], rtol=1e-5)
    assert found[0, 4] == -np.inf
    assert np.array_equal(scores, before)  # a scorer's own array is not written


def test_equal_scores_are_not_divided_by_zero() -> None:
    flat = np.full((1, ITEMS), 2.0, np.float32)
    found = BesideStore(Given(np.broadcast_to(flat[0], (1, ITEMS))), StoreCooccurrences.of(histories([], 1)))
    assert np.array_equal(found.score(Block(0, 0, STORE.slice(0, 1)), None), flat)


def test_few_customers_say_little() -> None:
    """Ten times the customers with the same habits: what they say grows towards 1, from near 0."""
    few, many = (histories([(u, i) for u in range(n) for i in (1, 2)]) for n in (3, 3000))
    said = [StoreCooccurrences.of(h).score(histories([(0, 1)]))[0, 2] for h in (few, many)]
    assert said[0] < 0.05
    assert said[1] > 0.9


def with_ages(ages: list[float]) -> Histories:
    return replace(STORE, ages=np.array(ages, np.float32))


def test_the_latest_items_say_more_and_the_whole_history_as_much_as_before() -> None:
    store, table = StoreCooccurrences.of(STORE), np.zeros((STORE.customers, ITEMS))
    later = with_ages([3.0, 1.0, 2.0] + [0.0] * 7)  # of the first customer's items 1, 2, 5 the second is the latest
    lift = 1 + ORDER_WEIGHT * np.exp(-np.array([2, 0, 1]) / ORDER_ITEMS)
    table[0, [1, 2, 5]] = 3 * lift / lift.sum()
    wanted = (table @ ease_by_formula(STORE, REGULARIZATION))[0]
    np.testing.assert_allclose(store.score(later, ordered=True)[0], wanted, rtol=1e-4, atol=1e-8)
    assert not np.allclose(store.score(later, ordered=True)[0], store.score(later)[0])


@pytest.mark.parametrize("age", [0.0, np.nan])
def test_a_history_without_an_order_is_scored_as_if_it_were_not_read(age: float) -> None:
    same = with_ages([age] * len(STORE.items))
    store = StoreCooccurrences.of(STORE)
    np.testing.assert_allclose(store.score(same, ordered=True), store.score(same), rtol=1e-5)


@pytest.mark.parametrize(("order_weight", "ordered"), [(0.0, False), (100.0, True)])
def test_the_store_reads_the_order_where_the_model_does(order_weight: float, ordered: bool) -> None:
    vectors = np.eye(ITEMS, 3, dtype=np.float32)
    model = LocalSolve.of(vectors, 1.0, 1.0, order_weight=order_weight)
    assert beside_store(model, STORE).ordered is ordered
    assert beside_store(Given(np.zeros((1, ITEMS))), STORE).ordered is False


@pytest.mark.parametrize("customers", [3, 8, 9, 40])
def test_fewer_customers_than_items_give_the_same_as_the_item_matrix(customers: int) -> None:
    draw = np.random.default_rng(customers)
    rows = draw.random((customers, ITEMS)) < 0.4
    rows[0, :] = True  # every item is had
    store = histories([(int(a), int(b)) for a, b in zip(*np.nonzero(rows), strict=True)], customers)
    found = StoreCooccurrences.of(store, 3.0)
    assert (found.rows is None) == (customers >= ITEMS)
    np.testing.assert_allclose(found.score(STORE), dense(STORE) @ ease_by_formula(store, 3.0), atol=2e-6)


def test_an_own_item_stays_ahead_of_what_the_model_puts_behind_it() -> None:
    scores = np.where(np.arange(ITEMS) == 5, 3.0, np.linspace(1.0, 0.0, ITEMS)).astype(np.float32)[None, :]
    one = STORE.slice(0, 1)  # has 5; EASE says most of 7 among what it has not had
    beside = BesideStore(Given(scores), StoreCooccurrences.of(STORE, 0.1), weight=1000.0)
    found = beside.score(Block(0, 0, one), None)[0]
    others = np.where(np.isin(np.arange(ITEMS), one.items), -np.inf, found)
    assert np.argmax(others) == 7
    assert found[5] > others[7]
