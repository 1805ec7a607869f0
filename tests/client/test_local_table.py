"""Local tables: a repeated round reads what its first try read; a model that is plainly right says what that is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcart.client.local_table import MappedTable
from fedcart.shared.errors import ProtocolError

ALL = slice(0, 4)


def table(directory: Path, round_index: int | None, start: int = 0, stop: int = 4) -> MappedTable:
    """The store's table as the app opens it: a run's first round forgets."""
    opened = MappedTable(str(directory / "local"), start, stop, 10, round_index)
    if round_index == 0:
        opened.forget()
    return opened


def test_nothing_is_made_by_reading(tmp_path: Path) -> None:
    first = table(tmp_path, 0)
    assert first.read("f", ALL, 3).tolist() == [[0.0] * 3] * 4
    assert not first.written("f", ALL, 3).any()
    assert list(tmp_path.iterdir()) == []


def test_what_a_round_writes_is_read_by_the_next_not_by_itself(tmp_path: Path) -> None:
    values = np.arange(8, dtype=np.float32).reshape(4, 2)
    this = table(tmp_path, 0)
    this.write("f", ALL, values)
    assert not this.written("f", ALL, 2).any()
    assert not this.read("f", ALL, 2).any()
    np.testing.assert_array_equal(table(tmp_path, 1).read("f", ALL, 2), values)
    np.testing.assert_array_equal(table(tmp_path, 5).read("f", slice(1, 3), 2), values[1:3])


def test_a_repeated_round_reads_what_the_first_try_read(tmp_path: Path) -> None:
    table(tmp_path, 0).write("f", ALL, np.full((4, 1), 1, np.float32))
    for _ in range(3):
        again = table(tmp_path, 1)
        assert again.read("f", ALL, 1).tolist() == [[1.0]] * 4
        again.write("f", ALL, again.read("f", ALL, 1) + 1)
    assert table(tmp_path, 2).read("f", ALL, 1).tolist() == [[2.0]] * 4


def test_a_run_started_anew_reads_nothing_of_the_one_before(tmp_path: Path) -> None:
    for round_index in range(4):
        table(tmp_path, round_index).write("f", ALL, np.full((4, 1), 9, np.float32))
    for round_index in range(6):
        assert not table(tmp_path, round_index).written("f", ALL, 1).any()


def test_after_the_last_round_all_is_read_and_nothing_written(tmp_path: Path) -> None:
    table(tmp_path, 7).write("f", ALL, np.full((4, 1), 3, np.float32))
    after = table(tmp_path, None)
    assert after.read("f", ALL, 1).tolist() == [[3.0]] * 4
    assert after.written("f", ALL, 1).all()
    with pytest.raises(ProtocolError, match="nothing was written"):
        after.write("f", ALL, np.zeros((4, 1), np.float32))


def test_stores_see_their_own_rows_only(tmp_path: Path) -> None:
    left, right = table(tmp_path, 0, 0, 4), table(tmp_path, 0, 4, 10)
    left.write("f", ALL, np.full((4, 1), 1, np.float32))
    right.write("f", slice(0, 6), np.full((6, 1), 2, np.float32))
    assert table(tmp_path, 1, 0, 4).read("f", slice(0, 99), 1).tolist() == [[1.0]] * 4
    assert table(tmp_path, 1, 4, 10).read("f", slice(4, 99), 1).tolist() == [[2.0]] * 2
    table(tmp_path, 0, 0, 4)
    assert table(tmp_path, 1, 4, 10).written("f", slice(0, 6), 1).all()


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b", "é/"])
def test_a_name_that_could_be_a_path_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ProtocolError):
        table(tmp_path, 0).write(name, ALL, np.zeros((4, 1), np.float32))


def test_another_width_or_row_count_is_refused(tmp_path: Path) -> None:
    table(tmp_path, 0).write("f", ALL, np.zeros((4, 2), np.float32))
    with pytest.raises(ProtocolError, match="2 wide, not 3"):
        table(tmp_path, 1).read("f", ALL, 3)
    with pytest.raises(ProtocolError, match="rows"):
        table(tmp_path, 1).write("f", ALL, np.zeros((3, 2), np.float32))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.sets(st.integers(0, 3)), st.booleans()), max_size=12))
def test_any_order_of_rounds_and_repeats_reads_like_a_full_history(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, set[int], bool]]
) -> None:
    directory = tmp_path_factory.mktemp("tables")
    history: dict[int, dict[int, float]] = {row: {} for row in range(4)}  # row -> round -> value
    round_index, number = 0, 0.0
    for advance, rows, reopen in steps:
        round_index += advance
        opened = table(directory, round_index)
        if round_index == 0:
            history = {row: {} for row in range(4)}
        expected = []
        for row in range(4):
            earlier = [r for r in history[row] if r < round_index]
            expected.append(history[row][max(earlier)] if earlier else 0.0)
        assert opened.read("f", ALL, 1)[:, 0].tolist() == expected
        for row in rows:
            number += 1
            opened.write("f", slice(row, row + 1), np.full((1, 1), number, np.float32))
            history[row][round_index] = number
        if reopen:
            opened.flush()
