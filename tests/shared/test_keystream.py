"""Keystreams: AES-256-CTR to the bit, never twice the same, never across a fork, never shown."""

from __future__ import annotations

import copy
import os
import pickle

import numpy as np
import pytest

from fedcart.shared.errors import ConfigError, PrivacyRefused
from fedcart.shared.privacy.keystream import Keystream, fresh


def test_the_words_are_those_of_aes_256() -> None:
    """The block of zeros under the key of zeros, as in the known answers of NIST AESAVS."""
    first = Keystream(bytes(32)).words(2).astype("<u8").tobytes()
    assert first.hex() == "dc95c078a2408989ad48a21492842087"


def test_pieces_are_the_whole() -> None:
    key = bytes(range(32))
    one, other = Keystream(key), Keystream(key)
    pieces = np.concatenate([one.words(count) for count in (0, 1, 5, 1000, 3)])
    assert np.array_equal(pieces, other.words(1009))


def test_no_word_is_given_out_twice() -> None:
    stream = fresh("plan", 0, 0, "popularity")
    assert len(set(stream.words(1000).tolist()) | set(stream.words(1000).tolist())) == 2000


def test_every_call_draws_another_key() -> None:
    assert len({int(fresh("plan", 0, 0, "popularity").words(1)[0]) for _ in range(100)}) == 100


def test_bits_are_even() -> None:
    """Each of 64 bits over 100,000 words of a fixed key: 5 standard deviations fail with probability 64 x 6e-7."""
    words = Keystream(b"k" * 32).words(100_000)
    for bit in range(64):
        ones = int(((words >> np.uint64(bit)) & np.uint64(1)).sum())
        assert abs(ones - 50_000) < 5 * np.sqrt(25_000)


def test_a_fork_cannot_draw_its_parents_noise() -> None:
    stream = fresh("plan", 0, 0, "popularity")
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            stream.words(1)
            os.write(writer, b"drew")
        except PrivacyRefused:
            os.write(writer, b"refused")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 16) == b"refused"
    os.close(reader)
    os.close(writer)
    assert len(stream.words(1)) == 1


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_stream_cannot_be_copied(copier: object) -> None:
    with pytest.raises(PrivacyRefused, match="nothing was copied"):
        copier(fresh("plan", 0, 0, "popularity"))  # type: ignore[operator]


def test_a_key_is_never_shown() -> None:
    key = b"thirty-two bytes nobody may see!"[:32]
    assert "nobody" not in repr(Keystream(key)) + str(vars(Keystream(key)))


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_key_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(ConfigError, match="nothing was drawn"):
        Keystream(bytes(size))
