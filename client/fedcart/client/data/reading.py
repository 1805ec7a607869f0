"""Read what is new at the source into the store's folder; a reading that fails changes nothing.

A file, or a query without `:since`, is looked at whole, and rows that were read before are recognised. A query with
`:since` is asked for rows from the last reading on, by the clock of that reading, less `overlap_days`. No customer's
rows decide which of another's are read: never cut at a time that was found in the data. Without times, under other
settings, or on request everything is read again. Consent is always read whole: of all rows of the source, or of a
table of its own.
"""

from __future__ import annotations

import time as clocks
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcart.client.data.kept import COLUMNS, Kept, load_kept, locked, save_kept
from fedcart.client.data.records import carry_consent, with_records
from fedcart.client.data.tables import store_extra
from fedcart.client.settings import StoreSettings
from fedcart.client.store_folder import StoreFolder
from fedcart.shared.canonical import content_hash
from fedcart.shared.errors import ConfigError, DataError, did_you_mean
from fedcart.shared.interactions import DAY, NO_TIME
from fedcart.shared.plan import exact
from fedcart.shared.policy import Policy

Columns = Mapping[str, npt.NDArray[Any]]
EVER = NO_TIME
"""Before every time."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What one reading did.

    Attributes:
      everything: what was read before was put aside, and all rows were read.
      rows: looked at; `earlier` ones, from before `:since`, were passed over unread.
      added: kept now and not before; `again` were read before.
      dropped: rule -> rows.
      kept: rows in the folder now.
    """

    everything: bool
    rows: int
    earlier: int
    added: int
    again: int
    dropped: Mapping[str, int]
    kept: int


def read_new(folder: StoreFolder, *, everything: bool = False, now: int | None = None) -> tuple[Kept, Reading]:
    """Bring the folder up to date with its source.

    Args:
      everything: read all rows again; what the source no longer has goes.
      now: seconds since 1970; None = the clock's.

    Raises:
      DataError: the table cannot be used, naming file, column, row and value. What was read before stays.
      ConfigError: settings that would miss an opt-out.
    """
    settings, policy = folder.settings(), folder.policy()
    refuse_missed_opt_outs(settings, policy)
    at = int(clocks.time()) if now is None else now
    with locked(folder.data):
        before = load_kept(folder.data) or Kept()
        digest = settings_hash(settings, policy)
        since = None if everything or before.settings != digest else since_of(settings, before, at)
        rows = _rows(settings, policy, since, at)
        others = of_other_stores(rows, settings, everything=since is None)
        kept, reading = _merge(before, rows, others, since, policy, at)
        consent = _consent(kept, policy, _consents(settings, policy, rows.consent))
        read_at = at if rows.timed else None
        kept = replace(kept, consent=consent, settings=digest, read_at=read_at, told=_told(reading, at))
        for directory, _ in with_records(folder, kept):
            carry_consent(directory, kept, before)
        save_kept(folder.data, kept)
    return kept, reading


def refuse_missed_opt_outs(settings: StoreSettings, policy: Policy) -> None:
    """Refuse settings under which an opt-out might never be seen. Raises ConfigError."""
    from fedcart.shared.tables.source import asks_for_new_rows

    column = policy.data.consent_column
    with store_extra():
        incremental = asks_for_new_rows(_options(settings))
    if settings.consent is not None and not column:
        raise ConfigError(
            f"{settings.path}: [consent] names a table, and policy.toml's [data] consent_column no column of it; "
            "nothing was read"
        )
    if column and settings.consent is None and incremental:
        raise ConfigError(
            f"{settings.path}: the query asks for new rows only, so the opt-out of a customer who buys nothing more "
            "would be missed; nothing was read",
            "name a table of consents under [consent], or leave :since out of the query",
        )


def since_of(settings: StoreSettings, before: Kept, at: int) -> int | None:
    """From which time on rows are taken, seconds; EVER = all of them; None = everything is to be read anew.

    Settings and clocks decide, nothing that a customer's rows could move.
    """
    from fedcart.shared.tables.source import asks_for_new_rows, is_url

    if before.read_at is None:
        return None
    with store_extra():
        incremental = is_url(settings.place(settings.data.source)) and asks_for_new_rows(_options(settings))
    return min(before.read_at, at) - settings.data.overlap_days * DAY if incremental else EVER


def of_other_stores(rows: Any, settings: StoreSettings, *, everything: bool) -> npt.NDArray[np.bool_]:
    """[rows] those of other stores. Raises DataError where the table holds several and store.toml names none."""
    named = settings.data.store
    if named is None:
        if len(rows.stores) > 1:
            some = ", ".join(rows.stores[:3])
            raise DataError(
                f"{settings.path}: the table holds rows of {len(rows.stores)} stores ({some} …), and a folder is one "
                "store; nothing was read",
                'name it: store = "…" under [data], or filter in the query',
            )
        return np.zeros(len(rows.customer), np.bool_)
    if everything and named not in rows.stores:
        raise DataError(
            f"{settings.path}: no row is of store {named!r}; nothing was read", did_you_mean(named, rows.stores)
        )
    others: npt.NDArray[np.bool_] = rows.store != (rows.stores.index(named) if named in rows.stores else -2)
    return others


def settings_hash(settings: StoreSettings, policy: Policy) -> str:
    """Of all that decides what the rows mean: when it changes, everything is read again."""
    data = settings.data
    facts = {
        "source": data.source,
        "query": data.query,
        "columns": dict(data.columns),
        "store": data.store,
        "behaviour": data.behaviour,
        "behaviours": dict(data.behaviours),
        "encoding": data.encoding,
        "separator": data.separator,
        "retention_days": policy.data.retention_days,
    }
    return content_hash({key: exact(value) for key, value in facts.items()})


