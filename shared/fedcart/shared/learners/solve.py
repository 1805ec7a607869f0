"""Ridge regressions in bulk: one small linear system a customer or an item. Single precision in, one thread each.

Each customer's result depends on that customer's row alone, bit for bit, whatever else is in the block.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

SYSTEMS_AT_ONCE = 1 << 21
"""Words of item systems that are solved in one call."""


def fold_in(
    indptr: npt.NDArray[np.int64],
    items: npt.NDArray[np.int32],
    weights: Float32Array,
    table: Float32Array,
    base: Float32Array,
    ridge: Float32Array,
) -> Float32Array:
    """Factors [customers, d]: solve (base + ridge_u I + sum_i w_ui v_i v_i^T) x_u = sum_i w_ui v_i, i in row u.

    Args:
      indptr, items, weights: CSR rows of the customers; weights >= 0.
      table: [items, d] the vectors v_i, C order.
      base: [d, d] symmetric positive semi-definite, the same for all.
      ridge: [customers] added to the diagonal.

    A row without items gets zeros. A row with a weight that is not finite, or whose system is not positive
    definite, gets NaN, which says "no factor": the kernel adds nothing for it. So do all rows if `table` is not finite.
    """
    from scipy.linalg.lapack import sposv

    d = table.shape[1]
    factors = np.zeros((len(indptr) - 1, d), np.float32)
    all_ones = bool((weights == 1).all())
    finite = np.isfinite(weights)
    sound = bool(np.isfinite(base).all() and np.isfinite(table).all())
    all_finite = sound and bool(finite.all())
    system = np.empty((d, d), np.float32)
    diagonal = system.reshape(-1)[:: d + 1]
    bounds = indptr.tolist()
    for row in range(len(factors)):
        low, high = bounds[row], bounds[row + 1]
        if low == high:
            continue
        if not (all_finite or (sound and finite[low:high].all())):
            factors[row] = np.nan
            continue
        mine = table.take(items[low:high], axis=0)
        weighted = mine if all_ones else mine * weights[low:high, None]
        np.matmul(weighted.T, mine, out=system)
        system += base
        diagonal += ridge[row]
        right = weights[low:high] @ mine
        _, solution, failed = sposv(system.T, right, overwrite_a=1, overwrite_b=1)
        factors[row] = np.nan if failed else solution
    return factors


def solve_packed(triangles: Float64Array, base: Float64Array, ridge: Float64Array, right: Float64Array) -> Float64Array:
    """[n, d] solutions of (unpack(triangles_j) + base + ridge_j I) x_j = right_j.

    Args:
      triangles: [n, d (d + 1) / 2] upper triangles, row by row.
      base: [d, d], the same for all.
      ridge: [n].
      right: [n, d].

    By Cholesky; by elimination where noise has left a system that is not positive definite.
    """
    from scipy.linalg.lapack import dposv

    d = right.shape[1]
    position = unpacking(d)
    solutions = np.empty_like(right)
    step = max(1, SYSTEMS_AT_ONCE // (d * d))
    for start in range(0, len(right), step):
        rows = slice(start, start + step)
        systems = triangles[rows].take(position, axis=1).reshape(-1, d, d) + base
        systems.reshape(len(systems), -1)[:, :: d + 1] += ridge[rows, None]
        for row, system in enumerate(systems, start):
            _, solution, failed = dposv(system.T, right[row])
            solutions[row] = np.linalg.solve(system, right[row]) if failed else solution
    return solutions


def unpacking(d: int) -> npt.NDArray[np.intp]:
    """[d * d] where each cell of a symmetric matrix stands in its upper triangle, row by row."""
    position = np.empty((d, d), np.intp)
    upper = np.triu_indices(d)
    position[upper] = np.arange(len(upper[0]))
    position.T[upper] = position[upper]
    return position.reshape(-1)


def packing(d: int) -> npt.NDArray[np.intp]:
    """[d (d + 1) / 2] the flat cells of a [d, d] matrix that make its upper triangle, row by row."""
    upper = np.triu_indices(d)
    return upper[0] * d + upper[1]


def unpack(triangle: Float64Array, d: int) -> Float64Array:
    """The symmetric [d, d] matrix of an upper triangle."""
    return triangle.reshape(-1).take(unpacking(d)).reshape(d, d)
