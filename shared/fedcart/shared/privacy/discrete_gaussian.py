"""The discrete Gaussian N_Z(0, variance): integers x with probability proportional to exp(-x^2 / (2 variance)).

Exact, tails included: no table is rounded and nothing is cut off (docs/decisions/0006-discrete-gaussian.md). Floats
only compare, and only where a proven error cannot change the answer (`bernoulli_exp`). Time is not constant: look-ups
and the number of rejections depend on what is drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fedcart.shared.errors import ConfigError
from fedcart.shared.privacy.bernoulli_exp import UNDECIDED, under_graph
from fedcart.shared.privacy.keystream import Keystream

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]

MOST_VARIANCE = 1 << 76
"""sigma <= 2^38: up to 32 sigma is far below 2^53, and int64 ends beyond 2^24 sigma."""
BLOCK = 1 << 15
"""Samples drawn together; words, cells and samples of a block should stay in cache. Another BLOCK, other samples."""
CELL_BITS = 16


def discrete_gaussian(variance: int, count: int, stream: Keystream) -> Int64Array:
    """[count] independent samples of N_Z(0, variance), drawn from `stream`.

    The same key, position, variance and count give the same samples. How many words are consumed depends on all of
    these, as rejected samples are drawn again at the end of their block: a shorter draw is no prefix of a longer one.

    Args:
      variance: the distribution's parameter, in squared integer units, exact, 1 <= variance <= 2^76. (The variance of
        the samples is a little less where it is small: 1 - 2e-7 at 1.)

    Raises:
      ConfigError: a variance or count that is not an int in range; nothing was drawn.
      PrivacyRefused: the stream was carried over a fork.
    """
    if type(count) is not int or count < 0:
        raise ConfigError(f"{count!r} samples of noise: a whole number of at least 0 is needed; nothing was drawn")
    _check(variance)
    samples = np.zeros(count, np.int64)
    add_discrete_gaussian(samples, variance, stream)
    return samples


def add_discrete_gaussian(total: Int64Array, variance: int, stream: Keystream, *, undecided: float = UNDECIDED) -> None:
    """total += the samples of `discrete_gaussian(variance, total.size, stream)`, block by block, modulo 2^64.

    Where it raises, `total` may be noised in part and must not be released.

    Args:
      total: int64, C-contiguous, any shape.
      undecided: for tests; wider takes the exact route more often and changes no sample.

    Raises:
      ConfigError: the variance is not an int in range or `total` no such array; nothing was drawn.
      PrivacyRefused: the stream was carried over a fork.
    """
    _check(variance)
    if total.dtype != np.int64 or not total.flags.c_contiguous:
        raise ConfigError(f"noise is added to contiguous int64 arrays, not to {total.dtype}; nothing was drawn")
    cells = _cells(variance)
    flat = total.ravel()  # a view
    for start in range(0, flat.size, BLOCK):
        block = flat[start : start + BLOCK]
        x, rejected = _propose(cells, block.size, stream, undecided)
        while rejected.size:
            x[rejected], again = _propose(cells, rejected.size, stream, undecided)
            rejected = rejected[again]
        block += x


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """2^CELL_BITS cells of one area that cover the graph of height exp(-x^2 / 2 variance) over all integers x.

    A cell is a column of 2^width_bits integers, one level high. Cells before `whole` lie under the graph; the others
    may cross it. A cell with a jump belongs to the tail: shifted by jump j and halved in height j times, j = 0, 1, ….
    """

    variance: int
    height: int
    width_bits: int
    start: Int64Array  # [cells] first integer of the column
    whole: int
    level: Float64Array  # [cells - whole] whole numbers: where the cell stands
    jump: Int64Array  # [cells - whole] 0, or the tail's period: > 0 on the right, < 0 on the left


def _propose(cells: _Cells, count: int, stream: Keystream, undecided: float) -> tuple[Int64Array, npt.NDArray[np.intp]]:
    """[count] the x of uniform points of the cells, and the places of those that are not under the graph."""
    words = stream.words(count)
    cell = (words >> np.uint64(64 - CELL_BITS)).view(np.int64)
    x = cells.start.take(cell)
    x += (words & np.uint64((1 << cells.width_bits) - 1)).view(np.int64)
    edge = np.flatnonzero(cell >= cells.whole)
    which = cell[edge] - cells.whole
    level, jump = cells.level[which], cells.jump[which]
    halvings = np.where(jump == 0, 0, _trailing_zeros(edge.size, stream))
    x[edge] += jump * halvings
    kept = under_graph(x[edge], cells.variance, cells.height, level, halvings, stream, undecided)
    return x, edge[~kept]


def _trailing_zeros(count: int, stream: Keystream) -> Int64Array:
    """[count] j = 0, 1, 2, … with probability 2^-(j + 1), without end."""
    zeros = np.zeros(count, np.int64)
    going = np.arange(count)
    while going.size:
        words = stream.words(going.size)
        zeros[going] += np.bitwise_count(~words & (words - np.uint64(1)))  # 64 for a word that is 0
        going = going[words == 0]
    return zeros


@lru_cache(maxsize=4)
def _cells(variance: int) -> _Cells:
    """The cells with the greatest height found whose number is at most 2^CELL_BITS."""
    width_bits = max(0, math.isqrt(variance).bit_length() - (CELL_BITS // 2 - 1))
    height = int((1 << CELL_BITS + width_bits) / math.sqrt(2 * math.pi * variance))
    while True:
        cells = _cover(variance, width_bits, height)
        if cells is not None:
            return cells
        height -= 1 + height // 512


def _cover(variance: int, width_bits: int, height: int) -> _Cells | None:
    """Columns up to +-R, then a tail whose envelope halves every T; None where these are too many cells.

    Sound whatever the floats did: a column has at most floor(graph's least) whole cells and at least ceil(graph's
    greatest) cells, with room of 2^-30 for errors under 2^-40; at R the graph is under one level, a column or more
    beyond where it would be one; and exp(-((R + T)^2 - R^2) / 2 variance) < 1/2 is checked in integers, which suffices
    for all periods as the Gaussian is log-concave.
    """
    width = 1 << width_bits
    columns = int(math.sqrt(2 * variance * math.log(height)) / width) + 2
    begin = np.arange(columns, dtype=np.int64) * width
    start = np.concatenate([begin, -begin - width])
    nearest = np.concatenate([begin, begin + 1])  # |x| in a column goes from nearest to nearest + width - 1
    most = height * np.exp(-(nearest.astype(np.float64) ** 2) / (2.0 * variance))
    least = height * np.exp(-((nearest + (width - 1)).astype(np.float64) ** 2) / (2.0 * variance))
    under = np.floor(least * (1 - UNDECIDED)).astype(np.int64)
    crossing = np.floor(most * (1 + UNDECIDED)).astype(np.int64) + 1 - under

    R, period = columns * width, width
    while 5000 * (2 * R * period + period * period) < 6932 * variance:  # ln 2 < 0.6932
        period += width
    # Sum over j of (one level / 2^j): two cells for each column of the first period.
    tail = np.tile(np.arange(R, R + period, width, dtype=np.int64), 2)

    whole, edge = int(under.sum()), int(crossing.sum())
    spare = (1 << CELL_BITS) - whole - edge - 2 * tail.size
    if spare < 0:
        return None
    order = np.arange(edge) - np.repeat(np.cumsum(crossing) - crossing, crossing)
    level = np.repeat(under, crossing) + order
    nowhere = np.zeros(spare, np.int64)  # never under the graph: its level is the graph's height
    return _Cells(
        variance=variance,
        height=height,
        width_bits=width_bits,
        start=np.concatenate([np.repeat(start, under), np.repeat(start, crossing), tail, -tail - width, nowhere]),
        whole=whole,
        level=np.concatenate([level, np.zeros(2 * tail.size), nowhere + height]).astype(np.float64),
        jump=np.concatenate([np.zeros(edge), np.repeat([period, -period], tail.size), nowhere]).astype(np.int64),
    )


def _check(variance: int) -> None:
    if type(variance) is not int or not 1 <= variance <= MOST_VARIANCE:
        raise ConfigError(
            f"noise of variance {variance!r}: a whole number from 1 to 2^76 is needed; nothing was drawn",
            "a larger standard deviation than 2^38 units: choose a coarser scale",
        )