def _options(settings: StoreSettings, **more: Any) -> Any:
    from fedcart.shared.tables.options import TableOptions

    data = settings.data
    return TableOptions(
        columns=data.columns,
        max_bad_rows=data.max_bad_rows,
        behaviour=data.behaviour,
        behaviours=data.behaviours,
        query=data.query,
        since_as=data.since,
        encoding=data.encoding,
        separator=data.separator,
        **more,
    )


def _rows(settings: StoreSettings, policy: Policy, since: int | None, now: int) -> Any:
    with store_extra():
        from fedcart.shared.tables.rows import read_rows
    column = policy.data.consent_column if settings.consent is None else ""
    source = settings.place(settings.data.source)
    return read_rows(source, _options(settings, since=since, consent=column or None), now=now)


def _merge(
    before: Kept, rows: Any, others: npt.NDArray[np.bool_], since: int | None, policy: Policy, now: int
) -> tuple[Kept, Reading]:
    """What was kept, and the new rows after it, without the forgotten, the too old and what was read before."""
    old = before.rows if since is not None else {name: column[:0] for name, column in before.rows.items()}
    ours = set(rows.customer[~others].tolist()), set(rows.item[~others].tolist())
    customers, customer_of = _together(before.customers, rows.customers, ours[0], before.was_forgotten)
    items, item_of = _together(before.items, rows.items, ours[1])
    baskets, basket_of = _together(before.baskets, rows.baskets, set(rows.basket[~others].tolist()))
    fresh: dict[str, npt.NDArray[Any]] = {
        "customer": customer_of[rows.customer],
        "item": item_of[rows.item],
        "behaviour": rows.behaviour,
        "time": rows.time,
        "value": rows.value,
    }
    fresh = {name: fresh[name].astype(kind) for name, kind in COLUMNS.items()}
    fresh["basket"] = np.append(basket_of, -1)[rows.basket]
    oldest = None if policy.data.retention_days is None else now - policy.data.retention_days * DAY
    gone = (fresh["customer"] < 0) & ~others
    late = ~(gone | others) & _older(fresh["time"], oldest)
    again = np.zeros(len(gone), np.bool_)
    if since is not None:
        window = {name: column[old["time"] >= since] for name, column in old.items()}
        again = ~(gone | others | late) & np.isin(_keys(fresh), _keys(window))
    added = ~(gone | others | late | again)
    left = ~_older(old["time"], oldest)
    merged = {name: np.concatenate([column[left], fresh[name][added]]) for name, column in old.items()}
    extra = {"of another store": others, "forgotten": gone, "past retention": late}
    counts = {rule: int(found.sum()) for rule, found in extra.items() if found.any()}
    latest = int(merged["time"].max(initial=NO_TIME))
    if since is not None and before.mark is not None:
        latest = max(latest, before.mark)
    mark = None if latest == NO_TIME else latest
    kept = replace(before, customers=customers, items=items, baskets=baskets, rows=merged, mark=mark)
    reading = Reading(
        everything=since is None,
        rows=rows.read,
        earlier=rows.earlier,
        added=int(added.sum()),
        again=int(again.sum()),
        dropped={**rows.dropped, **counts},
        kept=len(merged["customer"]),
    )
    return kept, reading


def _together(
    old: Sequence[str], new: Sequence[str], wanted: set[int], skip: Callable[[str], bool] = lambda _: False
) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """All ids, new ones after the old, and the place of each of `new`; -1 = not wanted, or skipped."""
    index = {name: place for place, name in enumerate(old) if name}
    ids, places = list(old), np.full(len(new), -1, np.int64)
    for number, name in enumerate(new):
        place = index.get(name)
        if place is None and number in wanted and not skip(name):
            place = index[name] = len(ids)
            ids.append(name)
        if place is not None:
            places[number] = place
    return tuple(ids), places


def _older(time: npt.NDArray[np.int64], oldest: int | None) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = (
        (time != NO_TIME) & (time < oldest) if oldest is not None else np.zeros(len(time), bool)
    )
    return found


def _keys(rows: Columns) -> npt.NDArray[Any]:
    """Each row as one comparable value."""
    table = np.stack(
        [np.asarray(rows[name]).astype(np.float64).view(np.int64) for name in (*COLUMNS, "basket")], axis=1
    )
    return np.ascontiguousarray(table).view(np.dtype((np.void, table.shape[1] * 8))).ravel()


def _consents(settings: StoreSettings, policy: Policy, told: Mapping[str, bool] | None) -> Mapping[str, bool] | None:
    if settings.consent is None:
        return told
    with store_extra():
        from fedcart.shared.tables.options import TableOptions
        from fedcart.shared.tables.pairs import read_consents
    options = TableOptions(query=settings.consent.query, encoding=settings.data.encoding)
    source = settings.place(settings.consent.source)
    return read_consents(source, options, settings.consent.customer, policy.data.consent_column)


def _consent(kept: Kept, policy: Policy, told: Mapping[str, bool] | None) -> npt.NDArray[np.bool_]:
    """[customers] whether each may be learned from: no answer is a no, where the policy asks for one."""
    if not policy.data.consent_column:
        return np.array([bool(customer) for customer in kept.customers], np.bool_)
    answers = told or {}
    return np.array([bool(customer) and answers.get(customer, False) for customer in kept.customers], np.bool_)


def _told(reading: Reading, at: int) -> dict[str, Any]:
    return {"at": at, "everything": reading.everything, "rows": reading.rows, "dropped": dict(reading.dropped)}
