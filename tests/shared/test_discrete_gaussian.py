"""The discrete Gaussian: its cells in exact integers, its law by chi-square, its tails by counting, and known mistakes.

Keys are fixed. A statistical test fails for a right sampler with probability 1e-6 (over keys) unless it says otherwise.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from functools import cache
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from fedcart.shared.errors import ConfigError
from fedcart.shared.privacy import bernoulli_exp
from fedcart.shared.privacy import discrete_gaussian as module
from fedcart.shared.privacy.bernoulli_exp import UNDECIDED, exp_bounds, is_under, under_graph
from fedcart.shared.privacy.discrete_gaussian import add_discrete_gaussian, discrete_gaussian
from sampler_kit import Scripted, key

ERROR = 1e-6
SMALL = (1, 2, 9, 100, 2500, 12345)
REAL = 1 << 36
LARGE = 1 << 76


# ---- what is right: exact probabilities


@cache
def probabilities(variance: int) -> tuple[np.ndarray, np.ndarray]:
    """Integers and their probabilities, summed in 40 decimal digits; what lies beyond 13 sigma is under 1e-36."""
    with localcontext() as context:
        context.prec = 40
        far = 13 * (math.isqrt(variance) + 1)
        half = [(Decimal(-x * x) / (2 * variance)).exp() for x in range(far + 1)]
        total = 2 * sum(half) - 1
        p = [float(y / total) for y in half]
    return np.arange(-far, far + 1), np.array(p[:0:-1] + p)


def below(x: float, variance: int) -> float:
    """P(X < x), x half an integer, for sigma >= 2^18: the continuous Gaussian's, right to 1e-10 (midpoint rule)."""
    return 0.5 * math.erfc(-x / math.sqrt(2 * variance))


@cache
def bins(variance: int) -> tuple[int, int, np.ndarray]:
    """Bins of 2^shift integers from `first` on, and two outer ones without end; first, shift, probabilities."""
    if variance < REAL:
        x, p = probabilities(variance)
        edges = x[p > 1e-5][1:]
        return int(edges[0]), 0, np.add.reduceat(p, [0, *np.searchsorted(x, edges)])
    shift = math.isqrt(variance).bit_length() - 8
    far = int(4.2 * math.sqrt(variance)) >> shift << shift
    under = np.array([below(edge - 0.5, variance) for edge in range(-far, far + 1, 1 << shift)])
    return -far, shift, np.diff(under, prepend=0.0, append=1.0)


def fit(x: np.ndarray, variance: int) -> float:
    """Probability of a chi-square at least this large if the law is right."""
    first, shift, p = bins(variance)
    seen = np.bincount(np.clip((x - first >> shift) + 1, 0, p.size - 1), minlength=p.size)
    expected = x.size * p
    return float(chi2.sf(((seen - expected) ** 2 / expected).sum(), p.size - 1))


def variance_is_right(x: np.ndarray, variance: int) -> bool:
    """Within 4.9 standard deviations (1e-6): 0.22 % at 1e7 samples."""
    square = x.astype(np.float64)
    return abs(float(np.mean(np.square(square, out=square))) / variance - 1) < 4.9 * math.sqrt(2 / x.size)


def tail_is_right(x: np.ndarray, variance: int, sigmas: float) -> bool:
    """|x| > sigmas * sigma as often as it should: a binomial count within 4.9 standard deviations (1e-6)."""
    limit = math.isqrt(int(sigmas * sigmas * variance))
    p = 2 * below(-limit - 0.5, variance)
    expected = x.size * p
    return abs(int((np.abs(x) > limit).sum()) - expected) <= 4.9 * math.sqrt(expected) + 1


