"""Small tables of two columns: a store's own item numbers and the catalogue's, and who consents."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fedcart.shared.errors import DataError
from fedcart.shared.tables.columns import identifiers
from fedcart.shared.tables.consent import answers, decisions
from fedcart.shared.tables.options import TableOptions
from fedcart.shared.tables.source import read_frame, require_columns, shown


def read_map(source: str, options: TableOptions, own: str, other: str) -> dict[str, str]:
    """Own id -> other id. A row without either is refused, as is an own id that stands for two others."""
    frame, where = _frame(source, options, own, other)
    keys, values = (identifiers(frame[name], f"{where}, column {name!r}") for name in (own, other))
    for name, column in ((own, keys), (other, values)):
        missing = np.flatnonzero(column.isna().to_numpy(bool))
        if len(missing):
            raise DataError(f"{where}, column {name!r}, row {missing[0] + 1}: no id; nothing was read")
    found: dict[str, str] = {}
    for row, (key, value) in enumerate(zip(keys, values, strict=True), 1):
        if found.setdefault(key, value) != value:
            raise DataError(
                f"{where}, column {own!r}, row {row}: {key!r} stands for {found[key]!r} and {value!r}; nothing was read"
            )
    return found


def read_consents(source: str, options: TableOptions, customer: str, column: str) -> dict[str, bool]:
    """Customer -> whether they may be learned from; of several rows, yes if all say so."""
    frame, where = _frame(source, options, customer, column)
    ids = identifiers(frame[customer], f"{where}, column {customer!r}")
    said = answers(frame[column], f"{where}, column {column!r}")
    return decisions(ids, said, np.zeros(len(frame), np.int64), np.zeros(len(frame), np.bool_))


def _frame(source: str, options: TableOptions, *columns: str) -> tuple[pd.DataFrame, str]:
    where = shown(source)
    frame = read_frame(source, options)
    require_columns(frame, columns, where)
    if frame.empty:
        raise DataError(f"{where}: the table has no row; nothing was read")
    return frame, where
