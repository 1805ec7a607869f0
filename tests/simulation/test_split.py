"""Splits: nothing held out is ever trained on, a customer's split is its own, and ties are drawn by seed alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcart.shared.draws import draws
from fedcart.shared.errors import ConfigError, DataError
from fedcart.shared.interactions import DAY, NO_TIME, Interactions, build_histories
from fedcart.simulation.datasets.dataset import GivenSplit
from fedcart.simulation.held_out import HeldOut
from fedcart.simulation.split import RULES as SPLIT_RULES
from fedcart.simulation.split import Split, make_split
from purchase_events import CRITICAL_4, CUSTOMERS, EVENTS, ITEMS, PURCHASE, RULES, SEEDS, Event, chi_square, table


def split(events: list[Event], rule: str, seed: int = 0, **options: Any) -> Split | None:
    """None where the rule refuses because there is nothing to hold out."""
    made = {"timed": True, "baskets": True} | {k: options.pop(k) for k in ("timed", "baskets") if k in options}
    at = 2 * DAY if rule == "time" else None
    try:
        return make_split(table(events, **made), CUSTOMERS, ITEMS, rule=rule, seed=seed, at=at, negatives=3, **options)
    except DataError:
        return None


def held(s: Split, customer: int) -> list[int]:
    return s.held_out.items[s.held_out.indptr[customer] : s.held_out.indptr[customer + 1]].tolist()


def trained(s: Split, customer: int) -> dict[int, int]:
    low, high = s.train.indptr[customer], s.train.indptr[customer + 1]
    return dict(zip(s.train.items[low:high].tolist(), s.train.behaviours[low:high].tolist(), strict=True))


@given(EVENTS, RULES, SEEDS)
def test_no_event_of_a_held_out_pair_at_its_time_or_later_is_trained_on(
    events: list[Event], rule: str, seed: int
) -> None:
    s = split(events, rule, seed)
    if s is None:
        return
    for customer in range(CUSTOMERS):
        mine = [e for e in events if e[0] == customer]
        for item in held(s, customer):
            days = [e[3] for e in mine if e[1] == item and e[2] == PURCHASE]
            if rule == "leave-one-out":
                since = max(e[3] for e in mine if e[2] == PURCHASE)  # held out is the latest purchase
            elif rule == "time":
                since = 2
            else:
                since = min(d for d in days if d == max(e[3] for e in mine if e[2] == PURCHASE))
            earlier = {b for _, i, b, day, _ in mine if i == item and day < since}
            if rule != "time" and PURCHASE not in earlier:
                earlier = set()  # a new item leaves no trace
            assert since in days or rule == "time"
            assert trained(s, customer).get(item, 0) == sum(1 << b for b in earlier)


@given(EVENTS, RULES, SEEDS)
def test_an_item_is_new_when_no_earlier_purchase_of_it_is_trained_on(events: list[Event], rule: str, seed: int) -> None:
    s = split(events, rule, seed)
    if s is None:
        return
    for customer in range(CUSTOMERS):
        bought = {item for item, behaviours in trained(s, customer).items() if behaviours >> PURCHASE & 1}
        new = s.held_out.is_new[s.held_out.indptr[customer] : s.held_out.indptr[customer + 1]]
        assert [item not in bought for item in held(s, customer)] == new.tolist()


@given(EVENTS, SEEDS, st.booleans())
def test_leave_one_out_takes_one_item_of_who_has_two_and_leaves_one(
    events: list[Event], seed: int, timed: bool
) -> None:
    s = split(events, "leave-one-out", seed, timed=timed)
    if s is None:
        assert all(len({e[1] for e in events if e[0] == c and e[2] == PURCHASE}) < 2 for c in range(CUSTOMERS))
        return
    for customer in range(CUSTOMERS):
        bought = {e[1] for e in events if e[0] == customer and e[2] == PURCHASE}
        assert len(held(s, customer)) == (len(bought) >= 2)
        assert set(held(s, customer)) <= bought
        assert len(bought) == 0 or len(trained(s, customer)) >= 1


@given(EVENTS)
def test_split_by_time_trains_on_everything_before_and_on_nothing_else(events: list[Event]) -> None:
    s = split(events, "time")
    if s is None:
        assert all(e[3] >= 2 for e in events) or not any(e[2] == PURCHASE and e[3] >= 2 for e in events)
        return
    for customer in range(CUSTOMERS):
        mine = [e for e in events if e[0] == customer]
        assert set(trained(s, customer)) == {e[1] for e in mine if e[3] < 2}
        assert held(s, customer) == sorted({e[1] for e in mine if e[3] >= 2 and e[2] == PURCHASE})
    assert (s.as_of, s.at) == (2 * DAY, 2 * DAY)
    assert (s.train.ages[~np.isnan(s.train.ages)] > 0).all()


@given(EVENTS, st.booleans())
def test_last_basket_takes_the_whole_latest_basket_of_who_has_two(events: list[Event], baskets: bool) -> None:
    s = split(events, "last-basket", baskets=baskets)
    if s is None:
        return
    for customer in range(CUSTOMERS):
        visits: dict[tuple[int, int], set[int]] = {}
        for _, item, behaviour, day, basket in (e for e in events if e[0] == customer):
            if behaviour == PURCHASE:
                visits.setdefault((day, basket if baskets else 0), set()).add(item)
        expected = sorted(visits[max(visits)]) if len(visits) >= 2 else []
        assert held(s, customer) == expected


def same(one: Split, other: Split, customer: int) -> bool:
    a, b = (x.slice(customer, customer + 1) for x in (one, other))
    return (
        np.array_equal(a.held_out.items, b.held_out.items)
        and np.array_equal(a.held_out.is_new, b.held_out.is_new)
        and np.array_equal(a.train.items, b.train.items)
        and np.array_equal(a.train.behaviours, b.train.behaviours)
        and (
            a.held_out.candidates is None
            or b.held_out.candidates is None
            or np.array_equal(a.held_out.candidates, b.held_out.candidates)
        )
    )


@given(EVENTS, RULES, SEEDS, st.integers(0, CUSTOMERS - 1), st.booleans())
def test_a_customers_split_depends_on_its_own_rows_alone(
    events: list[Event], rule: str, seed: int, gone: int, timed: bool
) -> None:
    timed = timed or rule != "leave-one-out"
    before = split(events, rule, seed, timed=timed)
    rest = [e for e in events if e[0] != gone]
    if before is None or not any(e[2] == PURCHASE for e in rest):
        return
    after = split(rest, rule, seed, timed=timed)
    if after is None:
        assert all(not held(before, c) for c in range(CUSTOMERS) if c != gone)
        return
    assert all(same(before, after, c) for c in range(CUSTOMERS) if c != gone)


@given(EVENTS, RULES, SEEDS, st.integers(0, CUSTOMERS - 1))
def test_ages_depend_on_no_other_customer_where_the_plan_says_what_they_are_relative_to(
    events: list[Event], rule: str, seed: int, gone: int
) -> None:
    before = split(events, rule, seed, as_of=9 * DAY)
    after = split([e for e in events if e[0] != gone], rule, seed, as_of=9 * DAY)
    if before is None or after is None:
        return
    assert not before.as_of_derived
    for customer in set(range(CUSTOMERS)) - {gone}:
        one, other = (s.train.slice(customer, customer + 1).ages for s in (before, after))
        assert np.array_equal(one, other)


def test_ages_relative_to_the_latest_time_of_all_customers_are_marked() -> None:
    events = [(0, item, PURCHASE, item, 0) for item in range(3)]
    derived, public = split(events, "leave-one-out"), split(events, "leave-one-out", as_of=9 * DAY)
    assert derived is not None
    assert public is not None
    assert (derived.as_of, derived.as_of_derived) == (DAY + 1, True)
    assert (public.as_of, public.as_of_derived) == (9 * DAY, False)


@given(EVENTS, RULES, SEEDS, st.randoms(), st.booleans())
def test_the_order_of_rows_changes_nothing(events: list[Event], rule: str, seed: int, random: Any, timed: bool) -> None:
    timed = timed or rule != "leave-one-out"
    one = split(events, rule, seed, timed=timed)
    other = split(random.sample(events, len(events)), rule, seed, timed=timed)
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert all(same(one, other, c) for c in range(CUSTOMERS))


@given(EVENTS, SEEDS, st.permutations(range(CUSTOMERS)))
def test_people_who_go_to_other_stores_are_split_alike(events: list[Event], seed: int, place: list[int]) -> None:
    """Store by store customers get other numbers; `people` keeps their draws."""
    one = split(events, "leave-one-out", seed)
    moved = [(place[c], *rest) for c, *rest in events]
    other = split(moved, "leave-one-out", seed, people=np.argsort(place))
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        for customer in range(CUSTOMERS):
            assert held(one, customer) == held(other, place[customer])
            assert one.held_out.candidates is not None
            assert other.held_out.candidates is not None
            assert np.array_equal(one.held_out.candidates[customer], other.held_out.candidates[place[customer]])


@given(EVENTS, SEEDS)
def test_candidates_are_the_test_item_and_distinct_items_the_customer_never_touched(
    events: list[Event], seed: int
) -> None:
    s = split(events, "leave-one-out", seed)
    if s is None:
        return
    assert s.held_out.candidates is not None
    for customer, row in enumerate(s.held_out.candidates.tolist()):
        if not held(s, customer):
            assert row == [-1] * 4
            continue
        touched = {e[1] for e in events if e[0] == customer}
        negatives = [x for x in row[1:] if x >= 0]
        assert row[0] == held(s, customer)[0]
        assert len(set(negatives)) == len(negatives) == min(3, ITEMS - len(touched))
        assert not touched & set(negatives)
        assert row[1 + len(negatives) :] == [-1] * (3 - len(negatives))


def chosen_places(choose: Callable[[Interactions, int], Split], people: int = 3000, ties: int = 5) -> np.ndarray:
    """How often the held-out one of five items bought in the same second is the lowest, the second, ..."""
    rows = Interactions.build(
        np.repeat(np.arange(people), ties), np.tile(np.arange(ties), people), time=[5] * people * ties
    )
    s = choose(rows, people)
    return np.bincount(s.held_out.items, minlength=ties)


@pytest.mark.parametrize("seed", [0, 1, 2, 12345])
def test_ties_in_time_are_drawn_evenly(seed: int) -> None:
    counts = chosen_places(lambda rows, n: make_split(rows, n, 5, rule="leave-one-out", seed=seed, negatives=0))
    assert chi_square(counts) < CRITICAL_4


def test_the_tie_test_would_catch_a_preference() -> None:
    counts = chosen_places(lambda rows, n: make_split(rows, n, 5, rule="leave-one-out", seed=0, negatives=0))
    moved = counts.copy()
    moved[0] += 150  # one customer in twenty gets the first item instead of the last
    moved[4] -= 150
    assert chi_square(moved) > CRITICAL_4


def test_ties_drawn_by_another_seed_are_independent() -> None:
    """Of 3000 customers with five tied items, 600 get the same item under two seeds; standard deviation 21.9."""
    one, other = (
        make_split(
            Interactions.build(np.repeat(np.arange(3000), 5), np.tile(np.arange(5), 3000)),
            3000,
            5,
            rule="leave-one-out",
            seed=seed,
            negatives=0,
        ).held_out.items
        for seed in (0, 1)
    )
    assert abs((one == other).sum() - 600) < 4 * 21.9  # probability 6e-5


def test_repeated_purchases_in_a_tie_weigh_no_more() -> None:
    rows = Interactions.build(np.repeat(np.arange(3000), 10), np.tile([0] * 9 + [1], 3000))
    items = make_split(rows, 3000, 2, rule="leave-one-out", seed=0, negatives=0).held_out.items
    assert abs(items.sum() - 1500) < 4 * 27.4  # binomial, standard deviation 27.4; probability 6e-5


def test_sampled_candidates_are_drawn_evenly() -> None:
    """2000 customers draw 2 of 5 items they never touched; a cell's standard deviation is below 22."""
    people = 2000
    rows = Interactions.build(np.repeat(np.arange(people), 2), np.tile([0, 1], people), time=np.tile([0, 1], people))
    s = make_split(rows, people, 7, rule="leave-one-out", seed=0, negatives=2)
    assert s.held_out.candidates is not None
    counts = np.bincount(s.held_out.candidates[:, 1:].ravel(), minlength=7)
    assert counts[:2].tolist() == [0, 0]
    assert (abs(counts[2:] - people * 2 / 5) < 5 * 22).all()


