"""Popularity out of a noised sum: the posterior mean of each item under a log-normal prior fitted to all of them.

Post-processing of a release: it reads no history. Without noise the sum itself comes back.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]

SURE = 16.0
"""Of the noise: from here on a step of the grid would be wider than the noise."""
LEVELS = 128
"""Points of the grid of log popularity: at most steps of a twelfth, 1.3 noises at SURE noises."""
STEPS = 40
"""Of expectation and maximisation; the prior has two numbers and settles long before."""
FITTED = 2048
"""Items that the prior is fitted to: evenly from the sorted sums."""
AT_ONCE = 1 << 22
"""Numbers [items, levels] held at once."""
LEAST_SPREAD = 0.05
"""Of log popularity."""
LEAST = 0.25
"""Least mass of an item without noise: a quarter of one customer's unit row."""


def shares(total: Float64Array, noise: float) -> Float64Array:
    """[items] positive, sum 1: the popularity behind `total` = truth + N(0, noise^2).

    Args:
      total: [items] noised sum of the customers' unit rows.
      noise: its standard deviation; 0 = exact.
    """
    mean = np.maximum(total, LEAST) if noise == 0 else posterior_mean(total, noise)
    found: Float64Array = mean / mean.sum()
    return found


def posterior_mean(total: Float64Array, noise: float) -> Float64Array:
    """[items] E[truth | total], truth log-normal with the likeliest centre and spread.

    Sums of at least SURE noises are too sharp for a grid of log popularity; they get total + noise^2 (log p)'(total), p
    the prior's density, which leaves out noise^4 / total^3.
    """
    sure = total >= SURE * noise
    top = min(max(float(total.max(initial=0.0)), noise), SURE * noise)
    grid = np.linspace(np.log(noise * 1e-3), np.log(2.0 * top), LEVELS)
    some = np.sort(total)[:: -(-len(total) // FITTED)]
    known, unsure = np.log(some[some >= SURE * noise]), some[some < SURE * noise]
    centre = float(np.log(max(float(total.mean()), 1e-2 * noise)))
    spread = 1.0
    for _ in range(STEPS):
        weight = _posterior(unsure, noise, grid, centre, spread)
        centre = float(np.concatenate([weight @ grid, known]).mean())
        square = float(np.concatenate([weight @ grid**2, known**2]).mean())
        spread = float(np.sqrt(max(square - centre**2, LEAST_SPREAD**2)))
    mean = np.empty_like(total)
    pull = noise**2 * (1.0 + (np.log(total[sure]) - centre) / spread**2) / total[sure]
    mean[sure] = np.maximum(total[sure] - pull, total[sure] / 2.0)
    rest, step = np.flatnonzero(~sure), max(1, AT_ONCE // LEVELS)
    for start in range(0, len(rest), step):
        part = rest[start : start + step]
        mean[part] = _posterior(total[part], noise, grid, centre, spread) @ np.exp(grid)
    return mean


def _posterior(total: Float64Array, noise: float, grid: Float64Array, centre: float, spread: float) -> Float64Array:
    """[items, levels] weight of each level of the grid given an item's sum."""
    likelihood = -0.5 * ((total[:, None] - np.exp(grid)) / noise) ** 2
    log_weight = likelihood - 0.5 * ((grid - centre) / spread) ** 2
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    scaled: Float64Array = weight / weight.sum(axis=1, keepdims=True)
    return scaled
