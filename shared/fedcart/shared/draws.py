"""Seeded draws that look at one customer only: a hash of (seed, purpose, customer, ...) instead of a shared stream.

A shared generator would make one customer's split depend on how many rows the others have, and on their order.
Not for privacy: whoever knows the seed knows the draw.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_STEP = np.uint64(0x9E3779B97F4A7C15)


def draws(seed: int, purpose: int, *columns: npt.NDArray[np.integer]) -> npt.NDArray[np.uint64]:
    """[rows] a number of each row, uniform in 0..2^64 - 1; equal rows get equal numbers.

    SplitMix64 (Steele, Lea & Flood 2014), one step a column, each started from the result of the one before.
    """
    mixed = np.full(len(columns[0]), (seed ^ (purpose << 32)) % (1 << 64), np.uint64)
    for column in columns:
        mixed = _mix((mixed + _STEP) ^ column.astype(np.int64).view(np.uint64))
    return _mix(mixed + _STEP)


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's finaliser, a bijection."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
