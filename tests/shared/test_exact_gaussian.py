"""The reduction of docs/proofs/exact-gaussian.md: its total variation to 50 digits, and what is computed from it."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import mpmath as mp
import pytest

from fedcart.shared.errors import ConfigError
from fedcart.shared.learners.popularity import Popularity
from fedcart.shared.learners.spectral import Spectral
from fedcart.shared.learners.toy import toy_catalogue
from fedcart.shared.privacy.accounting import LEAST_VARIANCE, epsilon, round_rho, run_rho
from fedcart.shared.privacy.conversion import gdp_delta, gdp_epsilon
from fedcart.shared.privacy.exact_gaussian import MARGIN, GaussianCost, gamma, release_cost, run_cost
from fedcart.shared.privacy.grid import grid, share_variance
from fedcart.shared.privacy.terms import PrivacyTerms


def total_variation(sigma_squared: mp.mpf) -> mp.mpf:
    """Between round(N(0, sigma^2)) and N_Z(0, sigma^2 + 1/12), term by term, 50 digits."""
    sigma, s2 = mp.sqrt(sigma_squared), sigma_squared + mp.mpf(1) / 12
    reach = int(16 * sigma) + 20  # what lies beyond is below exp(-128)
    upper = [mp.ncdf((k + mp.mpf("0.5")) / sigma) for k in range(-1, reach + 1)]
    weights = [mp.exp(-(mp.mpf(k) ** 2) / (2 * s2)) for k in range(reach + 1)]
    total = weights[0] + 2 * sum(weights[1:])
    apart = [abs(upper[k + 1] - upper[k] - weights[k] / total) for k in range(reach + 1)]
    return (apart[0] + 2 * sum(apart[1:])) / 2


def first_order(sigma: mp.mpf) -> mp.mpf:
    """E|He4(Z)| / 5760 / sigma^4."""
    roots = [mp.sqrt(3 - mp.sqrt(6)), mp.sqrt(3 + mp.sqrt(6))]
    mean = 2 * mp.quad(lambda z: abs(z**4 - 6 * z**2 + 3) * mp.npdf(z), [0, *roots, 20])
    return mean / 5760 / sigma**4


@pytest.mark.parametrize("sigma", ["0.5", "1", "2", "4", "8", "32"])
def test_the_total_variation_is_below_gamma_and_goes_as_the_fourth_power(sigma):
    with mp.workdps(50):
        sigma_squared = mp.mpf(sigma) ** 2
        found = total_variation(sigma_squared)
        bound = gamma(Fraction(sigma) ** 2 + Fraction(1, 12))
        assert 0 < found < bound
        if mp.mpf(sigma) >= 2:
            assert found == pytest.approx(first_order(mp.mpf(sigma)), rel=0.1 / float(sigma))
            assert bound < 25 * float(found)  # the bound is of the right order: another power or constant shows


def test_another_centre_of_the_match_would_be_seen():
    """sigma^2 against itself, without the 1/12 of the rounding, is apart by 1 / sigma^2, not 1 / sigma^4."""
    with mp.workdps(50):
        sigma_squared = mp.mpf(32) ** 2
        weights = [mp.exp(-(mp.mpf(k) ** 2) / (2 * sigma_squared)) for k in range(600)]
        total = weights[0] + 2 * sum(weights[1:])
        cells = [mp.ncdf((k + mp.mpf("0.5")) / 32) - mp.ncdf((k - mp.mpf("0.5")) / 32) for k in range(600)]
        apart = [abs(c - w / total) for c, w in zip(cells, weights, strict=True)]
        naive = (apart[0] + 2 * sum(apart[1:])) / 2
        assert naive > 100 * gamma(Fraction(32**2) + Fraction(1, 12))


@pytest.mark.parametrize(
    "variance", [Fraction(1, 12) + Fraction(1, 1000), Fraction(1, 8), Fraction(1, 6), 1, 2, 1 << 40]
)
def test_gamma_is_the_proofs_formula_and_never_below_it(variance):
    with mp.workdps(50):
        V = mp.mpf(Fraction(variance).numerator) / Fraction(variance).denominator
        sigma = mp.sqrt(V - mp.mpf(1) / 12)
        proof = (mp.sqrt(24) + mp.sqrt(120) / sigma) / (1440 * sigma**4) + 1 / (mp.exp(2 * mp.pi**2 * V) - 1)
        assert proof < gamma(variance) <= proof * (1 + mp.mpf(2e-12))


def test_a_release_costs_the_proofs_mu_and_gamma_of_every_number():
    """At the least variance of all, where the 1/12 of the rounding weighs most."""
    cost = release_cost(1000, LEAST_VARIANCE, 50)
    assert cost.mu_squared == Fraction(12 * 1000**2, 12 * LEAST_VARIANCE - 1)
    assert 50 * gamma(LEAST_VARIANCE) <= cost.gamma <= 50 * gamma(LEAST_VARIANCE) * (1 + 1e-15)


def near_least(cost, delta):
    """Check an epsilon from both sides."""
    found = cost.epsilon(delta)

    def spent(at: mp.mpf) -> mp.mpf:
        mu = mp.sqrt(mp.mpf(cost.mu_squared.numerator) / cost.mu_squared.denominator)
        own = mp.ncdf(mu / 2 - at / mu) - mp.exp(at) * mp.ncdf(-mu / 2 - at / mu)
        return own + (1 + mp.exp(at)) * mp.mpf(cost.gamma)

    with mp.workdps(40):
        assert spent(mp.mpf(found)) <= delta
        assert spent(mp.mpf(found) * (1 - mp.mpf(10) ** -6)) > delta * (1 - mp.mpf(10) ** -8)


@pytest.mark.parametrize(("delta", "words"), [(1e-6, 125_250), (1e-9, 1 << 24)])
@pytest.mark.parametrize("z", [0.7, 1.5, 6.0])
def test_epsilon_holds_by_40_digit_arithmetic_and_is_near_the_least(z, delta, words):
    D = 1 << 20
    near_least(release_cost(D, math.ceil((z * D) ** 2), words), delta)


@pytest.mark.parametrize("mu", [2.0**-18 / 10, 1.1006794745069325e-6, 1.2657783735534017e-5, 1e-3])
@pytest.mark.parametrize("delta", [1.4522201103902915e-26, 2.926468374943009e-22, 1e-15, 1e-9])
def test_epsilon_holds_where_noise_is_so_large_that_floats_cancel(mu, delta):
    """From the most noise that is drawn, D = 2^20 in 100 shares of 2^76, on. Plain `gdp_epsilon` fails here."""
    cost = GaussianCost(Fraction(mu) ** 2)
    with mp.workdps(40):
        exact, found = mp.mpf(mu), mp.mpf(cost.epsilon(delta))
        assert mp.ncdf(exact / 2 - found / exact) - mp.exp(found) * mp.ncdf(-exact / 2 - found / exact) <= delta


@pytest.mark.parametrize(("mu", "gamma"), [(Fraction(1, 10), 1e-7), (Fraction(1), 1e-9), (Fraction(1, 3), 1e-7)])
def test_epsilon_counts_a_gamma_that_weighs_as_the_proof_does(mu, gamma):
    near_least(GaussianCost(mu**2, gamma), 1e-6)


def test_an_epsilon_of_nothing_is_taken_when_delta_is_just_enough_and_none_is_found_when_gamma_takes_all_of_it():
    mu = math.nextafter(math.sqrt(Fraction(1, 10**12)), math.inf)
    delta = gdp_delta(mu, 0.0) / (1 - MARGIN)
    assert delta * (1 - MARGIN) == gdp_delta(mu, 0.0)
    assert GaussianCost(Fraction(1, 10**12)).epsilon(delta) == 0
    assert GaussianCost(Fraction(1, 10**12), 1e-6 * (1 - MARGIN) / 2).epsilon(1e-6) == math.inf


def test_it_lies_between_the_continuous_figure_and_zcdp_for_a_plan():
    catalogue, learner = toy_catalogue(50), Popularity()
    terms = PrivacyTerms(epsilon=4.0, delta=1e-6, bounds=learner.bounds(), colluders=1, min_survivors=7)
    rounds = terms.apply(learner.rounds(catalogue, 1000), honest=6, attempts=3, customers_bound=1000)
    rho = run_rho(rounds, 6, 3)
    found = run_cost(rounds, 6, 3)
    ((release,),) = (round_.releases for round_ in rounds)
    variance = 6 * share_variance(release, 6)
    assert found.mu_squared == 3 * Fraction(12 * grid(release).sensitivity ** 2, 12 * variance - 1)
    proven, continuous = found.epsilon(1e-6), gdp_epsilon(math.sqrt(2 * rho), 1e-6)
    assert continuous <= proven < continuous * 1.0001
    assert proven < 0.96 * epsilon(rho, 1e-6)


def test_a_run_costs_no_less_whichever_rounds_are_repeated():
    catalogue = toy_catalogue(50)
    learner = Spectral(embedding_dim=8, first_dim=8, popularity_share=0.6)  # one dear round, four cheap ones
    terms = PrivacyTerms(epsilon=4.0, delta=1e-6, bounds=learner.bounds(), colluders=1, min_survivors=7)
    rounds = terms.apply(learner.rounds(catalogue, 1000), honest=6, attempts=2, customers_bound=1000)
    found, spare = run_cost(rounds, 6, 2), max(round_rho(x, 6) for x in rounds)
    costs = [(round_rho(x, 6), run_cost([x], 6, 1)) for x in rounds]
    for repeated in (x for n in range(len(costs) + 1) for x in itertools.combinations(costs, n)):
        if sum(rho for rho, _ in repeated) <= spare:  # the gate lets them pass
            total = sum((cost for _, cost in (*costs, *repeated)), GaussianCost())
            assert total.mu_squared <= found.mu_squared
            assert total.gamma <= found.gamma * (1 + 1e-12)
    assert sum(rho for rho, _ in costs[1:]) <= spare


def test_costs_add_up_and_noise_that_is_too_coarse_proves_nothing():
    one = release_cost(1 << 20, 1 << 40, 100)
    both = one + one
    assert both.mu_squared == 2 * one.mu_squared
    assert both.gamma >= 2 * one.gamma
    assert GaussianCost().epsilon(1e-6) == 0
    assert GaussianCost(Fraction(1), 1e-6).epsilon(1e-6) == math.inf  # gamma leaves no delta
    with pytest.raises(ConfigError, match="below"):
        release_cost(1, LEAST_VARIANCE - 1, 1)
    with pytest.raises(ConfigError, match="1/12"):
        gamma(Fraction(1, 12))
