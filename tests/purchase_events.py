"""Small tables of purchases and views for property tests, and the chi-square test of even draws."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from fedcart.shared.interactions import BEHAVIOURS, DAY, Interactions

CUSTOMERS, ITEMS = 5, 7
PURCHASE = BEHAVIOURS.index("purchase")
Event = tuple[int, int, int, int, int]  # customer, item, behaviour, day, basket
EVENTS = st.lists(
    st.tuples(
        st.integers(0, CUSTOMERS - 1),
        st.integers(0, ITEMS - 1),
        st.sampled_from([0, PURCHASE, PURCHASE]),
        st.integers(0, 3),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=40,
)
RULES = st.sampled_from(["leave-one-out", "last-basket", "time"])
SEEDS = st.integers(0, 5)


def table(events: list[Event], timed: bool = True, baskets: bool = True) -> Interactions:
    columns = np.array(events, np.int64).reshape(-1, 5).T
    return Interactions.build(
        columns[0],
        columns[1],
        behaviour=columns[2],
        time=columns[3] * DAY if timed else None,
        basket=10 * columns[3] + columns[4] if baskets else None,  # a basket lies within a day
    )


def chi_square(counts: np.ndarray) -> float:
    expected = counts.sum() / len(counts)
    return float(((counts - expected) ** 2 / expected).sum())


CRITICAL_4 = 23.51  # chi-square, 4 degrees of freedom: exceeded with probability 1e-4
