"""Releases of every kind, customers with any numbers, and what they add: for tests of the clipped sums."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.sparse import csr_array

from fedcart.shared.interactions import Histories
from fedcart.shared.learners.base import Block
from fedcart.shared.privacy.release import Release

ITEMS, WIDTH = 6, 3
CLIP, WEIGHT = 0.7, 1.3
RELEASES = {
    "rows": Release(name="x", shape=(ITEMS,), clip_norm=CLIP),
    "outer": Release(name="x", shape=(ITEMS * (ITEMS + 1) // 2,), kind="outer", clip_norm=CLIP),
    "cross": Release(name="x", shape=(ITEMS, WIDTH), kind="cross", clip_norm=CLIP),
    "pull": Release(name="x", shape=(ITEMS, WIDTH), kind="per_item", clip_norm=CLIP, weight_clip_norm=WEIGHT),
    "curve": Release(
        name="x",
        shape=(4, WIDTH * (WIDTH + 1) // 2),
        kind="per_item",
        order=2,
        first_item=1,
        clip_norm=CLIP,
        weight_clip_norm=WEIGHT,
    ),
}
EXTREMES = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e300, -1e300, 1e-300, 5e-324, 1e160, 1e-120, math.nan, math.inf])
NUMBERS = st.one_of(st.floats(-3, 3), EXTREMES, st.floats())


def block_of(customers: int, key: int = 0, start: int = 0, items: int = ITEMS) -> Block:
    """Customers without a history: the sums read what is added, not what they have."""
    empty = np.zeros(0, np.float32)
    nothing = Histories(
        items, np.zeros(customers + 1, np.int64), empty.astype(np.int32), empty, empty.astype(np.uint8), empty
    )
    return Block(key, start, nothing)


def sparse(dense):
    """Every cell stored, zeros too."""
    rows, columns = dense.shape
    return csr_array(
        (dense.reshape(-1), np.tile(np.arange(columns), rows), np.arange(rows + 1) * columns), shape=dense.shape
    )


def add(sums, kind, block, z, a):
    if kind in ("rows", "outer"):
        getattr(sums, kind)("x", block, sparse(z))
    elif kind == "cross":
        sums.cross("x", block, sparse(z), a)
    else:
        sums.per_item("x", block, sparse(z), a)


def squared_norm(total) -> int:
    return sum(int(x) ** 2 for x in total.reshape(-1))


def factors(rows, elements=NUMBERS):
    return st.tuples(
        hnp.arrays(np.float64, (rows, ITEMS), elements=elements),
        hnp.arrays(np.float64, (rows, WIDTH), elements=elements),
    )
