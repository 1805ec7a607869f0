"""Public columns as kernels: what a product says, and how factors stand for it."""

from __future__ import annotations

import numpy as np
import pytest

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import DataError
from fedcart.shared.item_features.columns import ERA_YEARS
from fedcart.shared.item_features.factors import eigenfactors
from fedcart.shared.item_features.kernel import popularity_kernel, public_kernel
from fedcart.shared.tables.items import read_items
from fedcart.shared.tables.options import TableOptions

ITEMS = 40


def made_up(*columns):
    draw = np.random.default_rng(5)
    year = draw.integers(1950, 2000, ITEMS).astype(float)
    year[3] = np.nan
    every = {
        "category": np.array([["a", "b", "a|b", "c"][i % 4] for i in range(ITEMS)], object),
        "year": year,
        "price": np.exp(draw.normal(2.0, 1.0, ITEMS)),
        "brand": np.array([f"brand {i % 7}" for i in range(ITEMS)], object),
        "title": np.array([f"red lamp {i % 9}" for i in range(ITEMS)], object),
        "vector": np.array(["" if i == 5 else f"{i % 3} {-i} .5" for i in range(ITEMS)], object),
    }
    return Catalogue(tuple(map(str, range(ITEMS))), "given", {name: every[name] for name in columns})


def matrix(kernel):
    return kernel(np.eye(ITEMS))


def popularity():
    q = np.random.default_rng(1).gamma(0.5, size=ITEMS) + 1e-3
    return q / q.sum()


def test_the_product_is_that_of_the_matrix_written_out():
    catalogue = made_up("category", "year")
    genres = np.zeros((ITEMS, 3))
    for item, text in enumerate(catalogue.columns["category"]):
        genres[item, ["abc".index(part) for part in text.split("|")]] = 1.0
    cosine = genres @ genres.T / np.outer(*[np.sqrt(genres.sum(axis=1))] * 2)
    year = catalogue.columns["year"]
    era = np.nan_to_num(np.exp(-np.abs(year[:, None] - year) / ERA_YEARS))
    assert matrix(public_kernel(catalogue)) == pytest.approx(0.5 * cosine + 0.5 * era + cosine * era)


def test_vectors_make_items_alike_by_their_cosine_and_one_without_like_nothing():
    given = np.array([[i % 3, -i, 0.5] if i != 5 else [0, 0, 0] for i in range(ITEMS)], float)
    length = np.sqrt((given**2).sum(axis=1))
    unit = given / np.where(length > 0, length, 1.0)[:, None]
    assert matrix(public_kernel(made_up("vector"))) == pytest.approx(unit @ unit.T)


@pytest.mark.parametrize("bad", ["1 2", "1 2 3 4", "1 2 red", "1 2 inf", "1 nan 3"])
def test_a_vector_that_is_none_is_refused_with_its_item(bad):
    column = np.array(["1 2 3", "", bad], object)
    with pytest.raises(DataError, match=r"item 'c'.*nothing was read"):
        public_kernel(Catalogue(("a", "b", "c"), "given", {"vector": column}))


def test_an_item_file_with_a_bad_vector_is_refused_when_it_is_read(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text("id,vector\na,1 2\nb,1\n")
    with pytest.raises(DataError, match="item 'b'"):
        read_items(path, TableOptions())
    path.write_text("id,vector\na,1 2\nb,\n")
    assert read_items(path, TableOptions()).columns["vector"].tolist() == ["1 2", ""]


@pytest.mark.parametrize(
    "columns", [("category", "year"), ("title", "price"), ("category", "price", "brand"), ("vector",), ()]
)
def test_a_kernel_is_symmetric_and_positive_semi_definite(columns):
    for kernel in (public_kernel(made_up(*columns)), popularity_kernel(made_up(*columns), popularity())):
        full = matrix(kernel)
        assert full == pytest.approx(full.T, abs=1e-12)
        assert np.linalg.eigvalsh(full).min() > -1e-9


def test_without_columns_only_popularity_makes_items_alike():
    assert not matrix(public_kernel(made_up())).any()
    q = popularity()
    full = matrix(popularity_kernel(made_up(), q))
    assert full.argmax(axis=1) == pytest.approx(np.arange(ITEMS), abs=ITEMS)  # finite, and itself among the nearest
    assert (np.diag(full) >= full.max(axis=1) - 1e-12).all()


def test_rare_categories_weigh_more_where_popularity_is_known():
    catalogue = made_up("category")
    q = np.array([0.9 if i % 4 == 0 else 0.1 for i in range(ITEMS)])
    full = matrix(popularity_kernel(catalogue, q / q.sum()))
    plain = matrix(public_kernel(catalogue))
    assert full[2, 1] > full[2, 0]
    assert plain[2, 1] == pytest.approx(plain[2, 0])


def test_factors_are_the_leading_eigenvectors():
    full = matrix(public_kernel(made_up("category", "year")))
    values, vectors = eigenfactors(lambda x: full @ x, ITEMS, 5)
    assert values == pytest.approx(np.linalg.eigvalsh(full)[::-1][:5])
    assert full @ vectors == pytest.approx(vectors * values)


def test_a_kernel_of_nothing_has_no_factors():
    values, vectors = eigenfactors(lambda x: 0 * x, ITEMS, 5)
    assert values.shape == (0,)
    assert vectors.shape == (ITEMS, 0)
