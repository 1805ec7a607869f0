"""Masks: AES-256-CTR streams read as little-endian words, added into a vector of Z_2^32 or Z_2^64.

Each key is used for one stream only (it is derived with the round's ctx), so the counter starts at 0. Streams are
made and added a block at a time, all keys' streams into one block before the next: the block stays in the cache and
no second vector is ever held.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fedcart.shared.errors import ProtocolError
from fedcart.shared.secagg.streams import BLOCK_BYTES, stream

Words = npt.NDArray[np.uint32] | npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int32] | npt.NDArray[np.int64]
Bits = Literal[32, 64]

KEY_BYTES = 32
_DTYPES: dict[int, np.dtype[Any]] = {32: np.dtype("<u4"), 64: np.dtype("<u8")}
_SIGNED: dict[int, np.dtype[Any]] = {4: np.dtype("<i4"), 8: np.dtype("<i8")}
_PART = 2**15
"""Integers turned into words at a time: they are read from memory once."""


def words(length: int, bits: Bits) -> Words:
    """A zero vector of Z_2^bits, [length]."""
    if bits not in _DTYPES or length < 0:
        raise ProtocolError(f"a vector of {length} words of {bits} bits is not one of ours; it was not made")
    made: Words = np.zeros(length, dtype=_DTYPES[bits])
    return made


def to_words(values: npt.NDArray[np.int64], bits: Bits) -> Words:
    """Signed integers as words of Z_2^bits, [d] -> [d], a copy.

    Raises:
      ProtocolError: a value that bits cannot hold: it would come back as another one.
    """
    made = words(len(values), bits)
    for at in range(0, len(values), _PART):
        part = values[at : at + _PART].astype(np.int64, copy=False)
        if bits == 32 and not (part.min() >= -(2**31) and part.max() < 2**31):
            raise ProtocolError("a value lies outside the 32 bits of the plan's modulus; nothing was masked")
        made[at : at + _PART] = part.view(np.uint64)  # wraps
    return made


def to_integers(vector: Words) -> Integers:
    """Words read as signed integers of the same width; a view."""
    read: Integers = vector.view(_SIGNED[vector.itemsize])
    return read


def check_words(vector: Words, length: int, bits: Bits) -> None:
    """Raises ProtocolError unless `vector` is one row of `length` words of `bits` bits."""
    if not isinstance(vector, np.ndarray) or vector.dtype != _DTYPES[bits] or vector.shape != (length,):
        raise ProtocolError(f"a vector is not the plan's {length} words of {bits} bits; it was not used")
    if not vector.flags.c_contiguous:
        raise ProtocolError("a vector is not contiguous; it was not used")


def vector_hash(vector: Words) -> bytes:
    """H(y): SHA-256 of the words, little-endian."""
    return hashlib.sha256(vector.view(np.uint8).data).digest()


def add_masks(into: Words, keys: Iterable[tuple[bytes, bool]]) -> None:
    """into += PRG(key) for each (key, False), -= for each (key, True), mod 2^bits and in place.

    Args:
      into: [d], contiguous, uint32 or uint64.
      keys: 32 bytes each, never used for another vector.
    """
    if into.dtype not in _DTYPES.values() or into.ndim != 1 or not into.flags.c_contiguous:
        raise ProtocolError("a masked vector is one row of uint32 or uint64 words; nothing was masked")
    buffer = bytearray(min(BLOCK_BYTES, into.nbytes))
    streams = []
    for key, negative in keys:
        if len(key) != KEY_BYTES:
            raise ProtocolError(f"a mask key has {len(key)} bytes, not {KEY_BYTES}; nothing was masked")
        streams.append((stream(key, buffer), np.subtract if negative else np.add))
    made: npt.NDArray[Any] = np.frombuffer(buffer, dtype=into.dtype)
    for start in range(0, len(into), max(len(made), 1)):
        part = into[start : start + len(made)]
        mask = made[: len(part)]
        for fill, operation in streams:
            fill(part.nbytes)
            operation(part, mask, out=part)
