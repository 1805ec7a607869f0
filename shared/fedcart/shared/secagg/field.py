"""The prime field of the shares, in plain integers: p = 2^256 - 189.

A secret is 32 bytes, read big-endian, and below p; one that is not is drawn again, never reduced.
Plain Python integers are not constant-time: a share is combined on the coordinator, which may know the result,
and split on the store, whose running time no other party of the protocol sees to better than a network's noise.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from fedcart.shared.errors import ProtocolError

P = 2**256 - 189
BYTES = 32


def to_int(word: bytes) -> int:
    """The field element that 32 big-endian bytes name.

    Raises:
      ProtocolError: another length, or a value of p or above.
    """
    if len(word) != BYTES:
        raise ProtocolError(f"a field element has {len(word)} bytes, not {BYTES}; it was not used")
    value = int.from_bytes(word, "big")
    if value >= P:
        raise ProtocolError("a field element is not below p = 2^256 - 189; it was not used")
    return value


def to_bytes(value: int) -> bytes:
    """The 32 big-endian bytes of an element of 0 .. p - 1."""
    if not 0 <= value < P:
        raise ProtocolError("a number outside 0 .. p - 1 has no field element; nothing was written")
    return value.to_bytes(BYTES, "big")


def draw_secret(draw: Callable[[int], bytes] = secrets.token_bytes) -> bytes:
    """32 uniform bytes below p; `draw(32)` is called again for a value of p or above (chance 2^-248)."""
    while True:
        word = draw(BYTES)
        if int.from_bytes(word, "big") < P:
            return word


def inverse(value: int) -> int:
    """1 / value mod p.

    Raises:
      ProtocolError: value is 0 mod p.
    """
    if value % P == 0:
        raise ProtocolError("zero has no inverse; nothing was computed")
    return pow(value, -1, P)
