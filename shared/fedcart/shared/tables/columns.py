"""One column of a user's table at a time: ids, times, numbers. A column of the wrong type is refused by row and value.

A *row* is counted from 1 without the header line. Missing and unreadable cells are left to the rules of `table`.
"""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcart.shared.errors import DataError

Bools = npt.NDArray[np.bool_]
NESTED = frozenset({list, tuple, dict, set, np.ndarray})
ALIKE = "write all ids alike, as whole numbers or as text"


def identifiers(column: pd.Series, where: str) -> pd.Series:
    """Ids as text, missing ones as NA: whole numbers lose a '.0' that all of them carry.

    Refuses ids of several types (numbers and text, or 17850 beside 17850.0, which would be two people).
    """
    _refuse_nested(column, where)
    values = column.convert_dtypes(convert_string=False) if column.dtype == object else column
    if pd.api.types.is_bool_dtype(values) or pd.api.types.is_datetime64_any_dtype(values):
        raise DataError(f"{where}: ids are of type {values.dtype}, not numbers or text")
    if pd.api.types.is_integer_dtype(values):
        return values.astype("Int64").astype("string").astype(object)
    if pd.api.types.is_float_dtype(values):
        numbers = values.astype(float)
        _refuse_first(numbers.notna() & ~(numbers % 1 == 0), column, where, "is not a whole number")
        return numbers.astype("Int64").astype("string").astype(object)
    if column.dtype == object:
        _refuse_mixed_types(column, where)
    codes, distinct = pd.factorize(column)  # [rows], -1 = missing; text is cleaned once for each id
    text = pd.Series(distinct, dtype="string").str.strip()
    text = text.mask(text == "")
    nul = text.str.contains("\0", regex=False).fillna(False).to_numpy(bool)
    _refuse_first(np.append(nul, False)[codes], column, where, "holds a NUL byte")
    decimal = text.str.fullmatch(r"-?\d+\.0+").fillna(False).to_numpy(bool)
    if decimal.any():
        whole = text.str.fullmatch(r"-?\d+").fillna(False).to_numpy(bool)
        if whole.any():  # distinct ids stand in the order of their first row
            later = decimal if whole[np.flatnonzero(whole | decimal)[0]] else whole
            odd = np.append(later, False)[codes]
            _refuse_first(odd, column, where, "mixes ids like 17850 and 17850.0 (mixed id types)", ALIKE)
        text = text.str.replace(r"^(-?\d+)\.0+$", r"\1", regex=True)
    cleaned = np.array([*text, pd.NA], object)  # the last is what code -1 points to
    return pd.Series(cleaned[codes], column.index, dtype=object)


def _refuse_nested(column: pd.Series, where: str) -> None:
    """Refuses a cell that holds several values, as a list or struct of Parquet does."""
    if column.dtype == object and set(map(type, column)) & NESTED:
        odd = column.map(lambda cell: type(cell) in NESTED)
        _refuse_first(odd, column, where, "holds several values", "give one value a cell")


def _refuse_mixed_types(column: pd.Series, where: str) -> None:
    kinds = column[column.notna()].map(type)
    if kinds.nunique() > 1:
        odd = (kinds != kinds.iloc[0]).reindex(column.index, fill_value=False)
        first, other = kinds.iloc[0].__name__, kinds[kinds != kinds.iloc[0]].iloc[0].__name__
        _refuse_first(odd, column, where, f"is {other} where the rows before are {first} (mixed id types)", ALIKE)


def seconds(column: pd.Series, where: str) -> tuple[npt.NDArray[np.int64], Bools]:
    """Seconds since 1970 UTC [rows] and which rows have none that can be read.

    Numbers are seconds; text is ISO 8601 (without zone: UTC). Refuses a column no cell of which is a time.
    """
    _refuse_nested(column, where)
    present = column.notna().to_numpy(bool)
    if pd.api.types.is_datetime64_any_dtype(column):
        stamps = pd.to_datetime(column, utc=True)
    else:
        numbers = pd.to_numeric(column, errors="coerce")
        finite = np.isfinite(numbers.to_numpy(float, na_value=np.nan))
        if finite.any() and finite.sum() >= 0.5 * present.sum():
            whole = np.where(finite, numbers.to_numpy(float, na_value=0.0), 0.0)
            return np.clip(whole, -(2.0**62), 2.0**62).astype(np.int64), ~finite
        texts = column.map(_iso, na_action="ignore") if column.dtype == object else column
        stamps = pd.to_datetime(texts, utc=True, errors="coerce", format="ISO8601")
    good: Bools = stamps.notna().to_numpy(bool)
    if present.any() and not good.any():
        hint = "times are ISO 8601 (2024-05-17 08:30:00) or seconds since 1970"
        _refuse_first(pd.Series(present, column.index), column, where, "is not a time", hint)
    plain = stamps.fillna(pd.Timestamp(0, tz="UTC")).dt.tz_localize(None).astype("datetime64[s]")
    return np.asarray(plain.astype("int64"), np.int64), ~good


def numbers(column: pd.Series, where: str) -> npt.NDArray[np.float64]:
    """Numbers [rows], NaN where a cell is missing or is none. Refuses a column no cell of which is a number."""
    _refuse_nested(column, where)
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        raise DataError(f"{where}: values are of type {column.dtype}, not numbers")
    found = pd.to_numeric(column, errors="coerce").to_numpy(float, na_value=np.nan)
    if column.notna().any() and not np.isfinite(found).any():
        odd = column.notna() & ~column.astype("string").str.lower().isin(["nan", "inf", "-inf"])
        _refuse_first(odd, column, where, "is not a number")
    return found


def _iso(cell: Any) -> str:
    return cell.isoformat() if isinstance(cell, datetime.date) else str(cell)


def _refuse_first(odd: Any, column: pd.Series, where: str, problem: str, hint: str | None = None) -> None:
    """DataError for the first row where `odd`; nothing when there is none."""
    rows = np.flatnonzero(np.asarray(odd, bool))
    if len(rows):
        cell = column.iloc[rows[0]]
        shown = cell.item() if isinstance(cell, np.generic) else cell
        raise DataError(f"{where}, row {rows[0] + 1}: {shown!r} {problem}; nothing was read", hint)
