"""One meaning, one byte string: equal values agree, different values differ, anything inexact is refused."""

from __future__ import annotations

import hashlib
import json
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcart.shared.canonical import canonical_bytes, content_hash, decimal_string, model_hash
from fedcart.shared.errors import InputError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_canonical_bytes_read_back_as_the_same_value(value: Any) -> None:
    assert json.loads(canonical_bytes(value)) == value


@given(st.dictionaries(TEXT, VALUES, min_size=2, max_size=5), st.randoms())
def test_the_order_of_keys_changes_nothing(table: dict[str, Any], random: Any) -> None:
    keys = list(table)
    random.shuffle(keys)
    assert canonical_bytes({key: table[key] for key in keys}) == canonical_bytes(table)


def test_canonical_bytes_are_these() -> None:
    value = {"é": [True, None, -1], "b": "a\n", "a": {"z": 10**30, "y": ()}}
    expected = '{"a":{"y":[],"z":1000000000000000000000000000000},"b":"a\\n","é":[true,null,-1]}'
    assert canonical_bytes(value) == expected.encode()
    assert content_hash(value) == hashlib.sha256(expected.encode()).hexdigest()


def test_any_mapping_has_the_bytes_of_the_same_dict() -> None:
    assert canonical_bytes({"a": MappingProxyType({"b": 1})}) == b'{"a":{"b":1}}'


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": [0, 1.5]}, "$.a[1]"),
        ({"a": float("nan")}, "$.a"),
        ({1: "x"}, "the key 1"),
        ([b"x"], "bytes"),
        ([np.int64(1)], "int64"),
        ([{1, 2}], "set"),
        (["\ud800"], "surrogate"),
        ({"\ud800": 1}, "surrogate"),
    ],
)
def test_refuses_what_has_no_canonical_bytes(value: Any, where: str) -> None:
    with pytest.raises(InputError) as caught:
        canonical_bytes(value)
    assert where in caught.value.message


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_decimal_string_reads_back_as_the_same_float(number: float) -> None:
    text = decimal_string(number)
    assert float(text) == number
    assert "e" not in text.lower()
    assert not text.endswith(".0")


@pytest.mark.parametrize(
    ("number", "text"), [(0.1, "0.1"), (1.0, "1"), (1e-7, "0.0000001"), (-2.5, "-2.5"), (100, "100")]
)
def test_decimal_strings_are_these(number: float, text: str) -> None:
    assert decimal_string(number) == text


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_has_no_decimal_string(number: float) -> None:
    with pytest.raises(InputError):
        decimal_string(number)


MODEL = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array([1, 2], np.int64)}


def independent_model_hash(arrays: dict[str, Any]) -> str:
    """The docstring again, by other means."""
    raw = b""
    for name, array in sorted(arrays.items()):
        for part in (name, array.dtype.str, ",".join(str(x) for x in array.shape)):
            raw += len(part.encode()).to_bytes(8, "little") + part.encode()
        raw += array.nbytes.to_bytes(8, "little") + array.tobytes("C")
    return hashlib.sha256(raw).hexdigest()


@pytest.mark.parametrize(
    "arrays", [{}, MODEL, {"empty": np.empty((0, 3), np.float32)}, {"scalar": np.array(1.5, np.float32)}]
)
def test_the_model_hash_is_what_its_docstring_says(arrays: dict[str, Any]) -> None:
    assert model_hash(arrays) == independent_model_hash(arrays)


@pytest.mark.parametrize(
    "other",
    [
        {"b": MODEL["b"], "c": MODEL["a"]},
        {"b": MODEL["b"].reshape(3, 2), "a": MODEL["a"]},
        {"b": MODEL["b"].astype(np.float64), "a": MODEL["a"]},
        {"b": MODEL["b"] + np.float32(1e-6), "a": MODEL["a"]},
        {"b": MODEL["b"]},
    ],
)
def test_another_name_shape_type_or_value_is_another_model(other: dict[str, Any]) -> None:
    assert model_hash(other) != model_hash(MODEL)


def test_a_scalar_and_an_array_of_one_are_different_models() -> None:
    assert model_hash({"a": np.array(1.0)}) != model_hash({"a": np.array([1.0])})


def test_memory_layout_and_order_of_names_change_nothing() -> None:
    assert model_hash({"a": MODEL["a"], "b": np.asfortranarray(MODEL["b"])}) == model_hash(MODEL)
