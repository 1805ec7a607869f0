"""Any table of interactions by column mapping: structure is refused, bad rows are dropped by rule and counted.

The rules, in the order they are asked (a row is counted under the first that applies):
`no customer`, `no item`, `no store`, `unreadable time`, `future time`, `value is not a number`, `negative value`,
`unknown item` (only with a given catalogue), `duplicate` (all mapped columns equal an earlier row; asked only when
there is a time or a basket, since without them a repeat may be real). More than `max_bad_rows` of them refuse the
table. Cancellations (behaviour `cancelled`) are no bad rows: they are rows, and `cancellations.without_cancelled`
lets them undo their purchase.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcart.shared.errors import DataError, did_you_mean
from fedcart.shared.interactions import BEHAVIOURS, NO_TIME
from fedcart.shared.tables.columns import Bools, identifiers, numbers, seconds
from fedcart.shared.tables.consent import answers, decisions
from fedcart.shared.tables.options import ROLES, TableOptions
from fedcart.shared.tables.source import read_frame, require_columns, shown

CANCELLED = "cancelled"
CODES: Mapping[str, int] = {**{name: code for code, name in enumerate(BEHAVIOURS)}, CANCELLED: len(BEHAVIOURS)}
"""Code of each behaviour: position in BEHAVIOURS, and one more for what undoes a purchase."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows that were kept, by position in the lists of ids (sorted), in the source's order.

    Attributes:
      timed: a column is mapped to time.
      read: rows looked at; rows before `TableOptions.since` are not among them.
      earlier: rows passed over because they are from before `TableOptions.since`.
      dropped: rule -> rows.
      customers, items, stores, baskets: the distinct ids.
      customer, item: int64 [kept].
      store, basket: int64 [kept], -1 = none.
      behaviour: int64 [kept], as in CODES.
      time: int64 [kept], seconds or NO_TIME; value: float64 [kept].
      consent: customer -> whether they may be learned from, of all rows of the source; None where it does not say.
    """

    timed: bool
    read: int
    earlier: int
    dropped: Mapping[str, int]
    customers: tuple[str, ...]
    items: tuple[str, ...]
    stores: tuple[str, ...]
    baskets: tuple[str, ...]
    customer: npt.NDArray[np.int64]
    item: npt.NDArray[np.int64]
    store: npt.NDArray[np.int64]
    basket: npt.NDArray[np.int64]
    behaviour: npt.NDArray[np.int64]
    time: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    consent: Mapping[str, bool] | None


@dataclass(frozen=True)
class _Columns:
    """The mapped columns as arrays [rows]; ids are text or NA."""

    ids: Mapping[str, pd.Series]  # customer, item and, where mapped, store, basket
    time: npt.NDArray[np.int64]
    unreadable: Bools
    value: npt.NDArray[np.float64]
    behaviour: npt.NDArray[np.int64]  # as in CODES
    consent: Bools | None

    def select(self, rows: npt.NDArray[np.intp]) -> _Columns:
        """The stated rows."""
        ids = {role: column.iloc[rows] for role, column in self.ids.items()}
        consent = None if self.consent is None else self.consent[rows]
        return _Columns(ids, self.time[rows], self.unreadable[rows], self.value[rows], self.behaviour[rows], consent)


def read_rows(
    source: str, options: TableOptions, *, known: Collection[str] | None = None, now: int | None = None
) -> Rows:
    """A path (CSV, Parquet) or database URL as rows.

    Args:
      known: ids of a given catalogue; rows of other items are bad. None keeps all items.
      now: seconds since 1970; later events are in the future. None = the clock's.
    """
    where = shown(source)
    _check_options(options)
    frame = read_frame(source, options)
    if frame.empty and options.since is None:
        raise DataError(
            f"{where}: the table has no row; nothing was read", "a header alone is no table: export its rows too"
        )
    mapping = _mapping(frame, options, where)
    if options.since is not None and "time" not in mapping:
        raise DataError(f"{where}: no column is mapped to 'time', so new rows cannot be told; nothing was read")
    columns = _columns(frame, mapping, options, where)
    consent = None
    if columns.consent is not None:
        consent = decisions(columns.ids["customer"], columns.consent, columns.time, columns.unreadable)
    total, new = len(frame), np.arange(len(frame))
    if options.since is not None:
        new = np.flatnonzero((columns.time >= options.since) | columns.unreadable)
        columns, frame = columns.select(new), frame.iloc[new]
    ours = None if known is None else columns.ids["item"].isin(list(known)).to_numpy(bool)
    rules = _rules(columns, mapping, ours, int(time.time()) if now is None else now)
    kept, dropped = _apply(rules, mapping, frame, new, options, where)
    codes = {role: _codes(columns.ids[role], kept) for role in columns.ids}
    none = np.full(int(kept.sum()), -1, np.int64)
    return Rows(
        timed="time" in mapping,
        read=len(frame),
        earlier=total - len(frame),
        dropped=dropped,
        customers=codes["customer"][0],
        items=codes["item"][0],
        stores=codes["store"][0] if "store" in codes else (),
        baskets=codes["basket"][0] if "basket" in codes else (),
        customer=codes["customer"][1],
        item=codes["item"][1],
        store=codes["store"][1] if "store" in codes else none,
        basket=codes["basket"][1] if "basket" in codes else none,
        behaviour=columns.behaviour[kept],
        time=columns.time[kept],
        value=columns.value[kept],
        consent=consent,
    )


def _check_options(options: TableOptions) -> None:
    for role in options.columns:
        if role not in ROLES:
            raise DataError(f"a column cannot be mapped to {role!r}", did_you_mean(role, ROLES))
    for word in (options.behaviour, *options.behaviours.values()):
        if word not in CODES:
            raise DataError(f"there is no behaviour {word!r}", did_you_mean(word, CODES))
    if not 0 <= options.max_bad_rows <= 1:
        raise DataError(f"max_bad_rows is {options.max_bad_rows}, not a share from 0 to 1")


def _mapping(frame: pd.DataFrame, options: TableOptions, where: str) -> dict[str, str]:
    """Role -> column: as mapped, else a column of the role's own name."""
    present = {str(column) for column in frame.columns}
    mapping = {role: options.columns.get(role, role) for role in ROLES}
    mapping = {role: name for role, name in mapping.items() if role in options.columns or name in present}
    for role in ("customer", "item"):
        if role not in mapping:
            columns = ", ".join(sorted(present))
            raise DataError(
                f"{where}: no column is mapped to {role!r}; nothing was read", f"{role}=COLUMN, one of: {columns}"
            )
    wanted = [*mapping.values(), *([options.consent] if options.consent else [])]
    require_columns(frame, wanted, where)
    return mapping


