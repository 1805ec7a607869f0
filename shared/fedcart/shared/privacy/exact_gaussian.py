"""Epsilon of discrete Gaussian releases as of Gaussian ones, rigorously: docs/proofs/exact-gaussian.md is the proof.

q + N_Z(0, V) is within total variation gamma(V) a coordinate of round(q + N(0, V - 1/12)), which is Gaussian DP. So
the run costs delta_mu(epsilon) + (1 + exp(epsilon)) gamma. It calibrates nothing: noise, policy and ledger go by zCDP.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from fedcart.shared.errors import ConfigError
from fedcart.shared.privacy.accounting import LEAST_VARIANCE, run_rho
from fedcart.shared.privacy.conversion import gdp_delta, gdp_epsilon
from fedcart.shared.privacy.grid import grid, share_variance
from fedcart.shared.privacy.release import Release

if TYPE_CHECKING:
    from fedcart.shared.learners.base import Round

NAME = "exact Gaussian (proven)"
MARGIN = 1e-6
"""Of delta, for the float64 evaluation of delta_mu: it errs by up to 3e-13 / mu, and of the noise that is drawn mu is
3e-7 at the least."""


@dataclass(frozen=True, slots=True)
class GaussianCost:
    """What some releases cost together.

    Attributes:
      mu_squared: sum of D^2 / (V - 1/12), exact.
      gamma: sum over coordinates of the total variation, never too low.
    """

    mu_squared: Fraction = Fraction(0)
    gamma: float = 0.0

    def __add__(self, other: GaussianCost) -> GaussianCost:
        return GaussianCost(self.mu_squared + other.mu_squared, math.nextafter(self.gamma + other.gamma, math.inf))

    def epsilon(self, delta: float) -> float:
        """An epsilon that holds at delta, near the least; infinity where gamma leaves no delta."""
        if not self.mu_squared:
            return 0.0
        mu = math.nextafter(math.sqrt(self.mu_squared), math.inf)
        found = gdp_epsilon(mu, delta)
        for _ in range(100):
            left = delta * (1 - MARGIN) - (1 + math.exp(min(found, 700.0))) * self.gamma
            if left <= 0:
                return math.inf
            if gdp_delta(mu, found) <= left:
                return found
            found = gdp_epsilon(mu, left)
        return math.inf


def gamma(variance: int | Fraction) -> float:
    """Total variation between q + N_Z(0, variance) and round(q + N(0, variance - 1/12)), an upper bound for every q."""
    if variance * 12 <= 1:
        raise ConfigError(f"a variance of {variance} is not above 1/12; nothing was computed")
    sigma = math.sqrt(variance - Fraction(1, 12))
    first = (math.sqrt(24) + math.sqrt(120) / sigma) / (1440 * sigma**4)
    exponent = 2 * math.pi**2 * float(variance)
    return (first + (math.exp(-exponent) / -math.expm1(-exponent))) * (1 + 1e-12)


def release_cost(D: int, variance: int, words: int) -> GaussianCost:
    """One release of `words` numbers with integer sensitivity D under total noise of `variance` on the integers."""
    if variance < LEAST_VARIANCE:
        raise ConfigError(f"a variance of {variance} is below {LEAST_VARIANCE}; nothing was computed")
    total = math.nextafter(words * gamma(variance), math.inf)
    return GaussianCost(D * D / (variance - Fraction(1, 12)), total)


def run_cost(rounds: Sequence[Round], honest: int, attempts: int) -> GaussianCost:
    """The most that the gate lets a run be charged: rho of `run_rho`, and each round `attempts` times at most.

    Which rounds are repeated is the coordinator's choice, so mu^2 <= 2 rho V / (V - 1/12) for the least V, and gamma is
    of every round repeated.
    """
    charges = [release for round_ in rounds for release in round_.charges]
    if not charges:
        return GaussianCost()
    once = sum((_release(release, honest) for release in charges), GaussianCost())
    least = min(_variance(release, honest) for release in charges)
    mu_squared = 2 * run_rho(rounds, honest, attempts) * Fraction(12 * least, 12 * least - 1)
    return GaussianCost(mu_squared, math.nextafter(attempts * once.gamma, math.inf))


def _release(release: Release, honest: int) -> GaussianCost:
    return release_cost(grid(release).sensitivity, _variance(release, honest), release.words)


def _variance(release: Release, honest: int) -> int:
    return honest * share_variance(release, honest)
