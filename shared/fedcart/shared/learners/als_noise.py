"""The item step of implicit ALS on noised sums: shrunk right-hand sides, curvature made positive, ridge for the noise.

After Krichene et al. 2023 (arXiv:2302.07975) and Chien et al. 2021 (arXiv:2107.09802), as post-processing of releases.
With few customers one matrix common to all items, times each item's popularity, says more than an item's own noised
one. Items are pulled to what popularity alone predicts, so that much noise leaves a popularity model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedcart.shared.learners.denoise import beside_the_diagonal
from fedcart.shared.learners.solve import Float32Array, Float64Array, packing, solve_packed, unpack, unpacking
from fedcart.shared.learners.spectral.shrink import shrink
from fedcart.shared.learners.spectral.sketch import first_basis
from fedcart.shared.learners.spectral.table import item_vectors


@dataclass(frozen=True, kw_only=True)
class NoisedStep:
    """What a sweep's item step knows of its noise.

    Attributes:
      gram: [d (d + 1) / 2] noised triangle of sum u u^T, |u| = 1 for every customer with a history.
      gram_noise, pull_noise, curvature_noise: standard deviations of one number (of a triangle: on its diagonal).
      unobserved_weight: alpha0.
    """

    gram: Float64Array
    gram_noise: float
    pull_noise: float
    curvature_noise: float
    unobserved_weight: float

    def solve(
        self,
        pull: Float64Array,
        curvature: Float64Array | None,
        popularity: Float64Array,
        ridge: Float64Array,
        public: Float64Array | None = None,
    ) -> Float64Array:
        """[items, d] finite factors of a band of items.

        Args:
          pull: [items, d] noised sum of w u.
          curvature: [items, d (d + 1) / 2] noised triangles of sum w u u^T; None = popularity x the common matrix.
          popularity: [items] positive sum of the cut weights w.
          ridge: [items] of the model without noise.
          public: [items, f] features that predict right-hand sides beside popularity; None = popularity alone.
        """
        d = pull.shape[1]
        common = nearest_positive(unpack(self.gram, d)[None])[0]
        customers = max(float(np.trace(common)), self.gram_noise, 1.0)
        q = popularity / popularity.sum()
        right = shrink(pull, self.pull_noise, predictors(q, public), q)
        base = self.unobserved_weight * common
        width = self.unobserved_weight * edge(self.gram_noise, d)
        if curvature is None:
            own = (popularity / customers)[:, None] * common.reshape(-1)
        else:
            own = nearest_positive(curvature.take(unpacking(d), axis=1).reshape(-1, d, d)).reshape(-1, d * d)
            width += edge(self.curvature_noise, d)
        return solve_packed(own[:, packing(d)], base, np.maximum(ridge, 0.0) + max(width, 1e-9), right)


def predictors(q: Float64Array, public: Float64Array | None) -> Float64Array:
    """[items, 2 + f] what right-hand sides are pulled to: q, its root, each as long as all public columns together."""
    columns = np.column_stack([q, np.sqrt(q)])
    columns /= np.sqrt((columns**2).sum(axis=0))
    if public is None:
        return columns
    wide = np.sqrt(q)[:, None] * public
    return np.column_stack([columns * np.sqrt((wide**2).sum()), wide])


def public_directions(features: Float64Array, popularity: Float64Array, columns: int) -> Float32Array:
    """[items, columns] where items start: `spectral`'s first basis, root mean square length 1."""
    q = shares_of(popularity)
    return np.ascontiguousarray(item_vectors(first_basis(features, q, columns), q)[:, :-1])


def shares_of(popularity: npt.NDArray[np.floating]) -> Float64Array:
    """[items] positive, sum 1; an item without any counts as half of the rarest other."""
    known = popularity[popularity > 0]
    least = float(known.min()) / 2.0 if len(known) else 1.0
    positive = np.maximum(popularity.astype(np.float64), least)
    shares: Float64Array = positive / positive.sum()
    return shares


def edge(noise: float, d: int) -> float:
    """The largest eigenvalue that noise alone gives a [d, d] triangle with `noise` on its diagonal."""
    return 2.0 * beside_the_diagonal(noise) * float(np.sqrt(d))


def nearest_positive(matrices: Float64Array) -> Float64Array:
    """[n, d, d] the nearest positive semi-definite matrix of each: negative eigenvalues become 0."""
    values, vectors = np.linalg.eigh(matrices)
    found: Float64Array = (vectors * np.maximum(values, 0.0)[:, None, :]) @ np.swapaxes(vectors, 1, 2)
    return found


def unit_rows(factors: Float64Array) -> Float64Array:
    """[customers, d] each row at norm 1, so that everyone uses the whole clip; zeros and NaN stay."""
    length = np.sqrt((factors**2).sum(axis=1, keepdims=True))
    found: Float64Array = factors / np.where(length > 0, length, 1.0)
    return found
