"""Noise out of a symmetric matrix of co-occurrences: its few directions above the noise, and a diagonal.

A noised Gram matrix is indefinite, so nothing can be solved with it as it is. Directions whose eigenvalue the noise
alone could reach are dropped, the others shrunk as is optimal in Frobenius norm (Gavish, Donoho 2017,
arXiv:1405.7511; a symmetric matrix is the square case). Post-processing of a release; nothing here sees a customer.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedcart.shared.learners.spectral.posterior import posterior_mean
from fedcart.shared.privacy.grid import DIAGONAL, OFF_DIAGONAL

Float64Array = npt.NDArray[np.float64]

LEAST_DIAGONAL = 0.1
"""Of an item's expected diagonal, left beside the directions: an item never explains itself in full."""


def positive(total: Float64Array, noise: float) -> Float64Array:
    """[items] popularity behind a noised total, all positive; without noise the total itself."""
    return total if noise == 0 else posterior_mean(total, noise)


def beside_the_diagonal(noise: float) -> float:
    """Standard deviation off the diagonal of a triangle that has `noise` on it (`privacy.grid`)."""
    return noise * DIAGONAL / OFF_DIAGONAL


def directions(gram: Float64Array, noise: float) -> tuple[Float64Array, Float64Array]:
    """([n, k] orthonormal, [k] positive, descending): what of `gram` stands above the noise; k may be 0.

    An eigenvalue w of truth + noise beyond the edge 2 noise sqrt n becomes sqrt(w^2 - edge^2).

    Args:
      gram: [n, n] symmetric, truth + N(0, noise^2) off the diagonal.
      noise: > 0.
    """
    from scipy.linalg import eigh

    edge = 2.0 * noise * float(np.sqrt(len(gram)))
    values, vectors = eigh(gram, subset_by_value=(edge, np.inf))
    kept = np.sqrt(np.maximum(values**2 - edge**2, 0.0))
    order = np.argsort(-kept, kind="stable")
    return vectors[:, order], kept[order]


def spread(gram: Float64Array, noise: float, popularity: Float64Array) -> tuple[Float64Array, Float64Array]:
    """([n, n] sum of mean mean^T, [n, n] the rest): sum z z^T = N m m^T + covariance, with N m = popularity.

    The first part needs nothing but released popularity, so it stands however much noise is in `gram`.

    Args:
      gram: [n, n] truth + noise, whose standard deviation is `noise` on the diagonal.
      popularity: [n] sum of the rows z.
    """
    mean = np.outer(popularity, popularity) / trace(gram, noise)
    return mean, gram - mean


def denoised(gram: Float64Array, noise: float, popularity: Float64Array) -> Float64Array:
    """[n, n] positive definite: mean and directions above the noise, with the diagonal that popularity predicts.

    Args:
      gram: [n, n] symmetric, truth + noise, whose standard deviation is `noise` on the diagonal.
      popularity: [n] positive, sum of the rows z; the diagonal is proportional to it where rows are alike.
    """
    found, rest = spread(gram, noise, popularity)
    vectors, values = directions(rest, beside_the_diagonal(noise))
    found += (vectors * values) @ vectors.T
    expected = trace(gram, noise) * popularity / popularity.sum()
    diagonal = np.diagonal(found).copy()
    np.fill_diagonal(found, diagonal + np.maximum(expected - diagonal, LEAST_DIAGONAL * expected))
    return found


def trace(gram: Float64Array, noise: float) -> float:
    """Sum of the diagonal, at least what noise alone gives it."""
    return max(float(np.trace(gram)), noise * float(np.sqrt(len(gram))))


def cut_by(clip: float, popularity: Float64Array, gram: float) -> float:
    """By how much the clip shortened squared histories, on average; at most 1.

    With |x| = r before and the same clip for all: sum x x^T has trace `gram` = N clip where everybody is cut, and
    sum x / |x| adds up to `popularity` = N r for 0/1 histories.

    Args:
      clip: bound on |z|^2.
      popularity: [items] sum of the unit 0/1 histories.
      gram: trace of the co-occurrences.
    """
    customers = gram / clip
    length = max(float(popularity.sum()) / customers, 1.0)
    return min(1.0, clip / length**2)
