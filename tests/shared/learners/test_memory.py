"""The in-memory store: two generations of local rows, blocks in order."""

from __future__ import annotations

import numpy as np
import pytest

from fedcart.shared.interactions import build_histories
from fedcart.shared.learners.memory import MemoryCustomers, MemoryTable
from fedcart.shared.learners.toy import CUSTOMERS, ITEMS, toy_interactions

EVERYONE = slice(0, 3)


def test_a_round_reads_what_earlier_rounds_wrote_and_not_its_own():
    table = MemoryTable(3)
    table.begin(0)
    assert not table.read("t", EVERYONE, 2).any()
    table.write("t", EVERYONE, np.ones((3, 2), np.float32))
    assert not table.read("t", EVERYONE, 2).any()
    assert not table.written("t", EVERYONE, 2).any()
    table.begin(1)
    assert table.read("t", EVERYONE, 2).all()
    assert table.written("t", EVERYONE, 2).all()


def test_a_repeated_round_starts_from_what_it_started_from_the_first_time():
    table = MemoryTable(3)
    for value in (1.0, 2.0):
        table.begin(0)
        table.write("t", slice(0, 1), np.full((1, 2), value, np.float32))
    table.begin(1)
    table.write("t", EVERYONE, np.full((3, 2), 9.0, np.float32))
    table.begin(1)
    assert np.array_equal(table.read("t", EVERYONE, 2), [[2, 2], [0, 0], [0, 0]])
    assert table.written("t", EVERYONE, 2).tolist() == [True, False, False]


def test_what_is_read_can_be_changed_without_changing_the_table():
    table = MemoryTable(3)
    table.read("t", EVERYONE, 2)[:] = 5
    assert not table.read("t", EVERYONE, 2).any()


def test_a_table_keeps_its_width():
    table = MemoryTable(3)
    table.read("t", EVERYONE, 2)
    with pytest.raises(ValueError, match="rows of 2 numbers, not 3"):
        table.read("t", EVERYONE, 3)


@pytest.mark.parametrize("most", [1, 4, CUSTOMERS, 1000])
def test_blocks_hold_every_customer_once_in_order(most):
    histories = build_histories(toy_interactions(0), CUSTOMERS, ITEMS)
    blocks = list(MemoryCustomers(histories).blocks(most))
    assert [block.key for block in blocks] == list(range(len(blocks)))
    assert max(block.histories.customers for block in blocks) <= most
    assert np.array_equal(np.concatenate([block.histories.items for block in blocks]), histories.items)
    assert [block.rows.start for block in blocks] == [block.key * most for block in blocks]
