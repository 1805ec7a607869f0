"""Clip real vectors and round them to integers whose norm is bounded exactly.

Rounding in floats can carry a vector over its clip, so the bound is checked in exact integer arithmetic after
rounding: whatever the input (NaN, infinity, 1e300, a million numbers), sum q^2 <= radius^2 holds for what comes out.
Each row's result depends on that row alone, bit for bit, whatever else is in the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fedcart.shared.errors import ConfigError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Float64Array = npt.NDArray[np.float64]
LEAST_CLIP, LARGEST_CLIP = 1e-90, 1e90
"""Between them no square of a clipped row is lost."""
LARGEST_RADIUS = 1 << 21
"""With fewer than 2^32 numbers in a row, every square and every partial sum is an integer below 2^53."""
SHRINKS = 7
"""Times that a row which rounding carried over the bound is shrunk before it is cut towards zero instead."""
ROOM = 1.5
"""Units left below the radius for rounding, in a clipped row of several numbers."""
SMALLEST_SQUARE, LARGEST_SQUARE = 1e-200, 1e200
"""Sums of squares above the one have lost nothing to overflow; rows below the other round to zero at any clip."""


def quantise(
    values: npt.NDArray[Any],
    indptr: npt.NDArray[Any],
    clip_norm: float,
    radius: int,
    radii: npt.NDArray[np.int64] | None = None,
) -> Float64Array:
    """Rows clipped to `clip_norm`, in units of clip_norm / radius: float64 that hold integers.

    q_u = round(x_u min(1, clip_norm / |x_u|) radius / clip_norm), shrunk where rounding made it too long. A row with
    a number that is not finite becomes zero.

    Args:
      values: [numbers] the rows one after another.
      indptr: [rows + 1] where each starts.
      clip_norm: 1e-90 .. 1e90.
      radius: 1 .. 2^21, exact bound on the L2 norm of each integer row.
      radii: [rows] 0 .. radius, a row's own bound, in the same units: its clip is clip_norm radii / radius.
        None = radius for all.

    Raises:
      ConfigError: clip_norm, radius or radii out of range.
    """
    if not (LEAST_CLIP <= clip_norm <= LARGEST_CLIP and 1 <= radius <= LARGEST_RADIUS):
        raise ConfigError(
            f"clip_norm {clip_norm} must lie in {LEAST_CLIP} .. {LARGEST_CLIP}, radius {radius} in "
            f"1 .. {LARGEST_RADIUS}; nothing was added"
        )
    counts = np.diff(indptr)
    filled = counts > 0
    own = _own_radii(np.full(len(counts), radius) if radii is None else radii, len(counts), radius)[filled]
    rows = _Rows(np.asarray(indptr[:-1][filled], np.int64), counts[filled])
    numbers = np.asarray(values, np.float64)
    squares = np.empty_like(numbers)
    with np.errstate(over="ignore", invalid="ignore"):
        square = rows.sums(np.multiply(numbers, numbers, out=squares))
    plain = square < LARGEST_SQUARE
    if not plain.all():
        numbers = _tamed(numbers, rows, plain, clip_norm)
        square = rows.sums(np.multiply(numbers, numbers, out=squares))
    norm = np.sqrt(np.maximum(square, SMALLEST_SQUARE))
    # Rounding moves sum q^2 by counts / 12 on average and 0.58 radius either way: with this room few rows need more.
    room = np.where(rows.counts > 1, ROOM + rows.counts / (24 * radius), 0.0)
    scale = np.minimum(radius / clip_norm, np.maximum(own - room, own / 2) / norm)
    return _round_inside(numbers, rows, scale, own, squares)


def quantise_rows(x: csr_array, clip_norm: float, radius: int, radii: npt.NDArray[np.int64] | None = None) -> csr_array:
    """`quantise` of a sparse matrix [customers, n]; a cell stored twice counts as its sum."""
    from scipy.sparse import csr_array

    if not x.has_canonical_format:
        x = x.copy()
        x.sum_duplicates()
    return csr_array((quantise(x.data, x.indptr, clip_norm, radius, radii), x.indices, x.indptr), shape=x.shape)


def quantise_dense(x: Float64Array, clip_norm: float, radius: int) -> Float64Array:
    """`quantise` of a dense matrix [customers, k]."""
    indptr = np.arange(len(x) + 1) * x.shape[1]
    return quantise(x.ravel(), indptr, clip_norm, radius).reshape(x.shape)


def _own_radii(radii: npt.NDArray[np.int64], rows: int, radius: int) -> Float64Array:
    if len(radii) != rows or (rows and not 0 <= radii.min() <= radii.max() <= radius):
        raise ConfigError(f"radii of {len(radii)} of {rows} rows, or outside 0 .. {radius}; nothing was added")
    return radii.astype(np.float64)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Where each row that holds a number starts, and how many it holds."""

    starts: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]

    def sums(self, numbers: Float64Array) -> Float64Array:
        """[rows] each row's sum, in an order that depends on its length alone."""
        sums: Float64Array = np.add.reduceat(numbers, self.starts)
        return sums

    def spread(self, each: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """[numbers] each row's value beside every number of it."""
        return np.repeat(each, self.counts)


def _tamed(numbers: Float64Array, rows: _Rows, plain: npt.NDArray[np.bool_], clip_norm: float) -> Float64Array:
    """The numbers, rows whose squares overflow brought near the clip, never below it, and rows not finite to zero."""
    magnitude = np.maximum.reduceat(np.abs(numbers), rows.starts)  # NaN wins
    finite = np.isfinite(magnitude)
    huge = finite & ~plain
    tame = np.where(rows.spread(finite), numbers, 0.0)
    pick = rows.spread(huge)
    tame[pick] = tame[pick] / np.repeat(magnitude[huge], rows.counts[huge]) * clip_norm
    return tame


def _round_inside(
    numbers: Float64Array, rows: _Rows, scale: Float64Array, radius: Float64Array, squares: Float64Array
) -> Float64Array:
    """numbers x scale, rounded, every row within its radius; scale and radius [rows], `squares` is room to work in."""
    limit = radius**2
    rounded: Float64Array = rows.spread(scale)
    np.rint(np.multiply(rounded, numbers, out=rounded), out=rounded)
    for cut in (*SHRINKS * [np.rint], np.trunc):
        square = rows.sums(np.multiply(rounded, rounded, out=squares))  # exact: integers below 2^53
        over = ~(square <= limit)  # or NaN
        if not over.any():
            return rounded
        scale[over] *= radius[over] / np.sqrt(square[over])
        pick = rows.spread(over)
        rounded[pick] = cut(numbers[pick] * np.repeat(scale[over], rows.counts[over]))
    rounded[rows.spread(~(rows.sums(rounded * rounded) <= limit))] = 0.0
    return rounded