def right_cells(found: ModuleType, variance: int) -> bool:
    """The cells tile the graph: in exact integers, at every column and 80 periods of the tail.

    Columns would still do so were the graph off by 3 x 2^-32 of itself: the floats that count cells err by less.
    """
    cells = found._cells(variance)
    width = 1 << cells.width_bits

    def graph(x: int, halvings: int = 0) -> tuple[int, int]:
        """Floor and ceiling of height exp(-x^2 / 2 variance) 2^halvings, or a level further apart."""
        low, high = exp_bounds(x * x, 2 * variance, 400)
        return (cells.height * low << halvings) >> 400, -(-(cells.height * high << halvings) >> 400)

    def roomy(x: int) -> tuple[int, int]:
        """Floor and ceiling of the graph at x, with the room for floats."""
        low, high = exp_bounds(x * x, 2 * variance, 400)
        return cells.height * low * (2**32 - 3) >> 432, -(-cells.height * high * (2**32 + 3) >> 432)

    whole = dict(zip(*np.unique(cells.start[: cells.whole], return_counts=True), strict=True))
    edge = cells.start[cells.whole :]
    tail = cells.jump != 0
    inner = np.cumsum(tail) == 0  # columns, tail, then what is left over
    starts = np.unique(edge[inner])
    R = int(starts[-1]) + width
    good = np.array_equal(starts, np.arange(-R, R, width)) and set(whole) <= set(starts.tolist())
    good &= cells.start.size == cells.whole + cells.level.size == 1 << found.CELL_BITS
    good &= bool((cells.level[~inner & ~tail] == cells.height).all())  # never under the graph
    for start in starts.tolist():
        ends = sorted((abs(start), abs(start + width - 1)))
        nearest, furthest = (0 if start <= 0 < start + width else ends[0]), ends[1]
        levels, count = cells.level[inner & (edge == start)], whole.get(start, 0)
        good &= np.array_equal(levels, np.arange(count, count + levels.size))
        good &= bool(count <= roomy(furthest)[0] and roomy(nearest)[1] <= count + levels.size)
    period = int(cells.jump.max())
    first = np.arange(R, R + period, width)
    for side, begin in ((period, first), (-period, -first - width)):
        good &= np.array_equal(np.sort(edge[cells.jump == side]), np.sort(np.tile(begin, 2)))
    good &= bool((cells.level[tail] == 0).all() and (np.abs(cells.jump[tail]) == period).all())
    return bool(good and all(graph(R + j * period, j)[1] <= 1 for j in range(80)))


# ---- it is right


@pytest.mark.parametrize("variance", [*SMALL, 3, 4, 127**2, 128**2 - 1, 128**2, REAL, REAL + 12345, LARGE - 1, LARGE])
def test_the_cells_tile_the_graph_exactly(variance: int) -> None:
    assert right_cells(module, variance)


@pytest.mark.parametrize("variance", SMALL)
def test_samples_have_the_law(variance: int) -> None:
    assert fit(discrete_gaussian(variance, 2_000_000, key("law")), variance) > ERROR


@pytest.mark.parametrize("variance", [REAL, REAL + 12345, LARGE])
def test_samples_of_a_real_scale_have_the_law_and_its_tails(variance: int) -> None:
    x = discrete_gaussian(variance, 10_000_000, key("real"))
    assert fit(x, variance) > ERROR
    assert tail_is_right(x, variance, 4)
    assert tail_is_right(x, variance, 4.75)
    assert variance_is_right(x, variance)
    assert abs(float(x.mean())) < 4.9 * math.sqrt(variance / x.size)
    low = np.bincount(x & 15, minlength=16)  # the lowest bits are even
    assert chi2.sf(((low - x.size / 16) ** 2 / (x.size / 16)).sum(), 15) > ERROR


@pytest.mark.parametrize("variance", SMALL)
def test_the_law_test_would_catch_a_five_percent_error_of_scale(variance: int) -> None:
    wrong = max(variance + 1, round(variance * 1.05**2))
    assert fit(discrete_gaussian(wrong, 2_000_000, key("law")), variance) < 1e-20


@pytest.mark.parametrize("wrong", [0.95, 1.05])
def test_the_law_tail_and_variance_tests_would_catch_five_percent_at_a_real_scale(wrong: float) -> None:
    x = discrete_gaussian(int(REAL * wrong**2), 10_000_000, key("real"))
    assert fit(x, REAL) < 1e-20
    assert not tail_is_right(x, REAL, 4)
    assert not variance_is_right(x, REAL)


def test_the_stated_variance_of_the_samples_is_right() -> None:
    x, p = probabilities(1)
    assert 1 - float((x * x * p).sum()) == pytest.approx(2e-7, rel=0.1)


