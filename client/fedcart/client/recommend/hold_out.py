"""Items held out at the store to measure on; a customer's choice looks at that customer alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedcart.shared.draws import draws
from fedcart.shared.interactions import BEHAVIOURS, Histories, Interactions, build_histories

LATEST = 0x51A7E57
"""Purpose of the seeded draw among equally late items."""
TARGETS = ("purchase", "rating", "cart", "favourite", "view")
"""What is held out: the first of these that occurs."""


@dataclass(frozen=True)
class HeldOut:
    """A training view, and the items held out of it.

    Attributes:
      train: [customers] what a scorer sees.
      indptr: int64 [customers + 1]; items: int32 [pairs], distinct for each customer.
      repeat: bool [pairs] the customer's training view has the item with the target behaviour already.
      target: the behaviour that is held out.
    """

    train: Histories
    indptr: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    repeat: npt.NDArray[np.bool_]
    target: str

    @property
    def measured(self) -> npt.NDArray[np.intp]:
        """Customers with a held-out item."""
        return np.flatnonzero(np.diff(self.indptr))


def target_of(behaviours: npt.NDArray[np.uint8]) -> str:
    """The dearest behaviour that occurs in these codes."""
    codes = set(np.unique(behaviours).tolist())
    return next(name for name in TARGETS if BEHAVIOURS.index(name) in codes)


def hold_out_latest(histories: Histories, target: str, seed: int = 0) -> HeldOut:
    """Each customer's latest item of the target behaviour, with every trace of it: the item is new to what is left.

    Customers with a single item keep it. Of equally late items, or without times, a seeded hash of (customer, item)
    chooses.
    """
    row = histories.row_of_pair()
    bought = (histories.behaviours >> BEHAVIOURS.index(target)) & 1 == 1
    eligible = bought & (histories.counts[row] >= 2)
    ages = np.where(np.isnan(histories.ages), np.inf, histories.ages)
    order = np.lexsort((draws(seed, LATEST, row, histories.items), ages, row))
    order = order[eligible[order]]
    first = order[np.flatnonzero(np.diff(row[order], prepend=-1) != 0)]
    kept = np.ones(len(row), np.bool_)
    kept[first] = False
    return HeldOut(
        train=histories.only(kept),
        indptr=_offsets(row[first], histories.customers),
        items=histories.items[first],
        repeat=np.zeros(len(first), np.bool_),
        target=target,
    )


def hold_out_after(
    events: Interactions, customers: int, items: int, at: int, target: str, weights: tuple[float, ...]
) -> HeldOut:
    """What customers did with the target behaviour at second `at` or later; the training view is all before it.

    Events without a time are before it. Customers without a history before `at` are not measured.
    """
    later = events.timed & (events.time >= at)
    before = events.select(~later)
    train = build_histories(before, customers, items, as_of=at, behaviour_weights=weights)
    wanted = later & (events.behaviour == BEHAVIOURS.index(target)) & (train.counts[events.customer] > 0)
    pairs = np.unique(events.customer[wanted].astype(np.int64) * items + events.item[wanted])
    had = (train.behaviours >> BEHAVIOURS.index(target)) & 1 == 1
    known = (train.row_of_pair() * items + train.items)[had]
    return HeldOut(
        train=train,
        indptr=_offsets(pairs // items, customers),
        items=(pairs % items).astype(np.int32),
        repeat=np.isin(pairs, known),
        target=target,
    )


def _offsets(rows: npt.NDArray[np.int64], customers: int) -> npt.NDArray[np.int64]:
    offsets = np.zeros(customers + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=customers), out=offsets[1:])
    return offsets
