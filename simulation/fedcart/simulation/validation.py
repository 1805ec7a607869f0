"""Validation: one training item of each customer by seeded hash, on which settings are chosen."""

from __future__ import annotations

import numpy as np

from fedcart.shared.interactions import BEHAVIOURS, Histories
from fedcart.simulation.held_out import HeldOut


def hold_out_for_validation(train: Histories, seed: int, behaviour: str) -> tuple[Histories, HeldOut]:
    """One training item of each customer by a seeded hash, for choosing settings; the test items stay untouched.

    The hash is of (seed, customer, item) alone, so the choice looks at no other customer. Customers with a single
    item keep it.
    """
    row = train.row_of_pair()
    mixed = (row.astype(np.uint64) << np.uint64(32)) ^ train.items.astype(np.uint64)
    mixed = (mixed + np.uint64(seed)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(32)
    target = (train.behaviours >> BEHAVIOURS.index(behaviour)) & 1 == 1
    eligible = target & (train.counts[row] >= 2)
    order = np.lexsort((mixed, row))
    order = order[eligible[order]]
    first = order[np.flatnonzero(np.diff(row[order], prepend=-1) != 0)]
    kept = np.ones(len(row), np.bool_)
    kept[first] = False
    customers = train.customers
    counts = np.bincount(row[kept], minlength=customers)
    remaining = Histories(
        train.items_total,
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        train.items[kept],
        train.weights[kept],
        train.behaviours[kept],
        train.ages[kept],
    )
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row[first], minlength=customers))]).astype(np.int64)
    items = train.items[first]
    return remaining, HeldOut(indptr, items, np.ones(len(items), np.bool_), None)
