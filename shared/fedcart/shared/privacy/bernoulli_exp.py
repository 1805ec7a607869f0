"""Whether a uniform real lies under exp(-x^2 / 2 variance): decided exactly, in integers.

The slow half of the discrete Gaussian: it sees the rare comparison that float64 cannot decide. The uniform is known to
64 bits at first; bits of it and digits of exp are added until the two are apart. No float enters, none is returned.
"""

from __future__ import annotations

from fedcart.shared.privacy.keystream import Keystream

_GUARD = 64
"""Bits of exp beyond those of the uniform, so that the width of its bounds hardly ever matters."""


def is_under(x: int, variance: int, height: int, level: int, halvings: int, word: int, stream: Keystream) -> bool:
    """Whether (level + u) / 2^halvings < height exp(-x^2 / (2 variance)).

    u is uniform in [0, 1), a binary fraction without end: `word` holds its first 64 bits, and further words are drawn
    as they are needed (one about once in 2^64 uniforms). Exact. It ends with probability 1: for x != 0 the right side
    is irrational (Lindemann), and for x = 0 its bounds are equal.
    """
    bits = 64
    while True:
        left = (level << bits) + word  # in units of 2^-bits the left side lies in [left, left + 1)
        digits = bits + halvings + _GUARD
        low, high = exp_bounds(x * x, 2 * variance, digits)
        if (left + 1) << digits <= (height * low) << (bits + halvings):
            return True
        if left << digits >= (height * high) << (bits + halvings):
            return False
        word = (word << 64) | int(stream.words(1)[0])
        bits += 64


def exp_bounds(numerator: int, denominator: int, bits: int) -> tuple[int, int]:
    """Integers low <= 2^bits exp(-numerator / denominator) <= high; equal where the numerator is 0.

    The series of exp(+a), all of whose terms are positive, each rounded down and up; from the term n >= 2a on, what
    remains is at most the last term. Then one division.
    """
    low_term = high_term = low = high = 1 << bits
    n = 0
    while high_term > 1 or n * denominator < 2 * numerator:
        n += 1
        low_term = low_term * numerator // (n * denominator)
        high_term = -(-high_term * numerator // (n * denominator))
        low += low_term
        high += high_term
    high += high_term
    one = 1 << 2 * bits
    return one // high, -(-one // low)
