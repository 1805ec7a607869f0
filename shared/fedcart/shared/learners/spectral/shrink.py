"""Noise out of a sketch: each number is pulled to what public columns predict, by how much of it can be noise.

Empirical Bayes, post-processing of releases. Columns are turned to the sketch's own directions first; white noise
stays white. Without noise the sketch comes back.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]

WINDOW = 75
"""Items of like popularity whose spread is averaged."""
RIDGES = np.logspace(-6.0, 6.0, 61)
"""Ratios of prior to residual variance that are tried."""


def shrink(sketch: Float64Array, noise: float, features: Float64Array, q: Float64Array) -> Float64Array:
    """[items, columns] the posterior mean of the sketch.

    Args:
      sketch: [items, columns], truth + N(0, noise^2).
      features: [items, d] public, scaled like the sketch's rows.
      q: [items] popularity: items next to each other in its order have like spreads.
    """
    if noise == 0 or not sketch.any():
        return sketch
    _, _, right = np.linalg.svd(sketch, full_matrices=False)
    turned = sketch @ right.T
    predicted = ridge_prediction(turned, features)
    kept: Float64Array = (predicted + signal_share(turned - predicted, noise, q) * (turned - predicted)) @ right
    return kept


def ridge_prediction(columns: Float64Array, features: Float64Array) -> Float64Array:
    """[items, columns] ridge regression of each column on the features, the ridge by marginal likelihood."""
    items = len(columns)
    left, singular, _ = np.linalg.svd(features, full_matrices=False)
    inside = left.T @ columns  # [d, columns]
    outside = np.maximum((columns**2).sum(axis=0) - (inside**2).sum(axis=0), 0.0)
    squared = singular**2 * (items / max(float((singular**2).sum()), 1e-300))
    best = np.full(columns.shape[1], -np.inf)
    share = np.zeros_like(inside)
    for ratio in RIDGES:
        spread = 1.0 + ratio * squared[:, None]
        residual = (inside**2 / spread).sum(axis=0) + outside
        likelihood = -items * np.log(np.maximum(residual / items, 1e-300)) - np.log(spread).sum()
        better = likelihood > best
        best[better] = likelihood[better]
        share[:, better] = 1.0 - 1.0 / spread
    predicted: Float64Array = left @ (share * inside)
    return predicted


def signal_share(residual: Float64Array, noise: float, q: Float64Array) -> Float64Array:
    """[items, columns] S / (S + noise^2), S = spread of the item's neighbours in popularity x of the column."""
    order = np.argsort(-q, kind="stable")
    of_row = np.empty(len(q))
    of_row[order] = moving_mean((residual[order] ** 2).mean(axis=1), WINDOW)
    rows = np.maximum(of_row - noise**2, 0.0)
    columns = np.maximum((residual**2).mean(axis=0) - noise**2, 0.0)
    columns = columns / max(float(columns.mean()), 1e-300)
    spread = rows[:, None] * columns
    share: Float64Array = spread / (spread + noise**2)
    return share


def moving_mean(values: Float64Array, window: int) -> Float64Array:
    """[n] mean over the nearest `window` positions; fewer at the ends."""
    half = window // 2
    total = np.concatenate([[0.0], np.cumsum(values)])
    position = np.arange(len(values))
    low, high = np.maximum(position - half, 0), np.minimum(position + half + 1, len(values))
    mean: Float64Array = (total[high] - total[low]) / (high - low)
    return mean
