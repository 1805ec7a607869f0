"""Content: nothing learned together but popularity. Public metadata, the customer's own history, a ridge regression.

The row that every private or federated result must beat. Items get features from a kernel over public columns
(`kernel.py`): the leading eigenvectors of the popularity-weighted, centred kernel, and one column of log popularity;
a customer's taste is then solved from the own history alone, as in implicit ALS. The popularity is the
coalition's: counts over all customers (faded, if `half_life_days` is given).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import Histories
from fedcart.shared.learners.base import Block, LocalTable
from fedcart.shared.learners.solve import fold_in
from fedcart.simulation.baselines.kernel import item_kernel
from fedcart.simulation.baselines.recent import faded_counts

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

PRIOR = 0.25
"""Added to each count, so that an item nobody took has a logarithm."""
DAMPING = 0.15
"""Exponent that takes popularity out of the features."""


@dataclass(frozen=True)
class ContentScorer:
    """phi_i f_u + popularity_weight log popularity; f_u solves the customer's own ridge regression.

    Attributes:
      features: [items, d].
      base: [d, d] unobserved_weight features^T features.
      ridge: on the diagonal.
      prior: [items] popularity_weight x standardised log popularity.
    """

    features: Float32Array
    base: Float32Array
    ridge: float
    prior: Float32Array
    log_popularity: Float32Array

    def score(self, block: Block, local: LocalTable | None) -> Float32Array:
        """[block customers, items]."""
        h = block.histories
        ridge = np.full(h.customers, self.ridge, np.float32)
        taste = fold_in(h.indptr, h.items, h.weights, self.features, self.base, ridge)
        scores: Float32Array = taste @ self.features.T
        spread = scores.std(axis=1, keepdims=True)
        scores /= np.where(spread > 0, spread, 1.0)
        scores += self.prior
        scores[h.counts == 0] = self.log_popularity
        return scores


def fit(
    train: Histories,
    catalogue: Catalogue,
    *,
    unobserved_weight: float = 1.0,
    regularization: float = 1000.0,
    popularity_weight: float = 0.0,
    rank: int = 50,
    half_life_days: float = np.inf,
) -> ContentScorer:
    """Features from the catalogue's public columns and the coalition's popularity.

    Args:
      unobserved_weight: a0, weight of all items beside those of the history.
      regularization: the ridge is a0 x this; strong, since a history is short.
      popularity_weight: of log popularity (unit variance) beside the personal score (unit variance).
      rank: number of eigenvectors.
      half_life_days: of the popularity; infinity counts customers.
    """
    counts = faded_counts(train, half_life_days).astype(np.float64) + PRIOR
    q = counts / counts.sum()
    log_popularity = np.log(q) - np.log(q).mean()
    log_popularity /= max(float(log_popularity.std()), 1e-12)
    features = item_features(catalogue, q, rank)
    features = np.column_stack([features, log_popularity]).astype(np.float32)
    base = (unobserved_weight * (features.T.astype(np.float64) @ features)).astype(np.float32)
    return ContentScorer(
        np.ascontiguousarray(features),
        base,
        unobserved_weight * regularization,
        (popularity_weight * log_popularity).astype(np.float32),
        log_popularity.astype(np.float32),
    )


def item_features(catalogue: Catalogue, q: Float64Array, rank: int) -> Float64Array:
    """[items, rank or fewer] eigenfactors (eigenvalue^1/4) of sqrt(q) K sqrt(q), centred; mean squared row norm 1."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    items = len(q)
    kernel = item_kernel(catalogue, q)
    root = np.sqrt(q)

    def centred(x: Float64Array) -> Float64Array:
        x = x.reshape(-1)
        x = x - root * (root @ x)
        y = root * kernel(root * x)
        return y - root * (root @ y)

    count = min(rank, items - 2)
    start = np.random.default_rng(0).standard_normal(items)
    if count < 1 or np.abs(centred(start)).max() < 1e-12:  # no columns, and every item as popular: all items alike
        return np.zeros((items, 0))
    values, vectors = eigsh(LinearOperator((items, items), matvec=centred, dtype=np.float64), count, v0=start, tol=1e-6)
    kept = values > 1e-9 * max(float(values.max()), 1e-12)
    features = vectors[:, kept] * values[kept] ** 0.25
    features = features * (items * q[:, None] + 0.01) ** -DAMPING
    norm = np.sqrt((features**2).sum(axis=1).mean()) if features.size else 0.0
    scaled: Float64Array = features / max(norm, 1e-12)
    return scaled
