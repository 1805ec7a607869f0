"""Which comparisons floats decide, and that the bounds of exp hold where nothing is rounded."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fedcart.shared.privacy import bernoulli_exp as module
from fedcart.shared.privacy.bernoulli_exp import UNDECIDED, exp_bounds, under_graph
from sampler_kit import Scripted


def test_what_is_not_trusted_is_wider_than_what_floats_err() -> None:
    """Both sides together err by under 2^-39 (both sides + 1); with less, a float would decide what it cannot know."""
    assert UNDECIDED >= 2.0**-39


@pytest.mark.parametrize("apart", [0.0, 0.9995, 1.0005])
@pytest.mark.parametrize(("height", "halvings"), [(1, 0), (404, 0), (1, 3)])
@pytest.mark.parametrize("below", [True, False])
@pytest.mark.parametrize("answer", [True, False])
def test_integers_are_asked_inside_the_interval_and_only_there(
    apart: float, height: int, halvings: int, below: bool, answer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At x = 0, where the graph is `top`: a uniform that far from it, in units of 2^-30 (left + right + 1)."""
    top = height << halvings
    distance = int(apart * (2 * top + 1) * 2**34)
    level, word = (top - 1, 2**64 - max(distance, 1)) if below else (top, distance)
    asked = []
    monkeypatch.setattr(module, "is_under", lambda *given: (asked.append(given[:6]), answer)[1])
    zero, levels, halved = np.zeros(1, np.int64), np.array([float(level)]), np.array([halvings])
    found = under_graph(zero, 7, height, levels, halved, Scripted([word]))
    assert asked == ([(0, 7, height, level, halvings, word)] if apart < 1 else [])
    assert found.tolist() == [answer if apart < 1 else below]


@pytest.mark.parametrize("bits", [8, 64, 200])
def test_bounds_enclose_exp_where_every_term_is_a_whole_number(bits: int) -> None:
    """exp(-2^-b) lies between 1 - 2^-b and 1; the terms 2^b and 1 are exact, so only what remains keeps it enclosed."""
    low, high = exp_bounds(1, 1 << bits, bits)
    assert (1 << bits) - 3 <= low <= (1 << bits) - 1
    assert 1 << bits <= high <= (1 << bits) + 1


def test_bounds_hold_for_every_small_fraction() -> None:
    """In few bits, where each term's rounding shows: against the series to 60 terms in 300 bits."""
    for numerator, denominator, bits in itertools.product(range(1, 30), (1, 2, 3, 7, 64), (1, 2, 5, 16)):
        term = total = 1 << 300
        for n in range(1, 400):
            term = term * numerator // (n * denominator)
            total += term
        low, high = exp_bounds(numerator, denominator, bits)
        assert low * total <= 1 << 300 + bits
        assert high * (total + 400) >= 1 << 300 + bits
