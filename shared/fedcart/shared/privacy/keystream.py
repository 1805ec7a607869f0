"""Random words for noise: AES-256 in counter mode under one fresh key a release and attempt.

Noise that leaves a store comes from here and nowhere else: never from torch, numpy.random or floats. A key is drawn
from the operating system, used by the process that drew it, and never stored, shown or logged.
"""

from __future__ import annotations

import os
from typing import Protocol

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedcart.shared.errors import ConfigError, PrivacyRefused

KEY_BYTES = 32


class Keystream:
    """The words of one key, each given out once, in order."""

    def __init__(self, key: bytes) -> None:
        """A stream of its own for `key`, 32 bytes that nothing else is ever drawn from."""
        if len(key) != KEY_BYTES:
            raise ConfigError(f"a key of {len(key)} bytes: {KEY_BYTES} are needed; nothing was drawn")
        self._process = os.getpid()
        self._stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()

    def __repr__(self) -> str:
        return "Keystream(<secret>)"

    def __reduce__(self) -> tuple[object, ...]:
        raise PrivacyRefused("a noise key never leaves its process; nothing was copied")

    def words(self, count: int) -> npt.NDArray[np.uint64]:
        """[count] the next uint64 words, each uniform.

        Raises:
          PrivacyRefused: the process was forked since the key was drawn: parent and child would draw the same noise.
        """
        if os.getpid() != self._process:
            raise PrivacyRefused(
                "a noise key was carried over a fork; nothing was drawn or released", "draw a fresh key in each process"
            )
        raw = self._stream.update(bytes(8 * count))
        return np.asarray(np.frombuffer(raw, "<u8"), np.uint64)


class NoiseKeys(Protocol):
    """Where keys come from: the operating system, or in rehearsals a seed (in the simulation only)."""

    def __call__(self, plan: str, round_index: int, attempt: int, release: str) -> Keystream:
        """A stream for one release of one attempt of a plan's round, that nothing else is drawn from."""
        ...


def fresh(plan: str, round_index: int, attempt: int, release: str) -> Keystream:
    """A key from the operating system; the arguments change nothing, each call draws another."""
    return Keystream(os.urandom(KEY_BYTES))
