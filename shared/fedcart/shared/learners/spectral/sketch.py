"""The item side between rounds: the first basis from public columns, then factors of all sketches so far."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedcart.shared.learners.spectral.shrink import shrink

Float64Array = npt.NDArray[np.float64]

LEAST_RATIO = 1e-4
"""Of a factor's value to the largest, below which its weight grows no more."""
NEGLIGIBLE = 1e-7
"""Of the largest value: a factor below it is rounding, and stays zero."""


def first_basis(features: Float64Array, q: Float64Array, columns: int) -> Float64Array:
    """[items, columns] orthonormal directions, most popular items first, none of them popularity itself.

    The leading left singular vectors of the unit columns of sqrt(q) x features; zeros where there are fewer.

    Args:
      features: [items, d] public: eigenvectors of the kernel x sqrt(eigenvalue).
      q: [items] released popularity.
    """
    root = np.sqrt(q)
    wide = root[:, None] * features
    wide = wide - np.outer(root, root @ wide)
    norms = np.sqrt((wide**2).sum(axis=0))
    wide = wide[:, norms > 1e-12] / norms[norms > 1e-12]
    left, values, _ = np.linalg.svd(wide, full_matrices=False)
    left = left[:, values > 1e-9 * max(float(values.max(initial=0.0)), 1e-12)][:, :columns]
    basis = np.zeros((len(q), columns))
    basis[:, : left.shape[1]] = left
    return basis


def factors(
    sketch: Float64Array, bases: Float64Array, noise: float, features: Float64Array, q: Float64Array, rank: int
) -> tuple[Float64Array, Float64Array]:
    """([items, rank] orthonormal, [rank] values descending): leading left singular pairs of shrink(Y) V^T.

    Args:
      sketch: [items, columns] Y, all rounds side by side; Y = M V + noise with M = sum of z z^T.
      bases: [items, columns] V, as published.
      noise: standard deviation of a number of Y.
    """
    clean = shrink(sketch, noise, np.sqrt(q)[:, None] * features, q)
    triangular = np.linalg.qr(bases)[1]
    left, values, _ = np.linalg.svd(clean @ triangular.T, full_matrices=False)
    count = min(rank, int((values > NEGLIGIBLE * max(float(values.max(initial=0.0)), 1e-300)).sum()))
    found, kept = np.zeros((len(q), rank)), np.zeros(rank)
    found[:, :count], kept[:count] = left[:, :count] * signs(left[:, :count]), values[:count]
    return found, kept


def signs(vectors: Float64Array) -> Float64Array:
    """[columns] the sign that makes the largest number of each column positive: which one LAPACK gives is chance."""
    found: Float64Array = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])])
    return found


def weights(values: npt.NDArray[np.floating], exponent: float) -> Float64Array:
    """[rank] (value / largest)^exponent; all 1 when every value is 0."""
    largest = float(values.max(initial=0.0))
    if largest <= 0:
        return np.ones(len(values))
    powered: Float64Array = np.maximum(values.astype(np.float64) / largest, LEAST_RATIO) ** exponent
    return powered
