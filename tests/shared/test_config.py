"""The strict loader: what it refuses, where it says the fault is, and what it never converts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcart.shared.config import build, number, read_toml
from fedcart.shared.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Inner:
    depth: int = number(3, at_least=1, at_most=9)
    rate: float = number(0.5, above=0.0, at_most=1.0)


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    flag: bool = False
    mode: Literal["fast", "slow"] = "fast"
    maybe: int | None = None
    either: int | str = 0
    sizes: tuple[int, ...] = ()
    table: Mapping[str, float] = field(default_factory=dict)
    place: Path | None = None
    inner: Inner = field(default_factory=Inner)


def refusal(values: Mapping[str, Any]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        build(Outer, values, "run.toml:")
    return caught.value


def test_values_get_the_fields_types() -> None:
    built = build(
        Outer,
        {
            "name": "n",
            "flag": True,
            "mode": "slow",
            "either": "x",
            "sizes": [1, 2],
            "table": {"a": 1},
            "place": "here",
            "inner": {"rate": 1},
        },
    )
    assert built == Outer(
        name="n",
        flag=True,
        mode="slow",
        either="x",
        sizes=(1, 2),
        table={"a": 1.0},
        place=Path("here"),
        inner=Inner(rate=1.0),
    )
    assert type(built.table["a"]) is float
    assert type(built.inner.rate) is float


def test_what_is_left_out_keeps_its_default() -> None:
    assert build(Outer, {"name": "n"}) == Outer(name="n")


@pytest.mark.parametrize(
    ("values", "message", "hint"),
    [
        ({"name": "n", "flagg": True}, "run.toml: unknown key 'flagg'", "did you mean 'flag'?"),
        ({"name": "n", "inner": {"dept": 2}}, "run.toml: inner: unknown key 'dept'", "did you mean 'depth'?"),
        ({}, "run.toml: key 'name' is missing", None),
        ({"name": 3}, "run.toml: name: str is needed, not 3", None),
        ({"name": "n", "flag": 1}, "run.toml: flag: bool is needed, not 1", None),
        ({"name": "n", "mode": "fats"}, "run.toml: mode: 'fats' is not one of 'fast', 'slow'", "did you mean 'fast'?"),
        (
            {"name": "n", "mode": ["fast"]},
            "run.toml: mode: ['fast'] is not one of 'fast', 'slow'",
            "did you mean 'fast'?",
        ),
        ({"name": "n", "maybe": "3"}, "run.toml: maybe: int is needed, not '3'", None),
        ({"name": "n", "maybe": True}, "run.toml: maybe: int is needed, not True", None),
        ({"name": "n", "sizes": 3}, "run.toml: sizes: a list is needed, not 3", None),
        ({"name": "n", "sizes": [1, 2.5]}, "run.toml: sizes[1]: int is needed, not 2.5", None),
        ({"name": "n", "table": {"a": "b"}}, "run.toml: table.a: float is needed, not 'b'", None),
        ({"name": "n", "inner": 4}, "run.toml: inner: a table is needed, not 4", None),
        ({"name": "n", "inner": {"depth": 0}}, "run.toml: inner.depth: 0 must be at least 1", None),
        ({"name": "n", "inner": {"depth": 10}}, "run.toml: inner.depth: 10 must be at most 9", None),
        ({"name": "n", "inner": {"rate": 0}}, "run.toml: inner.rate: 0.0 must be above 0.0", None),
        ({"name": "n", "inner": {"rate": math.nan}}, "run.toml: inner.rate: nan must be above 0.0", None),
    ],
)
def test_refuses(values: dict[str, Any], message: str, hint: str | None) -> None:
    error = refusal(values)
    assert (error.message, error.exit_code) == (message, 2)
    assert hint is None or error.hint == hint


def test_nan_is_refused_where_no_limit_is_stated() -> None:
    @dataclass(frozen=True)
    class Free:
        x: float = 0.0

    with pytest.raises(ConfigError, match="NaN is not a number"):
        build(Free, {"x": math.nan}, "f:")
    assert build(Free, {"x": math.inf}).x == math.inf


JSON = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=3)
)


@given(st.dictionaries(st.sampled_from([f.name for f in fields(Outer)]), JSON))
def test_any_table_is_built_with_exact_types_or_refused(values: dict[str, Any]) -> None:
    try:
        built = build(Outer, values, "f:")
    except ConfigError as error:
        refused = error.message
    else:
        refused = None
    if refused is not None:
        assert refused.startswith("f:")
        assert "\n" not in refused
        return
    assert type(built.flag) is bool
    assert built.maybe is None or type(built.maybe) is int
    assert built.mode in ("fast", "slow")
    assert all(type(x) is int for x in built.sizes)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: no such file"):
        read_toml(tmp_path / "none.toml")


@pytest.mark.parametrize("raw", [b"a = ", b"[a]\n[a]\n", b"a = 1\na = 2\n", b'a = "\xff"\n', b"= 3", b"a b = 1"])
def test_what_is_not_toml_is_refused_in_one_line(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(raw)
    with pytest.raises(ConfigError) as caught:
        read_toml(path)
    assert caught.value.message.startswith(f"{path}: ")
    assert "\n" not in caught.value.message


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        read_toml(tmp_path)
