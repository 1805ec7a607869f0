"""The two forms of what customers did: `Interactions`, one row an event, and `Histories`, one row a customer.

Readers produce Interactions; splitting and partitioning select rows of it; learners only ever see Histories of
the training view. Neither form is ever written outside the store's own files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcart.shared.errors import DataError

BEHAVIOURS = ("view", "favourite", "cart", "purchase", "rating")
"""Behaviour code = position in this tuple."""
NO_TIME = int(np.iinfo(np.int64).min)
"""The time of an event whose source has none."""
DAY = 86_400
WHOLE = 1 << 20
"""All of one clip, in the units of `Histories.parts`."""

Rows = npt.NDArray[np.intp] | npt.NDArray[np.bool_] | slice


@dataclass(frozen=True)
class Interactions:
    """A columnar log of events, in the source's row order.

    Attributes (all [rows]):
      customer: int32, index of the customer (person) in the reader's own numbering.
      item: int32, position in the catalogue.
      behaviour: uint8, position in BEHAVIOURS.
      time: int64, seconds since 1970 UTC, or NO_TIME.
      value: float32, rating or quantity; 1 where the source has none, NaN where this rating is not known.
      basket: int64, events of one visit share a number; -1 where the source has none.
      store: int32, index of the shop where it happened; -1 where the source has none.
    """

    customer: npt.NDArray[np.int32]
    item: npt.NDArray[np.int32]
    behaviour: npt.NDArray[np.uint8]
    time: npt.NDArray[np.int64]
    value: npt.NDArray[np.float32]
    basket: npt.NDArray[np.int64]
    store: npt.NDArray[np.int32]

    @classmethod
    def build(
        cls,
        customer: npt.ArrayLike,
        item: npt.ArrayLike,
        *,
        behaviour: npt.ArrayLike | str = "purchase",
        time: npt.ArrayLike | None = None,
        value: npt.ArrayLike | None = None,
        basket: npt.ArrayLike | None = None,
        store: npt.ArrayLike | None = None,
    ) -> Interactions:
        """Interactions with the stated columns; missing ones get their 'source has none' value.

        Raises:
          DataError: columns of different lengths, or a number that its type cannot hold.
        """
        people = _whole("customer", customer, np.int32)
        rows = len(people)
        kind = np.full(rows, BEHAVIOURS.index(behaviour)) if isinstance(behaviour, str) else behaviour
        built = cls(
            customer=people,
            item=_whole("item", item, np.int32),
            behaviour=_whole("behaviour", kind, np.uint8),
            time=np.full(rows, NO_TIME, np.int64) if time is None else np.asarray(time, np.int64),
            value=np.ones(rows, np.float32) if value is None else np.asarray(value, np.float32),
            basket=np.full(rows, -1, np.int64) if basket is None else np.asarray(basket, np.int64),
            store=np.full(rows, -1, np.int32) if store is None else _whole("store", store, np.int32),
        )
        lengths = {f.name: len(getattr(built, f.name)) for f in fields(built)}
        if set(lengths.values()) != {rows}:
            raise DataError(f"columns of different lengths: {lengths}")
        return built

    def __len__(self) -> int:
        return len(self.customer)

    def select(self, rows: Rows) -> Interactions:
        """The stated rows, in their order."""
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @property
    def timed(self) -> npt.NDArray[np.bool_]:
        """[rows] whether the event has a time."""
        known: npt.NDArray[np.bool_] = self.time != NO_TIME
        return known


def _whole(name: str, values: npt.ArrayLike, kind: type[np.integer[Any]]) -> npt.NDArray[Any]:
    """`values` as `kind`; numpy alone would wrap a number that does not fit round to another customer's."""
    given = np.asarray(values)
    fits = np.iinfo(kind)
    if given.size and not (fits.min <= given.min() and given.max() <= fits.max):
        raise DataError(f"column {name!r} holds {given.min()} to {given.max()}, outside {fits.min} to {fits.max}")
    return given.astype(kind, copy=False)


def concatenate(parts: Sequence[Interactions]) -> Interactions:
    """All rows of `parts`, in order."""
    columns: dict[str, Any] = {
        f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Interactions)
    }
    return Interactions(**columns)


