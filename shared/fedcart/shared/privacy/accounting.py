"""What a run costs, from its releases: exact rho of each discrete Gaussian, composed, converted, rounded up.

A release of sensitivity D with total noise variance sigma^2 on the integers is D^2 / (2 sigma^2)-zCDP (Canonne, Kamath,
Steinke 2020, arXiv:2004.00010v5, Theorem 14 for a vector by its L2 norm); rho adds up (Bun, Steinke 2016,
arXiv:1605.02065v1, Lemma 2.3), whatever later releases depend on. Of a sum over stores h shares are certain. h
independent N_Z(0, v) add up as N_Z(0, h v) up to 10 sum_k exp(-2 pi^2 v k / (k + 1)) (Kairouz, Liu, Steinke 2021,
arXiv:2102.06387), which is nothing from `LEAST_VARIANCE` on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from fedcart.shared.errors import PrivacyRefused
from fedcart.shared.privacy.conversion import zcdp_epsilon
from fedcart.shared.privacy.discrete_gaussian import MOST_VARIANCE
from fedcart.shared.privacy.grid import grid, share_variance
from fedcart.shared.privacy.release import Release

if TYPE_CHECKING:
    import dp_accounting

    from fedcart.shared.learners.base import Round

OVERLAPS = (2, 3, 5)
"""Numbers of stores that a printed epsilon is repeated for, when one person may be at several."""
LEAST_VARIANCE = 1 << 20
"""Of one store's noise that a plan may ask for; far more than shares need to add up as one discrete Gaussian."""


def charge_rho(D: int, variance: int, honest: int) -> Fraction:
    """rho of one integer sum: D^2 / (2 h variance), exact; plan, gate, ledger and audit have no other formula.

    Args:
      D: how far one customer moves the sum, in its integer units.
      variance: of this store's own noise, in the same units squared.
      honest: h, how many stores' shares add up; 1 when this store adds all of it.
    """
    return Fraction(D * D, 2 * honest * variance)


def release_rho(release: Release, honest: int) -> Fraction:
    """D^2 / (2 h v), v the variance of one store's share, as an exact fraction.

    Raises:
      PrivacyRefused: the release has no noise, samples customers, or too little noise for its grid.
    """
    if release.sampling_rate != 1:
        raise PrivacyRefused(
            f"release {release.name!r} samples customers at {release.sampling_rate}, and no bound for sampled discrete "
            "noise is built; nothing was released"
        )
    variance = share_variance(release, honest)
    if variance < LEAST_VARIANCE:
        raise PrivacyRefused(
            f"release {release.name!r}: noise of variance {variance} a store is below {LEAST_VARIANCE}, too little "
            "for the integers it is drawn on; nothing was released",
            "ask for a smaller epsilon",
        )
    if variance > MOST_VARIANCE:
        raise PrivacyRefused(
            f"release {release.name!r}: noise of variance {variance} a store is above {MOST_VARIANCE}, more than "
            "is drawn here; nothing was released",
            "ask for a larger epsilon, fewer rounds, or more stores",
        )
    return charge_rho(grid(release).sensitivity, variance, honest)


def round_rho(round_: Round, honest: int) -> Fraction:
    """All that one round charges: its releases, or each of its local steps."""
    return sum((release_rho(release, honest) for release in round_.charges), Fraction(0))


def run_rho(rounds: Sequence[Round], honest: int, attempts: int) -> Fraction:
    """Every round once, and the dearest one again for each further attempt."""
    costs = [round_rho(round_, honest) for round_ in rounds]
    return sum(costs, Fraction(0)) + (attempts - 1) * max(costs, default=Fraction(0))


def dearest_charge(rounds: Sequence[Round], honest: int) -> Fraction:
    """The most that one line of a ledger charges in a run."""
    return max((release_rho(release, honest) for round_ in rounds for release in round_.charges), default=Fraction(0))


def epsilon(rho: Fraction, delta: float) -> float:
    """zCDP to epsilon, never below the exact conversion."""
    return zcdp_epsilon(upward(rho), delta)


def overlap_rho(rho: Fraction, stores: int, own_noise: bool) -> Fraction:
    """rho of one person at several stores, each of which clips them alone.

    Under one noise their contributions add up, k D against the same variance: k^2 rho. Where each store adds its own
    noise they are k releases: k rho.
    """
    return rho * (stores if own_noise else stores**2)


def event(rounds: Sequence[Round], honest: int, attempts: int) -> dp_accounting.DpEvent:
    """The run as dp_accounting's event tree: one zCDP event a charge (that library has no discrete Gaussian)."""
    import dp_accounting

    costs = [[release_rho(release, honest) for release in round_.charges] for round_ in rounds]
    dearest = max(costs, key=sum, default=[])
    each = [cost for round_costs in costs for cost in round_costs] + dearest * (attempts - 1)
    return dp_accounting.ComposedDpEvent([dp_accounting.ZCDpEvent(upward(cost)) for cost in each])


def upward(rho: Fraction) -> float:
    """The fraction as a float that is not below it."""
    near = float(rho)
    return near if Fraction(near) >= rho else math.nextafter(near, math.inf)
