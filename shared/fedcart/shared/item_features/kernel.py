"""A kernel over items from their public columns, as a fast product with vectors: no [items, items] matrix.

It is a sum of terms; each is a product of a linear kernel on features (categories, words, brand, vectors) and kernels
on the bins of numbers (era, price, popularity). Product kernels act on the features crossed with the bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.item_features.columns import Bins, binned, brands, categories, era, price_band, vectors, words

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Float64Array = npt.NDArray[np.float64]
Wanted = Sequence[tuple[float, "csr_array | None", tuple[Bins | None, ...]]]
"""Terms: weight, features (None = the same for all items), bins; a missing number drops its term."""


@dataclass(frozen=True)
class Term:
    """weight x (features features^T) * (kernels between the items' bins)."""

    weight: float
    crossed: csr_array  # [items, features x bins of each number]
    kernels: tuple[Float64Array, ...]

    def __call__(self, x: Float64Array) -> Float64Array:
        """The term times vectors [items, vectors]."""
        cells = self.crossed.T @ x
        shape = cells.shape
        cells = cells.reshape(-1, *(len(kernel) for kernel in self.kernels), x.shape[1])
        for axis, kernel in enumerate(self.kernels, 1):
            cells = np.moveaxis(np.tensordot(kernel, cells, axes=(1, axis)), 0, axis)
        product: Float64Array = self.crossed @ np.ascontiguousarray(cells).reshape(shape)
        return self.weight * product


@dataclass(frozen=True)
class Kernel:
    """K = the sum of its terms, symmetric and positive semi-definite [items, items]; never written out."""

    items: int
    terms: tuple[Term, ...]

    def __call__(self, x: Float64Array) -> Float64Array:
        """K x; x [items, vectors]."""
        found = np.zeros((self.items, x.shape[1]))
        for term in self.terms:
            found += term(x)
        return found


def public_kernel(catalogue: Catalogue) -> Kernel:
    """What the catalogue alone says: categories, era, price, brand, title, vector. No terms if it has none of them."""
    kinds, years, prices = categories(catalogue, None), era(catalogue), price_band(catalogue)
    return _kernel(len(catalogue), _columns(catalogue, kinds, years, prices))


def popularity_kernel(catalogue: Catalogue, q: Float64Array) -> Kernel:
    """The same with rare categories weighted up, and items as popular as each other alike.

    Args:
      q: [items] released popularity, > 0, sums to 1.

    Without any public column the popularity term stays alone.
    """
    kinds, years, prices = categories(catalogue, q), era(catalogue), price_band(catalogue)
    level = binned(np.log(q), 1.0)
    both: Wanted = [(0.3, None, (level,)), (0.3 if kinds is not None else 0.0, kinds, (level, years))]
    return _kernel(len(catalogue), [*_columns(catalogue, kinds, years, prices), *both])


def _columns(catalogue: Catalogue, kinds: csr_array | None, years: Bins | None, prices: Bins | None) -> Wanted:
    title = words(catalogue) if years is None else None  # words of film titles say nothing (measured)
    return [
        (0.5, kinds, ()),
        (0.5, None, (years,)),
        (0.5, None, (prices,)),
        (1.0 if kinds is not None else 0.0, kinds, (years,)),
        (0.5 if kinds is not None else 0.0, kinds, (prices,)),
        (0.5, brands(catalogue), ()),
        (1.0, title, ()),
        (1.0, vectors(catalogue), ()),
    ]


def _kernel(items: int, wanted: Wanted) -> Kernel:
    terms = []
    for weight, features, bins in wanted:
        numbers = [x for x in bins if x is not None]
        if weight and len(numbers) == len(bins) and (features is not None or numbers):
            terms.append(_term(items, weight, features, numbers))
    return Kernel(items, tuple(terms))


def _term(items: int, weight: float, features: csr_array | None, bins: Sequence[Bins]) -> Term:
    from scipy.sparse import csr_array

    if features is None:
        features = csr_array(np.ones((items, 1)))
    known = np.ones(items, np.bool_)
    cell = np.zeros(items, np.int64)
    width = 1
    for number in bins:
        known &= number.index >= 0
        cell = cell * len(number.kernel) + number.index
        width *= len(number.kernel)
    row = np.repeat(np.arange(items), np.diff(features.indptr))
    kept = known[row]
    columns = features.indices[kept].astype(np.int64) * width + cell[row[kept]]
    shape = (items, features.shape[1] * width)
    crossed = csr_array((features.data[kept], (row[kept], columns)), shape=shape)
    return Term(weight, crossed, tuple(number.kernel for number in bins))
