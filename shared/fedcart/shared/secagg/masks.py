"""Masks: AES-256-CTR streams read as little-endian words, added into a vector of Z_2^32 or Z_2^64.

Each key is used for one stream only (it is derived with the round's ctx), so the counter starts at 0. The stream is
made and added a block at a time, so that no second vector is ever held.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedcart.shared.errors import ProtocolError

Words = npt.NDArray[np.uint32] | npt.NDArray[np.uint64]
Bits = Literal[32, 64]

BLOCK_BYTES = 2**17
"""Bytes made at a time; two of them stay in the second-level cache."""
KEY_BYTES = 32
_DTYPES: dict[int, np.dtype[Any]] = {32: np.dtype("<u4"), 64: np.dtype("<u8")}
_ZEROS = bytes(BLOCK_BYTES)


def words(length: int, bits: Bits) -> Words:
    """A zero vector of Z_2^bits, [length]."""
    if bits not in _DTYPES or length < 0:
        raise ProtocolError(f"a vector of {length} words of {bits} bits is not one of ours; it was not made")
    made: Words = np.zeros(length, dtype=_DTYPES[bits])
    return made


def add_mask(into: Words, key: bytes, *, negative: bool = False) -> None:
    """into += PRG(key), or -= when negative, mod 2^bits and in place.

    Args:
      into: [d], contiguous, uint32 or uint64.
      key: 32 bytes, never used for another vector.
    """
    if len(key) != KEY_BYTES:
        raise ProtocolError(f"a mask key has {len(key)} bytes, not {KEY_BYTES}; nothing was masked")
    if into.dtype not in _DTYPES.values() or into.ndim != 1 or not into.flags.c_contiguous:
        raise ProtocolError("a masked vector is one row of uint32 or uint64 words; nothing was masked")
    cipher = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    buffer = bytearray(BLOCK_BYTES)
    stream: npt.NDArray[Any] = np.frombuffer(buffer, dtype=into.dtype)
    operation = np.subtract if negative else np.add
    for start in range(0, len(into), len(stream)):
        part = into[start : start + len(stream)]
        cipher.update_into(_ZEROS[: part.nbytes] if part.nbytes < BLOCK_BYTES else _ZEROS, buffer)
        operation(part, stream[: len(part)], out=part)
