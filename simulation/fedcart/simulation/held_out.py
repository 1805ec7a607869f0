"""Held-out items and the candidates they are ranked among, customer by customer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedcart.shared.interactions import BEHAVIOURS, Histories, Interactions

CANDIDATES = 0xCA9D
"""Purpose of the seeded draw of candidates."""


@dataclass(frozen=True)
class HeldOut:
    """Each customer's held-out items, CSR, distinct and in catalogue order.

    Attributes:
      indptr: int64 [customers + 1].
      items: int32 [pairs].
      is_new: bool [pairs], the customer has no training event of the target behaviour with the item.
      candidates: int32 [customers, 1 + negatives] for sampled ranking, the held-out item first, -1 = no candidate
        (a customer without held-out item has a row of -1); None where the rule has no single test item.
    """

    indptr: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    is_new: npt.NDArray[np.bool_]
    candidates: npt.NDArray[np.int32] | None

    @property
    def measured(self) -> npt.NDArray[np.intp]:
        """Customers that have a held-out item, ascending."""
        return np.flatnonzero(np.diff(self.indptr) > 0)

    @property
    def owner(self) -> npt.NDArray[np.int64]:
        """[pairs] customer of each pair."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))

    def only_new(self) -> HeldOut:
        """The new items alone, without candidates."""
        owner = self.owner[self.is_new]
        indptr = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(self.indptr) - 1))]).astype(np.int64)
        return HeldOut(indptr, self.items[self.is_new], self.is_new[self.is_new], None)

    def slice(self, start: int, stop: int) -> HeldOut:
        """Customers start..stop - 1."""
        low, high = int(self.indptr[start]), int(self.indptr[stop])
        candidates = None if self.candidates is None else self.candidates[start:stop]
        return HeldOut(self.indptr[start : stop + 1] - low, self.items[low:high], self.is_new[low:high], candidates)

    def only(self, customers: npt.NDArray[np.intp]) -> HeldOut:
        """The same customers, of whom only `customers` are measured."""
        chosen = np.zeros(len(self.indptr) - 1, np.bool_)
        chosen[customers] = True
        kept = chosen[self.owner]
        indptr = np.concatenate([[0], np.cumsum(np.where(chosen, np.diff(self.indptr), 0))]).astype(np.int64)
        candidates = None
        if self.candidates is not None:
            candidates = np.where(chosen[:, None], self.candidates, np.int32(-1))
        return HeldOut(indptr, self.items[kept], self.is_new[kept], candidates)


def held_out_pairs(test: Interactions, train: Histories, target: str) -> HeldOut:
    """The distinct (customer, item) pairs of `test`, without candidates."""
    items_total, customers = train.items_total, train.customers
    pairs = np.unique(test.customer.astype(np.int64) * items_total + test.item)
    owner = pairs // items_total
    indptr = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=customers))]).astype(np.int64)
    seen = (train.behaviours >> BEHAVIOURS.index(target)) & 1 == 1
    known = (train.row_of_pair() * items_total + train.items)[seen]
    return HeldOut(indptr, (pairs % items_total).astype(np.int32), ~np.isin(pairs, known), None)


def sample_candidates(
    held: HeldOut,
    rows: Interactions,
    items_total: int,
    negatives: int,
    people: npt.NDArray[np.int64],
    seed: int,
) -> npt.NDArray[np.int32]:
    """Each measured customer's test item, then distinct items it has no event with; -1 where there are too few."""
    owner = held.owner
    everything = np.unique(rows.customer.astype(np.int64) * items_total + rows.item)
    candidates = np.full((len(people), 1 + negatives), -1, np.int32)
    candidates[owner, 0] = held.items
    low = np.searchsorted(everything, owner * items_total)
    high = np.searchsorted(everything, (owner + 1) * items_total)
    for row, start, stop in zip(owner, low, high, strict=True):
        unseen = np.ones(items_total, np.bool_)
        unseen[everything[start:stop] - row * items_total] = False
        free = np.flatnonzero(unseen)
        generator = np.random.default_rng([seed, CANDIDATES, int(people[row])])
        drawn = generator.choice(free, min(negatives, len(free)), replace=False)
        candidates[row, 1 : 1 + len(drawn)] = drawn
    return candidates
