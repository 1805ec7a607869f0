"""Leading eigenvectors of a kernel over items, without the kernel's matrix: randomised subspace iteration.

Halko, Martinsson, Tropp 2011, arXiv:0909.4061, Algorithm 4.4. Memory: a few [items, rank] arrays, at any catalogue
size; the start is seeded, so the same catalogue gives the same factors.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
Product = Callable[[Float64Array], Float64Array]

OVERSAMPLING = 30
ITERATIONS = 6
NEGLIGIBLE = 1e-9
"""Eigenvalues below this share of the largest are left out."""


def eigenfactors(product: Product, items: int, rank: int) -> tuple[Float64Array, Float64Array]:
    """The at most `rank` largest eigenvalues [found], descending, and their vectors [items, found].

    Args:
      product: x -> K x for x [items, vectors]; K symmetric positive semi-definite.
    """
    width = min(items, rank + OVERSAMPLING)
    if rank < 1 or items < 1:
        return np.zeros(0), np.zeros((items, 0))
    block = np.random.default_rng(0).standard_normal((items, width))
    for _ in range(ITERATIONS):
        block, _ = np.linalg.qr(product(block))
    small = block.T @ product(block)
    values, rotation = np.linalg.eigh((small + small.T) / 2.0)
    order = np.argsort(-values)[:rank]
    values = values[order]
    kept = values > max(NEGLIGIBLE * float(values.max(initial=0.0)), 1e-12)
    return values[kept], block @ rotation[:, order[kept]]