def test_draws_differ_by_seed_purpose_and_column_and_use_all_bits() -> None:
    column = np.arange(4096)
    base = draws(1, 2, column, column)
    others = [
        draws(2, 2, column, column),
        draws(1, 3, column, column),
        draws(1, 2, column),
        draws(1, 2, column, -column),
    ]
    for other in others:
        assert (base != other).any()
        agree = np.unpackbits((base[1:] ^ other[1:]).view(np.uint8)).mean()
        assert abs(agree - 0.5) < 5 * 0.5 / np.sqrt(64 * 4095)
    assert len(np.unique(base)) == 4096
    assert np.array_equal(draws(1, 2, column[::-1], column[::-1]), base[::-1])


# --- the data's own split


def given_split() -> tuple[Interactions, GivenSplit]:
    rows = Interactions.build([0, 0, 1, 2], [0, 1, 2, 3], behaviour="rating")
    test = Interactions.build([2, 0], [1, 4], behaviour="rating")
    candidates = np.array([[4, 2, 3], [-1, -1, -1], [1, 0, -1]], np.int32)
    return rows, GivenSplit(test, candidates)


def test_the_datas_own_split_is_taken_as_it_is() -> None:
    rows, own = given_split()
    s = make_split(rows, 3, 5, rule="ncf", seed=0, given=own)
    assert [held(s, c) for c in range(3)] == [[4], [], [1]]
    assert [sorted(trained(s, c)) for c in range(3)] == [[0, 1], [2], [3]]
    assert np.array_equal(s.held_out.candidates, own.candidates)  # type: ignore[arg-type]
    assert s.held_out.is_new.all()
    assert s.target == "rating"


