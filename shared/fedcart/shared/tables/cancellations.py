"""Cancellations undo their purchase: the rule, on its own, for any shop's log."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fedcart.shared.interactions import BEHAVIOURS, Interactions


@dataclass(frozen=True)
class Undone:
    """What is left of the purchases.

    Attributes:
      quantity: [purchases] units left; 0 = the whole purchase was undone.
      reduced: purchases that lost some units and keep some.
      unmatched: cancellations for which no earlier purchase had a unit left (nothing was undone by them).
    """

    quantity: npt.NDArray[np.float64]
    reduced: int
    unmatched: int


def undo(
    purchase_key: npt.NDArray[np.int64],
    purchase_time: npt.NDArray[np.int64],
    purchase_quantity: npt.NDArray[np.float64],
    cancel_key: npt.NDArray[np.int64],
    cancel_time: npt.NDArray[np.int64],
    cancel_quantity: npt.NDArray[np.float64],
) -> Undone:
    """Take the units of each cancellation off the latest earlier purchases of the same customer and item.

    A key is one (customer, item). Cancellations are taken in time order; each takes its units from the latest
    purchase of its key at or before its own time that has units left, then from the one before, and so on;
    units that find no purchase undo nothing. Quantities are positive in both.
    """
    left = np.asarray(purchase_quantity, np.float64).copy()
    touched = np.flatnonzero(np.isin(purchase_key, cancel_key))
    touched = touched[np.lexsort((touched, purchase_time[touched]))]  # by time, then row
    rows_of_key: dict[int, list[int]] = {}
    for row in touched.tolist():
        rows_of_key.setdefault(int(purchase_key[row]), []).append(row)
    unmatched = 0
    for cancel in np.lexsort((np.arange(len(cancel_key)), cancel_time)).tolist():
        wanted = float(cancel_quantity[cancel])
        found = False
        for row in reversed(rows_of_key.get(int(cancel_key[cancel]), [])):
            if wanted <= 0:
                break
            if purchase_time[row] > cancel_time[cancel] or left[row] <= 0:
                continue
            taken = min(wanted, float(left[row]))
            left[row] -= taken
            wanted -= taken
            found = True
        unmatched += not found
    return Undone(left, int(((left > 0) & (left < purchase_quantity)).sum()), unmatched)


def without_cancelled(
    events: Interactions, cancelled: npt.NDArray[np.bool_], items: int
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
