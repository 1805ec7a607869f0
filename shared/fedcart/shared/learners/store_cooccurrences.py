"""What a store's own customers have together, beside the coalition's model: read where lists are made, at the store.

EASE (Steck 2019, arXiv:1905.03375) on the store's own histories. Nothing of it leaves, so it costs no epsilon; and none
covers it: with it, a customer's list rests on what other customers of the same store had, as in any shop by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedcart.shared.interactions import Histories
from fedcart.shared.learners.base import Block, LocalTable, Scorer
from fedcart.shared.learners.item_models import ease, ease_by_rows
from fedcart.shared.learners.spectral.own_history import order_weights

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Float32Array = npt.NDArray[np.float32]

REGULARIZATION = 100.0
"""EASE's lambda: co-occurrences of few customers stay near zero by themselves, so a small store adds little."""
WEIGHT = 20.0
"""Of what EASE predicts (about 0 to 1 an item) beside the model's scores of spread 1. Both numbers are one choice for
all learners and stores, on validation items of four data sets (docs/spectral.md)."""
ORDER_WEIGHT, ORDER_ITEMS = 10.0, 3.0
"""How much more the customer's latest items count, as in `order_weights`, where the model reads their order as well:
one choice on validation items of ml-100k and ncf-split."""
MOST_ITEMS = 4096
"""The store's most had items; its matrix takes 4 bytes x the square of that at most."""


@dataclass(frozen=True)
class StoreCooccurrences:
    """What EASE learned from one store's customers.

    Attributes:
      items: int64 [n] catalogue positions, ascending.
      weights: [k, n] of what a history takes of each of k rows, for each item: k = n items, or the store's customers
        where they are fewer than items.
      rows: [k, n] those customers' histories, None where rows are the items themselves.
      own: [n] times the history itself, so that no item speaks for itself; 0 where rows are items.
    """

    items: npt.NDArray[np.int64]
    weights: Float32Array
    rows: csr_array | None
    own: Float32Array

    @classmethod
    def of(cls, histories: Histories, regularization: float = REGULARIZATION) -> StoreCooccurrences:
        """Learn from a store's customers, those who had no item included."""
        had = np.bincount(histories.items, minlength=histories.items_total)
        most = np.argsort(-had, kind="stable")[:MOST_ITEMS]
        items = np.sort(most[had[most] > 0])
        rows = _matrix(histories)[:, items]
        if rows.shape[0] < len(items):
            weights, own = ease_by_rows(rows, regularization)
            return cls(items, weights.astype(np.float32), rows, own.astype(np.float32))
        gram = np.asarray((rows.T @ rows).toarray(), np.float64)
        weights = ease(gram, regularization) if len(items) else np.zeros((0, 0))
        return cls(items, weights.astype(np.float32), None, np.zeros(len(items), np.float32))

    def score(self, histories: Histories, ordered: bool = False) -> Float32Array:
        """[customers, items of the catalogue] what EASE predicts; 0 for items that the store's customers never had.

        Args:
          ordered: the customer's latest items count more, and all of them as much together as without.
        """
        scores = np.zeros((histories.customers, histories.items_total), np.float32)
        taken = replace(histories, weights=_latest_first(histories)) if ordered else histories
        own = _matrix(taken)[:, self.items]
        found = (own if self.rows is None else own @ self.rows.T) @ self.weights
        scores[:, self.items] = found + own.multiply(self.own).toarray()
        return scores


@dataclass(frozen=True)
class BesideStore:
    """A model's scores, spread 1 over the items that the customer has not had, plus weight x the store's own."""

    scorer: Scorer
    store: StoreCooccurrences
    weight: float = WEIGHT
    ordered: bool = False

    def score(self, block: Block, local: LocalTable | None) -> Float32Array:
        """[block customers, items]; the model's own order where the store's customers say nothing. -inf stays."""
        scores = np.array(self.scorer.score(block, local), np.float32)
        scores /= spread(scores, block.histories)[:, None]
        scores += np.float32(self.weight) * _never_behind(
            self.store.score(block.histories, self.ordered), block.histories
        )
        return scores


def _never_behind(own: Float32Array, histories: Histories) -> Float32Array:
    """The same, items of the history at least as high as the best other: EASE lets no item speak for itself, so that
    what is bought again would fall behind by no fault of its own."""
    had = (histories.row_of_pair(), histories.items)
    others = own.copy()
    others[had] = 0.0
    own[had] = np.maximum(own[had], others.max(axis=1, initial=0.0)[had[0]])
    return own


def beside_store(scorer: Scorer, histories: Histories) -> BesideStore:
    """A model as a store with these customers serves it; the order of a history is read where the model reads it."""
    return BesideStore(scorer, StoreCooccurrences.of(histories), ordered=getattr(scorer, "order_weight", 0.0) > 0)


def spread(scores: Float32Array, histories: Histories) -> Float32Array:
    """[customers] standard deviation of the finite scores of items that are not in the history; 1 where it is 0."""
    counted = np.isfinite(scores)
    counted[histories.row_of_pair(), histories.items] = False
    count = np.maximum(counted.sum(axis=1), 1)
    mean = np.where(counted, scores, 0.0).sum(axis=1, dtype=np.float64) / count
    square = np.where(counted, scores - mean[:, None].astype(np.float32), 0.0) ** 2
    found = np.sqrt(square.sum(axis=1, dtype=np.float64) / count).astype(np.float32)
    return np.where(found > 0, found, np.float32(1.0))


def _latest_first(histories: Histories) -> Float32Array:
    """[pairs] weights by `order_weights`, of the same mean a customer as `order_weights` of 1."""
    lift = order_weights(histories, ORDER_WEIGHT, ORDER_ITEMS)
    row = histories.row_of_pair()
    total = np.bincount(row, weights=lift, minlength=histories.customers)
    return (histories.weights * lift * (histories.counts / np.maximum(total, 1e-12))[row]).astype(np.float32)


def _matrix(histories: Histories) -> csr_array:
    """[customers, items] weights."""
    from scipy.sparse import csr_array

    shape = (histories.customers, histories.items_total)
    return csr_array((histories.weights.astype(np.float32), histories.items, histories.indptr), shape=shape)
