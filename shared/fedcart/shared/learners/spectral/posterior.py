"""Popularity out of a noised sum: the posterior mean of each item under a log-normal prior fitted to all of them.

Post-processing of a release: it reads no history. Without noise the sum itself comes back.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]

LEVELS = 160
"""Points of the grid of log popularity."""
STEPS = 60
"""Of expectation and maximisation; the prior has two numbers and settles long before."""
AT_ONCE = 1 << 22
"""Numbers [items, levels] held at once."""
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
    """[items] E[truth | total], truth log-normal with the likeliest mean and spread."""
    top = max(float(total.max(initial=0.0)), noise)
    grid = np.linspace(np.log(noise * 1e-3), np.log(2.0 * top), LEVELS)
    level = np.exp(grid)
    centre = float(np.log(max(float(total.mean()), 1e-2 * noise)))
    spread = 1.0
    for _ in range(STEPS):
        first, second, _ = _moments(total, noise, grid, level, centre, spread)
        centre, spread = first, float(np.sqrt(max(second - first**2, 0.05**2)))
    return _moments(total, noise, grid, level, centre, spread)[2]


def _moments(
    total: Float64Array, noise: float, grid: Float64Array, level: Float64Array, centre: float, spread: float
) -> tuple[float, float, Float64Array]:
    """Mean over items of the posterior mean of log truth and of its square; [items] posterior mean of the truth."""
    prior = -0.5 * ((grid - centre) / spread) ** 2
    mean = np.empty_like(total)
    first = second = 0.0
    step = max(1, AT_ONCE // LEVELS)
    for start in range(0, len(total), step):
        part = slice(start, start + step)
        log_weight = prior - 0.5 * ((total[part, None] - level) / noise) ** 2
        weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
        weight /= weight.sum(axis=1, keepdims=True)
        mean[part] = weight @ level
        first += float((weight @ grid).sum())
        second += float((weight @ grid**2).sum())
    return first / len(total), second / len(total), mean
