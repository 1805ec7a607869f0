"""Which rows a split rule holds out, and which rows go with them; each customer by itself, ties by seeded draw."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedcart.shared.draws import draws
from fedcart.shared.interactions import DAY, NO_TIME, Interactions

TIES = 0x5B117
"""Purpose of the seeded draw among ties."""


def latest_events(
    rows: Interactions, wanted: npt.NDArray[np.intp], people: npt.NDArray[np.int64], seed: int
) -> npt.NDArray[np.bool_]:
    """[rows] one target event of each customer with two or more distinct items: the latest, ties by seeded draw
    among the distinct items."""
    customer, item, time = rows.customer[wanted], rows.item[wanted], rows.time[wanted]
    order = np.lexsort((draws(seed, TIES, people[customer], item, time), time, customer))
    last = np.flatnonzero(np.diff(customer[order], append=-1) != 0)
    pairs = np.unique(np.stack([customer, item]), axis=1)[0]
    enough = np.bincount(pairs, minlength=len(people)) >= 2
    chosen = wanted[order[last]]
    test = np.zeros(len(rows), np.bool_)
    test[chosen[enough[rows.customer[chosen]]]] = True
    return test


def latest_baskets(rows: Interactions, wanted: npt.NDArray[np.intp], customers: int) -> npt.NDArray[np.bool_]:
    """[rows] the target events of each customer's latest basket, for customers with two or more baskets."""
    basket = np.where(rows.basket >= 0, rows.basket, rows.time // DAY)[wanted]
    customer = rows.customer[wanted]
    order = np.lexsort((basket, rows.time[wanted], customer))
    last = np.flatnonzero(np.diff(customer[order], append=-1) != 0)
    latest = np.full(customers, np.iinfo(np.int64).min)
    latest[customer[order[last]]] = basket[order[last]]
    pairs = np.unique(np.stack([customer, basket]), axis=1)[0]
    enough = np.bincount(pairs, minlength=customers) >= 2
    test = np.zeros(len(rows), np.bool_)
    test[wanted[(basket == latest[customer]) & enough[customer]]] = True
    return test


def same_visit(rows: Interactions, test: npt.NDArray[np.bool_], items_total: int) -> npt.NDArray[np.bool_]:
    """[rows] events of a held-out (customer, item) pair that are not earlier than the held-out event."""
    key = rows.customer.astype(np.int64) * items_total + rows.item
    held, first = np.unique(key[test], return_inverse=True)
    since = np.full(len(held), np.iinfo(np.int64).max)
    np.minimum.at(since, first, rows.time[test])
    position = np.searchsorted(held, key)
    position = np.minimum(position, max(len(held) - 1, 0))
    if len(held) == 0:
        return test
    match = held[position] == key
    untimed = rows.time == NO_TIME
    same: npt.NDArray[np.bool_] = match & (untimed | (rows.time >= since[position]))
    return same


def earlier_traces(
    rows: Interactions,
    test: npt.NDArray[np.bool_],
    train: npt.NDArray[np.bool_],
    wanted: npt.NDArray[np.bool_],
    items_total: int,
) -> npt.NDArray[np.bool_]:
    """[rows] every event of the held-out (customer, item) pairs that have no target event left in `train`.

    Such a pair is new. A view or cart of it that stayed in training would tell it from all other candidates, which
    the customer never touched. A pair that is bought again keeps its history: it is a repeat.
    """
    key = rows.customer.astype(np.int64) * items_total + rows.item
    traces: npt.NDArray[np.bool_] = np.isin(key, np.setdiff1d(key[test], key[train & wanted]))
    return traces
