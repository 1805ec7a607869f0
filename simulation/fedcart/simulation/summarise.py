"""From rankings to what run.json says of each method: means, intervals, paired differences, stores, long tail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcart.shared import metrics
from fedcart.shared.catalogue import Catalogue
from fedcart.simulation.evaluate import Ranking
from fedcart.simulation.partition import Partition
from fedcart.simulation.split import Split

MAIN = "ndcg@10"
FEWEST_FOR_INTERVAL = 20
"""Measured customers below which a percentile bootstrap covers far less than it says, and no interval is given."""


@dataclass(frozen=True)
class Summariser:
    """Summaries of one run; the same seed and replicates for every method, so intervals are comparable."""

    split: Split
    partition: Partition
    catalogue: Catalogue
    seed: int
    replicates: int

    def block(self, ranking: Ranking, new: bool) -> dict[str, Any]:
        """One method's M (DESIGN section 9) on new items, or on all items."""
        found = metrics.several(self.split.held_out.indptr, ranking.new if new else ranking.all)
        full: dict[str, float | None] = {name: mean(values) for name, values in found.values.items()}
        full |= self._lists(ranking.top[found.rows]) if new else dict.fromkeys(LIST_METRICS)
        sampled = None
        if new and self.split.held_out.candidates is not None:
            one_of = metrics.single(ranking.sampled)
            sampled = {name: mean(x) for name, x in one_of.values.items()} | {"n": len(one_of.rows)}
        return {
            "sampled": sampled,
            "full": full,
            "ci95": self._intervals(found),
            "macro": {MAIN: macro(found, self.partition.store_of)} if len(found.rows) else None,
            "n": len(found.rows),
            "measured": "oracle",
        }

    def paired(self, method: str, ranking: Ranking, against: str, other: Ranking) -> dict[str, Any]:
        """method minus against, NDCG@10 of new items, with a bootstrap interval over the same customers; the whole
        range where too few were measured to say."""
        difference = self._main(ranking) - self._main(other)
        low, high = self._interval(difference) or (-1.0, 1.0)
        return {
            "method": method,
            "against": against,
            "metric": MAIN,
            "difference": mean(difference),
            "low": low,
            "high": high,
            "n": len(difference),
        }

    def paired_macro(self, method: str, ranking: Ranking, against: str, other: Ranking) -> dict[str, Any]:
        """The same for the mean over stores; customers are drawn within their stores, so the interval is for these
        stores, and a store with a single measured customer adds nothing to its width."""
        found = metrics.several(self.split.held_out.indptr, ranking.new)
        difference = self._main(ranking) - self._main(other)
        store = self.partition.store_of[found.rows]
        groups = [difference[store == index] for index in np.unique(store)]
        low, high = -1.0, 1.0
        if len(difference) >= FEWEST_FOR_INTERVAL:
            low, high = metrics.stratified_interval(groups, self.seed, self.replicates)
        return {
            "method": method,
            "against": against,
            "metric": f"macro {MAIN}",
            "difference": float(np.mean([group.mean() for group in groups])) if groups else 0.0,
            "low": low,
            "high": high,
            "n": len(difference),
        }

    def stores(self, alone: Ranking | None, together: Ranking) -> list[dict[str, Any]]:
        """NDCG@10 of new items by store, alone and together, over its `measured` customers; low and high bound the
        paired difference, None where too few were measured to say."""
        found = metrics.several(self.split.held_out.indptr, together.new)
        store = self.partition.store_of[found.rows]
        together_values = found.values[MAIN]
        alone_values = None if alone is None else self._main(alone)
        rows = []
        for index, name in enumerate(self.partition.names):
            here = store == index
            row: dict[str, Any] = {
                "store": name,
                "customers": int(np.diff(self.partition.offsets)[index]),
                "measured": int(here.sum()),
                "alone": None,
                "together": mean(together_values[here]) if here.any() else None,
                "low": None,
                "high": None,
            }
            if here.any() and alone_values is not None:
                row["alone"] = mean(alone_values[here])
                row["low"], row["high"] = self._interval(together_values[here] - alone_values[here]) or (None, None)
            rows.append(row)
        return rows

    def long_tail(self, rankings: Mapping[str, Ranking | None]) -> list[dict[str, Any]]:
        """NDCG@10 gain of held-out new items by training popularity, most popular items first: those whose pairs
        begin in the first half of all training pairs (head), in the next 30 % (middle), in the rest (tail)."""
        counts = np.bincount(self.split.train.items, minlength=len(self.catalogue))
        order = np.argsort(-counts, kind="stable")
        before = (np.cumsum(counts[order]) - counts[order]) / max(1, counts.sum())
        group = np.empty(len(counts), np.intp)
        group[order] = np.searchsorted([0.5, 0.8], before, side="right")
        of_pair = group[self.split.held_out.items]
        return [
            {
                "group": name,
                "share_of_items": float((group == index).mean()),
                MAIN: {
                    key: None if ranking is None else pair_gain(ranking.new[of_pair == index])
                    for key, ranking in rankings.items()
                },
            }
            for index, name in enumerate(("head", "middle", "tail"))
        ]

    def _main(self, ranking: Ranking) -> npt.NDArray[np.float64]:
        return metrics.several(self.split.held_out.indptr, ranking.new).values[MAIN]

    def _intervals(self, found: metrics.PerCustomer) -> dict[str, list[float]] | None:
        known = {name: self._interval(found.values[name]) for name in (MAIN, "hr@10")}
        return {name: list(bounds) for name, bounds in known.items() if bounds} or None

    def _interval(self, values: npt.NDArray[np.float64]) -> tuple[float, float] | None:
        if len(values) < FEWEST_FOR_INTERVAL:
            return None
        return metrics.bootstrap_interval(values, self.seed, self.replicates)

    def _lists(self, top: npt.NDArray[np.int32]) -> dict[str, float | None]:
        """Coverage = share of items shown to anyone; novelty = mean -log2 of the share of customers that had the
        item (Castells et al. 2011); diversity = share of pairs in a list with different categories."""
        shown = top[top >= 0]
        if len(shown) == 0:
            return dict.fromkeys(LIST_METRICS)
        customers = max(1, self.split.train.customers)
        had = np.maximum(np.bincount(self.split.train.items, minlength=len(self.catalogue)), 1) / customers
        category = self.catalogue.text("category")
        return {
            "coverage@10": len(np.unique(shown)) / len(self.catalogue),
            "novelty@10": float(-np.log2(had[shown]).mean()),
            "diversity@10": None if category is None else different_pairs(top, category),
        }