def _columns(frame: pd.DataFrame, mapping: Mapping[str, str], options: TableOptions, where: str) -> _Columns:
    rows = len(frame)
    name = {role: f"{where}, column {column!r}" for role, column in mapping.items()}
    ids = {
        role: identifiers(frame[mapping[role]], name[role])
        for role in ("customer", "item", "store", "basket")
        if role in mapping
    }
    stamps, unreadable = np.full(rows, NO_TIME, np.int64), np.zeros(rows, bool)
    if "time" in mapping:
        stamps, unreadable = seconds(frame[mapping["time"]], name["time"])
    value = numbers(frame[mapping["value"]], name["value"]) if "value" in mapping else np.ones(rows)
    behaviour = np.full(rows, CODES[options.behaviour])
    if "behaviour" in mapping:
        behaviour = _behaviours(frame[mapping["behaviour"]], options, name["behaviour"])
    consent = None
    if options.consent:
        consent = answers(frame[options.consent], f"{where}, column {options.consent!r}")
    return _Columns(ids, stamps, unreadable, value, behaviour, consent)


def _behaviours(column: pd.Series, options: TableOptions, where: str) -> npt.NDArray[np.int64]:
    words = column.astype("string").str.strip().fillna("")
    meaning = {word: options.behaviours.get(word, word) for word in words.unique()}
    for word, means in meaning.items():
        if means not in CODES:
            row = int(np.flatnonzero((words == word).to_numpy(bool))[0]) + 1
            hint = f"{did_you_mean(means, CODES)} Or map it: behaviours = {{{word!r} = 'purchase'}}"
            raise DataError(f"{where}, row {row}: {word!r} is no behaviour; nothing was read", hint)
    return words.map({word: CODES[means] for word, means in meaning.items()}).to_numpy(np.int64)


