"""The sampler branch by branch: what becomes of each cell, each number and each block, and how good the cells are."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest

from fedcart.shared.privacy import discrete_gaussian as module
from fedcart.shared.privacy.bernoulli_exp import UNDECIDED
from fedcart.shared.privacy.discrete_gaussian import add_discrete_gaussian, discrete_gaussian
from sampler_kit import Scripted, key

REAL, LARGE = 1 << 36, 1 << 76
SCALES = (1, 2, 9, 100, 2500, 12345, 127**2, 128**2, 1429, 286_250, 1 << 30, REAL, REAL + 12345, LARGE)


def compared(cells: module._Cells, offset: int, halvings: int, uniform: int) -> tuple[list[int], list[int]]:
    """x of every cell at an offset, and the cells whose point is not under the graph: in 60 decimal digits."""
    x, rejected = cells.start + offset, []
    with localcontext() as context:
        context.prec = 60
        for cell in range(cells.whole, x.size):
            jump = int(cells.jump[cell - cells.whole])
            times = halvings if jump else 0
            x[cell] += times * jump
            graph = cells.height * 2**times * (Decimal(-(int(x[cell]) ** 2)) / (2 * cells.variance)).exp()
            if Decimal(int(cells.level[cell - cells.whole])) + Decimal(uniform) / 2**64 >= graph:
                rejected.append(cell)
    return x.tolist(), rejected


@pytest.mark.parametrize("uniform", [0, 1 << 63, 2**64 - 1])
@pytest.mark.parametrize("halvings", [0, 3])
@pytest.mark.parametrize("variance", [1, 2500, REAL])
def test_every_cell_that_may_cross_the_graph_is_compared(variance: int, halvings: int, uniform: int) -> None:
    """One word for each of the 2^16 cells; those from `whole` on, and no other, draw halvings and a uniform."""
    cells = module._cells(variance)
    count, offset = 1 << module.CELL_BITS, (1 << cells.width_bits) - 1
    edge = count - cells.whole
    words = [cell << 48 | offset for cell in range(count)] + [1 << halvings] * edge + [uniform] * edge
    stream = Scripted(words)
    x, rejected = module._propose(cells, count, stream, UNDECIDED)
    assert (x.tolist(), rejected.tolist()) == compared(cells, offset, halvings, uniform)
    assert not stream.left


@pytest.mark.parametrize("side", [1, -1])
def test_a_sample_is_added_with_its_sign(side: int) -> None:
    cells = module._cells(REAL)
    cell = int(np.flatnonzero(np.sign(cells.start[: cells.whole]) == side)[0])
    total = np.array([10, 20])
    add_discrete_gaussian(total, REAL, Scripted([cell << 48 | 5, cell << 48 | 6]))
    assert total.tolist() == [15 + int(cells.start[cell]), 26 + int(cells.start[cell])]


@pytest.mark.parametrize("count", [1, 2, 2**15, 2**15 + 1, 3 * 2**15 + 5])
def test_every_number_gets_noise(count: int) -> None:
    """At sigma = 2^38 a sample is zero with probability 2e-12: one of these would be, over keys, with 3e-7."""
    assert discrete_gaussian(LARGE, count, key("each")).all()


def test_a_draw_of_whole_blocks_is_a_prefix_of_a_longer_one() -> None:
    """What is rejected is drawn again at the end of its block of 2^15, before the next."""
    shorter, longer = (discrete_gaussian(REAL, count, key("blocks")) for count in (2**15, 2**15 + 1))
    assert np.array_equal(longer[: 2**15], shorter)


@pytest.mark.parametrize("variance", SCALES)
def test_98_words_in_100_lie_in_whole_cells_and_become_samples(variance: int) -> None:
    """The graph's area, height x sigma x sqrt(2 pi), is that share of the cells'; columns are over sigma / 128 wide."""
    cells = module._cells(variance)
    width, sigma = 1 << cells.width_bits, math.sqrt(variance)
    assert cells.whole > 0.975 * 2**16
    assert 0.985 * 2**16 < cells.height * sigma * math.sqrt(2 * math.pi) / width <= 2**16
    assert sigma / width < 128
    assert width == 1 or sigma / width >= 64


@pytest.mark.parametrize("variance", SCALES)
def test_the_tail_halves_in_a_period_and_not_in_a_column_less(variance: int) -> None:
    """(R + T)^2 - R^2 > 2 variance ln 2, T the least number of columns for which .6932 in place of ln 2 says so."""
    cells = module._cells(variance)
    tail = cells.start[cells.whole :][cells.jump > 0]
    R, period, width = int(tail.min()), int(cells.jump.max()), 1 << cells.width_bits
    with localcontext() as context:
        context.prec = 60
        assert (R + period) ** 2 - R**2 > 2 * variance * Decimal(2).ln()
    assert 10_000 * ((R + period - width) ** 2 - R**2) < 2 * 6932 * variance


def test_cells_may_be_used_up() -> None:
    """At variance 22 and height 5,572 none is left over; one level more does not fit."""
    cells = module._cover(22, 0, 5572)
    assert cells is not None
    assert cells.jump[-1] < 0, "the last cell is the tail's"
    assert module._cover(22, 0, 5573) is None
