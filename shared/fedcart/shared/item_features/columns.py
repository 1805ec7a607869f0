"""Public columns as sparse unit rows (categories, brand, words) and as numbers in bins (era, price, popularity).

Only the catalogue and released popularity come in, never a history: what comes out is public.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import DataError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Float64Array = npt.NDArray[np.float64]
Texts = Sequence[str] | npt.NDArray[np.object_]

ERA_YEARS = 8.0
"""Items this many years apart are exp(-1) alike."""
PRICE_LOG = 0.5
"""Items whose prices differ by exp(this) are exp(-1) alike."""
MOST_BINS = 64
LEAST_WEIGHT = 0.05
"""Of a word that all items share."""


@dataclass(frozen=True)
class Bins:
    """A number in bins: index [items] (-1 = unknown, like nothing) and the kernel between bins [bins, bins]."""

    index: npt.NDArray[np.int64]
    kernel: Float64Array


def binned(values: Float64Array | None, scale: float) -> Bins | None:
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


def era(catalogue: Catalogue) -> Bins | None:
    """Years of release; None without any."""
    return binned(catalogue.number("year"), ERA_YEARS)


def price_band(catalogue: Catalogue) -> Bins | None:
    """Logarithms of the positive prices; None without any."""
    price = catalogue.number("price")
    if price is None:
        return None
    positive = np.where(price > 0, price, np.nan)
    return binned(np.log(positive), PRICE_LOG)


def categories(catalogue: Catalogue, q: Float64Array | None) -> csr_array | None:
    """Unit rows over categories and departments; with popularity `q` [items], rare ones weigh more."""
    columns = [c for c in (catalogue.text("category"), catalogue.text("department")) if c is not None]
    if not columns:
        return None
    return sets(["|".join(str(part) for part in parts) for parts in zip(*columns, strict=True)], q)


def brands(catalogue: Catalogue) -> csr_array | None:
    """Unit rows over brands."""
    brand = catalogue.text("brand")
    return None if brand is None else sets(brand, None)


def vectors(catalogue: Catalogue) -> csr_array | None:
    """Unit rows of the vectors that the item list brings, as sentence embeddings do; zeros where an item has none.

    Raises:
      DataError: a vector that is not as many finite numbers as the first.
    """
    from scipy.sparse import csr_array

    column = catalogue.text("vector")
    rows = {i: str(text).split() for i, text in enumerate(column if column is not None else ()) if str(text).strip()}
    if not rows:
        return None
    width = len(next(iter(rows.values())))
    found = np.zeros((len(catalogue), width))
    for item, numbers in rows.items():
        try:
            found[item] = np.array(numbers, np.float64).reshape(width)
        except ValueError:
            found[item] = np.nan
        if not np.isfinite(found[item]).all():
            raise DataError(
                f"item {catalogue.ids[item]!r}: its vector is not {width} finite numbers, as the first one is; "
                "nothing was read",
                "separate the numbers by spaces; an item may have none",
            )
    return unit_rows(csr_array(found))


def sets(texts: Texts, q: Float64Array | None) -> csr_array | None:
    """Unit rows over the parts of each text between '|'."""
    return _weighted([sorted({part for part in str(text).split("|") if part}) for text in texts], q)


def words(catalogue: Catalogue) -> csr_array | None:
    """TF-IDF of the words of titles that at least two items share; the catalogue is public, so its counts are."""
    titles = catalogue.text("title")
    if titles is None:
        return None
    found = [sorted(set(_split_words(str(title)))) for title in titles]
    shared = {word for word, count in Counter(w for s in found for w in s).items() if count > 1}
    uniform = np.full(len(found), 1.0 / len(found))
    return _weighted([[word for word in s if word in shared] for s in found], uniform)


def unit_rows(x: csr_array) -> csr_array:
    """`x` with every row at L2 norm 1; rows of zeros stay."""
    from scipy.sparse import csr_array

    norms = np.sqrt(np.asarray(x.multiply(x).sum(axis=1)).reshape(-1))
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    return csr_array((x.data * np.repeat(scale, np.diff(x.indptr)), x.indices, x.indptr), shape=x.shape)


def _split_words(title: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in title.lower()).split()


def _weighted(found: list[list[str]], q: Float64Array | None) -> csr_array | None:
    """[items, words] unit rows; each word weighs -log of the share of q of the items that have it (1 without q)."""
    from scipy.sparse import csr_array

    vocabulary = {word: column for column, word in enumerate(sorted({w for s in found for w in s}))}
    if not vocabulary:
        return None
    row = np.repeat(np.arange(len(found)), [len(s) for s in found])
    column = np.array([vocabulary[word] for s in found for word in s], np.int64)
    weights = np.ones(len(vocabulary))
    if q is not None:
        share = np.bincount(column, weights=q[row], minlength=len(vocabulary))
        weights = np.maximum(-np.log(np.maximum(share, 1e-12)), LEAST_WEIGHT)
    return unit_rows(csr_array((weights[column], (row, column)), shape=(len(found), len(vocabulary))))
