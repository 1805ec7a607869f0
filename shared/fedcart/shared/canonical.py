"""One byte string for one meaning: what plans, catalogues and models are hashed and signed as.

Canonical JSON: UTF-8, keys sorted by code point, no white space, no floats (numbers are integers or decimal
strings, DESIGN section 9), no duplicate keys. Two parties that hold the same meaning hold the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcart.shared.errors import InputError

Json = Any


def canonical_bytes(value: Json) -> bytes:
    """The canonical JSON of `value`; refuses floats, non-string keys and anything JSON does not have."""
    _refuse_inexact(value, "$")
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False, default=dict)
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InputError("a text with half a surrogate pair has no canonical bytes") from None


def decimal_string(number: float) -> str:
    """A float as the shortest decimal string that reads back as the same float; no exponent."""
    if not np.isfinite(number):
        raise InputError(f"{number} has no decimal string")
    text = format(Decimal(repr(float(number))), "f")
    return text.removesuffix(".0")


def content_hash(value: Json) -> str:
    """SHA-256 of the canonical bytes, 64 hex digits."""
    return hashlib.sha256(canonical_bytes(value)).hexdigest()


def model_hash(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """H(model): SHA-256 over sorted (name, dtype, shape, bytes), each part length-prefixed; 64 hex digits."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        for part in (name, array.dtype.str, ",".join(map(str, np.shape(arrays[name])))):
            raw = part.encode()
            digest.update(len(raw).to_bytes(8, "little") + raw)
        digest.update(array.nbytes.to_bytes(8, "little"))
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _refuse_inexact(value: Json, where: str) -> None:
    if isinstance(value, float):
        raise InputError(f"{where}: a float has no canonical bytes", "write it as an integer or a decimal string")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise InputError(f"{where}: the key {key!r} is not a string")
            _refuse_inexact(inner, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _refuse_inexact(inner, f"{where}[{index}]")
    elif value is not None and not isinstance(value, str | int | bool):
        raise InputError(f"{where}: {type(value).__name__} has no canonical bytes")