LIST_METRICS = ("coverage@10", "novelty@10", "diversity@10")


def mean(values: npt.NDArray[np.float64]) -> float:
    """The mean; 0 for no customers."""
    return float(values.mean()) if len(values) else 0.0


def macro(found: metrics.PerCustomer, store_of: npt.NDArray[np.int64]) -> float:
    """Mean over stores of the stores' means of NDCG@10."""
    store = store_of[found.rows]
    counts = np.bincount(store)
    sums = np.bincount(store, weights=found.values[MAIN])
    return float((sums[counts > 0] / counts[counts > 0]).mean())


def pair_gain(ranks: npt.NDArray[np.float64]) -> float | None:
    """Mean NDCG@10 gain of held-out items, each as if it were its customer's only one; None for none."""
    kept = ranks[~np.isnan(ranks)]
    return float(metrics.gain(kept, 10).mean()) if len(kept) else None


def different_pairs(top: npt.NDArray[np.int32], category: npt.NDArray[Any]) -> float:
    """Share of pairs within full lists whose items have different categories."""
    codes = np.unique(category.astype(str), return_inverse=True)[1]
    full = codes[top[(top >= 0).all(axis=1)]]
    if len(full) == 0:
        return 0.0
    width = full.shape[1]
    different = sum((full[:, a] != full[:, b]).mean() for a in range(width) for b in range(a + 1, width))
    return float(different / (width * (width - 1) / 2))
