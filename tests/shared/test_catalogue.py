"""The public item list: what it refuses, its hash, and its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcart.shared.catalogue import NUMBER_COLUMNS, TEXT_COLUMNS, Catalogue
from fedcart.shared.errors import DataError, InputError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
NUMBERS = st.floats(allow_infinity=False)


@st.composite
def catalogues(draw: st.DrawFn) -> Catalogue:
    ids = draw(st.lists(TEXT, min_size=1, max_size=5, unique=True))
    columns: dict[str, Any] = {}
    for name in draw(st.sets(st.sampled_from(TEXT_COLUMNS + NUMBER_COLUMNS))):
        of = NUMBERS if name in NUMBER_COLUMNS else TEXT
        values = draw(st.lists(of, min_size=len(ids), max_size=len(ids)))
        columns[name] = np.array(values, np.float64 if name in NUMBER_COLUMNS else object)
    return Catalogue(tuple(ids), draw(st.sampled_from(["given", "derived"])), columns)


@given(catalogues())
def test_what_was_saved_is_loaded(tmp_path_factory: pytest.TempPathFactory, catalogue: Catalogue) -> None:
    path = tmp_path_factory.mktemp("c") / "catalogue.json"
    catalogue.save(path)
    loaded = Catalogue.load(path)
    assert (loaded.ids, loaded.source, loaded.hash) == (catalogue.ids, catalogue.source, catalogue.hash)
    for name, column in catalogue.columns.items():
        np.testing.assert_array_equal(loaded.columns[name], column)
        assert loaded.columns[name].dtype == column.dtype


def small(**columns: Any) -> Catalogue:
    return Catalogue(("b", "a"), "given", columns)


def test_order_source_and_columns_are_part_of_the_hash() -> None:
    price = np.array([1.0, 2.0])
    others = [
        small(),
        Catalogue(("a", "b"), "given"),
        Catalogue(("b", "a"), "derived"),
        small(price=price),
        small(price=price[::-1]),
        small(year=price),
        small(price=np.array([1.0, np.nan])),
    ]
    assert len({x.hash for x in others}) == len(others)


def test_an_items_index_is_its_position() -> None:
    assert dict(small().index) == {"b": 0, "a": 1}
    assert len(small()) == 2
    assert small().text("title") is None
    assert small(price=np.array([1.0, 2.0])).number("price") is not None


@pytest.mark.parametrize(
    ("ids", "columns", "message"),
    [
        ((), {}, "no items"),
        (("a", "a"), {}, "twice"),
        (("a",), {"colour": np.array(["red"], object)}, "no column 'colour'"),
        (("a",), {"title": np.array(["x", "y"], object)}, "'title'"),
        (("a",), {"title": np.array([["x"]], object)}, "'title'"),
    ],
)
def test_refuses(ids: tuple[str, ...], columns: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Catalogue(ids, "given", columns)


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b'{"ids":["a"],"source":"given"}', b'{"ids":[],"source":"given","columns":{}}', b"\xff"]
)
def test_what_is_not_a_catalogue_is_refused_with_its_name(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "catalogue.json"
    path.write_bytes(raw)
    with pytest.raises(InputError):
        Catalogue.load(path)


def test_an_unknown_source_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.json"
    path.write_bytes(b'{"ids":["a"],"source":"guessed","columns":{}}')
    with pytest.raises(InputError, match="guessed"):
        Catalogue.load(path)


def test_a_missing_file_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json"):
        Catalogue.load(tmp_path / "none.json")
