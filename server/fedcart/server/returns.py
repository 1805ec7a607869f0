"""When the next epoch of keys begins before the one in hand is used up: for stores that are there and hold none of it.

A store that restarted has lost its secrets and rightly refuses the rest of its epoch. This decides by who is online and
who uploaded, never by what they sent, and bounds what a store that keeps falling over costs the others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from fedcart.server.exchange import UNREACHED
from fedcart.shared.secagg.participant import EPOCH_REACH

EARLY_TRIES = 4
"""Tries of rounds from one early epoch to the next: the others pay three flows for it, no more often than that."""
MOST_BEHIND = EPOCH_REACH - 4
"""Epochs that a store's last one may lie behind an early one. A store enters none more than EPOCH_REACH above its last:
the rest is for epochs that have to be, so that one that keeps falling over locks out no other that is away."""


class Returns:
    """What came of each store's epochs in one run."""

    def __init__(self, stores: Collection[int]) -> None:
        """Args: stores: roster indices of the plan."""
        self._stores = frozenset(stores)
        self._last: dict[int, int] = {}  # roster index -> the last epoch whose KEYS it sent
        self._spent: set[int] = set()  # nodes that an epoch was begun early for, and that uploaded nothing since
        self._tries, self._not_before = 0, 0

    def call(self, epoch: int, nodes: Collection[int], taking: Collection[int]) -> set[int]:
        """The nodes for which the next epoch is to begin now; none = go on with the one in hand. Once a try.

        Args:
          epoch: number that the next one would have.
          nodes: that are online.
          taking: nodes that take part in the epoch in hand.
        """
        self._tries += 1
        back = set(nodes) - set(taking) - self._spent
        behind = (epoch - last for last in self._last.values())
        if self._tries < self._not_before or any(MOST_BEHIND < gap <= EPOCH_REACH for gap in behind):
            return set()
        if back:
            self._not_before = self._tries + EARLY_TRIES
            self._spent |= back
        return back

    def entered(self, epoch: int, stores: Collection[int], failures: Mapping[int, str]) -> None:
        """An epoch began.

        Args:
          stores: roster indices whose KEYS came.
          failures: node -> class, of those whose KEYS did not. Who was not reached may be waited for again.
        """
        self._last = {i: epoch if i in stores else self._last.get(i, epoch - 1) for i in self._stores}
        self._spent -= {node for node, why in failures.items() if why in UNREACHED}

    def uploaded(self, node: int) -> None:
        """A masked vector of this node came: its epoch was not for nothing."""
        self._spent.discard(node)
