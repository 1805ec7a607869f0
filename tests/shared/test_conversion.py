"""Conversions: what the theorems say to 1e-9, published figures, and rounding that is always on the private side."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import mpmath as mp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import minimize_scalar

from fedcart.shared.errors import ConfigError, PrivacyRefused
from fedcart.shared.privacy.conversion import (
    auto_delta,
    gaussian_rho,
    gdp_delta,
    gdp_epsilon,
    gdp_mu,
    refuse_large_delta,
    zcdp_delta,
    zcdp_epsilon,
    zcdp_rho,
)

COSTS = st.floats(1e-6, 1e4)
DELTAS = st.sampled_from([1e-9, 1e-7, 1e-5, 1e-3])


def bound(rho: float, delta: float, alpha: float) -> float:
    """The theorem's epsilon at one order, spelled another way than in the code."""
    constant = (alpha - 1) * math.log(alpha - 1) - alpha * math.log(alpha)
    return alpha * rho + (constant - math.log(delta)) / (alpha - 1)


@given(COSTS, DELTAS)
def test_zcdp_costs_the_least_that_the_theorem_gives_over_all_orders(rho: float, delta: float) -> None:
    best = minimize_scalar(
        lambda x: bound(rho, delta, 1 + math.exp(x)), bounds=(-9, 18), method="bounded", options={"xatol": 1e-10}
    )
    exact = max(0.0, best.fun)
    assert exact <= zcdp_epsilon(rho, delta) * (1 + 1e-12)
    assert zcdp_epsilon(rho, delta) <= exact * (1 + 1e-4) + 1e-9


@given(COSTS, DELTAS)
def test_delta_and_epsilon_are_the_same_bound(rho: float, delta: float) -> None:
    epsilon = zcdp_epsilon(rho, delta)
    assert zcdp_delta(rho, epsilon) <= delta * (1 + 1e-8)
    if epsilon > 0.01:
        assert zcdp_delta(rho, 0.99 * epsilon) > delta


@given(st.floats(0.05, 20), st.sampled_from([0.1, 1.0, 4.0]))
def test_gaussian_delta_is_the_integral_of_the_privacy_loss(mu: float, epsilon: float) -> None:
    """delta = E[max(0, 1 - exp(epsilon - L))] with L ~ N(mu^2 / 2, mu^2) the privacy loss."""

    def integrand(x: float) -> float:
        loss = mu * mu / 2 + mu * x
        return max(0.0, -math.expm1(epsilon - loss)) * math.exp(-x * x / 2) / math.sqrt(2 * math.pi)

    start = (epsilon - mu * mu / 2) / mu
    expected = quad(integrand, start, max(start, 0) + 40, epsabs=0, epsrel=1e-11, limit=500)[0]
    assert gdp_delta(mu, epsilon) == pytest.approx(expected, rel=1e-8, abs=1e-300)


@pytest.mark.parametrize(("epsilon", "noise"), [(0.5, 7.03), (1, 3.73), (2, 1.99), (4, 1.08), (8, 0.600), (16, 0.344)])
def test_one_exact_gaussian_release_needs_the_known_noise(epsilon: float, noise: float) -> None:
    assert 1 / gdp_mu(epsilon, 1e-5) == pytest.approx(noise, rel=2e-3)


@pytest.mark.parametrize(("epsilon", "more"), [(1, 0.084), (2, 0.078), (4, 0.071), (8, 0.062)])
def test_the_rigorous_route_costs_six_to_nine_percent_more_noise_than_the_exact_gaussian(
    epsilon: float, more: float
) -> None:
    rigorous = 1 / math.sqrt(2 * zcdp_rho(epsilon, 1e-5))
    assert rigorous * gdp_mu(epsilon, 1e-5) - 1 == pytest.approx(more, abs=1e-3)


@pytest.mark.parametrize(
    ("stores", "clipped_alone", "noised_alone"), [(2, 2.15, 1.47), (3, 3.41, 1.83), (5, 6.17, 2.44)]
)
def test_a_person_at_several_stores_costs_the_known_epsilon(
    stores: int, clipped_alone: float, noised_alone: float
) -> None:
    mu = gdp_mu(1, 1e-5)
    assert gdp_epsilon(stores * mu, 1e-5) == pytest.approx(clipped_alone, abs=6e-3)
    assert gdp_epsilon(math.sqrt(stores) * mu, 1e-5) == pytest.approx(noised_alone, abs=6e-3)


