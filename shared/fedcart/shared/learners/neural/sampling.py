"""Training samples of each customer: own items against items drawn uniformly from the rest of the catalogue.

Everything a customer's samples depend on is that customer's own history and public numbers (seed, round, step):
two stores or one, alone or in a batch, the same customer draws the same samples. The stream is a counter hashed by
splitmix64 (Steele, Lea, Flood 2014); it orders training and is never privacy noise. Nothing here knows which items
were held out: every item that is not in the training history can be a negative (RESEARCH.md 1.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from fedcart.shared.interactions import Histories

MOST_SAMPLES = 1 << 15
"""Samples (positives and negatives) of one part of a step: bounds memory, changes no result but rounding."""
UInt64 = npt.NDArray[np.uint64]
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class CustomerBatch:
    """Samples of B customers, one row each, padded to the longest.

    Attributes:
      items: int64 [B, P, 1 + n], the positive first, then its n negatives; the sink row where padded.
      mask: float32 [B, P], the weight of the positive's interaction; 0 where padded.
      scale: float32 [B], what the sum over P is multiplied by to make the customer's loss.
    """

    items: torch.Tensor
    mask: torch.Tensor
    scale: torch.Tensor

    def total(self, each: torch.Tensor) -> torch.Tensor:
        """[B] scale_u sum_p mask_up each_up; each [B, P]."""
        return (each * self.mask).sum(-1) * self.scale


@dataclass(frozen=True, slots=True)
class Draw:
    """How samples are drawn; plan constants.

    Attributes:
      positives: most interactions of one customer in a step, drawn without replacement; 0 = all.
      negatives: n, items drawn for each of them, with replacement, from those the customer does not have.
      history_exponent: p; a customer's loss is n_u^(1 - p) times the mean over the drawn positives, n_u the number
        of all of them: 0 = every interaction counts the same, 1 = every customer does.
    """

    positives: int
    negatives: int
    history_exponent: float


def mix(x: UInt64) -> UInt64:
    """The finaliser of splitmix64, a bijection of 64-bit words."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def stamp(*words: int) -> UInt64:
    """[1] one word from public integers such as seed, round and step; the order matters."""
    state = np.zeros(1, np.uint64)
    for word in words:
        state = mix(state + GOLDEN + np.array([word % (1 << 64)], np.uint64))
    return state


def fingerprints(histories: Histories) -> UInt64:
    """[customers] a word that depends on the customer's own items alone, in any order."""
    words = mix(histories.items.astype(np.uint64) + GOLDEN)
    totals = np.zeros(len(words) + 1, np.uint64)
    np.cumsum(words, out=totals[1:])
    return totals[histories.indptr[1:]] - totals[histories.indptr[:-1]]


def draw(histories: Histories, rows: npt.NDArray[np.int64], when: UInt64, how: Draw) -> CustomerBatch:
    """The samples of the customers `rows` at the moment `when` (a `stamp`).

    A customer without items, with all of them, or with a weight that is not finite has no samples and a loss of 0.
    """
    own = histories.take(rows)
    total = own.items_total
    stream = mix(fingerprints(own) ^ when)
    counts = own.counts
    row, place = own.row_of_pair(), within(counts)
    chosen = _chosen(own, row, place, stream, how.positives)
    item, row_chosen = own.items[chosen].astype(np.int64), row[chosen]
    kept = np.minimum(counts, how.positives) if how.positives else counts
    place = within(kept)
    slot = place[:, None] * how.negatives + np.arange(how.negatives)  # [chosen, n]
    words = mix(stream[row_chosen][:, None] + GOLDEN * (slot + 1).astype(np.uint64))
    free = (total - counts)[row_chosen][:, None].astype(np.uint64)
    rank = ((words >> np.uint64(32)) * free >> np.uint64(32)).astype(np.int64)
    negative = _absent(own, row_chosen, rank)
    width = max(int(kept.max(initial=0)), 1)
    items = np.full((len(rows), width, 1 + how.negatives), total, np.int64)
    mask = np.zeros((len(rows), width), np.float32)
    items[row_chosen, place, 0] = item
    items[row_chosen, place, 1:] = negative
    mask[row_chosen, place] = own.weights[chosen]
    spoilt = np.bincount(row, weights=~np.isfinite(own.weights), minlength=len(rows)) > 0
    nothing = (counts >= total) | spoilt
    items[nothing], mask[nothing] = total, 0
    scale = np.maximum(counts, 1) ** (1 - how.history_exponent) / np.maximum(kept, 1)
    return CustomerBatch(torch.from_numpy(items), torch.from_numpy(mask), torch.from_numpy(scale.astype(np.float32)))


def parts(histories: Histories, visited: npt.NDArray[np.int64], how: Draw) -> Iterator[npt.NDArray[np.int64]]:
    """`visited` in parts of at most MOST_SAMPLES samples (or one customer), short histories first: little padding."""
    counts = np.maximum(histories.counts[visited], 1)
    if how.positives:
        counts = np.minimum(counts, how.positives)
    order = np.argsort(counts, kind="stable")
    most, start = MOST_SAMPLES // (1 + how.negatives), 0
    for end in range(1, len(order) + 1):
        if end == len(order) or (end + 1 - start) * counts[order[end]] > most:
            yield visited[order[start:end]]
            start = end


def within(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """0..c - 1 for each count c, one after the other."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0, dtype=np.int64) - np.repeat(ends - counts, counts)


def _chosen(
    own: Histories, row: npt.NDArray[np.int64], place: npt.NDArray[np.int64], stream: UInt64, most: int
) -> npt.NDArray[np.int64]:
    """Positions of the pairs used: all, or the `most` of each customer whose hashed keys are smallest."""
    if most == 0 or own.counts.max(initial=0) <= most:
        return np.arange(len(row), dtype=np.int64)
    keys = mix(stream[row] ^ mix(own.items.astype(np.uint64))) >> np.uint64(24)
    short = (own.counts <= most)[row]  # all of theirs are used, in catalogue order, whoever else is in the batch
    keys[short] = place[short].astype(np.uint64)
    order = np.argsort((row.astype(np.uint64) << np.uint64(40)) | keys, kind="stable")
    return order[place < most]


def _absent(own: Histories, row: npt.NDArray[np.int64], rank: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """[chosen, n] the rank-th item (from 0) that the customer does not have.

    With a customer's items i_0 < i_1 < ..., the k-th has i_k - k absent items below it, so the answer is the rank
    plus the number of k with i_k - k <= rank: one binary search over all customers, exact and without rejection.
    """
    stride = own.items_total + 1
    below = own.items - within(own.counts) + own.row_of_pair() * stride
    found = np.searchsorted(below, rank + (row * stride)[:, None], side="right")
    return rank + found - own.indptr[row][:, None]
