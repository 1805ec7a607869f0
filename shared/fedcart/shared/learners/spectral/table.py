"""Item vectors for the local solve: the learned factors, public columns, and one column of log popularity."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.item_features.factors import eigenfactors
from fedcart.shared.item_features.kernel import popularity_kernel

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

DAMPING, SOFTENING = 0.15, 0.01
"""Vectors are divided by (items x q + SOFTENING)^DAMPING: popularity has a column of its own."""


def log_popularity(q: Float64Array) -> Float64Array:
    """[items] log(items x q), centred, standard deviation 1; zeros when all items are alike."""
    found = np.log(q) - np.log(q).mean()
    spread = float(found.std())
    scaled: Float64Array = found / spread if spread > 1e-12 else np.zeros(len(q))
    return scaled


def content_columns(catalogue: Catalogue, q: Float64Array, rank: int) -> Float64Array:
    """[items, rank or fewer] eigenvectors x eigenvalue^(1/4) of sqrt(q) K sqrt(q), popularity projected out."""
    kernel = popularity_kernel(catalogue, q)
    root = np.sqrt(q)

    def centred(x: Float64Array) -> Float64Array:
        x = x - np.outer(root, root @ x)
        y = root[:, None] * kernel(root[:, None] * x)
        return y - np.outer(root, root @ y)

    values, vectors = eigenfactors(centred, len(q), min(rank, len(q) - 1))
    columns: Float64Array = vectors * values**0.25
    return columns


def item_vectors(columns: Float64Array, q: Float64Array) -> Float32Array:
    """[items, d + 1] `columns` damped to a mean squared row norm of 1, then log popularity."""
    damped = columns * (len(q) * q[:, None] + SOFTENING) ** -DAMPING
    norm = float(np.sqrt((damped**2).sum(axis=1).mean())) if damped.size else 0.0
    scaled = damped / max(norm, 1e-12)
    return np.ascontiguousarray(np.column_stack([scaled, log_popularity(q)]), np.float32)
