"""Opacus' accountants beside ours, where they apply: continuous Gaussian noise, everybody in every step."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("opacus", reason="the extra `neural` is not installed")

from opacus.accountants import create_accountant

from fedcart.shared.privacy.conversion import gaussian_rho, gdp_epsilon, zcdp_epsilon

pytestmark = [
    pytest.mark.filterwarnings("ignore:divide by zero encountered in log:RuntimeWarning"),  # of 1 - q at q = 1
    pytest.mark.filterwarnings("ignore:Optimal order is the largest alpha:UserWarning"),
]
CASES = [(1.5, 1, 1e-5), (4.0, 10, 1e-6), (20.0, 400, 1e-7)]


def by_opacus(name: str, z: float, steps: int, delta: float) -> float:
    accountant = create_accountant(name)
    for _ in range(steps):
        accountant.step(noise_multiplier=z, sample_rate=1.0)
    return accountant.get_epsilon(delta)


@pytest.mark.parametrize(("z", "steps", "delta"), CASES)
def test_our_zcdp_is_opacus_rdp_over_finer_orders(z, steps, delta):
    ours, theirs = zcdp_epsilon(steps * gaussian_rho(z), delta), by_opacus("rdp", z, steps, delta)
    assert ours <= theirs * (1 + 1e-6)
    assert theirs == pytest.approx(ours, rel=0.02)


@pytest.mark.parametrize(("z", "steps", "delta"), CASES)
def test_our_gaussian_dp_is_opacus_prv(z, steps, delta):
    mu = math.sqrt(steps) / z
    theirs = by_opacus("prv", z, steps, delta)
    assert theirs == pytest.approx(gdp_epsilon(mu, delta), abs=0.02)
    assert theirs < zcdp_epsilon(steps * gaussian_rho(z), delta)


def test_five_percent_less_noise_would_be_seen():
    z, steps, delta = CASES[1]
    assert by_opacus("rdp", z * 0.95, steps, delta) > zcdp_epsilon(steps * gaussian_rho(z), delta) * 1.02
    assert by_opacus("prv", z * 0.95, steps, delta) > gdp_epsilon(math.sqrt(steps) / z, delta) + 0.02
