"""The four plain sums: exact against a dense computation, whatever the blocks; refusals; hostile rows."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.sparse import csr_array

import clipped_kit
from fedcart.shared.errors import PrivacyRefused, ProtocolError
from fedcart.shared.privacy import sums as module
from fedcart.shared.privacy.release import Release
from fedcart.shared.privacy.sums import PlainSums

ITEMS = 9
block_of = functools.partial(clipped_kit.block_of, items=ITEMS)


def integers(columns):
    return st.integers(1, 7).flatmap(lambda n: hnp.arrays(np.int64, (n, columns), elements=st.integers(-3, 3)))


def triangle(matrix):
    return matrix[np.triu_indices(len(matrix))]


def in_blocks(releases, cuts, add):
    """The totals when `add(sums, block, rows)` is called block by block; cuts = the blocks' edges."""
    totals = PlainSums(releases)
    for key, (start, stop) in enumerate(itertools.pairwise(cuts)):
        add(totals, block_of(stop - start, key, start), slice(start, stop))
    return totals.totals


@st.composite
def cut(draw, rows):
    inner = draw(st.sets(st.integers(1, rows - 1), max_size=rows - 1)) if rows > 1 else set()
    return [0, *sorted(inner), rows]


@given(st.data())
def test_rows_add_up_exactly_whatever_the_blocks(data):
    x = data.draw(integers(ITEMS)).astype(float)
    found = in_blocks(
        [Release(name="r", shape=(3, 3))], data.draw(cut(len(x))), lambda s, b, r: s.rows("r", b, csr_array(x[r]))
    )
    assert np.array_equal(found["r"].reshape(-1), x.sum(axis=0))


