"""The customer's half of implicit ALS: a factor solved from own history and public items, and its scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedcart.shared.interactions import Histories
from fedcart.shared.learners.als_noise import shares_of
from fedcart.shared.learners.base import Block, LocalTable
from fedcart.shared.learners.solve import Float32Array, Float64Array, fold_in
from fedcart.shared.learners.spectral.table import log_popularity

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True)
class CustomerSolver:
    """x_u = argmin over x of the loss of `als`, item factors [items, d] fixed; `gram` = items^T items."""

    items: Float32Array
    unobserved_weight: float
    regularization: float
    regularization_exponent: float
    gram: Float64Array

    def solve(self, histories: Histories) -> Float32Array:
        """[customers, d]; zeros for an empty history, NaN for one with a weight that is not finite."""
        base = (self.unobserved_weight * self.gram).astype(np.float32)
        rows = histories.row_of_pair()
        observed = np.bincount(rows, weights=histories.weights, minlength=histories.customers)
        mass = observed + self.unobserved_weight * histories.items_total
        ridge = np.maximum(self.regularization * mass**self.regularization_exponent, 1e-9).astype(np.float32)
        return fold_in(histories.indptr, histories.items, histories.weights, self.items, base, ridge)


@dataclass(frozen=True)
class AlsScorer:
    """x_u v_i with x_u folded in; a customer without history, or with one that is not finite, gets popularity."""

    solver: CustomerSolver
    popularity: npt.NDArray[np.float32]
    popularity_weight: float = 0.0

    def score(self, block: Block, local: LocalTable | None) -> npt.NDArray[np.float32]:
        """[block customers, items]."""
        factors = self.solver.solve(block.histories)
        unknown = (block.histories.counts == 0) | ~np.isfinite(factors).all(axis=1)
        factors[unknown] = 0.0
        scores: npt.NDArray[np.float32] = factors @ self.solver.items.T
        if self.popularity_weight > 0:
            spread = scores.std(axis=1, keepdims=True)
            scores /= np.where(spread > 0, spread, 1.0)
            scores += self.popularity_weight * self._log_popularity()
        scores[unknown] = self.popularity
        return scores

    def _log_popularity(self) -> npt.NDArray[np.float32]:
        """[items] spread 1."""
        return log_popularity(shares_of(self.popularity)).astype(np.float32)


def gram_of(items: Float32Array) -> Float64Array:
    """[d, d] items^T items in double precision, in slices of bounded memory."""
    gram = np.zeros((items.shape[1], items.shape[1]))
    for start in range(0, len(items), 1 << 14):
        part = items[start : start + (1 << 14)].astype(np.float64)
        gram += part.T @ part
    return gram


def weight_matrix(histories: Histories) -> csr_array:
    """[customers, items] the pairs' weights, float64."""
    from scipy.sparse import csr_array

    shape = (histories.customers, histories.items_total)
    return csr_array((histories.weights.astype(np.float64), histories.items, histories.indptr), shape=shape)


def weights_and_one(histories: Histories) -> csr_array:
    """[customers, items + 1] each customer's weights, then 1 in the last column if it has any."""
    from scipy.sparse import csr_array, hstack

    present = csr_array((histories.counts > 0).astype(np.float64)[:, None])
    return csr_array(hstack([weight_matrix(histories), present], format="csr"))
