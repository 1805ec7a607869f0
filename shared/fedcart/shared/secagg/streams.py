"""The key stream of a mask: AES-256-CTR from an all-zero counter block, by whichever of two routes is faster here.

Where the processor has wide AES instructions OpenSSL uses them for GCM alone. GCM encrypts by CTR: under the nonce 0
its text begins at counter block 2, so blocks 0 and 1 and then GCM's ciphertext of zeros are the same stream. A process
measures both once; the choice moves no byte. Nothing of GCM but its counter is used: no tag is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

Fill = Callable[[int], None]
"""fill(k) writes the stream's next k bytes to the front of the buffer it was made for."""

BLOCK_BYTES = 2**17
"""Bytes made at a time; two such buffers stay in the second-level cache."""
_AHEAD = 32
"""Bytes of the stream before GCM's text: counter blocks 0 and 1."""
_ZEROS = bytes(BLOCK_BYTES)
_TRIALS = 5


def stream(key: bytes, buffer: bytearray) -> Fill:
    """AES-256-CTR under `key` (32 bytes), into a buffer of at most BLOCK_BYTES; a call goes on where the last ended."""
    return _faster()(key, buffer)


def by_ctr(key: bytes, buffer: bytearray) -> Fill:
    """The stream as the specification says it."""
    write = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor().update_into

    def fill(size: int) -> None:
        write(_ZEROS if size == BLOCK_BYTES else _ZEROS[:size], buffer)

    return fill


def by_gcm(key: bytes, buffer: bytearray) -> Fill:
    """The same bytes from GCM's counter."""
    ahead = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor().update(bytes(_AHEAD))
    write = Cipher(algorithms.AES256(key), modes.GCM(bytes(12))).encryptor().update_into

    def fill(size: int) -> None:
        nonlocal ahead
        if not ahead and size == BLOCK_BYTES:
            write(_ZEROS, buffer)
            return
        head, ahead = ahead[:size], ahead[size:]
        buffer[: len(head)] = head
        write(_ZEROS[: size - len(head)], memoryview(buffer)[len(head) :])

    return fill


@cache
def _faster() -> Callable[[bytes, bytearray], Fill]:
    """By the best of a few blocks each, about a millisecond in all."""
    buffer = bytearray(BLOCK_BYTES)

    def best(make: Callable[[bytes, bytearray], Fill]) -> float:
        fill, found = make(bytes(32), buffer), []
        for _ in range(_TRIALS):
            begun = time.perf_counter()
            fill(BLOCK_BYTES)
            found.append(time.perf_counter() - begun)
        return min(found)

    return min((by_ctr, by_gcm), key=best)