def test_an_item_that_the_datas_own_split_trains_on_is_no_new_one() -> None:
    rows, own = given_split()
    rows = Interactions.build([0, 0, 1, 2], [0, 4, 2, 3], behaviour="rating")
    s = make_split(rows, 3, 5, rule="ncf", seed=0, given=own)
    assert s.held_out.is_new.tolist() == [False, True]


# --- refusals


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (Interactions.build([0], [0]), {"rule": "leave-two-out"}, "unknown split rule"),
        (Interactions.build([0], [0]), {"rule": "ncf"}, "no split of its own"),
        (Interactions.build([0], [0], behaviour="view"), {"rule": "leave-one-out"}, "no purchase or rating"),
        (Interactions.build([0], [0]), {"rule": "time", "at": 3}, "needs times"),
        (Interactions.build([0], [0], time=[3]), {"rule": "time"}, "needs times"),
        (Interactions.build([0], [0], time=[3]), {"rule": "time", "at": 4}, "nothing to hold out"),
        (Interactions.build([0], [0], time=[3]), {"rule": "time", "at": 3}, "nothing to train on"),
        (Interactions.build([0, 1], [0, 1]), {"rule": "leave-one-out"}, "nothing to hold out"),
        (Interactions.build([0, 0], [0, 0]), {"rule": "leave-one-out"}, "nothing to hold out"),
        (Interactions.build([0, 0], [0, 1], basket=[1, 1]), {"rule": "last-basket"}, "nothing to hold out"),
        (
            Interactions.build([0, 0], [0, 1]),
            {"rule": "leave-one-out", "behaviour_weights": (1.0, 1.0, 1.0, 0.0, 1.0)},
            "counts 0",
        ),
    ],
)
def test_refuses(rows: Interactions, options: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, DataError), match=message) as caught:
        make_split(rows, 2, 2, seed=0, **options)
    assert caught.value.exit_code == 2
    assert caught.value.hint


