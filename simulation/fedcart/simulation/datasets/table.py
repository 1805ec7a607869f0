"""Any table of interactions by column mapping: structure is refused, bad rows are dropped by rule and counted.

The rules, in the order they are asked (a row is counted under the first that applies):
`no customer`, `no item`, `no store`, `unreadable time`, `future time`, `value is not a number`, `negative value`,
`unknown item` (only with a given catalogue), `duplicate` (all mapped columns equal an earlier row; asked only when
there is a time or a basket, since without them a repeat may be real). More than `max_bad_rows` of them refuse the
table. Cancellations (behaviour `cancelled`) are no bad rows: they are counted apart and undo their purchase.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcart.shared.errors import DataError, did_you_mean
from fedcart.shared.interactions import BEHAVIOURS, NO_TIME, Interactions
from fedcart.simulation.datasets.cancellations import undo
from fedcart.simulation.datasets.dataset import Dataset, Reading, home_stores
from fedcart.simulation.datasets.options import ROLES, TableOptions
from fedcart.simulation.datasets.table_catalogue import derived, read_items
from fedcart.simulation.datasets.table_columns import Bools, identifiers, numbers, seconds
from fedcart.simulation.datasets.table_source import read_frame, require_columns, shown

CANCELLED = "cancelled"
_CODES: Mapping[str, int] = {**{name: code for code, name in enumerate(BEHAVIOURS)}, CANCELLED: len(BEHAVIOURS)}


@dataclass(frozen=True)
class _Columns:
    """The mapped columns as arrays [rows]; ids are text or NA."""

    ids: Mapping[str, pd.Series]  # customer, item and, where mapped, store, basket
    time: npt.NDArray[np.int64]
    unreadable: Bools
    value: npt.NDArray[np.float64]
    behaviour: npt.NDArray[np.int64]  # position in BEHAVIOURS, or that of CANCELLED


def read(source: str, options: TableOptions, *, now: int | None = None) -> Dataset:
    """A path (CSV, Parquet) or database URL as a Dataset; `named` is False.

    Args:
      now: seconds since 1970; later events are in the future. None = the clock's.
    """
    where = shown(source)
    _check_options(options)
    frame = read_frame(source, options)
    if frame.empty:
        raise DataError(f"{where}: the table has no row; nothing was read")
    mapping = _mapping(frame, options, where)
    columns = _columns(frame, mapping, options, where)
    given = read_items(options.items, options) if options.items is not None else None
    known = None if given is None else columns.ids["item"].isin(given.ids).to_numpy(bool)
    rules = _rules(columns, mapping, known, int(time.time()) if now is None else now)
    kept, dropped = _apply(rules, mapping, frame, options, where)
    people, customer = _codes(columns.ids["customer"], kept)
    catalogue = given or derived(columns.ids["item"][kept])
    stores, store = _codes(columns.ids["store"], kept) if "store" in mapping else ((), None)
    _, basket = _codes(columns.ids["basket"], kept) if "basket" in mapping else ((), None)
    behaviour = columns.behaviour[kept]
    goods, item = _codes(columns.ids["item"], kept)
    events = Interactions.build(
        customer,
        pd.Index(catalogue.ids).get_indexer(pd.Index(goods))[item],
        behaviour=np.where(behaviour == _CODES[CANCELLED], 0, behaviour),
        time=columns.time[kept],
        value=columns.value[kept],
        basket=basket,
        store=store,
    )
    events, more, seen = _without_cancelled(events, behaviour == _CODES[CANCELLED], len(catalogue))
    if not len(events):
        raise DataError(f"{where}: no purchase is left after cancellations")
    return Dataset(
        name=where,
        interactions=events,
        customers=len(people),
        catalogue=catalogue,
        store_names=stores,
        reading=Reading(len(frame), len(events), {**dropped, **more}, seen),
        homes=home_stores(events, len(people)) if stores else None,
        named=False,
    )


def _check_options(options: TableOptions) -> None:
    for role in options.columns:
        if role not in ROLES:
            raise DataError(f"a column cannot be mapped to {role!r}", did_you_mean(role, ROLES))
    for word in (options.behaviour, *options.behaviours.values()):
        if word not in _CODES:
            raise DataError(f"there is no behaviour {word!r}", did_you_mean(word, _CODES))
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
    require_columns(frame, list(mapping.values()), where)
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
    behaviour = np.full(rows, _CODES[options.behaviour])
    if "behaviour" in mapping:
        behaviour = _behaviours(frame[mapping["behaviour"]], options, name["behaviour"])
    return _Columns(ids, stamps, unreadable, value, behaviour)


def _behaviours(column: pd.Series, options: TableOptions, where: str) -> npt.NDArray[np.int64]:
    words = column.astype("string").str.strip().fillna("")
    meaning = {word: options.behaviours.get(word, word) for word in words.unique()}
    for word, means in meaning.items():
        if means not in _CODES:
            row = int(np.flatnonzero((words == word).to_numpy(bool))[0]) + 1
            hint = f"{did_you_mean(means, _CODES)} Or map it: behaviours = {{{word!r} = 'purchase'}}"
            raise DataError(f"{where}, row {row}: {word!r} is no behaviour; nothing was read", hint)
    return words.map({word: _CODES[means] for word, means in meaning.items()}).to_numpy(np.int64)


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
        cancelled = c.behaviour == _CODES[CANCELLED]  # shops write returns as negative quantities
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
    options: TableOptions,
    where: str,
) -> tuple[Bools, dict[str, int]]:
    """Rows kept, and rule -> rows dropped (rules that dropped none are left out)."""
    first_rule = np.full(len(frame), "", object)
    for rule, (_, bad) in rules.items():
        first_rule[bad & (first_rule == "")] = rule
    kept = first_rule == ""
    bad_rows = np.flatnonzero(~kept)
    if len(bad_rows) > options.max_bad_rows * len(frame) or not kept.any():
        shown_rows = "; ".join(
            f"row {row + 1}: {first_rule[row]} ({mapping[rules[first_rule[row]][0]]} = "
            f"{frame[mapping[rules[first_rule[row]][0]]].iloc[row]!r})"
            for row in bad_rows[:3]
        )
        raise DataError(
            f"{where}: {len(bad_rows)} of {len(frame)} rows are bad, over the limit of {options.max_bad_rows:g}; "
            f"nothing was read. {shown_rows}",
            "clean the rows, or raise max_bad_rows",
        )
    names, counts = np.unique(first_rule[~kept].astype(str), return_counts=True)
    return kept, dict(zip(names.tolist(), counts.tolist(), strict=True))


def _codes(ids: pd.Series, kept: Bools) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Distinct ids, sorted, and the position [kept] of each row's; a missing one is -1."""
    codes, distinct = pd.factorize(ids[kept], sort=True)
    return tuple(map(str, distinct)), codes.astype(np.int64)


def _without_cancelled(
    events: Interactions, cancelled: Bools, items: int
) -> tuple[Interactions, dict[str, int], dict[str, int]]:
    """Events less cancellations and what they undid; counts of both; what cancellations left undone."""
    if not cancelled.any():
        return events, {}, {}
    purchase = (events.behaviour == BEHAVIOURS.index("purchase")) & ~cancelled
    key = events.customer.astype(np.int64) * items + events.item
    result = undo(
        key[purchase],
        events.time[purchase],
        events.value[purchase].astype(np.float64),
        key[cancelled],
        events.time[cancelled],
        np.abs(events.value[cancelled]).astype(np.float64),
    )
    value, left = events.value.copy(), ~cancelled
    undone = (result.quantity <= 0) & (value[purchase] > 0)
    value[purchase] = result.quantity
    left[purchase] = ~undone
    counts = {"cancellation": int(cancelled.sum()), "undone by a cancellation": int(undone.sum())}
    seen = {"purchases reduced by a cancellation": result.reduced, "cancellations without purchase": result.unmatched}
    return replace(events, value=value).select(left), counts, seen
