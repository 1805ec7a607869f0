"""Who masks with whom and holds whose shares: everybody up to 100 stores, neighbours on a ring above.

The ring's stores stand in an order that anybody computes from the epoch's tag; neighbours stand at most K places apart,
so a store has k = 2K of them. A survivor set is confirmed only if **any K consecutive places hold more than c / 2
survivors**. Then the graph of honest survivors is connected, whoever colludes and whoever was dropped, so masks cancel
in the whole sum only: an honest survivor and the next one round the ring are neighbours unless K places between them
hold no honest survivor; to fall apart the ring must be cut so at two stretches at least, which together hold more than
c survivors, all of them colluders: there are not that many. Nothing of this rests on chance: the order only spreads
drops, so that rounds seldom fail. (The graphs of Bell et al. 2020, doi:10.1145/3372297.3417885, are connected but for a
small probability, and need an order that no party chose.)
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from math import comb
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fedcart.shared.errors import ConfigError
from fedcart.shared.privacy.cohort import Cohort
from fedcart.shared.secagg.keys import digest, ids

MAX_COMPLETE = 100
"""Largest n where every store shares its secrets with every other."""
FAILURE_BITS = 20
"""A round whose n - m drops fall on places at random lacks neighbours with probability 2^-20 at most."""


class Graph(Protocol):
    """One epoch's.

    Attributes:
      threshold: shares that rebuild a secret.
      least: holders, itself among them, that a store must have for its secrets.
    """

    threshold: int
    least: int

    def holders(self, store: int) -> frozenset[int]:
        """Who holds shares of a store's secrets and masks with it: its neighbours, and itself."""
        ...

    def gap(self, live: Collection[int], cohort: Collection[int]) -> str:
        """Why the sum of `live`, what is left of `cohort`, may not be opened, beyond their number; empty if it may."""
        ...


class Complete:
    """Everybody is everybody's neighbour."""

    def __init__(self, stores: Collection[int], cohort: Cohort) -> None:
        self._all = frozenset(stores)
        self.threshold, self.least = cohort.threshold, cohort.min_survivors

    def holders(self, store: int) -> frozenset[int]:
        """All."""
        return self._all

    def gap(self, live: Collection[int], cohort: Collection[int]) -> str:
        """None: any t of them hold t shares of everybody."""
        return ""


class Ring:
    """Neighbours stand at most `reach` places apart.

    Attributes:
      order: roster indices by place.
    """

    def __init__(self, tag: bytes, stores: Collection[int], cohort: Cohort, reach: int) -> None:
        self.order = tuple(sorted(stores, key=lambda i: (digest("ring", tag, ids(i)), i)))
        self._place = {store: place for place, store in enumerate(self.order)}
        self._colluders, self._reach = cohort.colluders, reach
        self.threshold = self.least = share_threshold(cohort, reach)

    def holders(self, store: int) -> frozenset[int]:
        """2K + 1 of them."""
        start = (self._place[store] - self._reach) % len(self.order)
        return frozenset((self.order * 2)[start : start + 2 * self._reach + 1])

    def gap(self, live: Collection[int], cohort: Collection[int]) -> str:
        """See the top of this module. Holders are counted too: a sum that cannot be opened is not begun to be."""
        fewest = int(self._counts(live, self._reach).min())
        if 2 * fewest <= self._colluders:
            return f"{self._reach} places of the ring hold {fewest} stores, not more than {self._colluders} / 2"
        held = self._counts(live, 2 * self._reach + 1)
        places = [self._place[store] - self._reach for store in cohort]  # where each one's holders begin
        if (left := int(held[places].min())) < self.threshold:
            return f"{left} holders of a store's shares are left, {self.threshold} are needed"
        return ""

    def _counts(self, live: Collection[int], length: int) -> npt.NDArray[np.int64]:
        """How many of `live` stand on the `length` places from each place on, [n]."""
        there = np.zeros(len(self.order), np.int64)
        there[[self._place[store] for store in live]] = 1
        sums = np.concatenate([[0], np.cumsum(np.concatenate([there, there[:length]]))])
        counts: npt.NDArray[np.int64] = sums[length : length + len(there)] - sums[: len(there)]
        return counts


@lru_cache(maxsize=4)
def ring(tag: bytes, stores: tuple[int, ...], cohort: Cohort, reach: int) -> Ring:
    """One object for all who ask in this process."""
    return Ring(tag, stores, cohort, reach)


def share_threshold(cohort: Cohort, reach: int) -> int:
    """t_k = floor((2K + 1 + c) / 2) + 1: holders and c colluders never give t_k shares of both secrets of one store."""
    return (2 * reach + 1 + cohort.colluders) // 2 + 1


@lru_cache(maxsize=64)
def reach_of(cohort: Cohort) -> int:
    """K of a plan: 0 = the graph is complete; else the least that lets rounds fail seldom.

    With m of n stores left on random places, at most 2^-20 of rounds have K places with c / 2 survivors or fewer, or a
    store with fewer than t_k holders left (union bound over the places; hypergeometric tails, in integers).

    Raises:
      ConfigError: above 100 stores every one would still need every other.
    """
    n, c, m = cohort.participants, cohort.colluders, cohort.min_survivors
    if n <= MAX_COMPLETE:
        return 0
    for reach in range(c // 2 + 1, n // 2):  # 2K + 1 < n
        around = 2 * reach + 1
        windows = _at_most(n, m, reach, c // 2) * comb(n, around)
        holders = _at_most(n, m, around, share_threshold(cohort, reach) - 1) * comb(n, reach)
        if n * (windows + holders) << FAILURE_BITS <= comb(n, reach) * comb(n, around):
            return reach
    raise ConfigError(
        f"{n} stores of which {c} may collude and {n - m} be missing would all be each other's neighbours, over a "
        f"complete graph's {MAX_COMPLETE}; nothing was planned",
        "let fewer stores collude or more be in each sum, or let each store add all noise (trust local)",
    )


def _at_most(n: int, live: int, draw: int, most: int) -> int:
    """C(n, draw) x P(at most `most` of `draw` random places are among the `live` of n)."""
    return sum(comb(live, i) * comb(n - live, draw - i) for i in range(most + 1) if draw - i <= n - live)