@pytest.mark.parametrize("sparse_cost", [0.0, 1e9], ids=["sparse", "dense"])
@given(st.data())
@settings(max_examples=40)
def test_outer_is_the_triangle_of_the_gram_matrix_exactly(sparse_cost, data):
    z = data.draw(integers(ITEMS)).astype(float)
    release = Release(name="r", shape=(ITEMS * (ITEMS + 1) // 2,), kind="outer")
    before = module.SPARSE_COST
    module.SPARSE_COST = sparse_cost
    try:
        found = in_blocks([release], data.draw(cut(len(z))), lambda s, b, r: s.outer("r", b, csr_array(z[r])))
    finally:
        module.SPARSE_COST = before
    assert np.array_equal(found["r"], triangle(z.T @ z))


def test_outer_in_small_dense_slices_is_the_same(monkeypatch):
    monkeypatch.setattr(module, "DENSE_WORDS", 1)
    monkeypatch.setattr(module, "SPARSE_COST", 1e9)
    z = np.random.default_rng(0).integers(-3, 4, (20, ITEMS)).astype(float)
    totals = PlainSums([Release(name="r", shape=(ITEMS * (ITEMS + 1) // 2,), kind="outer")])
    totals.outer("r", block_of(20), csr_array(z))
    assert np.array_equal(totals.totals["r"], triangle(z.T @ z))


@given(st.data())
def test_cross_is_the_product_exactly(data):
    both = data.draw(integers(ITEMS + 2)).astype(float)
    z, a = both[:, :ITEMS], both[:, ITEMS:]
    release = Release(name="r", shape=(ITEMS, 2), kind="cross")
    cuts = data.draw(cut(len(z)))
    found = in_blocks([release], cuts, lambda s, b, r: s.cross("r", b, csr_array(z[r]), a[r]))
    assert np.array_equal(found["r"], z.T @ a)


@given(st.data())
def test_per_item_is_the_weighted_sum_over_customers_for_its_band_exactly(data):
    both = data.draw(integers(ITEMS + 3)).astype(float)
    w, u = both[:, :ITEMS], both[:, ITEMS:]
    first = data.draw(st.integers(0, ITEMS - 1))
    band = data.draw(st.integers(1, ITEMS - first))
    releases = [
        Release(name="one", shape=(band, 3), kind="per_item", order=1, first_item=first),
        Release(name="two", shape=(band, 6), kind="per_item", order=2, first_item=first),
    ]

    def add(s, b, r):
        s.per_item("one", b, csr_array(w[r]), u[r])
        s.per_item("two", b, csr_array(w[r]), u[r])

    found = in_blocks(releases, data.draw(cut(len(w))), add)
    items = range(first, first + band)
    assert np.array_equal(found["one"], np.array([w[:, j] @ u for j in items]))
    assert np.array_equal(found["two"], np.array([triangle((u.T * w[:, j]) @ u) for j in items]))


def test_per_item_packs_more_items_than_fit_at_once(monkeypatch):
    monkeypatch.setattr(module, "SQUARE_WORDS", 1)
    w = np.ones((4, ITEMS))
    u = np.arange(8.0).reshape(4, 2)
    totals = PlainSums([Release(name="r", shape=(ITEMS, 3), kind="per_item", order=2)])
    totals.per_item("r", block_of(4), csr_array(w), u)
    assert np.array_equal(totals.totals["r"], np.tile(triangle(u.T @ u), (ITEMS, 1)))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["sparse", "dense"])
def test_a_row_that_is_not_finite_adds_nothing_to_any_sum(bad, where):
    x = np.random.default_rng(1).integers(1, 4, (3, ITEMS)).astype(float)
    a = np.ones((3, 2))
    clean_x, clean_a = x.copy(), a.copy()
    clean_x[1] = 0
    clean_a[1] = 0
    (x if where == "sparse" else a)[1, 1] = bad
    releases = [
        Release(name="cross", shape=(ITEMS, 2), kind="cross"),
        Release(name="one", shape=(ITEMS, 2), kind="per_item"),
        Release(name="two", shape=(ITEMS, 3), kind="per_item", order=2),
    ]
    if where == "sparse":
        releases += [Release(name="rows", shape=(ITEMS,)), Release(name="outer", shape=(45,), kind="outer")]

    def totals(values, factors):
        s = PlainSums(releases)
        s.cross("cross", block_of(3), csr_array(values), factors)
        s.per_item("one", block_of(3), csr_array(values), factors)
        s.per_item("two", block_of(3), csr_array(values), factors)
        if where == "sparse":
            s.rows("rows", block_of(3), csr_array(values))
            s.outer("outer", block_of(3), csr_array(values))
        return s.totals

    found, wanted = totals(x, a), totals(clean_x, clean_a)
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize(
    "release",
    [
        Release(name="r", shape=(ITEMS,), clip_norm=1.0),
        Release(name="r", shape=(ITEMS,), noise_multiplier=0.5),
        Release(name="r", shape=(ITEMS, 2), kind="per_item", clip_norm=1.0, weight_clip_norm=1.0),
    ],
)
def test_a_promised_clip_or_noise_is_refused(release):
    with pytest.raises(PrivacyRefused, match="plain sums have neither; nothing was released"):
        PlainSums([release])


@pytest.mark.parametrize("again", [block_of(2), block_of(2, 1, 1), block_of(2, 2, 3)])
def test_a_customer_is_added_once_to_each_release_whatever_blocks_are_made(again):
    totals = PlainSums([Release(name="a", shape=(ITEMS,)), Release(name="b", shape=(ITEMS,))])
    x = csr_array(np.ones((2, ITEMS)))
    totals.rows("a", block_of(2), x)
    totals.rows("b", block_of(2), x)
    totals.rows("a", block_of(2, 1, 2), x)
    told = f"the block starts at customer {again.start}, and those before 4 were added before; nothing was added"
    with pytest.raises(ProtocolError, match=told):
        totals.rows("a", again, x)
    assert np.array_equal(totals.totals["a"], np.full(ITEMS, 4.0))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda s: s.rows("b", block_of(1), csr_array((1, ITEMS))), "no 'rows' release 'b'"),
        (lambda s: s.outer("a", block_of(1), csr_array((1, ITEMS))), "no 'outer' release 'a'"),
        (lambda s: s.rows("a", block_of(2), csr_array((1, ITEMS))), "1 rows for 2 customers"),
        (lambda s: s.rows("a", block_of(1), csr_array((1, ITEMS + 1))), "9 words, the contribution 10"),
        (lambda s: s.outer("t", block_of(1), csr_array((1, 4))), "not the triangle of 4 x 4"),
        (lambda s: s.cross("c", block_of(1), csr_array((1, ITEMS)), np.ones((1, 3))), "the factors"),
        (lambda s: s.per_item("p", block_of(1), csr_array((1, ITEMS)), np.ones((1, 3))), "the factors"),
    ],
)
def test_refuses_what_does_not_fit_the_release(call, told):
    totals = PlainSums(
        [
            Release(name="a", shape=(ITEMS,)),
            Release(name="t", shape=(6,), kind="outer"),
            Release(name="c", shape=(ITEMS, 2), kind="cross"),
            Release(name="p", shape=(ITEMS, 3), kind="per_item", order=2),
        ]
    )
    with pytest.raises(ProtocolError, match=told):
        call(totals)
    assert not any(total.any() for total in totals.totals.values())
