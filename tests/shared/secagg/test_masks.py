"""Masks: one stream per key, exact in both rings, whatever the length."""

from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedcart.shared.errors import ProtocolError
from fedcart.shared.secagg.masks import Bits, add_masks, to_integers, to_words, words
from fedcart.shared.secagg.streams import BLOCK_BYTES, by_ctr, by_gcm

KEY = bytes(range(32))


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("spare", [-1, 0, 1])
@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_a_mask_is_the_aes_stream_in_little_endian_words(bits: Bits, spare: int, blocks: int) -> None:
    length = max(blocks * BLOCK_BYTES * 8 // bits + spare, 0)
    mask = words(length, bits)
    add_masks(mask, [(KEY, False)])
    stream = Cipher(algorithms.AES(KEY), modes.CTR(bytes(16))).encryptor().update(bytes(length * bits // 8))
    assert mask.tobytes() == stream


@pytest.mark.parametrize("sizes", [(0,), (4,), (32,), (36,), (BLOCK_BYTES,), (BLOCK_BYTES, BLOCK_BYTES, 8), (16, 64)])
def test_both_routes_to_a_stream_give_the_same_bytes(sizes: tuple[int, ...]) -> None:
    whole = Cipher(algorithms.AES(KEY), modes.CTR(bytes(16))).encryptor().update(bytes(sum(sizes)))
    for make in (by_ctr, by_gcm):
        buffer, found = bytearray(BLOCK_BYTES), b""
        fill = make(KEY, buffer)
        for size in sizes:
            fill(size)
            found += buffer[:size]
        assert found == whole


@pytest.mark.parametrize("bits", [32, 64])
def test_mask_and_its_negative_cancel_on_the_extremes(bits: Bits) -> None:
    vector = words(5, bits)
    vector[:] = [0, 1, 2 ** (bits - 1) - 1, 2 ** (bits - 1), 2**bits - 1]
    before = vector.copy()
    add_masks(vector, [(KEY, False)])
    assert not np.array_equal(vector, before)
    add_masks(vector, [(KEY, True)])
    assert np.array_equal(vector, before)


@pytest.mark.parametrize("bits", [32, 64])
def test_integers_come_back_from_words_or_are_refused(bits: Bits) -> None:
    ends = np.array([-(2 ** (bits - 1)), -1, 0, 1, 2 ** (bits - 1) - 1])
    assert to_integers(to_words(ends, bits)).tolist() == ends.tolist()
    for beyond in (2**31, -(2**31) - 1):
        if bits == 32:
            with pytest.raises(ProtocolError, match="outside the 32 bits"):
                to_words(np.array([0, beyond]), bits)
    assert len(to_words(np.zeros(0, np.int64), bits)) == 0


def test_masks_added_together_are_masks_added_one_by_one() -> None:
    vector, other = words(70_000, 32), words(70_000, 32)
    keys = [(bytes([i]) * 32, i % 2 == 0) for i in range(5)]
    add_masks(vector, keys)
    for key, negative in reversed(keys):
        add_masks(other, [(key, negative)])
    assert np.array_equal(vector, other)


def test_refuses_short_keys_and_other_vectors() -> None:
    with pytest.raises(ProtocolError, match="16 bytes"):
        add_masks(words(3, 32), [(bytes(16), False)])
    with pytest.raises(ProtocolError, match="nothing was masked"):
        add_masks(words(8, 32)[::2], [(KEY, False)])
    with pytest.raises(ProtocolError, match="not made"):
        words(-1, 32)