# --- views of a split


@given(EVENTS, RULES, st.integers(0, CUSTOMERS), st.integers(0, CUSTOMERS))
def test_a_slice_holds_the_same_customers(events: list[Event], rule: str, a: int, b: int) -> None:
    s = split(events, rule)
    if s is None:
        return
    start, stop = sorted((a, b))
    part = s.slice(start, stop)
    assert [held(part, c) for c in range(stop - start)] == [held(s, c) for c in range(start, stop)]
    assert [trained(part, c) for c in range(stop - start)] == [trained(s, c) for c in range(start, stop)]
    assert part.seen.tolist() == s.seen[s.train.indptr[start] : s.train.indptr[stop]].tolist()


@given(EVENTS, RULES, st.sets(st.integers(0, CUSTOMERS - 1)))
def test_measuring_only_some_leaves_the_training_view_alone(events: list[Event], rule: str, some: set[int]) -> None:
    s = split(events, rule)
    if s is None:
        return
    part = s.measure_only(np.array(sorted(some), np.intp))
    assert part.train is s.train
    assert [held(part, c) for c in range(CUSTOMERS)] == [held(s, c) if c in some else [] for c in range(CUSTOMERS)]
    if part.held_out.candidates is not None:
        assert ((part.held_out.candidates[:, 0] >= 0) == [len(held(part, c)) > 0 for c in range(CUSTOMERS)]).all()


