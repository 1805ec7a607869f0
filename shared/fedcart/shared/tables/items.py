"""The public catalogue of a user's own table: an item file (`given`), or the items that occur (`derived`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcart.shared.catalogue import NUMBER_COLUMNS, TEXT_COLUMNS, Catalogue
from fedcart.shared.errors import DataError
from fedcart.shared.item_features.columns import vectors
from fedcart.shared.tables.columns import identifiers, numbers
from fedcart.shared.tables.options import TableOptions
from fedcart.shared.tables.source import read_frame, require_columns


def read_items(path: Path, options: TableOptions) -> Catalogue:
    """The item file in its order: column `id`, and any of the public columns it has. Others are ignored.

    Raises:
      DataError: no rows, an id that is missing or repeated, a number or vector that is none.
    """
    frame = read_frame(str(path), replace(options, separator=None))
    require_columns(frame, ["id"], str(path))
    if frame.empty:
        raise DataError(f"{path}: the item list has no row")
    ids = identifiers(frame["id"], f"{path}, column 'id'")
    for odd, problem in ((ids.isna(), "has no id"), (ids.duplicated(), "repeats an id")):
        rows = np.flatnonzero(odd.to_numpy(bool))
        if len(rows):
            raise DataError(f"{path}, column 'id', row {rows[0] + 1}: {ids.iloc[rows[0]]!r} {problem}")
    columns: dict[str, npt.NDArray[Any]] = {name: _text(frame[name]) for name in TEXT_COLUMNS if name in frame.columns}
    for name in NUMBER_COLUMNS:
        if name in frame.columns:
            columns[name] = numbers(frame[name], f"{path}, column {name!r}")
            rows = np.flatnonzero(
                np.isinf(columns[name]) | (np.isnan(columns[name]) & frame[name].notna().to_numpy(bool))
            )
            if len(rows):
                cell = frame[name].iloc[rows[0]]
                raise DataError(f"{path}, column {name!r}, row {rows[0] + 1}: {cell!r} is not a number")
    catalogue = Catalogue(tuple(ids), "given", columns)
    vectors(catalogue)  # refused here, not in the middle of a run
    return catalogue


def derived(items: Iterable[str]) -> Catalogue:
    """The distinct ids that occur, sorted; epsilon does not cover that list, so it is marked."""
    return Catalogue(tuple(sorted(set(items))), "derived")


def _text(column: pd.Series) -> npt.NDArray[Any]:
    return column.astype("string").fillna("").str.strip().to_numpy(object)
