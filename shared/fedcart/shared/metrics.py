"""Ranking metrics from ranks alone, so that a store and the simulation's oracle measure the same thing.

A rank is 0-based: the number of candidates scored higher, plus half of those scored the same (ties count half).
A held-out item that is not measured has rank NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ranks = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PerCustomer:
    """Metrics of each measured customer, all [measured customers]; `rows` are their positions among all customers."""

    rows: npt.NDArray[np.intp]
    values: dict[str, npt.NDArray[np.float64]]


def gain(ranks: Ranks, at: int) -> Ranks:
    """1 / log2(rank + 2) for ranks below `at`, 0 beyond (Järvelin & Kekäläinen 2002, binary relevance)."""
    return np.where(ranks < at, 1.0 / np.log2(np.minimum(ranks, at) + 2.0), 0.0)


def single(ranks: Ranks, at: int = 10) -> PerCustomer:
    """HR and NDCG of customers with exactly one held-out item; ranks [customers], NaN = none."""
    rows = np.flatnonzero(~np.isnan(ranks))
    measured = ranks[rows]
    return PerCustomer(rows, {f"hr@{at}": (measured < at).astype(np.float64), f"ndcg@{at}": gain(measured, at)})


def several(indptr: npt.NDArray[np.int64], ranks: Ranks) -> PerCustomer:
    """All ranking metrics of customers with any number of held-out items.

    Args:
      indptr: [customers + 1] CSR offsets of each customer's held-out items.
      ranks: [pairs], NaN = not measured (a customer with only such items is left out).

    Returns:
      hr@10 (any hit), ndcg@10, recall@20, precision@10, f1@10, mrr@10 of each measured customer. The ideal DCG
      has min(10, measured items) hits; recall divides by the number of measured items. Where ties put more than
      ten items at ranks below 10, ten hits are counted and NDCG is 1 at most.
    """
    customers = len(indptr) - 1
    owner = np.repeat(np.arange(customers), np.diff(indptr))
    measured = ~np.isnan(ranks)
    owner, kept = owner[measured], ranks[measured]
    counts = np.bincount(owner, minlength=customers)
    rows = np.flatnonzero(counts)
    relevant = counts[rows].astype(np.float64)

    def total(values: Ranks) -> Ranks:
        return np.bincount(owner, weights=values, minlength=customers)[rows].astype(np.float64)

    ideal = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(10) + 2.0))])
    hits10 = np.minimum(total((kept < 10).astype(np.float64)), 10.0)
    best = np.full(customers, np.inf)
    np.minimum.at(best, owner, kept)
    first = best[rows]
    precision, recall10 = hits10 / 10.0, hits10 / relevant
    both = precision + recall10
    return PerCustomer(
        rows,
        {
            "hr@10": (hits10 > 0).astype(np.float64),
            "ndcg@10": np.minimum(total(gain(kept, 10)) / ideal[np.minimum(relevant, 10).astype(np.intp)], 1.0),
            "recall@20": total((kept < 20).astype(np.float64)) / relevant,
            "precision@10": precision,
            "f1@10": np.divide(2 * precision * recall10, both, out=np.zeros_like(both), where=both > 0),
            "mrr@10": np.where(first < 10, 1.0 / (first + 1.0), 0.0),
        },
    )


def bootstrap_interval(
    values: npt.NDArray[np.float64], seed: int, replicates: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the mean over customers (Efron 1979); NaN, NaN for no customers.

    For a paired comparison pass the customers' differences.
    """
    count = len(values)
    if count == 0:
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    means = np.empty(replicates)
    for index in range(replicates):
        means[index] = values[generator.integers(0, count, count)].mean()
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def stratified_interval(
    groups: Sequence[npt.NDArray[np.float64]], seed: int, replicates: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the mean of the groups' means, customers redrawn within each group (none empty)."""
    if not groups:
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    means = np.zeros(replicates)
    for values in groups:
        for index in range(replicates):
            means[index] += values[generator.integers(0, len(values), len(values))].mean() / len(groups)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
