"""The integer grid of one release: the factors' radii, the exact sensitivity D, and what one unit is worth.

Factors are clipped, rounded to integers inside a radius S (`quantise`), multiplied and added exactly. So D is an
integer that holds for every input, and noise and cost both come from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from fedcart.shared.errors import ConfigError
from fedcart.shared.privacy.release import Release

VECTOR, FACTOR, SQUARE, WEIGHT, WEIGHTED = 1 << 20, 1 << 12, 1 << 11, 1 << 8, 1 << 7
"""Radii: of a row by itself; of either factor of a product; of z in z z^T; of w and u in w u u^T. Fine enough that
rounding disappears in the noise (D units and more), coarse enough that 60 times D stays in the sampler's reach."""
DIAGONAL, OFF_DIAGONAL = 5, 7
"""A symmetric matrix travels as its triangle, off-diagonal entries scaled by 7/5 <= sqrt 2: with u = q q^T,
|triangle|^2 = 25 sum q_i^4 + 49 sum_(i<j) q_i^2 q_j^2 <= 25 (sum q_i^2)^2, since 49 <= 50."""
EXACT = 1 << 53
"""Integers below it are exact in float64, whatever the order of addition."""


@dataclass(frozen=True, slots=True)
class Grid:
    """How a release's numbers become integers and integers become numbers.

    Attributes:
      radii: exact L2 bound of each integer factor, in the order of the sum's arguments.
      sensitivity: D, exact L2 bound of what one customer adds, in units.
      largest: most that one customer adds to one number, in units.
      unit: what one unit is worth; a total times it is the release's total.
      side: of the triangle's matrix, 0 when the release is no triangle.
    """

    radii: tuple[int, ...]
    sensitivity: int
    largest: int
    unit: float
    side: int = 0

    def units(self, total: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """The sum of products (float64 that hold integers) as int64 units, triangles weighted 5 : 7."""
        whole: npt.NDArray[np.int64] = total.astype(np.int64)
        if self.side:
            whole *= np.where(_is_diagonal(self.side), DIAGONAL, OFF_DIAGONAL)
        return whole

    def values(self, units: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """What units are worth, float64."""
        unit = np.where(_is_diagonal(self.side), 1.0, DIAGONAL / OFF_DIAGONAL) * self.unit if self.side else self.unit
        return np.multiply(units, unit, dtype=np.float64)


def grid(release: Release) -> Grid:
    """The grid of a clipped release.

    `rows`: |q| <= S, so D = S. `cross`: |q a^T|_F = |q| |a| <= S S. `outer`: D = 5 S^2 by the weights above.
    `per_item`: |(w_j u)_j| = |w| |u| <= S_w S_u; with the triangle of u u^T, D = 5 S_w S_u^2.

    Raises:
      ConfigError: a bound is not finite, or the kind has no sum.
    """
    if not math.isfinite(release.sensitivity()):
        raise ConfigError(f"release {release.name!r} is not clipped; it has no integer grid")
    clip, weight = release.clip_norm, release.weight_clip_norm
    if release.kind == "rows":
        return Grid((VECTOR,), VECTOR, VECTOR, clip / VECTOR)
    if release.kind == "cross":
        return Grid((FACTOR, FACTOR), FACTOR**2, FACTOR**2, clip / FACTOR**2)
    if release.kind == "outer":
        bound = DIAGONAL * SQUARE**2
        return Grid((SQUARE,), bound, bound, clip / bound, _side(release.words))
    if release.kind == "per_item" and release.order == 1:
        return Grid((FACTOR, FACTOR), FACTOR**2, FACTOR**2, weight * clip / FACTOR**2)
    if release.kind == "per_item":
        bound = DIAGONAL * WEIGHT * WEIGHTED**2
        return Grid((WEIGHT, WEIGHTED), bound, bound, weight * clip**2 / bound, _side(release.shape[1]))
    raise ConfigError(f"release {release.name!r} of kind {release.kind!r} is no sum; it has no integer grid")


def share_variance(release: Release, honest: int) -> int:
    """Variance of one store's noise in units squared: z^2 D^2 / h, rounded up; 0 without noise.

    Args:
      honest: h, stores whose noise is certain to stand in every opened sum; 1 where each store adds all of it.
    """
    if honest < 1:
        raise ConfigError(f"{honest} honest stores; at least 1 is needed; nothing was released")
    exact = (Fraction(release.noise_multiplier) * grid(release).sensitivity) ** 2 / honest
    return math.ceil(exact)


def _side(words: int) -> int:
    side = math.isqrt(2 * words)  # of s (s + 1), which lies between s^2 and (s + 1)^2
    if side * (side + 1) != 2 * words:
        raise ConfigError(f"{words} words are no triangle; nothing was planned")
    return side


def _is_diagonal(side: int) -> npt.NDArray[np.bool_]:
    """[side (side + 1) / 2] which entries of the triangle, row by row, lie on the diagonal."""
    found = np.zeros(side * (side + 1) // 2, np.bool_)
    found[np.cumsum([0, *range(side, 1, -1)])] = True
    return found
