"""Streams for tests of the sampler: words that are told, and fixed keys by name."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fedcart.shared.privacy.keystream import Keystream


class Scripted:
    """A stream that gives out the words it is told, then no more."""

    def __init__(self, words: Iterable[int]) -> None:
        self.left = list(words)

    def words(self, count: int) -> np.ndarray:
        given, self.left = self.left[:count], self.left[count:]
        assert len(given) == count, "more words were drawn than were expected"
        return np.array(given, np.uint64)


def key(name: str) -> Keystream:
    return Keystream(name.encode().ljust(32, b"."))
