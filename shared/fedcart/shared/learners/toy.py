"""Small tables for the conformance kit, and the kernel's sums kept apart for each customer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import Interactions, concatenate
from fedcart.shared.learners.base import Block, Float64Array, Totals
from fedcart.shared.learners.memory import MemoryCustomers
from fedcart.shared.privacy.release import Release
from fedcart.shared.privacy.sums import PlainSums

if TYPE_CHECKING:
    from scipy.sparse import csr_array

CUSTOMERS = 14
ITEMS = 20


def toy_catalogue(items: int = ITEMS) -> Catalogue:
    """Items "item-0", "item-1", ... in two categories."""
    category = np.array([("even", "odd")[item % 2] for item in range(items)], object)
    return Catalogue(tuple(f"item-{item}" for item in range(items)), "given", {"category": category})


def toy_interactions(seed: int, customers: int = CUSTOMERS, items: int = ITEMS) -> Interactions:
    """A raw table: two tastes, uneven popularity, a few repeats, and one item that a single customer took."""
    generator = np.random.default_rng(seed)
    parts = []
    for customer in range(customers):
        count = int(generator.integers(2, 9))
        appeal = (
            1.0 / (1.0 + np.arange(items - 1)) ** 0.7 * np.where(np.arange(items - 1) % 2 == customer % 2, 3.0, 1.0)
        )
        taken = generator.choice(items - 1, min(count, items - 1), replace=False, p=appeal / appeal.sum())
        taken = np.concatenate([taken, taken[:1]])
        time = generator.integers(0, 10**6, len(taken))
        parts.append(Interactions.build(np.full(len(taken), customer), taken, time=time))
    parts.append(Interactions.build([customers // 2], [items - 1], time=[5]))
    return concatenate(parts)


class OneByOne(MemoryCustomers):
    """A store whose blocks hold one customer each, whatever a learner asks for."""

    def blocks(self, most_customers: int = 4096) -> Iterator[Block]:
        """All customers, one a block."""
        return super().blocks(1)


class SeparateSums:
    """`Sums` that keep each customer's contribution by itself."""

    def __init__(self, releases: Sequence[Release], customers: int) -> None:
        self._parts = [PlainSums(releases) for _ in range(customers)]

    def rows(self, name: str, block: Block, x: csr_array) -> None:
        """See `Sums.rows`."""
        for part, one, row in self._each(block):
            part.rows(name, one, x[row : row + 1])

    def outer(self, name: str, block: Block, z: csr_array) -> None:
        """See `Sums.outer`."""
        for part, one, row in self._each(block):
            part.outer(name, one, z[row : row + 1])

    def cross(self, name: str, block: Block, z: csr_array, a: Float64Array) -> None:
        """See `Sums.cross`."""
        for part, one, row in self._each(block):
            part.cross(name, one, z[row : row + 1], a[row : row + 1])

    def per_item(self, name: str, block: Block, w: csr_array, u: Float64Array) -> None:
        """See `Sums.per_item`."""
        for part, one, row in self._each(block):
            part.per_item(name, one, w[row : row + 1], u[row : row + 1])

    def contributions(self) -> list[Totals]:
        """[customers] what each added."""
        return [part.totals for part in self._parts]

    def _each(self, block: Block) -> Iterator[tuple[PlainSums, Block, int]]:
        for row in range(block.histories.customers):
            one = Block(block.key, block.start + row, block.histories.slice(row, row + 1))
            yield self._parts[block.start + row], one, row