@given(st.floats(0.05, 16), DELTAS)
def test_calibrated_noise_is_never_over_the_target_and_close_to_it(epsilon: float, delta: float) -> None:
    assert 0.98 * epsilon <= zcdp_epsilon(zcdp_rho(epsilon, delta), delta) <= epsilon
    assert 0.98 * epsilon <= gdp_epsilon(gdp_mu(epsilon, delta), delta) <= epsilon


@given(COSTS, DELTAS)
def test_no_exact_gaussian_costs_more_than_the_rigorous_bound(rho: float, delta: float) -> None:
    if rho < 1e3:
        assert gdp_epsilon(math.sqrt(2 * rho), delta) <= zcdp_epsilon(rho, delta)


@given(COSTS, COSTS, DELTAS)
def test_more_releases_never_cost_less(one: float, other: float, delta: float) -> None:
    assert zcdp_epsilon(one + other, delta) >= zcdp_epsilon(one, delta)


def test_a_dropped_factor_of_two_would_be_seen() -> None:
    right, wrong = gaussian_rho(3.73), 1 / 3.73**2
    assert gaussian_rho(3.73) == float(1 / (2 * Fraction(3.73) ** 2))
    assert zcdp_epsilon(wrong, 1e-5) > 1.3 * zcdp_epsilon(right, 1e-5)


def least(value: Callable[[mp.mpf], mp.mpf]) -> mp.mpf:
    """Of the orders that the module names, a percent apart in alpha - 1 from exp(-9) to exp(18), in 40 digits."""
    return min(value(1 + mp.exp(mp.mpf(k) / 100)) for k in range(-900, 1800))


@pytest.mark.parametrize(
    ("rho", "delta"), [(0.1, 1e-5), (3.0, 1e-9), (1e12, 1e-5), (1e-20, 1e-9)], ids=["some", "more", "huge", "tiny"]
)
def test_epsilon_is_that_of_the_best_order_and_a_billionth_more(rho: float, delta: float) -> None:
    """At the ends the first and the last order are the best, so that another grid would show. Never too low."""
    with mp.workdps(40):
        exact = least(
            lambda a: a * rho + mp.log(1 / (a * mp.mpf(delta))) / (a - 1) + mp.log(1 - 1 / a)  # Corollary 13
        )
        found = mp.mpf(zcdp_epsilon(rho, delta))
        assert 0 < exact < found <= exact * (1 + mp.mpf(2e-9)) + mp.mpf(2e-12)


@pytest.mark.parametrize(("rho", "epsilon"), [(0.1, 1.0), (3.0, 20.0), (0.01, 0.0), (1e-20, 1e-9)])
def test_delta_is_that_of_the_best_order_and_a_billionth_more(rho: float, epsilon: float) -> None:
    with mp.workdps(40):
        exact = least(lambda a: mp.exp((a - 1) * (a * rho - epsilon)) / (a - 1) * (1 - 1 / a) ** a)  # ibid.
        found = mp.mpf(zcdp_delta(rho, epsilon))
        assert 0 < exact < found <= exact * (1 + mp.mpf(2e-9))


def test_no_delta_is_above_one() -> None:
    assert zcdp_delta(100.0, 0.0) == zcdp_delta(1e6, 1.0) == 1.0


@pytest.mark.parametrize("rho", [0.25, 0.5, 1.0, 2.0])
def test_an_epsilon_that_is_met_exactly_is_met(rho: float) -> None:
    """At most epsilon, not below it: on both sides of where a search begins."""
    assert zcdp_rho(zcdp_epsilon(rho, 1e-5), 1e-5) >= rho
    assert gdp_epsilon(1.0, gdp_delta(1.0, rho)) <= rho
    assert gdp_epsilon(1.0, gdp_delta(1.0, 0.0)) == 0


END = 1e12 * 2.0**-40
"""Where a bracket of 2^-40 is 1e-12 of its upper end, exactly."""


@pytest.mark.parametrize(
    ("epsilon", "delta", "rho"),
    [
        (0.1, 1e-9, "0x1.737a3330b1000p-13"),
        (1.0, 1e-5, "0x1.f4a3306e30000p-6"),
        (4.0, 1e-5, "0x1.7e1966c054000p-2"),
        (16.0, 1e-5, "0x1.e73c906c60000p+1"),
        (50.0, 1e-3, "0x1.965addc15a000p+4"),
        (zcdp_epsilon(END - 2.0**-41, 1e-5), 1e-5, (END - 2.0**-40).hex()),
    ],
)
def test_every_party_finds_the_same_rho_to_the_last_bit(epsilon: float, delta: float, rho: str) -> None:
    """Else the noise of a plan that was signed would come out otherwise, and its hash. Within 1e-12 of the largest."""
    assert zcdp_rho(epsilon, delta).hex() == rho
    assert zcdp_epsilon(zcdp_rho(epsilon, delta) * (1 + 2e-12), delta) > epsilon


