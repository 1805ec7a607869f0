"""From what releases cost to (epsilon, delta) and back: concentrated and Gaussian differential privacy.

The discrete Gaussian is accounted by zero-concentrated DP (`zcdp_*`), the rigorous route: every order gives a valid
bound, so the least over a fixed grid is one too. Gaussian DP (`gdp_*`) is exact for the continuous Gaussian and a
second opinion only: of discrete noise it is printed with the correction of `exact_gaussian` alone. Noise is found by
bisection that ends on the private side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from fedcart.shared.errors import ConfigError, PrivacyRefused

_ORDERS: npt.NDArray[np.float64] = 1.0 + np.exp(np.arange(-9.0, 18.0, 0.01))
"""Orders alpha > 1, a percent apart in alpha - 1: epsilon within 1e-4 of the least over all orders."""
_SAFETY = 1e-9
"""Relative, and a thousandth of it absolute: far above the rounding of a few float operations, so that epsilon is
never printed too low."""

_SMALLEST = math.ulp(0.0)


def zcdp_epsilon(rho: float, delta: float) -> float:
    """Least epsilon on the grid for which rho-zCDP implies (epsilon, delta)-DP.

    epsilon = alpha rho + log(1 / (alpha delta)) / (alpha - 1) + log(1 - 1 / alpha), for each alpha > 1 (Canonne,
    Kamath, Steinke 2020, arXiv:2004.00010v5, Corollary 13 with Proposition 12 on rho-zCDP).

    Raises:
      ConfigError: rho negative or NaN, or delta outside (0, 1).
    """
    _check(rho, delta)
    if rho == 0:
        return 0.0
    if math.isinf(rho):
        return math.inf
    above = _ORDERS - 1.0
    epsilon = _ORDERS * rho + (-np.log(_ORDERS) - math.log(delta)) / above + np.log(above / _ORDERS)
    return max(0.0, float(epsilon.min()) * (1 + _SAFETY) + 1e-3 * _SAFETY)


def zcdp_delta(rho: float, epsilon: float) -> float:
    """Least delta on the grid for which rho-zCDP implies (epsilon, delta)-DP; the same bound, solved for delta."""
    _check(rho, 0.5)
    if not epsilon >= 0:
        raise ConfigError(f"epsilon {epsilon} must be at least 0; nothing was computed")
    if rho == 0:
        return 0.0
    above = _ORDERS - 1.0
    log_delta = above * (_ORDERS * rho - epsilon) - above * np.log1p(1.0 / above) - np.log(_ORDERS)
    delta = math.exp(min(0.0, float(log_delta.min()))) * (1 + _SAFETY)
    return min(1.0, max(delta, _SMALLEST))  # what is too small for a float is not nothing


def zcdp_rho(epsilon: float, delta: float) -> float:
    """Largest rho found whose `zcdp_epsilon` is at most `epsilon`."""
    return _largest(lambda rho: zcdp_epsilon(rho, delta), epsilon, delta)


def gaussian_rho(noise_multiplier: float) -> float:
    """rho of one Gaussian release, discrete or continuous: 1 / (2 z^2) (ibid., Theorem 14 and Proposition 5)."""
    if not noise_multiplier > 0:
        return math.inf
    return 0.5 / noise_multiplier**2


def gdp_delta(mu: float, epsilon: float) -> float:
    """delta(epsilon) of mu-Gaussian DP, exact: Phi(mu/2 - e/mu) - exp(e) Phi(-mu/2 - e/mu) (Dong, Roth, Su 2019,
    arXiv:1905.02383v3, Corollary 2.13; Balle and Wang 2018, arXiv:1805.06530v2, Theorem 8)."""
    from scipy.special import log_ndtr

    if mu == 0:
        return 0.0
    if math.isinf(mu):
        return 1.0
    first = float(log_ndtr(mu / 2 - epsilon / mu))
    second = epsilon + float(log_ndtr(-mu / 2 - epsilon / mu))
    return math.exp(first) * -math.expm1(min(0.0, second - first))


def gdp_epsilon(mu: float, delta: float) -> float:
    """Least epsilon of mu-Gaussian DP at delta, by bisection from above, to the last bit."""
    _check(mu, delta)
    if gdp_delta(mu, 0.0) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while gdp_delta(mu, high) > delta:
        high *= 2
        if math.isinf(high):
            return math.inf
    while low < (middle := (low + high) / 2) < high:
        low, high = (low, middle) if gdp_delta(mu, middle) <= delta else (middle, high)
    return high


def gdp_mu(epsilon: float, delta: float) -> float:
    """Largest mu found whose exact epsilon at delta is at most `epsilon`."""
    return _largest(lambda mu: gdp_epsilon(mu, delta), epsilon, delta)


def refuse_large_delta(delta: float, customers_bound: int) -> None:
    """A delta of 1 / (10 N) or more lets a mechanism publish somebody whole now and then.

    Raises:
      PrivacyRefused: delta >= 1 / (10 customers_bound).
      ConfigError: delta outside (0, 1), or no customers.
    """
    _check_delta(delta)
    if customers_bound < 1:
        raise ConfigError(f"a bound of {customers_bound} customers: at least 1 is needed; nothing was computed")
    if Fraction(repr(delta)) * 10 * customers_bound >= 1:  # the decimal that was written, without rounding
        raise PrivacyRefused(
            f"delta {delta:g} is not below 1 / (10 x {customers_bound} customers); nothing was released",
            f"use delta {auto_delta(customers_bound):g} or less",
        )


def auto_delta(customers_bound: int) -> float:
    """The largest power of ten below 1 / (10 N)."""
    if customers_bound < 1:
        raise ConfigError(f"a bound of {customers_bound} customers: at least 1 is needed; nothing was computed")
    exponent = 2
    while 10**exponent <= 10 * customers_bound:
        exponent += 1
    return float(f"1e-{exponent}")


def _largest(cost: Callable[[float], float], epsilon: float, delta: float) -> float:
    """Largest parameter found whose cost is at most epsilon; cost grows with it. Ends on the cheaper side.

    A plan's noise follows from it to the last bit, and everybody computes it again: another search is another plan.
    """
    _check_delta(delta)
    if not 0 < epsilon < math.inf:
        raise ConfigError(f"epsilon {epsilon} must be positive and finite; nothing was computed")
    low, high = 0.0, 1.0
    while cost(high) <= epsilon:
        low, high = high, 2 * high
    while high - low > 1e-12 * high and low < (middle := (low + high) / 2):
        low, high = (middle, high) if cost(middle) <= epsilon else (low, middle)
    if low == 0:
        raise ConfigError(
            f"no noise is known to reach epsilon {epsilon} at delta {delta}; nothing was computed",
            "ask for a larger epsilon or delta",
        )
    return low


def _check(cost: float, delta: float) -> None:
    if not cost >= 0:
        raise ConfigError(f"a privacy cost of {cost}: at least 0 is needed; nothing was computed")
    _check_delta(delta)


def _check_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise ConfigError(f"delta {delta} must be between 0 and 1; nothing was computed")