def test_measuring_some_draws_that_many_by_seed() -> None:
    indptr = np.arange(101, dtype=np.int64)
    out = HeldOut(indptr, np.zeros(100, np.int32), np.ones(100, np.bool_), None)
    train = build_histories(Interactions.build([0], [0], time=[NO_TIME]), 100, 1)
    s = Split(train, out, "purchase", "time", None)
    drawn = [s.measure_some(10, seed).held_out.measured.tolist() for seed in (0, 0, 1)]
    assert [len(x) for x in drawn] == [10, 10, 10]
    assert drawn[0] == drawn[1] != drawn[2]
    assert s.measure_some(100, 0) is s


def test_an_event_of_a_held_out_item_that_has_no_time_goes_with_it() -> None:
    """It may have been later."""
    rows = Interactions.build([0, 0, 0], [0, 1, 1], behaviour=[PURCHASE, 0, PURCHASE], time=[1, NO_TIME, 5])
    s = make_split(rows, 1, 2, rule="leave-one-out", seed=0, negatives=0)
    assert held(s, 0) == [1]
    assert trained(s, 0) == {0: 1 << PURCHASE}


def behaviours_left(behaviours: list[int], rule: str) -> dict[int, int]:
    """A customer did these with item 1, a second after another, bought item 0 first and item 1 last."""
    count = len(behaviours)
    rows = Interactions.build(
        [0] * (count + 2),
        [0] + [1] * (count + 1),
        behaviour=[PURCHASE, *behaviours, PURCHASE],
        time=[DAY * (second + 1) for second in range(count + 2)],
    )
    return trained(make_split(rows, 1, 2, rule=rule, seed=0, at=DAY * (count + 2), negatives=0), 0)