def test_zero_comes_once_and_the_law_is_symmetric() -> None:
    x = discrete_gaussian(1, 10_000_000, key("zero"))
    _, p = probabilities(1)
    for value, expected in ((0, p.max()), (1, p[p.size // 2 + 1]), (-1, p[p.size // 2 - 1])):
        assert abs((x == value).sum() - x.size * expected) < 4.9 * math.sqrt(x.size * expected)
    signs = x[x != 0] > 0
    assert abs(2 * int(signs.sum()) - signs.size) < 4.9 * math.sqrt(signs.size)


def test_neighbours_in_a_draw_are_independent() -> None:
    """Pairs at distance 1 and 2 of samples clamped to -3 ... 3: a 7 x 7 table."""
    x = np.clip(discrete_gaussian(2, 4_000_000, key("pairs")), -3, 3) + 3
    values, p = probabilities(2)
    p = np.bincount(np.clip(values, -3, 3) + 3, weights=p)
    for one, other in ((x[::2], x[1::2]), (x[::4], x[2::4])):
        expected = one.size * np.outer(p, p).reshape(-1)
        seen = np.bincount(7 * one + other, minlength=49)
        assert chi2.sf(((seen - expected) ** 2 / expected).sum(), 48) > ERROR


# ---- the exact route


@given(st.integers(0, 10**6), st.integers(1, 10**4))
def test_exp_bounds_enclose_exp_and_are_narrow(numerator: int, denominator: int) -> None:
    numerator %= 200 * denominator
    low, high = exp_bounds(numerator, denominator, 256)
    with localcontext() as context:
        context.prec = 120
        true = (Decimal(-numerator) / denominator).exp() * 2**256
        assert low <= true + Decimal("1e-20")
        assert true - Decimal("1e-20") <= high
    assert high - low <= 3 + 2 * 10**-60 * low + 500
    assert exp_bounds(0, denominator, 256) == (1 << 256, 1 << 256)


@given(st.floats(0, 7), st.integers(1, 2**30), st.integers(1, 30_000), st.integers(0, 300))
def test_only_the_word_that_straddles_the_graph_asks_for_more(
    sigmas: float, sigma: int, height: int, halvings: int
) -> None:
    x, variance = int(sigmas * sigma) + 1, sigma * sigma
    with localcontext() as context:
        context.prec = 200
        top = height * 2**halvings * (Decimal(-x * x) / (2 * variance)).exp()
        level, word = int(top), int((top - int(top)) * 2**64)
    ask = (x, variance, height, level, halvings)
    assert is_under(*ask, word, Scripted([0]))
    assert not is_under(*ask, word, Scripted([2**64 - 1]))
    assert word == 0 or is_under(*ask, word - 1, Scripted([]))
    assert word == 2**64 - 1 or not is_under(*ask, word + 1, Scripted([]))


def test_at_zero_the_graph_is_a_whole_number_and_nothing_more_is_drawn() -> None:
    assert is_under(0, 7, 404, 403, 0, 2**64 - 1, Scripted([]))
    assert not is_under(0, 7, 404, 404, 0, 0, Scripted([]))


@given(st.integers(0, 60), st.floats(0, 1), st.sampled_from([1, 9, 2500, REAL, REAL + 12345, LARGE]))
def test_floats_err_far_less_than_what_is_not_trusted(halvings: int, place: float, variance: int) -> None:
    """The right side of the comparison, at points of the tail's first 60 periods and of the columns."""
    cells = module._cells(variance)
    period, last = int(cells.jump.max()), int(np.abs(cells.start).max())
    x = int(place * last) + halvings * period
    found = bernoulli_exp._scaled_graph(np.array([x]), variance, cells.height, np.array([halvings])).item()
    with localcontext() as context:
        context.prec = 60
        true = float(cells.height * 2**halvings * (Decimal(-x * x) / (2 * variance)).exp())
    assert abs(found - true) <= 2.0**-40 * (true + 1)


@pytest.mark.parametrize(("variance", "count"), [(1, 300_000), (9, 300_000), (2500, 300_000), (REAL, 200_000)])
def test_every_sample_is_the_same_when_no_float_is_trusted(variance: int, count: int) -> None:
    fast, exact, between = (np.zeros(count, np.int64) for _ in range(3))
    add_discrete_gaussian(fast, variance, key("exact"))
    add_discrete_gaussian(exact, variance, key("exact"), undecided=math.inf)
    add_discrete_gaussian(between, variance, key("exact"), undecided=1e-2)
    assert np.array_equal(fast, exact)
    assert np.array_equal(fast, between)
    assert fit(exact, variance) > ERROR


def test_the_tail_has_no_end() -> None:
    """A word of zeros is 64 periods and goes on; a cell of the tail then lies 70 periods out."""
    assert module._trailing_zeros(3, Scripted([0, 1, 12, 64])).tolist() == [70, 0, 2]
    cells = module._cells(REAL)
    period = int(cells.jump.max())
    for side in (1, -1):
        at = int(np.flatnonzero(cells.jump == side * period)[0]) + cells.whole
        words = [at << 48, 0, 64, 1 << 63]  # the cell; 70 periods; far above the graph
        x, rejected = module._propose(cells, 1, Scripted(words), UNDECIDED)
        assert x.tolist() == [int(cells.start[at]) + side * 70 * period]
        assert rejected.tolist() == [0]


@pytest.mark.parametrize("undecided", [UNDECIDED, math.inf])
def test_points_lie_under_the_graph_as_often_as_it_is_high(undecided: float) -> None:
    """Bernoulli(exp(-x^2 / 2 variance)) for some x, by float and by integers."""
    count, variance = 4_000, 12345
    for x in (0, 1, 50, 111, 250, 400):
        points = np.full(count, x)
        nothing = np.zeros(count, np.int64)
        under = under_graph(points, variance, 1, nothing.astype(float), nothing, key(f"under {x}"), undecided)
        p = math.exp(-x * x / 2 / variance)
        assert abs(under.sum() - count * p) <= 4.9 * math.sqrt(count * p * (1 - p))


# ---- the stream


def test_a_key_gives_its_samples_again_and_another_key_others() -> None:
    draw = [discrete_gaussian(REAL, 100_000, key(name)) for name in ("one", "one", "two")]
    assert np.array_equal(draw[0], draw[1])
    assert (draw[0] == draw[2]).sum() < 20


def test_a_stream_goes_on_and_never_repeats() -> None:
    stream = key("on")
    one, other = discrete_gaussian(REAL, 100_000, stream), discrete_gaussian(REAL, 100_000, stream)
    assert (one == other).sum() < 20


@pytest.mark.parametrize("shape", [(), (0,), (1,), (module.BLOCK,), (module.BLOCK + 1,), (3, 50_000)])
def test_noise_is_added_in_place(shape: tuple[int, ...]) -> None:
    total = np.full(shape, 10**15, np.int64)
    add_discrete_gaussian(total, REAL, key("place"))
    expected = discrete_gaussian(REAL, total.size, key("place"))
    assert expected.dtype == np.int64
    assert np.array_equal(total.reshape(-1) - 10**15, expected)


# ---- refusals


@pytest.mark.parametrize("variance", [0, -1, True, 1.0, np.int64(4), "4", None, LARGE + 1, 1 << 100])
def test_a_variance_out_of_range_is_refused(variance: object) -> None:
    with pytest.raises(ConfigError, match=r"from 1 to 2\^76 is needed; nothing was drawn"):
        discrete_gaussian(variance, 3, Scripted([]))
    total = np.zeros(3, np.int64)
    with pytest.raises(ConfigError, match=r"2\^76"):
        add_discrete_gaussian(total, variance, Scripted([]))
    assert not total.any()


@pytest.mark.parametrize("count", [-1, True, 1.0, None])
def test_a_count_that_is_none_is_refused(count: object) -> None:
    with pytest.raises(ConfigError, match="nothing was drawn"):
        discrete_gaussian(4, count, Scripted([]))


@pytest.mark.parametrize("total", [np.zeros(4), np.zeros(4, np.int32), np.zeros((4, 4), np.int64)[:, 1]])
def test_noise_is_added_to_whole_int64_arrays_only(total: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="contiguous int64"):
        add_discrete_gaussian(total, 4, Scripted([]))


# ---- mistakes, each caught by name


def untrusting(found: ModuleType, variance: int, count: int) -> np.ndarray:
    total = np.zeros(count, np.int64)
    found.add_discrete_gaussian(total, variance, key("exact"), undecided=math.inf)
    return total


CHECKS: dict[str, Callable[[ModuleType], bool]] = {
    "cells": lambda m: all(right_cells(m, variance) for variance in (1, 9, REAL)),
    "law": lambda m: all(fit(m.discrete_gaussian(v, 500_000, key("law")), v) > ERROR for v in (1, 9, 2500)),
    "real law": lambda m: fit(m.discrete_gaussian(REAL, 10_000_000, key("real")), REAL) > ERROR,
    "exact law": lambda m: all(fit(untrusting(m, v, 300_000), v) > ERROR for v in (9, REAL)),
    "exact is the same": lambda m: np.array_equal(
        untrusting(m, REAL, 300_000), m.discrete_gaussian(REAL, 300_000, key("exact"))
    ),
    "variance": lambda m: variance_is_right(m.discrete_gaussian(REAL, 10_000_000, key("real")), REAL),
    "tail": lambda m: tail_is_right(m.discrete_gaussian(REAL, 10_000_000, key("real")), REAL, 4),
}
AGAIN = 'type("Again", (), {"words": lambda self, count: words[edge]})()'
MISTAKES: dict[str, tuple[str, str, str]] = {
    "accepts everything": ("tail", "return x, edge[~kept]", "return x, edge[:0]"),
    "zero comes twice": ("law", "[begin, -begin - width]", "[begin, 1 - begin - width]"),
    "cut off at 4 sigma": ("tail", "edge[~kept]", "edge[~kept | (x[edge] ** 2 > 16 * cells.variance)]"),
    "the proposal's uniform again": ("law", "halvings, stream, undecided)\n", f"halvings, {AGAIN}, undecided)\n"),
    "scale 5 % too large": ("real law", "_cells(variance)\n    flat", "_cells(variance * 441 // 400)\n    flat"),
    "scale 0.2 % too small": ("variance", "_cells(variance)\n    flat", "_cells(variance * 249 // 250)\n    flat"),
    "graph of exp(-x^2 / variance)": ("law", "/ (2.0 * variance)\n    scaled", "/ variance\n    scaled"),
    "no halving": ("tail", "halvings * math.log(2) - x", "-x"),
    "halving without moving": ("tail", "x[edge] += jump * halvings", "pass"),
    "the left tail goes right": ("tail", "[period, -period]", "[period, period]"),
    "no level": ("law", "level + words * 2.0**-64", "words * 2.0**-64"),
    "no cell above the graph": ("cells", ".astype(np.int64) + 1 - under", ".astype(np.int64) - under"),
    "one tail cell a column": ("cells", "dtype=np.int64), 2)", "dtype=np.int64), 1)"),
    "period too short": ("cells", "6932 * variance:", "3466 * variance:"),
    "whole cells over the graph": ("cells", "np.floor(least * (1 - UNDECIDED))", "np.ceil(least)"),
    "left columns one too near": ("law", "[begin, begin + 1]", "[begin, begin]"),
    "rejected samples stay": ("law", "while rejected.size:", "while False:"),
    "the exact route says yes": ("exact law", "under[i] = is_under(", "under[i] = True or is_under("),
    "the exact route forgets the level": ("exact is the same", "(level << bits) + word", "word"),
    "the exact route forgets the halving": ("exact is the same", "int(halvings[i]), int(words[i])", "0, int(words[i])"),
    "low bits missing": ("real law", "x += (words &", "x += 0 * (words &"),
}


def changed(old: str, new: str) -> ModuleType:
    """The sampler with one piece of the text of its two modules replaced."""
    texts = {part: inspect.getsource(part) for part in (bernoulli_exp, module)}
    assert sum(text.count(old) for text in texts.values()) == 1, old
    below, found = (ModuleType(part.__name__) for part in texts)
    for part, copy in zip(texts, (below, found), strict=True):
        exec(compile(texts[part].replace(old, new), "changed", "exec"), copy.__dict__)
    found.__dict__["under_graph"] = below.under_graph
    return found


@pytest.mark.parametrize("name", CHECKS)
def test_the_sampler_passes_what_catches_the_mistakes(name: str) -> None:
    assert CHECKS[name](module)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_caught(name: str) -> None:
    check, old, new = MISTAKES[name]
    assert not CHECKS[check](changed(old, new))
