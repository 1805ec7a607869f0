"""What a store has spent: rho composed over charges, for its life and in a sliding window; epsilon from rho.

Charges compose by addition (zCDP; Bun and Steinke 2016, arXiv:1605.02065v1, Lemma 2.3). Each is rounded up to a
multiple of 2^-128 first, so that sums stay short and never too low. Numbers are exact until the last step.
"""

from __future__ import annotations

import bisect
import math
from decimal import ROUND_CEILING, Decimal, localcontext
from fractions import Fraction

from fedcart.shared.privacy.conversion import zcdp_epsilon

GRID = 1 << 128
DAY = 86_400
LEAST_SHARE = 100
"""Least variance of a store's share in any ledger when several add up: their sum is then one discrete Gaussian up to
10 h exp(-980) (`privacy.accounting`)."""


class Spending:
    """A running total and its history, in order of time."""

    def __init__(self) -> None:
        self._times: list[int] = []
        self._totals: list[int] = [0]  # in units of 1 / GRID; totals[i] = before charge i

    def add(self, time: int, rho: Fraction) -> None:
        """One more charge, no earlier than the last."""
        self._times.append(time)
        self._totals.append(self._totals[-1] + -(-rho.numerator * GRID // rho.denominator))

    @property
    def charges(self) -> int:
        """How many were added."""
        return len(self._times)

    @property
    def lifetime(self) -> Fraction:
        """rho of all charges."""
        return Fraction(self._totals[-1], GRID)

    def since(self, time: int) -> Fraction:
        """rho of the charges at `time` or later."""
        first = bisect.bisect_left(self._times, time)
        return Fraction(self._totals[-1] - self._totals[first], GRID)

    def window(self, days: int, now: int) -> Fraction:
        """rho of the last `days` times 24 hours up to `now`, both ends included."""
        return self.since(now - days * DAY)


def epsilon_of(rho: Fraction, delta: float) -> float:
    """Lifetime or window epsilon of an exact rho, never too low."""
    try:
        above = math.nextafter(float(rho), math.inf) if rho else 0.0
    except OverflowError:
        above = math.inf
    return zcdp_epsilon(above, delta)


def epsilon_string(epsilon: float) -> str:
    """Six decimals, rounded up: what a line and a reader see."""
    with localcontext() as context:
        context.prec = 400
        return format(Decimal(epsilon).quantize(Decimal("0.000001"), ROUND_CEILING), "f")


def fraction_string(value: Fraction) -> str:
    """'num/den' in lowest terms."""
    return f"{value.numerator}/{value.denominator}"
