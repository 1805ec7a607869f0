"""The four sums over customers, without clip and noise: what `trust = none` releases.

Accumulates in float64. Refuses any release that promises a clip or noise, so that it can never stand in for the
private kernel unnoticed. A customer is added at most once to each release; a row that is not finite counts as zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedcart.shared.errors import PrivacyRefused, ProtocolError
from fedcart.shared.learners.base import Block, Float64Array
from fedcart.shared.privacy.release import Kind, Release

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SPARSE_COST = 150.0
"""outer: time of one sparse multiply-add over that of a dense one (measured, one thread)."""
DENSE_WORDS = 1 << 22
"""outer: words of one dense slice of customers."""
SQUARE_WORDS = 1 << 18
"""per_item: words of the items' squares that are packed together; they should stay in cache."""


class PlainSums:
    """Totals of one round at one store; see `fedcart.shared.learners.base.Sums` for the four sums."""

    def __init__(self, releases: Sequence[Release], *, finite: bool = False) -> None:
        """Sums for `releases`.

        Args:
          finite: whether factors are known to be finite, so that looking again would only cost time.
        """
        for release in releases:
            if release.noise_multiplier or math.isfinite(release.sensitivity()):
                raise PrivacyRefused(
                    f"release {release.name!r} promises clip {release.sensitivity()} and noise multiplier "
                    f"{release.noise_multiplier}, and plain sums have neither; nothing was released"
                )
        self._finite = finite
        self._releases = {release.name: release for release in releases}
        self._next = dict.fromkeys(self._releases, 0)  # first customer who was not added yet
        self.totals: dict[str, Float64Array] = {r.name: np.zeros(r.shape) for r in releases}

    def rows(self, name: str, block: Block, x: csr_array) -> None:
        """Add sum_u x_u; x [block customers, release words]."""
        release = self._open(name, "rows", block, x.shape, (block.histories.customers, None))
        if x.shape[1] != release.words:
            raise ProtocolError(f"release {name!r} has {release.words} words, the contribution {x.shape[1]}")
        values = x.data if self._finite else finite_rows(x)
        total = self.totals[name].ravel()  # a view
        total += np.bincount(x.indices, weights=values, minlength=release.words)

    def outer(self, name: str, block: Block, z: csr_array) -> None:
        """Add the upper triangle of sum_u z_u z_u^T; z [block customers, n]."""
        release = self._open(name, "outer", block, z.shape, (block.histories.customers, None))
        n = z.shape[1]
        if release.words != n * (n + 1) // 2:
            raise ProtocolError(f"release {name!r} has {release.words} words, not the triangle of {n} x {n}")
        add_gram(self.totals[name].ravel(), z if self._finite else with_values(z, finite_rows(z)))

    def cross(self, name: str, block: Block, z: csr_array, a: Float64Array) -> None:
        """Add sum_u z_u a_u^T; z [block customers, m], a [block customers, k]."""
        release = self._open(name, "cross", block, z.shape, (block.histories.customers, None))
        if release.shape != (z.shape[1], a.shape[1]) or len(a) != z.shape[0]:
            raise ProtocolError(f"release {name!r} is {release.shape}, the factors {z.shape} and {a.shape}")
        clean, factors = self._clean(z, a)
        if clean.nnz == clean.shape[0] * clean.shape[1] and clean.has_canonical_format:  # every cell stored: dense
            self.totals[name] += clean.data.reshape(clean.shape).T @ factors
        else:
            self.totals[name] += clean.T @ factors

    def per_item(self, name: str, block: Block, w: csr_array, u: Float64Array) -> None:
        """Add sum_u w_uj u_u or the upper triangle of w_uj u_u u_u^T, for the release's band of items j."""
        release = self._open(name, "per_item", block, w.shape, (block.histories.customers, None))
        band, width = release.shape
        k = u.shape[1]
        fits = len(u) == w.shape[0] and release.first_item + band <= w.shape[1]
        if not fits or width != (k if release.order == 1 else k * (k + 1) // 2):
            raise ProtocolError(f"release {name!r} is {release.shape}, the factors {w.shape} and {u.shape}")
        clean, factors = self._clean(w, u)
        if band < w.shape[1]:
            clean = clean[:, release.first_item : release.first_item + band]
        by_item = clean.T.tocsr()
        if release.order == 1:
            self.totals[name] += by_item @ factors
        else:
            add_outer_products(self.totals[name], by_item, factors)

    def _clean(self, z: csr_array, a: Float64Array) -> tuple[csr_array, Float64Array]:
        """Both factors, zero for a customer with a number that is not finite in either."""
        if self._finite:
            return z, a
        good = np.isfinite(a).all(axis=1) & row_finite(z)
        clean = with_values(z, np.where(np.repeat(good, np.diff(z.indptr)), z.data, 0.0))
        return clean, np.where(good[:, None], a, 0.0)

    def _open(self, name: str, kind: Kind, block: Block, shape: tuple[int, ...], want: tuple[int, None]) -> Release:
        release = self._releases.get(name)
        if release is None or release.kind != kind:
            raise ProtocolError(f"the round has no {kind!r} release {name!r}; nothing was added")
        if shape[0] != want[0]:
            raise ProtocolError(f"release {name!r}: {shape[0]} rows for {want[0]} customers; nothing was added")
        if block.start < self._next[name]:  # blocks come in order, so whatever their size nobody is added twice
            raise ProtocolError(
                f"release {name!r}: the block starts at customer {block.start}, and those before {self._next[name]} "
                "were added before; nothing was added"
            )
        self._next[name] = block.rows.stop
        return release


def with_values(x: csr_array, values: Float64Array) -> csr_array:
    """`x` with other stored values."""
    from scipy.sparse import csr_array

    return csr_array((values, x.indices, x.indptr), shape=x.shape)


def row_finite(x: csr_array) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """[rows] whether every stored value of the row is finite."""
    finite = np.ones(x.shape[0], np.bool_)
    finite[np.searchsorted(x.indptr, np.flatnonzero(~np.isfinite(x.data)), side="right") - 1] = False
    return finite


def finite_rows(x: csr_array) -> Float64Array:
    """The stored values of `x`, float64, with every row that holds NaN or infinity set to zero."""
    return np.where(np.repeat(row_finite(x), np.diff(x.indptr)), x.data, 0.0).astype(np.float64)


def add_gram(total: Float64Array, z: csr_array) -> None:
    """total += the upper triangle of z^T z, row by row; z [customers, n] finite, total [n (n + 1) / 2].

    Sparse where rows are short; else symmetric rank-k updates of dense slices of bounded memory.
    """
    n = z.shape[1]
    counts = np.diff(z.indptr).astype(np.float64)
    if SPARSE_COST * float(counts @ counts) < z.shape[0] * float(n) * n:
        gram = (z.T @ z).toarray()
    else:
        from scipy.linalg.blas import dsyrk

        # Lower triangle of a Fortran-ordered matrix = upper triangle of its C-ordered transpose.
        lower = np.zeros((n, n), order="F")
        step = max(1, DENSE_WORDS // n)
        for start in range(0, z.shape[0], step):
            part = z[start : start + step].toarray()
            lower = dsyrk(1.0, part.T, beta=1.0, c=lower, lower=True, overwrite_c=True)
        gram = lower.T
    start = 0
    for row in range(n):
        total[start : start + n - row] += gram[row, row:]
        start += n - row


def add_outer_products(total: Float64Array, by_item: csr_array, factors: Float64Array) -> None:
    """total[j] += upper triangle of sum_u w_ju u_u u_u^T; by_item [band, customers], factors [customers, k].

    One product of gathered factors an item; the squares of some items are packed together.
    """
    from scipy.linalg.blas import dsyrk

    k = factors.shape[1]
    upper = np.triu_indices(k)
    packing = upper[0] * k + upper[1]
    all_ones = bool((by_item.data == 1).all())
    active = np.flatnonzero(np.diff(by_item.indptr))
    bounds = by_item.indptr.tolist()
    squares = np.empty((max(1, SQUARE_WORDS // (k * k)), k, k))
    for start in range(0, len(active), len(squares)):
        items = active[start : start + len(squares)]
        for square, j in zip(squares, items.tolist(), strict=False):
            pairs = slice(bounds[j], bounds[j + 1])
            rows = factors.take(by_item.indices[pairs], axis=0)
            if all_ones:  # in place; the lower triangle in Fortran's order is the upper one in C's
                dsyrk(1.0, rows.T, beta=0.0, c=square.T, lower=True, overwrite_c=True)
            else:
                np.matmul((rows * by_item.data[pairs, None]).T, rows, out=square)
        packed = squares[: len(items)].reshape(len(items), k * k).take(packing, axis=1)
        first, last = int(items[0]), int(items[-1])
        if last - first + 1 == len(items):
            total[first : last + 1] += packed
        else:
            total[items] += packed
