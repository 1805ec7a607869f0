"""Differences over the same customers, from the cells' results.parquet: what two methods did for each customer.

A pair of runs is comparable only if the same customers are measured on the same held-out items; that is checked on
the files, never assumed. Stores may differ (`random` by seed): then a customer is known by the number alone.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcart.shared import metrics
from fedcart.shared.errors import DataError
from fedcart.simulation.summarise import FEWEST_FOR_INTERVAL, MAIN

PRINTED = 4
"""Decimals of a metric as people read it."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Customers:
    """NDCG@10 of new items by method, full ranking and among sampled candidates: each [customers], in the order of
    `keys` (sorted)."""

    keys: tuple[Any, ...]
    held_out: bytes
    values: dict[str, Floats]
    sampled: dict[str, Floats]


@dataclass(frozen=True)
class Difference:
    """Mean over seeds and customers of one method minus another; low and high None = too few customers."""

    difference: float
    low: float | None
    high: float | None
    customers: int
    seeds: int

    @property
    def verdict(self) -> int:
        """1 measurably better, -1 measurably worse, 0 neither: a bound that is printed as zero is on neither side."""
        if self.low is None or self.high is None:
            return 0
        return (round(self.low, PRINTED) > 0) - (round(self.high, PRINTED) < 0)


@functools.lru_cache(maxsize=64)
def customers(directory: Path, by_store: bool) -> Customers:
    """Read a run's results.parquet; customers keyed by (number, store), or by number alone.

    Raises:
      DataError: a number is there twice, so that it needs its store.
    """
    import pandas as pd

    frame = pd.read_parquet(directory / "results.parquet")
    customer, store = frame["customer"].to_numpy(), frame["store"].to_numpy().astype(str)
    start = np.ones(len(frame), np.bool_)
    start[1:] = (customer[1:] != customer[:-1]) | (store[1:] != store[:-1])
    indptr = np.append(np.flatnonzero(start), len(frame)).astype(np.int64)
    first = indptr[:-1]
    keys = (
        list(zip(customer[first].tolist(), store[first].tolist(), strict=True))
        if by_store
        else customer[first].tolist()
    )
    if len(set(keys)) != len(keys):
        raise DataError(f"{directory}: a customer at several stores; customers were not paired")
    methods = [name.removesuffix(".new") for name in frame.columns if name.endswith(".new")]
    found = {name: metrics.several(indptr, frame[f"{name}.new"].to_numpy()) for name in methods}
    rows = next(iter(found.values())).rows
    order = sorted(range(len(rows)), key=lambda index: keys[rows[index]])
    return Customers(
        tuple(keys[rows[index]] for index in order),
        held_out(frame, indptr, [int(rows[index]) for index in order]),
        {name: one.values[MAIN][order] for name, one in found.items()},
        {name: ranked for name in methods if (ranked := sampled(frame, name, first[rows[order]])) is not None},
    )


def sampled(frame: Any, method: str, pairs: npt.NDArray[np.int64]) -> Floats | None:
    """[customers] NDCG@10 among the sampled candidates, of the customers whose first rows these are; None where the
    split has no candidates for every one of them."""
    column = f"{method}.candidates"
    if column not in frame.columns:
        return None
    ranks = frame[column].to_numpy()[pairs]
    return None if np.isnan(ranks).any() else metrics.single(ranks).values[MAIN]


def held_out(frame: Any, indptr: npt.NDArray[np.int64], rows: Sequence[int]) -> bytes:
    """SHA-256 of the measured customers' held-out new items, in the order of `rows`."""
    import hashlib

    item, new = frame["item"].to_numpy().astype(str), frame["is_new"].to_numpy()
    digest = hashlib.sha256()
    for row in rows:
        pairs = slice(indptr[row], indptr[row + 1])
        digest.update(repr(sorted(item[pairs][new[pairs]].tolist())).encode())
    return digest.digest()


def difference(
    one: Path, method: str, other: Path, against: str, candidates: bool = False
) -> tuple[tuple[Any, ...], Floats]:
    """Customers and `method` of run `one` minus `against` of run `other`, customer by customer; `candidates`: ranked
    among the sampled ones.

    Raises:
      DataError: the runs measured other customers or other items.
    """
    a, b = customers(one, True), customers(other, True)
    if a.keys != b.keys:
        a, b = customers(one, False), customers(other, False)
    if a.keys != b.keys or a.held_out != b.held_out:
        raise DataError(f"{one.name} and {other.name} measured other customers or items; they were not compared")
    if candidates:
        return a.keys, a.sampled[method] - b.sampled[against]
    return a.keys, a.values[method] - b.values[against]


def paired(parts: Sequence[tuple[tuple[Any, ...], Floats]], replicates: int, seed: int = 0) -> Difference:
    """The mean over seeds, with a percentile bootstrap.

    Args:
      parts: one `difference` a seed. With one seed customers are redrawn; with several, seeds are, and customers
        within them: the same customers in all seeds where these measured the same. With few seeds that is too narrow,
        since S redrawn seeds vary (S - 1) / S as much as S new ones.
    """
    mean = float(np.mean([values.mean() for _, values in parts]))
    fewest = min(len(values) for _, values in parts)
    if fewest < FEWEST_FOR_INTERVAL:
        return Difference(mean, None, None, fewest, len(parts))
    if len(parts) == 1:
        low, high = metrics.bootstrap_interval(parts[0][1], seed, replicates)
    else:
        low, high = over_seeds(parts, replicates, seed)
    return Difference(mean, low, high, fewest, len(parts))


def over_seeds(parts: Sequence[tuple[tuple[Any, ...], Floats]], replicates: int, seed: int) -> tuple[float, float]:
    """95 % over customers and seeds."""
    generator = np.random.default_rng(seed)
    same = all(keys == parts[0][0] for keys, _ in parts)
    stacked = np.stack([values for _, values in parts]) if same else None  # [seeds, customers]
    means = np.empty(replicates)
    for index in range(replicates):
        drawn = generator.integers(0, len(parts), len(parts))
        if stacked is not None:
            weight = np.bincount(drawn, minlength=len(parts)) / len(parts)
            count = stacked.shape[1]
            means[index] = (weight @ stacked)[generator.integers(0, count, count)].mean()
        else:
            values = [parts[number][1] for number in drawn]
            means[index] = np.mean([v[generator.integers(0, len(v), len(v))].mean() for v in values])
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def accuracy(parts: Sequence[tuple[Path, str]], replicates: int) -> Difference:
    """The mean of a method over seeds with its interval, as `paired` with nothing taken off."""
    found = []
    for directory, method in parts:
        try:
            one = customers(directory, True)
        except DataError:
            one = customers(directory, False)
        found.append((one.keys, one.values[method]))
    return paired(found, replicates)