def test_an_epsilon_that_no_noise_is_known_to_reach_is_refused() -> None:
    """The last order gives log(1 / (alpha delta)) / (alpha - 1) and more, however small rho is."""
    assert zcdp_epsilon(5e-324, 1e-9) > 2e-8
    with pytest.raises(ConfigError, match="no noise is known to reach epsilon 1e-08 at delta 1e-09; nothing was"):
        zcdp_rho(1e-8, 1e-9)


def test_a_delta_is_never_negative_however_small_the_cost() -> None:
    """Where the two terms of the difference are equal but for their rounding."""
    assert gdp_delta(1e-15, 3e-15) >= 0
    assert gdp_delta(1e-14, 2e-13) >= 0


def test_a_delta_too_small_for_a_float_is_not_said_to_be_nothing() -> None:
    assert 0 < zcdp_delta(1e-6, 10.0) < 1e-300


def test_nothing_costs_nothing_and_no_noise_costs_everything() -> None:
    assert zcdp_epsilon(0.0, 1e-5) == gdp_epsilon(0.0, 1e-5) == zcdp_delta(0.0, 1.0) == 0
    assert [gaussian_rho(z) for z in (0.5, 1.0, 2.0)] == [2.0, 0.5, 0.125]
    assert gaussian_rho(0.0) == zcdp_epsilon(math.inf, 1e-5) == math.inf
    assert gdp_delta(math.inf, 1.0) == 1


def test_dp_accounting_finds_at_most_a_percent_less() -> None:
    """A second opinion with its own orders and conversion: never below ours by more than its grid, never above."""
    import dp_accounting
    from dp_accounting.rdp import RdpAccountant

    for z in (0.5, 1.0, 4.0):
        accountant = RdpAccountant([1 + x / 10 for x in range(1, 1000)])
        accountant.compose(dp_accounting.ZCDpEvent(gaussian_rho(z)))
        assert accountant.get_epsilon(1e-5) == pytest.approx(zcdp_epsilon(gaussian_rho(z), 1e-5), rel=1e-2)


@pytest.mark.parametrize(
    ("customers", "delta"), [(1, 1e-2), (9, 1e-2), (10, 1e-3), (95, 1e-3), (6040, 1e-5), (1e6, 1e-8)]
)
def test_auto_delta_is_the_largest_power_of_ten_below_a_tenth_of_one_over_the_customers(
    customers: int, delta: float
) -> None:
    assert auto_delta(customers) == delta
    assert Fraction(str(delta)) * 10 * customers < 1 <= Fraction(str(delta)) * 100 * customers
    refuse_large_delta(delta, customers)


@pytest.mark.parametrize(
    ("delta", "customers"),
    [
        (0.5, 6040),
        (0.1, 1),
        *((float(f"{digit}e-{power}"), 10 ** (power - 1) // digit) for digit in (1, 2, 5) for power in range(2, 12)),
    ],
)
def test_a_delta_that_could_publish_somebody_whole_is_refused(delta: float, customers: int) -> None:
    with pytest.raises(PrivacyRefused, match="nothing was released") as caught:
        refuse_large_delta(delta, customers)
    assert f"{auto_delta(customers):g}" in str(caught.value.hint)


@pytest.mark.parametrize(("delta", "customers"), [(0.0999, 1), (0.00999, 10), (1.6e-5, 6040)])
def test_a_delta_just_below_a_tenth_of_one_over_the_customers_is_allowed(delta: float, customers: int) -> None:
    assert 0.95 < 10 * delta * customers < 1
    refuse_large_delta(delta, customers)


@pytest.mark.parametrize("delta", [0.0, -1e-6, 1.0, math.nan, math.inf])
def test_a_delta_that_is_none_is_refused(delta: float) -> None:
    with pytest.raises(ConfigError, match="must be between 0 and 1"):
        zcdp_epsilon(1.0, delta)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.nan, math.inf])
def test_an_epsilon_that_is_none_is_refused(epsilon: float) -> None:
    with pytest.raises(ConfigError, match="must be positive and finite"):
        zcdp_rho(epsilon, 1e-5)


@pytest.mark.parametrize("rho", [-1e-9, math.nan])
def test_a_cost_that_is_none_is_refused(rho: float) -> None:
    with pytest.raises(ConfigError, match="at least 0"):
        zcdp_epsilon(rho, 1e-5)
