"""Scores from public item vectors and a customer's own history: a ridge regression, solved at the store.

As in implicit ALS: f = argmin sum_H w_i (1 - v_i f)^2 + a0 sum_all (v_i f)^2 + a0 reg |f|^2; nothing leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedcart.shared.learners.base import Block, LocalTable
from fedcart.shared.learners.solve import fold_in
from fedcart.shared.learners.spectral.own_history import order_weights, own_bonus

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LocalSolve:
    """v_i f_u, spread 1, plus popularity_weight x log popularity, plus own_weight x what the customer had lately.

    Attributes:
      vectors: [items, d]; the last column is log popularity.
      base: [d, d] unobserved_weight x vectors^T vectors.
      ridge: on the diagonal.
      popularity_weight: of log popularity beside the personal score.
      order_weight: a customer's most recent item counts 1 + this; 0 = the order does not matter.
      order_items: number of items after which that has fallen to 1/e.
      own_weight: of the customer's own items, faded by age, beside the personal score: what is bought again, and
        what was seen or put in a cart and not yet bought.
      own_half_life_days: of that bonus.
    """

    vectors: Float32Array
    base: Float32Array
    ridge: float
    popularity_weight: float = 0.0
    order_weight: float = 0.0
    order_items: float = 3.0
    own_weight: float = 0.0
    own_half_life_days: float = np.inf

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
        weights = (
            h.weights if self.order_weight == 0 else h.weights * order_weights(h, self.order_weight, self.order_items)
        )
        taste = fold_in(h.indptr, h.items, weights, self.vectors, self.base, ridge)
        unknown = (h.counts == 0) | ~np.isfinite(taste).all(axis=1)
        taste[unknown] = 0.0
        scores: Float32Array = taste @ self.vectors.T
        popularity = self.vectors[:, -1]
        if self.popularity_weight or self.own_weight:
            spread = scores.std(axis=1, keepdims=True)
            scores /= np.where(spread > 0, spread, 1.0)
            scores += np.float32(self.popularity_weight) * popularity
        scores[unknown] = popularity
        if self.own_weight:
            bonus = np.float32(self.own_weight) * own_bonus(h, self.own_half_life_days)
            scores[h.row_of_pair(), h.items] += bonus
        return scores
