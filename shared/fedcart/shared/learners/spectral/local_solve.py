"""Scores from public item vectors and a customer's own history: a ridge regression, solved at the store.

As in implicit ALS: f = argmin sum_H w_i (1 - v_i f)^2 + a0 sum_all (v_i f)^2 + a0 reg |f|^2; nothing leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedcart.shared.interactions import Histories
from fedcart.shared.learners.base import Block, LocalTable
from fedcart.shared.learners.solve import fold_in

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LocalSolve:
    """v_i f_u, spread 1, plus popularity_weight x log popularity.

    Attributes:
      vectors: [items, d]; the last column is log popularity.
      base: [d, d] unobserved_weight x vectors^T vectors.
      ridge: on the diagonal.
      popularity_weight: of log popularity beside the personal score.
      order_weight: a customer's most recent item counts 1 + this; 0 = the order does not matter.
      order_items: number of items after which that has fallen to 1/e.
    """

    vectors: Float32Array
    base: Float32Array
    ridge: float
    popularity_weight: float = 0.0
    order_weight: float = 0.0
    order_items: float = 3.0

    @classmethod
    def of(cls, vectors: Float32Array, unobserved_weight: float, regularization: float, **more: float) -> LocalSolve:
        """a0 = unobserved_weight and reg = regularization."""
        gram = vectors.T.astype(np.float64) @ vectors
        base = (unobserved_weight * gram).astype(np.float32)
        return cls(vectors, base, unobserved_weight * regularization, **more)

    def score(self, block: Block, local: LocalTable | None) -> Float32Array:
        """[block customers, items]; popularity for a customer without history, or with one that is not finite."""
        h = block.histories
        ridge = np.full(h.customers, self.ridge, np.float32)
        weights = h.weights if self.order_weight == 0 else h.weights * self._by_order(h)
        taste = fold_in(h.indptr, h.items, weights, self.vectors, self.base, ridge)
        unknown = (h.counts == 0) | ~np.isfinite(taste).all(axis=1)
        taste[unknown] = 0.0
        scores: Float32Array = taste @ self.vectors.T
        popularity = self.vectors[:, -1]
        if self.popularity_weight:
            spread = scores.std(axis=1, keepdims=True)
            scores /= np.where(spread > 0, spread, 1.0)
            scores += np.float32(self.popularity_weight) * popularity
        scores[unknown] = popularity
        return scores

    def _by_order(self, histories: Histories) -> Float32Array:
        """[pairs] 1 + order_weight exp(-rank / order_items) among the customer's own items; 1 without a time."""
        ranks = recency_ranks(histories)
        lift = np.where(np.isnan(ranks), 0.0, np.exp(-np.nan_to_num(ranks) / self.order_items))
        return (1.0 + self.order_weight * lift).astype(np.float32)


def recency_ranks(histories: Histories) -> npt.NDArray[np.float64]:
    """[pairs] 0 = the customer's most recent item; ties share their mean rank; NaN where the pair has no time."""
    row = histories.row_of_pair()
    ages = histories.ages
    order = np.lexsort((ages, row))  # NaN last in its row
    starts = histories.indptr[:-1]
    position = np.empty(len(row))
    position[order] = np.arange(len(row)) - np.repeat(starts, histories.counts)
    _, group = np.unique(np.column_stack([row, ages.astype(np.float64)]), axis=0, return_inverse=True)
    group = group.reshape(-1)
    mean = np.bincount(group, weights=position) / np.maximum(np.bincount(group), 1)
    ranks: npt.NDArray[np.float64] = np.where(np.isnan(ages), np.nan, mean[group])
    return ranks
