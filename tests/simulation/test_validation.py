"""Validation items: one a customer, chosen by that customer's own rows and the seed alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcart.shared.interactions import NO_TIME, Interactions, build_histories
from fedcart.simulation.validation import hold_out_for_validation
from purchase_events import CRITICAL_4, CUSTOMERS, EVENTS, ITEMS, PURCHASE, SEEDS, Event, chi_square, table


@given(EVENTS, SEEDS)
def test_validation_takes_one_training_item_of_who_has_two(events: list[Event], seed: int) -> None:
    train = build_histories(table(events), CUSTOMERS, ITEMS)
    remaining, out = hold_out_for_validation(train, seed, "purchase")
    for customer in range(CUSTOMERS):
        before, after = (h.items[h.indptr[customer] : h.indptr[customer + 1]].tolist() for h in (train, remaining))
        chosen = out.items[out.indptr[customer] : out.indptr[customer + 1]].tolist()
        bought = {e[1] for e in events if e[0] == customer and e[2] == PURCHASE}
        assert len(chosen) == (len(before) >= 2 and len(bought) >= 1)
        assert set(chosen) <= bought
        assert sorted(chosen + after) == before


@given(EVENTS, SEEDS, st.integers(0, CUSTOMERS - 1))
def test_a_customers_validation_item_depends_on_its_own_rows_alone(events: list[Event], seed: int, gone: int) -> None:
    def chosen(rows: list[Event]) -> list[list[int]]:
        out = hold_out_for_validation(build_histories(table(rows), CUSTOMERS, ITEMS), seed, "purchase")[1]
        return [out.items[out.indptr[c] : out.indptr[c + 1]].tolist() for c in range(CUSTOMERS) if c != gone]

    assert chosen(events) == chosen([e for e in events if e[0] != gone])


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_validation_items_are_drawn_evenly(seed: int) -> None:
    people = 3000
    train = build_histories(
        Interactions.build(np.repeat(np.arange(people), 5), np.tile(np.arange(5), people)), people, 5
    )
    items = hold_out_for_validation(train, seed, "purchase")[1].items
    assert chi_square(np.bincount(items, minlength=5)) < CRITICAL_4


def test_the_latest_item_is_held_out_where_there_are_times_and_a_drawn_one_where_not() -> None:
    events = Interactions.build(
        [0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2], time=np.array([5, 86_400 * 9, 7, NO_TIME, NO_TIME, NO_TIME])
    )
    train = build_histories(events, 2, 3, as_of=86_400 * 10)
    seeds = range(12)
    items = np.array([hold_out_for_validation(train, s, "purchase", latest=True)[1].items for s in seeds])
    drawn = np.array([hold_out_for_validation(train, s, "purchase")[1].items for s in seeds])
    assert (items[:, 0] == 1).all()
    assert len(set(drawn[:, 0])) > 1
    assert np.array_equal(items[:, 1], drawn[:, 1])
