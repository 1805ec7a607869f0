"""Records on disk: a store's slice is its own customers, whole, in order, in blocks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcart.client.records import RECORDS, StoreRecords, write_records
from fedcart.shared.errors import DataError, InputError
from fedcart.shared.interactions import Histories, Interactions, build_histories


def histories(customers: int, seed: int = 0) -> Histories:
    rng = np.random.default_rng(seed)
    events = Interactions.build(
        rng.integers(0, max(customers, 1), customers * 3),
        rng.integers(0, 7, customers * 3),
        time=rng.integers(0, 10**6, customers * 3),
        behaviour=rng.integers(0, 5, customers * 3),
    )
    return build_histories(events, customers, 7, as_of=10**6)


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(0, 6), min_size=1, max_size=5), most=st.integers(1, 7))
def test_the_stores_blocks_are_its_customers_in_order(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], most: int
) -> None:
    directory = tmp_path_factory.mktemp("run")
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    whole = histories(int(offsets[-1]))
    write_records(directory, whole, offsets)
    for store, size in enumerate(sizes):
        records = StoreRecords.open(directory, store)
        assert records.count == size
        blocks = list(records.blocks(most))
        assert [block.key for block in blocks] == list(range(len(blocks)))
        assert all(0 < block.histories.customers <= most for block in blocks)
        expected = whole.slice(int(offsets[store]), int(offsets[store + 1]))
        for name in ("items", "weights", "behaviours", "ages", "visits"):
            parts = [getattr(block.histories, name) for block in blocks]
            joined = np.concatenate(parts) if parts else np.zeros(0)
            np.testing.assert_array_equal(joined, getattr(expected, name))
        starts = [block.start for block in blocks]
        assert starts == list(range(0, size, most))
        assert blocks == [] or blocks[0].histories.items_total == 7


def test_records_written_again_are_read_again(tmp_path: Path) -> None:
    for customers in (4, 6):
        write_records(tmp_path, histories(customers), np.array([0, customers]))
        assert StoreRecords.open(tmp_path, 0).count == customers


def test_the_same_records_written_again_keep_their_local_tables_and_others_lose_them(tmp_path: Path) -> None:
    rows, values = slice(0, 4), np.ones((4, 2), np.float32)
    write_records(tmp_path, histories(4), np.array([0, 4]))
    StoreRecords.open(tmp_path, 0, 0).local.write("f", rows, values)
    write_records(tmp_path, histories(4), np.array([0, 4]))
    assert StoreRecords.open(tmp_path, 0).local.written("f", rows, 2).all()
    write_records(tmp_path, histories(4, seed=1), np.array([0, 4]))
    assert not StoreRecords.open(tmp_path, 0).local.written("f", rows, 2).any()


def test_records_without_visits_are_read_as_such_and_replaced_by_those_that_have_them(tmp_path: Path) -> None:
    whole, offsets = histories(4), np.array([0, 4])
    write_records(tmp_path, replace(whole, visits=None), offsets)
    assert StoreRecords.open(tmp_path, 0).histories.visits is None
    write_records(tmp_path, whole, offsets)
    np.testing.assert_array_equal(StoreRecords.open(tmp_path, 0).histories.visits, whole.visits)


def test_records_cannot_be_changed_through_the_view(tmp_path: Path) -> None:
    write_records(tmp_path, histories(4), np.array([0, 4]))
    with pytest.raises(ValueError, match="read-only"):
        StoreRecords.open(tmp_path, 0).histories.items[0] = 1


@pytest.mark.parametrize("offsets", [[0], [], [0, 3], [1, 4], [0, 3, 2, 4], [0, 5]])
def test_offsets_that_do_not_divide_the_customers_are_refused(tmp_path: Path, offsets: list[int]) -> None:
    with pytest.raises(DataError, match="nothing was written"):
        write_records(tmp_path, histories(4), np.array(offsets, np.int64))
    assert not (tmp_path / RECORDS).exists()


@pytest.mark.parametrize("store", [-1, 1])
def test_a_store_that_is_not_there_is_refused(tmp_path: Path, store: int) -> None:
    write_records(tmp_path, histories(4), np.array([0, 4]))
    with pytest.raises(DataError, match=f"store {store} of 1"):
        StoreRecords.open(tmp_path, store)


def test_a_directory_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        StoreRecords.open(tmp_path, 0)
