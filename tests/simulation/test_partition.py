"""Giving people to stores: everyone in exactly one (or one a shop), no event lost or moved, seeds, refusals."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import ConfigError, DataError, InputError
from fedcart.shared.interactions import Interactions
from fedcart.simulation.datasets.dataset import Dataset, GivenSplit, Reading, home_stores
from fedcart.simulation.partition import Partition, partition, resolved

SHOPS = ("north", "south", "east")
ITEMS = 4


def dataset(
    events: list[tuple[int, int, int]], customers: int, shops: tuple[str, ...] = SHOPS, **fields: Any
) -> Dataset:
    """Events are (customer, item, shop), one a second."""
    columns = np.array(events, np.int64).reshape(-1, 3).T
    rows = Interactions.build(columns[0], columns[1], time=np.arange(len(events)), store=columns[2] if shops else None)
    return Dataset(
        name="toy",
        interactions=rows,
        customers=customers,
        catalogue=Catalogue(tuple("abcd"), "given"),
        store_names=shops,
        reading=Reading(len(events), len(events)),
        **fields,
    )


@st.composite
def datasets(draw: st.DrawFn, opt_outs: bool = True) -> Dataset:
    customers = draw(st.integers(1, 12))
    event = st.tuples(st.integers(0, customers - 1), st.integers(0, ITEMS - 1), st.integers(-1, 2))
    events = draw(st.lists(event, max_size=30))
    out = np.array(draw(st.lists(st.booleans(), min_size=customers, max_size=customers)), np.bool_)
    out[draw(st.integers(0, customers - 1))] = False
    return dataset(events, customers, opted_out=out if opt_outs and draw(st.booleans()) else None)


def check(made: Partition) -> None:
    """What every partition must be."""
    customers, stores = len(made.people), len(made.names)
    assert made.offsets[0] == 0
    assert made.offsets[-1] == customers
    assert (np.diff(made.offsets) >= 0).all()
    assert len(made.offsets) == stores + 1
    assert np.array_equal(made.store_of, np.sort(made.store_of))
    rows = made.interactions
    assert np.array_equal(rows.store, made.store_of[rows.customer])


def logged(rows: Interactions, people: npt.NDArray[Any]) -> Counter[tuple[int, int, int]]:
    """Events as (person, item, time)."""
    return Counter(zip(people[rows.customer].tolist(), rows.item.tolist(), rows.time.tolist(), strict=True))


@given(
    datasets(), st.sampled_from(["random", "dirichlet:0.3", "dirichlet:50", "customer"]), st.integers(0, 3), st.data()
)
def test_everyone_who_did_not_opt_out_is_in_exactly_one_store(
    data: Dataset, by: str, seed: int, more: st.DataObject
) -> None:
    inside = np.arange(data.customers) if data.opted_out is None else np.flatnonzero(~data.opted_out)
    count = None if by == "customer" else more.draw(st.integers(1, len(inside)))
    made = partition(data, count, by, "pair", seed)
    check(made)
    assert sorted(made.people.tolist()) == inside.tolist()
    assert len(made.names) == (len(inside) if count is None else count)
    kept = data.interactions.select(np.isin(data.interactions.customer, inside))
    assert logged(made.interactions, made.people) == logged(kept, np.arange(data.customers))
    assert made.left_out == 0


@given(datasets(), st.none() | st.integers(1, 3), st.sampled_from(["pair", "declared"]))
def test_a_person_is_a_customer_of_every_shop_or_of_the_home_shop_alone(
    data: Dataset, count: int | None, overlap: str
) -> None:
    out = np.zeros(data.customers, np.bool_) if data.opted_out is None else data.opted_out
    rows = data.interactions.select(~out[data.interactions.customer])
    sizes = Counter(rows.store[rows.store >= 0].tolist())
    largest = sorted(range(3), key=lambda shop: (-sizes[shop], shop))[: 3 if count is None else count]
    homes = home_stores(rows, data.customers)
    expected = Counter(
        (c, i, t)
        for c, i, t, s in zip(rows.customer, rows.item, rows.time, rows.store, strict=True)
        if s in largest and (overlap == "pair" or homes[c] == s)
    )
    if not expected:
        with pytest.raises(DataError, match="no event is left"):
            partition(data, count, "column", overlap, 0)
        return
    made = partition(data, count, "column", overlap, 0)
    check(made)
    assert made.names == tuple(SHOPS[shop] for shop in sorted(largest))
    assert logged(made.interactions, made.people) == expected
    assert made.left_out == len(rows) - len(made.interactions)
    pairs = list(zip(made.people.tolist(), made.store_of.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    if overlap == "declared":
        assert len(set(made.people.tolist())) == len(pairs)
    shop_of = np.array(sorted(largest))[made.interactions.store]
    by_time = dict(zip(rows.time.tolist(), rows.store.tolist(), strict=True))
    assert [by_time[t] for t in made.interactions.time.tolist()] == shop_of.tolist()


def test_a_declared_home_is_taken_from_the_data_where_it_has_one() -> None:
    data = dataset([(0, 0, 0), (0, 1, 1)], 1, homes=np.array([1], np.int32))
    made = partition(data, None, "column", "declared", 0)
    assert made.interactions.item.tolist() == [1]
    assert made.left_out == 1
    assert np.diff(made.offsets).tolist() == [0, 1, 0]  # a shop may end up with no customer


def test_auto_goes_by_column_where_shops_are_known() -> None:
    assert partition(dataset([(0, 0, 1)], 1), None, "auto", "pair", 0).names == SHOPS
    many = dataset([(c, 0, 0) for c in range(9)], 9, shops=())
    assert len(partition(many, None, "auto", "pair", 0).names) == 8
    assert resolved("auto", dataset([(0, 0, 1)], 1)) == "column"
    assert (resolved("auto", many), resolved("dirichlet:2", many)) == ("random", "dirichlet:2")


def sizes_of(by: str, seed: int, customers: int = 2000, stores: int = 10) -> list[int]:
    data = dataset([(c, 0, 0) for c in range(customers)], customers, shops=())
    return np.diff(partition(data, stores, by, "pair", seed).offsets).tolist()


def test_random_stores_are_of_one_size_and_dirichlet_ones_are_skewed() -> None:
    assert sizes_of("random", 0) == [200] * 10
    assert max(sizes_of("dirichlet:0.2", 0)) > 500
    assert max(sizes_of("dirichlet:1000", 0)) < 250
    assert sum(sizes_of("dirichlet:0.001", 0)) == 2000


@pytest.mark.parametrize("by", ["random", "dirichlet:1"])
def test_the_same_seed_gives_the_same_stores_and_another_one_others(by: str) -> None:
    data = dataset([(c, 0, 0) for c in range(50)], 50, shops=())
    first, again, other = (partition(data, 5, by, "pair", seed).people.tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_random_stores_do_not_follow_the_order_of_people() -> None:
    """Of 2000 people in 10 stores 200 fall into the store of their number; standard deviation 13.4, 5 of them."""
    data = dataset([(c, 0, 0) for c in range(2000)], 2000, shops=())
    made = partition(data, 10, "random", "pair", 0)
    assert abs((made.people // 200 == made.store_of).sum() - 200) < 5 * 13.4


@given(datasets(opt_outs=False), st.integers(0, 3))
def test_the_datas_own_split_moves_with_its_people(data: Dataset, seed: int) -> None:
    candidates = np.stack([np.arange(data.customers) % ITEMS, np.full(data.customers, 3)], axis=1).astype(np.int32)
    test = Interactions.build(np.arange(data.customers), np.arange(data.customers) % ITEMS)
    own = Dataset(**{**data.__dict__, "given_split": GivenSplit(test, candidates)})
    made = partition(own, min(3, data.customers), "random", "pair", seed)
    assert made.given_split is not None
    assert np.array_equal(made.given_split.candidates, candidates[made.people])
    people = made.people[made.given_split.held_out.customer]
    assert np.array_equal(people % ITEMS, made.given_split.held_out.item)
    assert sorted(people.tolist()) == list(range(data.customers))


def test_an_opt_out_leaves_the_datas_own_split_too() -> None:
    test = Interactions.build([0, 1, 2], [1, 2, 3])
    data = dataset(
        [(0, 0, 0), (1, 0, 0), (2, 0, 0)],
        3,
        shops=(),
        given_split=GivenSplit(test, np.array([[1], [2], [3]], np.int32)),
        opted_out=np.array([False, True, False]),
    )
    made = partition(data, 1, "random", "pair", 0)
    assert made.people.tolist() == [0, 2]
    assert made.given_split is not None
    assert made.given_split.held_out.item.tolist() == [1, 3]
    assert made.given_split.held_out.customer.tolist() == [0, 1]
    assert made.given_split.candidates.tolist() == [[1], [3]]


@pytest.mark.parametrize(
    ("shops", "count", "by", "overlap", "message"),
    [
        ((), None, "column", "pair", "knows no shops"),
        (SHOPS, 4, "column", "pair", "4 stores asked for, toy knows 3"),
        (SHOPS, 0, "column", "pair", "0 stores"),
        (SHOPS, None, "column", "share", "overlap 'share'"),
        ((), 3, "random", "pair", "3 stores for 2 customers"),
        ((), 0, "random", "pair", "0 stores"),
        ((), 1, "customer", "pair", "makes 2 stores, not 1"),
        ((), 2, "dirichlet:zero", "pair", "must be a positive number"),
        ((), 2, "dirichlet:-1", "pair", "must be a positive number"),
        ((), 2, "dirichlet:inf", "pair", "must be a positive number"),
        ((), 2, "dirichlet:", "pair", "must be a positive number"),
        ((), 2, "size", "pair", "unknown way 'size'"),
    ],
)
def test_refuses(shops: tuple[str, ...], count: int | None, by: str, overlap: str, message: str) -> None:
    data = dataset([(0, 0, 0), (1, 0, 1)], 2, shops=shops)
    with pytest.raises(ConfigError, match=message) as caught:
        partition(data, count, by, overlap, 0)
    assert caught.value.hint


def test_a_data_set_whose_people_all_opted_out_is_refused() -> None:
    data = dataset([(0, 0, 0)], 1, opted_out=np.array([True]))
    for by in ("random", "column"):
        with pytest.raises(InputError, match="nothing was run"):
            partition(data, None, by, "pair", 0)