def _rules(c: _Columns, mapping: Mapping[str, str], known: Bools | None, now: int) -> dict[str, tuple[str, Bools]]:
    """Rule -> (role whose column it looks at, rows that break it), in order."""
    rules = {
        "no customer": ("customer", c.ids["customer"].isna().to_numpy(bool)),
        "no item": ("item", c.ids["item"].isna().to_numpy(bool)),
    }
    if "store" in mapping:
        rules["no store"] = ("store", c.ids["store"].isna().to_numpy(bool))
    if "time" in mapping:
        rules["unreadable time"] = ("time", c.unreadable)
        rules["future time"] = ("time", c.time > now)
    if "value" in mapping:
        cancelled = c.behaviour == CODES[CANCELLED]  # shops write returns as negative quantities
        rules["value is not a number"] = ("value", ~np.isfinite(c.value))
        rules["negative value"] = ("value", (c.value < 0) & ~cancelled)
    if known is not None:
        rules["unknown item"] = ("item", ~known)
    if "time" in mapping or "basket" in mapping:
        ids = {role: pd.factorize(column)[0] for role, column in c.ids.items()}
        table = pd.DataFrame({**ids, "time": c.time, "value": c.value, "behaviour": c.behaviour})
        rules["duplicate"] = ("item", table.duplicated().to_numpy(bool))
    return rules


def _apply(
    rules: Mapping[str, tuple[str, Bools]],
    mapping: Mapping[str, str],
    frame: pd.DataFrame,
    places: npt.NDArray[np.intp],
    options: TableOptions,
    where: str,
) -> tuple[Bools, dict[str, int]]:
    """Rows kept, and rule -> rows dropped (rules that dropped none are left out).

    `places` are the rows' 0-based places in the source.
    """
    first_rule = np.full(len(frame), "", object)
    for rule, (_, bad) in rules.items():
        first_rule[bad & (first_rule == "")] = rule
    kept = first_rule == ""
    bad_rows = np.flatnonzero(~kept)
    if len(bad_rows) > options.max_bad_rows * len(frame) or (len(bad_rows) and not kept.any()):
        shown_rows = "; ".join(
            f"row {places[row] + 1}: {first_rule[row]} ({mapping[rules[first_rule[row]][0]]} = "
            f"{frame[mapping[rules[first_rule[row]][0]]].iloc[row]!r})"
            for row in bad_rows[:3]
        )
        hint = "clean the rows, or raise max_bad_rows"
        if 2 * (first_rule == "duplicate").sum() > len(bad_rows):
            hint += "; lines that repeat in every mapped column count once, even where both were meant"
        raise DataError(
            f"{where}: {len(bad_rows)} of {len(frame)} rows are bad, over the limit of {options.max_bad_rows:g}; "
            f"nothing was read. {shown_rows}",
            hint,
        )
    names, counts = np.unique(first_rule[~kept].astype(str), return_counts=True)
    return kept, dict(zip(names.tolist(), counts.tolist(), strict=True))


def _codes(ids: pd.Series, kept: Bools) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Distinct ids, sorted, and the position [kept] of each row's; a missing one is -1."""
    codes, distinct = pd.factorize(ids[kept], sort=True)
    return tuple(map(str, distinct)), codes.astype(np.int64)
