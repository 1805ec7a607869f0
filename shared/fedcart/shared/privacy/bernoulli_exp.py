"""Whether uniform points lie under the graph of height exp(-x^2 / (2 variance)): decided exactly.

Float64 decides where its proven error cannot change the answer, integers decide the rest: the uniform is known to 64
bits at first; bits of it and digits of exp are added until the two are apart. Time is not constant.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from fedcart.shared.privacy.keystream import Keystream

UNDECIDED = 2.0**-30
"""Half-width of the interval in which a float comparison is not trusted, over (both sides + 1). Their error is below
2^-39 of that: 2^-40 on the right, 2^-51 on the left."""
_GUARD = 64
"""Bits of exp beyond those of the uniform, so that the width of its bounds hardly ever matters."""


def under_graph(
    x: npt.NDArray[np.int64],
    variance: int,
    height: int,
    level: npt.NDArray[np.float64],
    halvings: npt.NDArray[np.int64],
    stream: Keystream,
    undecided: float = UNDECIDED,
) -> npt.NDArray[np.bool_]:
    """[points] whether (level + u) / 2^halvings < height exp(-x^2 / (2 variance)), u fresh and uniform in [0, 1).

    Args:
      x, level, halvings: [points]; level holds whole numbers up to 2^16.
      undecided: another interval, in tests; wider takes longer and changes no answer.
    """
    words = stream.words(x.size)
    left = level + words * 2.0**-64
    right = _scaled_graph(x, variance, height, halvings)
    under: npt.NDArray[np.bool_] = left < right
    for i in np.flatnonzero(np.abs(left - right) <= undecided * (left + right + 1)).tolist():
        under[i] = is_under(int(x[i]), variance, height, int(level[i]), int(halvings[i]), int(words[i]), stream)
    return under


def _scaled_graph(
    x: npt.NDArray[np.int64], variance: int, height: int, halvings: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """[points] height exp(-x^2 / (2 variance)) 2^halvings, to 2^-40 (itself + 1).

    The two terms of the exponent err by 2^-51 of themselves. They are below 2^9, or else both the true and the computed
    value are under 2^-400. exp errs by a few units in the last place; 2^-41 would do.
    """
    exponent = halvings * math.log(2) - x.astype(np.float64) ** 2 / (2.0 * variance)
    scaled: npt.NDArray[np.float64] = height * np.exp(exponent)
    return scaled


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