@pytest.mark.parametrize("behaviour", [0, 1, 2])
@pytest.mark.parametrize("rule", ["leave-one-out", "last-basket"])
def test_a_new_held_out_item_leaves_no_view_favourite_or_cart_in_training(rule: str, behaviour: int) -> None:
    """Sampled candidates are untouched, so any trace would tell the held-out item from them."""
    assert behaviours_left([behaviour], rule) == {0: 1 << PURCHASE}


@pytest.mark.parametrize("rule", ["leave-one-out", "last-basket"])
def test_an_item_bought_again_keeps_its_history(rule: str) -> None:
    assert behaviours_left([0, PURCHASE], rule) == {0: 1 << PURCHASE, 1: 1 | 1 << PURCHASE}


def test_under_a_split_by_time_an_earlier_view_is_known() -> None:
    assert behaviours_left([0], "time") == {0: 1 << PURCHASE, 1: 1}


@given(EVENTS, RULES, SEEDS)
def test_where_a_new_item_leaves_no_trace_nothing_in_training_is_ranked_as_new(
    events: list[Event], rule: str, seed: int
) -> None:
    s = split(events, rule, seed)
    if s is None:
        return
    bought = (s.train.behaviours >> PURCHASE & 1) == 1
    assert s.seen.tolist() == (bought | (rule != "time")).tolist()
    new = s.held_out.owner[s.held_out.is_new] * ITEMS + s.held_out.items[s.held_out.is_new]
    masked = (s.train.row_of_pair() * ITEMS + s.train.items)[s.seen]
    assert not set(new.tolist()) & set(masked.tolist())


@pytest.mark.parametrize(
    ("customers", "repeats", "message"),
    [(1, 0, "1 of 1 customers"), (1, 30, "1 of 31 customers"), (0, 3, "0 of 3 customers")],
)
def test_fewer_than_two_customers_with_a_new_item_are_refused(customers: int, repeats: int, message: str) -> None:
    """The mean of one customer would be printed with four decimals."""
    items = [0, 1] * customers + [0, 1, 0] * repeats
    owner = np.repeat(np.arange(customers + repeats), [2] * customers + [3] * repeats)
    rows = Interactions.build(owner, items, time=np.arange(len(items)))
    s = make_split(rows, customers + repeats, 2, rule="leave-one-out", seed=0, negatives=0)
    with pytest.raises(DataError, match=f"{message} can be measured.*nothing was run") as caught:
        s.refuse_too_few()
    assert (caught.value.exit_code, bool(caught.value.hint)) == (2, True)


@pytest.mark.parametrize("rule", SPLIT_RULES)
def test_every_rule_has_a_hint_for_too_few_customers(rule: str) -> None:
    train = build_histories(Interactions.build([0], [0]), 1, 1)
    nobody = HeldOut(np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.bool_), None)
    with pytest.raises(DataError, match="0 of 1 customers"):
        Split(train, nobody, "purchase", rule, None).refuse_too_few()


def test_two_customers_with_a_new_item_are_measured() -> None:
    rows = Interactions.build([0, 0, 1, 1], [0, 1, 1, 0], time=[1, 2, 1, 2])
    make_split(rows, 2, 2, rule="leave-one-out", seed=0, negatives=0).refuse_too_few()


def test_a_view_of_a_held_out_item_at_the_same_time_goes_with_it() -> None:
    rows = Interactions.build([0, 0, 0, 0], [0, 1, 1, 1], behaviour=[PURCHASE, 0, 0, PURCHASE], time=[1, 4, 5, 5])
    s = make_split(rows, 1, 2, rule="leave-one-out", seed=0, negatives=0)
    assert held(s, 0) == [1]
    assert trained(s, 0) == {0: 1 << PURCHASE}
    later = replace(rows, time=np.array([1, 5, 6, 5], np.int64))
    assert trained(make_split(later, 1, 2, rule="leave-one-out", seed=0, negatives=0), 0) == {0: 1 << PURCHASE}
