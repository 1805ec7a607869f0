"""Cancellations take back the most recent earlier units, never more than were bought."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedcart.shared.tables.cancellations import Undone, undo

Row = tuple[int, int, int]  # key, time, quantity


def _undo(bought: list[Row], cancelled: list[Row]) -> Undone:
    def columns(rows: list[Row]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        table = np.array(rows, np.int64).reshape(-1, 3)
        return table[:, 0], table[:, 1], table[:, 2].astype(float)

    return undo(*columns(bought), *columns(cancelled))


def test_the_most_recent_earlier_purchase_is_undone() -> None:
    assert _undo([(1, 10, 5), (1, 20, 5), (1, 40, 5)], [(1, 30, 5)]).quantity.tolist() == [5, 0, 5]


def test_a_part_of_a_purchase_can_be_cancelled() -> None:
    result = _undo([(1, 10, 5)], [(1, 10, 2)])
    assert result.quantity.tolist() == [3]
    assert result.reduced == 1


def test_units_beyond_the_last_purchase_come_off_the_one_before() -> None:
    assert _undo([(1, 10, 5), (1, 20, 3)], [(1, 30, 4)]).quantity.tolist() == [4, 0]


def test_a_purchase_is_not_cancelled_twice() -> None:
    result = _undo([(1, 10, 5)], [(1, 20, 5), (1, 30, 5)])
    assert result.quantity.tolist() == [0]
    assert result.unmatched == 1


def test_a_later_or_other_purchase_is_left_alone() -> None:
    result = _undo([(1, 20, 5), (2, 5, 5)], [(1, 10, 5)])
    assert result.quantity.tolist() == [5, 5]
    assert result.unmatched == 1


_rows = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20), st.integers(1, 9)), max_size=25)


@given(bought=_rows, cancelled=_rows)
def test_no_more_units_leave_than_were_cancelled(bought: list[Row], cancelled: list[Row]) -> None:
    result = _undo(bought, cancelled)
    before = np.array([quantity for _, _, quantity in bought], float)
    assert (result.quantity >= 0).all()
    assert (result.quantity <= before).all()
    for key in range(4):
        mine = np.array([row[0] == key for row in bought], bool)
        gone = (before - result.quantity)[mine].sum() if mine.any() else 0
        assert gone <= sum(quantity for other, _, quantity in cancelled if other == key)
