"""The plain sums by each of their routes: sparse and dense, with gaps and without, in little memory and in much."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
import scipy.linalg.blas
from scipy.sparse import csr_array

import clipped_kit
from fedcart.shared.errors import ProtocolError
from fedcart.shared.privacy import sums as module
from fedcart.shared.privacy.release import Release
from fedcart.shared.privacy.sums import PlainSums, row_finite

ITEMS = 9
block_of = functools.partial(clipped_kit.block_of, items=ITEMS)


def gram(z):
    """The triangle, product by product."""
    n = len(z[0])
    return [sum(row[i] * row[j] for row in z) for i in range(n) for j in range(i, n)]


def outer(z):
    n = z.shape[1]
    totals = PlainSums([Release(name="r", shape=(n * (n + 1) // 2,), kind="outer")])
    totals.outer("r", block_of(len(z)), csr_array(z))
    return totals.totals["r"].tolist()


@pytest.fixture
def updates(monkeypatch):
    """[customers, n] of every dense update that is made."""
    seen, real = [], scipy.linalg.blas.dsyrk
    monkeypatch.setattr(scipy.linalg.blas, "dsyrk", lambda *a, **k: (seen.append(a[1].T.shape), real(*a, **k))[1])
    return seen


@pytest.mark.parametrize(("rows", "columns"), [(4, 2), (2, 4)])
def test_cross_is_the_product_whichever_cells_are_stored(rows, columns):
    """All 256 ways: as many cells as one column has, as a square of columns has, all of them."""
    release = Release(name="r", shape=(columns, 2), kind="cross")
    a = np.arange(1.0, 2 * rows + 1).reshape(rows, 2)
    for stored in itertools.product((0, 1), repeat=rows * columns):
        z = np.array(stored, float).reshape(rows, columns) * np.arange(1, columns + 1)
        totals = PlainSums([release])
        totals.cross("r", block_of(rows), csr_array(z), a)
        expected = [[sum(z[u, i] * a[u, j] for u in range(rows)) for j in range(2)] for i in range(columns)]
        assert totals.totals["r"].tolist() == expected


@pytest.mark.parametrize("weights", ["ones", "others"])
@pytest.mark.parametrize("items", [[0, 2], [0, 3], [1, 4], [1, 3, 4, 8], [5], [2, 3, 4], [0, 1], list(range(ITEMS))])
def test_per_item_fills_the_items_that_have_customers_and_no_other(items, weights):
    customers = 5
    w = np.zeros((customers, ITEMS))
    for place, j in enumerate(items):
        w[place % customers, j] = 1.0 if weights == "ones" else 2.0 + place
        w[(3 * place + 1) % customers, j] = 1.0
    u = np.arange(1.0, 2 * customers + 1).reshape(customers, 2)
    totals = PlainSums([Release(name="r", shape=(ITEMS, 3), kind="per_item", order=2)])
    for key in range(2):
        totals.per_item("r", block_of(customers, key, key * customers), csr_array(w), u)
    expected = [
        [2 * sum(w[c, j] * u[c, p] * u[c, q] for c in range(customers)) for p, q in ((0, 0), (0, 1), (1, 1))]
        for j in range(ITEMS)
    ]
    assert totals.totals["r"].tolist() == expected


def test_per_item_packs_wide_squares_a_few_at_a_time():
    """48 x 48 words an item: as many as fit, not as many as there could be."""
    w, u = np.ones((2, ITEMS)), np.arange(96.0).reshape(2, 48)
    totals = PlainSums([Release(name="r", shape=(ITEMS, 48 * 49 // 2), kind="per_item", order=2)])
    totals.per_item("r", block_of(2), csr_array(w), u)
    assert totals.totals["r"].tolist() == [gram(u.tolist())] * ITEMS


@pytest.mark.parametrize(("stored", "dense"), [(8, False), (9, True)])
def test_outer_is_sparse_where_rows_are_short(stored, dense, updates):
    """A row of c of n cells costs 150 c^2 sparse and n^2 dense: 8 of 100 cells are few, 9 are many."""
    z = np.zeros((7, 100))
    z[:, :stored] = np.arange(1, 7 * stored + 1).reshape(7, stored)
    assert outer(z) == gram(z.tolist())
    assert bool(updates) == dense


@pytest.mark.parametrize(("words", "slices"), [(1, [1] * 5), (2 * ITEMS, [2, 2, 1]), (5 * ITEMS, [5])])
def test_dense_slices_hold_no_more_words_than_they_may_or_one_row(words, slices, updates, monkeypatch):
    monkeypatch.setattr(module, "DENSE_WORDS", words)
    monkeypatch.setattr(module, "SPARSE_COST", 1e9)
    z = np.arange(5.0 * ITEMS).reshape(5, ITEMS)
    assert outer(z) == gram(z.tolist())
    assert updates == [(rows, ITEMS) for rows in slices]


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("band", "first"), [(ITEMS, 1), (1, ITEMS), (ITEMS + 1, 0)])
def test_a_band_beyond_the_items_is_refused(band, first, order):
    """With all columns in place of the band's, item j's sum would stand under another's name."""
    release = Release(name="r", shape=(band, (2, 3)[order - 1]), kind="per_item", order=order, first_item=first)
    totals = PlainSums([release])
    with pytest.raises(ProtocolError, match="the factors"):
        totals.per_item("r", block_of(1), csr_array(np.ones((1, ITEMS))), np.ones((1, 2)))
    assert not totals.totals["r"].any()


def test_a_row_is_told_from_its_empty_neighbours():
    x = csr_array((np.array([1.0, np.nan, np.inf, 2.0]), np.array([0, 1, 0, 0]), np.array([0, 0, 2, 2, 3, 3, 4, 4])))
    assert row_finite(x).tolist() == [True, False, True, False, True, True, True]