@dataclass(frozen=True)
class Histories:
    """CSR rows, one a customer: the distinct items of each, in catalogue order, with weight, behaviours and age.

    Attributes:
      items_total: number of items in the catalogue (columns).
      indptr: int64 [customers + 1].
      items: int32 [pairs].
      weights: float32 [pairs], > 0: the sum of the pair's behaviour weights, or 1.
      behaviours: uint8 [pairs], bit b set = the customer showed behaviour b for the item.
      ages: float32 [pairs], days from the pair's latest event to the plan's `as_of`; NaN = no time.
      parts: int32 [customers], how much of one clip each has here, of WHOLE: a person's parts at all stores add up to
        at most WHOLE. None = nobody said (overlap `pair` or `declared`).
      visits: uint16 [pairs], the days (UTC) on which the customer had an event with the item, or 1 without times; read
        at the store alone, for what is bought again. None = one each.
    """

    items_total: int
    indptr: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]
    behaviours: npt.NDArray[np.uint8]
    ages: npt.NDArray[np.float32]
    parts: npt.NDArray[np.int32] | None = None
    visits: npt.NDArray[np.uint16] | None = None

    def __post_init__(self) -> None:
        refuse_unknown_items(self.items, self.items_total)
        if self.parts is not None and len(self.parts) != self.customers:
            raise DataError(f"{len(self.parts)} parts of a clip for {self.customers} customers; nothing was read")

    @property
    def customers(self) -> int:
        """Number of rows."""
        return len(self.indptr) - 1

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """[customers] distinct items of each."""
        return np.diff(self.indptr)

    def slice(self, start: int, stop: int) -> Histories:
        """Customers start..stop - 1, without copying the pairs."""
        low, high = int(self.indptr[start]), int(self.indptr[stop])
        return Histories(
            self.items_total,
            self.indptr[start : stop + 1] - low,
            self.items[low:high],
            self.weights[low:high],
            self.behaviours[low:high],
            self.ages[low:high],
            None if self.parts is None else self.parts[start:stop],
            None if self.visits is None else self.visits[low:high],
        )

    def take(self, rows: npt.NDArray[np.int64]) -> Histories:
        """The stated customers, in the stated order."""
        counts = self.counts[rows]
        indptr = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(counts, out=indptr[1:])
        pairs = np.arange(indptr[-1]) + np.repeat(self.indptr[rows] - indptr[:-1], counts)
        return Histories(
            self.items_total,
            indptr,
            self.items[pairs],
            self.weights[pairs],
            self.behaviours[pairs],
            self.ages[pairs],
            None if self.parts is None else self.parts[rows],
            None if self.visits is None else self.visits[pairs],
        )

    def only(self, kept: npt.NDArray[np.bool_]) -> Histories:
        """The same customers with the pairs where `kept` [pairs] is true."""
        indptr = np.concatenate([[0], np.cumsum(kept, dtype=np.int64)])[self.indptr]
        return replace(
            self,
            indptr=indptr,
            items=self.items[kept],
            weights=self.weights[kept],
            behaviours=self.behaviours[kept],
            ages=self.ages[kept],
            visits=None if self.visits is None else self.visits[kept],
        )

    def row_of_pair(self) -> npt.NDArray[np.int64]:
        """[pairs] the customer (row) of each pair."""
        return np.repeat(np.arange(self.customers, dtype=np.int64), self.counts)


def build_histories(
    interactions: Interactions,
    customers: int,
    items_total: int,
    *,
    as_of: int | None = None,
    behaviour_weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0, 1.0),
    repeats: bool = False,
) -> Histories:
    """Gather events into one row a customer; a row depends on that customer's events alone.

    Args:
      interactions: events whose `customer` is 0..customers - 1.
      as_of: seconds; ages are relative to it. None leaves all ages NaN.
      behaviour_weights: [len(BEHAVIOURS)] weight of one event of each behaviour; 0 drops the behaviour.
      repeats: True adds up the weights of repeated events; False counts the pair's dearest event once.

    Raises:
      DataError: a customer or item outside the table: it would land in another customer's row.
    """
    people = interactions.customer
    if len(people) and not 0 <= people.min() <= people.max() < customers:
        raise DataError(f"customer {people.min()} or {people.max()} is not among {customers}; nothing was read")
    refuse_unknown_items(interactions.item, items_total)
    event_weights = np.asarray(behaviour_weights, np.float32)[interactions.behaviour]
    kept = interactions.select(event_weights > 0)
    event_weights = event_weights[event_weights > 0]
    key = kept.customer.astype(np.int64) * items_total + kept.item
    pairs, pair_of_event = np.unique(key, return_inverse=True)
    weights = np.zeros(len(pairs), np.float32)
    (np.add if repeats else np.maximum).at(weights, pair_of_event, event_weights)
    behaviours = np.zeros(len(pairs), np.uint8)
    np.bitwise_or.at(behaviours, pair_of_event, np.left_shift(1, kept.behaviour).astype(np.uint8))
    latest = np.full(len(pairs), NO_TIME, np.int64)
    np.maximum.at(latest, pair_of_event, kept.time)
    ages = np.full(len(pairs), np.nan, np.float32)
    if as_of is not None:
        known = latest != NO_TIME
        ages[known] = (as_of - latest[known]) / DAY
    indptr = np.zeros(customers + 1, np.int64)
    np.cumsum(np.bincount(pairs // items_total, minlength=customers), out=indptr[1:])
    items = (pairs % items_total).astype(np.int32)
    return Histories(
        items_total, indptr, items, weights, behaviours, ages, visits=_days(kept.time, pair_of_event, len(pairs))
    )


def _days(time: npt.NDArray[np.int64], pair: npt.NDArray[np.int64], pairs: int) -> npt.NDArray[np.uint16]:
    """[pairs] number of distinct days of a pair's events; all events without a time are one day."""
    order = np.lexsort((time // DAY, pair))
    day, owner = (time // DAY)[order], pair[order]
    first = np.append(True, (np.diff(day) != 0) | (np.diff(owner) != 0))[: len(order)]
    counted = np.bincount(owner[first], minlength=pairs)
    return np.minimum(counted, np.iinfo(np.uint16).max).astype(np.uint16)


def refuse_unknown_items(items: npt.NDArray[np.int32], items_total: int) -> None:
    """Raise DataError when an item is no position in the catalogue; left in, it would pass for another's item."""
    if len(items) and not (items.min() >= 0 and items.max() < items_total):
        raise DataError(f"item {items.min()} or {items.max()} is not in a catalogue of {items_total}; nothing was read")
