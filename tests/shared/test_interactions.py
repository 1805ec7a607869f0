"""Events and histories: a row depends on its customer's events alone, and says exactly what they were."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcart.shared.errors import DataError
from fedcart.shared.interactions import (
    BEHAVIOURS,
    DAY,
    NO_TIME,
    Histories,
    Interactions,
    build_histories,
    concatenate,
)

CUSTOMERS, ITEMS = 4, 5
EVENT = st.tuples(
    st.integers(0, CUSTOMERS - 1),
    st.integers(0, ITEMS - 1),
    st.integers(0, len(BEHAVIOURS) - 1),
    st.none() | st.integers(-2, 4),
)
EVENTS = st.lists(EVENT, max_size=25)
WEIGHTS = st.tuples(*[st.sampled_from([0.0, 0.25, 1.0, 2.0])] * len(BEHAVIOURS))


def interactions(events: list[tuple[int, int, int, int | None]]) -> Interactions:
    time = [NO_TIME if t is None else t * DAY for *_, t in events]
    return Interactions.build(
        [c for c, *_ in events], [i for _, i, *_ in events], behaviour=[b for _, _, b, _ in events], time=time
    )


def rows_of(h: Histories) -> list[dict[int, tuple[float, int, float, int]]]:
    assert h.visits is not None
    return [
        {
            int(h.items[p]): (float(h.weights[p]), int(h.behaviours[p]), float(h.ages[p]), int(h.visits[p]))
            for p in range(h.indptr[c], h.indptr[c + 1])
        }
        for c in range(h.customers)
    ]


@given(EVENTS, WEIGHTS, st.booleans(), st.none() | st.just(5 * DAY))
def test_histories_are_what_a_plain_loop_says(
    events: list[Any], weights: tuple[float, ...], repeats: bool, as_of: int | None
) -> None:
    built = build_histories(
        interactions(events), CUSTOMERS, ITEMS, as_of=as_of, behaviour_weights=weights, repeats=repeats
    )
    expected: list[dict[int, list[Any]]] = [{} for _ in range(CUSTOMERS)]
    for customer, item, behaviour, day in events:
        if weights[behaviour] == 0:
            continue
        pair = expected[customer].setdefault(item, [0.0, 0, None, set()])
        pair[0] = pair[0] + weights[behaviour] if repeats else max(pair[0], weights[behaviour])
        pair[1] |= 1 << behaviour
        if day is not None:
            pair[2] = day if pair[2] is None else max(pair[2], day)
        pair[3].add(day)
    for found, wanted in zip(rows_of(built), expected, strict=True):
        assert list(found) == sorted(wanted)
        for item, (weight, behaviours, age, visits) in found.items():
            assert (weight, behaviours) == tuple(wanted[item][:2])
            assert visits == len(wanted[item][3])
            known = as_of is not None and wanted[item][2] is not None
            assert age == 5 - wanted[item][2] if known else np.isnan(age)


@given(EVENTS, st.integers(0, CUSTOMERS - 1))
def test_a_row_depends_on_its_customers_events_alone(events: list[Any], gone: int) -> None:
    before = rows_of(build_histories(interactions(events), CUSTOMERS, ITEMS))
    after = rows_of(build_histories(interactions([e for e in events if e[0] != gone]), CUSTOMERS, ITEMS))
    assert after[gone] == {}
    assert [str(x) for c, x in enumerate(after) if c != gone] == [str(x) for c, x in enumerate(before) if c != gone]


@given(EVENTS, st.randoms())
def test_the_order_of_events_changes_nothing(events: list[Any], random: Any) -> None:
    shuffled = random.sample(events, len(events))
    one, other = (build_histories(interactions(x), CUSTOMERS, ITEMS, as_of=DAY) for x in (events, shuffled))
    for f in fields(Histories):
        np.testing.assert_array_equal(getattr(one, f.name), getattr(other, f.name))


@given(EVENTS, st.integers(0, CUSTOMERS), st.integers(0, CUSTOMERS))
def test_a_slice_holds_the_same_rows(events: list[Any], a: int, b: int) -> None:
    start, stop = sorted((a, b))
    whole = build_histories(interactions(events), CUSTOMERS, ITEMS, as_of=DAY)
    assert str(rows_of(whole.slice(start, stop))) == str(rows_of(whole)[start:stop])
    assert np.array_equal(whole.row_of_pair(), np.repeat(np.arange(CUSTOMERS), whole.counts))


@given(EVENTS, st.permutations(range(CUSTOMERS)))
def test_customers_taken_in_another_order_keep_their_rows(events: list[Any], order: list[int]) -> None:
    whole = build_histories(interactions(events), CUSTOMERS, ITEMS, as_of=DAY)
    assert str(rows_of(whole.take(np.array(order)))) == str([rows_of(whole)[c] for c in order])


def test_events_of_one_day_are_one_visit() -> None:
    """Midnight is UTC's, before 1970 too."""
    times = [0, DAY - 1, DAY, -1, NO_TIME, NO_TIME]
    events = Interactions.build([0] * 6, [1, 1, 1, 1, 2, 2], time=times)
    assert build_histories(events, 1, ITEMS).visits.tolist() == [3, 1]  # type: ignore[union-attr]


@given(EVENTS, st.integers(0, ITEMS - 1))
def test_a_choice_of_pairs_keeps_the_others_and_all_customers(events: list[Any], gone: int) -> None:
    whole = build_histories(interactions(events), CUSTOMERS, ITEMS, as_of=DAY)
    left = [{item: pair for item, pair in row.items() if item != gone} for row in rows_of(whole)]
    some = whole.only(whole.items != gone)
    assert (str(rows_of(some)), some.indptr.dtype) == (str(left), whole.indptr.dtype)


@pytest.mark.parametrize(("customer", "item"), [(0, -1), (1, ITEMS), (-1, 0), (CUSTOMERS, 0)])
def test_an_event_outside_the_table_is_refused_and_never_given_to_a_neighbour(customer: int, item: int) -> None:
    with pytest.raises(DataError, match=r"not in a catalogue|not among"):
        build_histories(Interactions.build([1, customer], [1, item]), CUSTOMERS, ITEMS)


def test_columns_that_are_left_out_say_that_the_source_has_none() -> None:
    built = Interactions.build([1], [2])
    assert built.behaviour.tolist() == [BEHAVIOURS.index("purchase")]
    assert (built.time.tolist(), built.value.tolist()) == ([NO_TIME], [1.0])
    assert (built.basket.tolist(), built.store.tolist(), built.timed.tolist()) == ([-1], [-1], [False])


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="different lengths"):
        Interactions.build([1, 2], [1])


def test_a_number_that_does_not_fit_is_refused() -> None:
    with pytest.raises((DataError, OverflowError)):
        Interactions.build(np.array([2**31]), [1])


@given(EVENTS, EVENTS)
def test_concatenated_and_selected_rows_keep_their_order(one: list[Any], other: list[Any]) -> None:
    whole = concatenate([interactions(one), interactions(other)])
    assert len(whole) == len(one) + len(other)
    for f in fields(Interactions):
        back = getattr(whole.select(np.arange(len(one))), f.name)
        np.testing.assert_array_equal(back, getattr(interactions(one), f.name))
