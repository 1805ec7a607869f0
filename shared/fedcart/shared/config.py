"""TOML into frozen dataclasses through one strict loader.

Unknown key, missing key, wrong type and out-of-range are refused, naming file, table and key. A dataclass is one
table; a field whose type is a dataclass is a sub-table. Ranges stand in field metadata: `at_least`, `above`,
`at_most`. Settings that touch privacy and settings that only touch speed are separate classes.
"""

from __future__ import annotations

import dataclasses
import operator
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from fedcart.shared.errors import ConfigError, did_you_mean

T = TypeVar("T")
LIMITS = {"at_least": operator.ge, "above": operator.gt, "at_most": operator.le}


def read_toml(path: Path) -> dict[str, Any]:
    """The file's tables. Raises ConfigError: missing, unreadable, not UTF-8, not TOML."""
    try:
        return tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: {error}") from None


def build(kind: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """A `kind` from a mapping; fields that are left out keep their defaults.

    Args:
      where: file and table, for messages; a file alone ends in ':'.
    """
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(kind)
    for key in values:
        if key not in fields:
            raise ConfigError(f"{where.removesuffix(':')}: unknown key {key!r}", did_you_mean(key, fields))
    built: dict[str, Any] = {}
    for name, field in fields.items():
        if name in values:
            built[name] = convert(values[name], hints[name], join(where, name))
            check_range(built[name], field.metadata, join(where, name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where.removesuffix(':')}: key {name!r} is missing")
    return kind(**built)


def join(where: str, key: str) -> str:
    """`where`, one table or key deeper."""
    return f"{where}.{key}" if where and not where.endswith(":") else f"{where} {key}".strip()


def convert(value: Any, hint: Any, where: str) -> Any:
    """`value` as the type `hint`, exactly: an int is a float, a bool is neither, a string is no number."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return convert_union(value, arguments, where)
    if origin is typing.Literal:
        return convert_choice(value, arguments, where)
    if origin is tuple:
        items = expect(value, (list, tuple), "a list", where)
        return tuple(convert(inner, arguments[0], f"{where}[{index}]") for index, inner in enumerate(items))
    if origin is not None and issubclass(origin, Mapping):
        table = expect(value, Mapping, "a table", where)
        return {key: convert(inner, arguments[1], join(where, key)) for key, inner in table.items()}
    if dataclasses.is_dataclass(hint):
        if isinstance(value, typing.cast("type[Any]", hint)):
            return value
        return build(typing.cast("type[Any]", hint), expect(value, Mapping, "a table", where), where)
    return convert_scalar(value, hint, where)


def convert_scalar(value: Any, hint: type, where: str) -> Any:
    """A number, string, bool or path."""
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if isinstance(value, bool) and hint is not bool:
        raise ConfigError(f"{where}: {hint.__name__} is needed, not {value!r}")
    return expect(value, hint, hint.__name__, where)


def expect(value: Any, kind: Any, name: str, where: str) -> Any:
    """`value` if it is a `kind`."""
    if not isinstance(value, kind):
        raise ConfigError(f"{where}: {name} is needed, not {value!r}")
    return value


def convert_choice(value: Any, choices: tuple[Any, ...], where: str) -> Any:
    """One of the stated values."""
    if value not in choices:
        near = did_you_mean(str(value), [str(x) for x in choices])
        raise ConfigError(f"{where}: {value!r} is not one of {', '.join(map(repr, choices))}", near)
    return value


def convert_union(value: Any, hints: tuple[Any, ...], where: str) -> Any:
    """The first of `hints` that accepts the value."""
    if value is None and type(None) in hints:
        return None
    refusal: ConfigError | None = None
    for hint in hints:
        if hint is type(None):
            continue
        try:
            return convert(value, hint, where)
        except ConfigError as error:
            refusal = refusal or error
    raise refusal or ConfigError(f"{where}: {value!r} is not accepted")


def check_range(value: Any, limits: Mapping[str, Any], where: str) -> None:
    """Refuse a number outside the field's limits; NaN is outside all of them."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    for name, inside in LIMITS.items():
        if name in limits and not inside(value, limits[name]):
            raise ConfigError(f"{where}: {value} must be {name.replace('_', ' ')} {limits[name]}")
    if value != value:
        raise ConfigError(f"{where}: NaN is not a number")


def number(default: Any, *, at_least: Any = None, above: Any = None, at_most: Any = None) -> Any:
    """A dataclass field with a default and limits."""
    limits = {"at_least": at_least, "above": above, "at_most": at_most}
    return dataclasses.field(default=default, metadata={k: v for k, v in limits.items() if v is not None})
