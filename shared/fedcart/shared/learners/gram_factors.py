"""Co-occurrences as item factors beside public columns, scored by the local solve of `spectral`.

What stands above the noise is a few directions of the head; each is a column of item vectors. Public columns and
released popularity rank everything else, the tail included.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.learners.denoise import beside_the_diagonal, directions, spread
from fedcart.shared.learners.spectral.contribution import DAMPING, SOFTENING
from fedcart.shared.learners.spectral.local_solve import LocalSolve
from fedcart.shared.learners.spectral.sketch import signs
from fedcart.shared.learners.spectral.table import content_columns, item_vectors

Float64Array = npt.NDArray[np.float64]

CONTENT_RANK = 50
"""Public columns beside the factors."""
EXPONENT = 0.5
"""A direction's vector is its unit vector times (value / largest)^EXPONENT."""
MOST = 64
"""Directions kept."""
LEAST_MASS = 1e-6
"""Of an item's share of popularity, where it is nothing."""


def factors(gram: Float64Array, noise: float, popularity: Float64Array, items: int) -> npt.NDArray[np.float32]:
    """[head, MOST or fewer, at least 1] directions of the covariance, leading first, popular items damped.

    Args:
      gram: [head, head] sum z z^T + noise, whose standard deviation is `noise` on the diagonal; 0 = exact.
      popularity: [head] sum of the rows z.
      items: of the whole catalogue.
    """
    _, rest = spread(gram, noise, popularity)
    vectors, values = directions(rest, beside_the_diagonal(noise))
    vectors, values = vectors[:, :MOST], values[:MOST]
    if not len(values):
        return np.zeros((len(gram), 1), np.float32)
    share = popularity / popularity.sum()
    damped = vectors * (items * share[:, None] + SOFTENING) ** -DAMPING
    return np.ascontiguousarray(damped * (signs(vectors) * (values / values[0]) ** EXPONENT), np.float32)


def solver(
    model: npt.NDArray[np.float32],
    head: npt.NDArray[np.int64],
    popularity: npt.NDArray[np.float32],
    catalogue: Catalogue,
    *,
    unobserved_weight: float,
    regularization: float,
    popularity_weight: float,
) -> LocalSolve:
    """The local solve over factors of the head, public columns and log popularity."""
    mass = np.maximum(popularity.astype(np.float64), 0.0)
    q = np.maximum(mass / max(float(mass.sum()), 1e-300), LEAST_MASS / len(mass))
    q /= q.sum()
    columns = np.zeros((len(q), model.shape[1]))
    columns[head] = model
    wide = np.column_stack([columns, content_columns(catalogue, q, CONTENT_RANK)])
    return LocalSolve.of(item_vectors(wide, q), unobserved_weight, regularization, popularity_weight=popularity_weight)
