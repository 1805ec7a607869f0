"""A kernel over items from their public columns, as a fast product with a vector: no [items, items] matrix.

It is a sum of terms; each is a product of a linear kernel on sparse features (categories, words, brand) and a kernel
on the bins of one number (era, price, popularity). Product kernels act on the features crossed with the bins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedcart.shared.catalogue import Catalogue
from fedcart.simulation.baselines.rows import unit_rows

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Float64Array = npt.NDArray[np.float64]
ERA_YEARS = 8.0
"""Items this many years apart are exp(-1) alike."""
PRICE_LOG = 0.5
"""Items whose prices differ by exp(this) are exp(-1) alike."""
MOST_BINS = 64


@dataclass(frozen=True)
class Bins:
    """A number in bins: index [items] (-1 = unknown, like nothing) and the kernel between bins [bins, bins]."""

    index: npt.NDArray[np.int64]
    kernel: Float64Array


@dataclass(frozen=True)
class Term:
    """weight x (features features^T) * (kernel between the items' bins)."""

    weight: float
    crossed: csr_array  # [items, features x bins]
    kernel: Float64Array

    def __call__(self, x: Float64Array) -> Float64Array:
        """The term times a vector [items]."""
        cells = (self.crossed.T @ x).reshape(-1, len(self.kernel))
        product: Float64Array = self.crossed @ (cells @ self.kernel).reshape(-1)
        return self.weight * product


def item_kernel(catalogue: Catalogue, q: Float64Array) -> Callable[[Float64Array], Float64Array]:
    """x -> K x for the catalogue's columns; `q` [items] is the popularity, sums to 1. Absent columns add nothing.

    Without any public column the popularity term stays alone.
    """
    categories = _categories(catalogue, q)
    era = _bins(catalogue.number("year"), ERA_YEARS)
    price = catalogue.number("price")
    price_band = None if price is None else _bins(np.log(np.where(price > 0, price, np.nan)), PRICE_LOG)
    popularity = _bins(np.log(q), 1.0)
    brand, title = catalogue.text("brand"), catalogue.text("title")
    wanted: list[tuple[float, csr_array | None, Bins | None]] = [
        (0.5, categories, None),
        (0.5, None, era),
        (0.5, None, price_band),
        (0.3, None, popularity),
        (1.0, categories if era is not None else None, era),
        (0.5, categories if price_band is not None else None, price_band),
        (0.5, None if brand is None else _sets(brand, None), None),
        (1.0, None if title is None else _words(title), None),
    ]
    terms = [_term(weight, a, b) for weight, a, b in wanted if a is not None or b is not None]
    return lambda x: np.sum([term(x) for term in terms], axis=0)


def _term(weight: float, features: csr_array | None, bins: Bins | None) -> Term:
    from scipy.sparse import csr_array

    if bins is None:
        assert features is not None
        return Term(weight, features, np.ones((1, 1)))
    known = bins.index >= 0
    if features is None:
        features = csr_array(np.ones((len(known), 1)))
    width = len(bins.kernel)
    row = np.repeat(np.arange(features.shape[0]), np.diff(features.indptr))
    kept = known[row]
    columns = features.indices[kept].astype(np.int64) * width + bins.index[row[kept]]
    shape = (features.shape[0], features.shape[1] * width)
    return Term(weight, csr_array((features.data[kept], (row[kept], columns)), shape=shape), bins.kernel)


def _bins(values: Float64Array | None, scale: float) -> Bins | None:
    """exp(-|difference| / scale) between numbers, in at most MOST_BINS bins; None when all are unknown."""
    if values is None or np.isnan(values).all():
        return None
    known = ~np.isnan(values)
    distinct = np.unique(values[known])
    centres = distinct if len(distinct) <= MOST_BINS else np.linspace(distinct[0], distinct[-1], MOST_BINS)
    index = np.full(len(values), -1, np.int64)
    edges = (centres[1:] + centres[:-1]) / 2.0
    index[known] = np.searchsorted(edges, values[known])
    return Bins(index, np.exp(-np.abs(centres[:, None] - centres[None, :]) / scale))


def _categories(catalogue: Catalogue, q: Float64Array) -> csr_array | None:
    """Unit rows over categories and departments, rare ones weighted up by -log of their share of popularity."""
    columns = [c for c in (catalogue.text("category"), catalogue.text("department")) if c is not None]
    if not columns:
        return None
    return _sets(["|".join(str(part) for part in parts) for parts in zip(*columns, strict=True)], q)


def _sets(texts: Sequence[str] | npt.NDArray[np.object_], q: Float64Array | None) -> csr_array | None:
    sets = [sorted({part for part in str(text).split("|") if part}) for text in texts]
    return _weighted(sets, q)


def _words(titles: Sequence[str] | npt.NDArray[np.object_]) -> csr_array | None:
    """TF-IDF of the words of titles that at least two items share; the catalogue is public, so its counts are."""
    sets = [sorted(set(_split_words(str(title)))) for title in titles]
    shared = {word for word, count in Counter(w for s in sets for w in s).items() if count > 1}
    uniform = np.full(len(sets), 1.0 / len(sets))
    return _weighted([[word for word in s if word in shared] for s in sets], uniform)


def _split_words(title: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in title.lower()).split()


def _weighted(sets: list[list[str]], q: Float64Array | None) -> csr_array | None:
    """[items, words] unit rows; each word weighs -log of the share of q of the items that have it (1 without q)."""
    from scipy.sparse import csr_array

    vocabulary = {word: column for column, word in enumerate(sorted({w for s in sets for w in s}))}
    if not vocabulary:
        return None
    row = np.repeat(np.arange(len(sets)), [len(s) for s in sets])
    column = np.array([vocabulary[word] for s in sets for word in s], np.int64)
    weights = np.ones(len(vocabulary))
    if q is not None:
        share = np.bincount(column, weights=q[row], minlength=len(vocabulary))
        weights = np.maximum(-np.log(np.maximum(share, 1e-12)), 0.05)
    return unit_rows(csr_array((weights[column], (row, column)), shape=(len(sets), len(vocabulary))))
