"""One epsilon by two accountants that share no code, and a marked second opinion.

ours:    exact rho of each cost, added up in steps of 2^-128, converted by `zcdp_epsilon`.
google:  dp_accounting's RdpAccountant on its own orders, over a tree of ZCDpEvents; its own conversion.
Both evaluate the same theorem (Canonne, Kamath, Steinke 2020, arXiv:2004.00010v5, Proposition 12) on different grids
of orders, and each order gives a valid bound. Google's orders are few below 1.1 and above 64, so its epsilon is some
percent looser when epsilon is small; `google_fine`, the same library on orders 2 % apart, tells that from an error.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from fedcart.shared.audit.accounts import Cost, total
from fedcart.shared.ledger.spending import epsilon_of
from fedcart.shared.privacy.conversion import gdp_epsilon

if TYPE_CHECKING:
    import dp_accounting

AGREE = 1e-3
"""Relative; the grids alone make 1e-4."""
VAST, VASTLY = 1000.0, 2e-2
"""Above this epsilon the best order nears 1, and Google's library takes none below 1.01: 2 % then."""
SMALLEST = 1e-6
"""Absolute: Google's conversion says 0 below it, by another bound."""
MOST_PLD = 50.0
"""The grid of a privacy loss distribution grows with epsilon; above this one none is computed."""
ASSUMPTION = "continuous Gaussian, not the mechanism used"


@dataclass(frozen=True, slots=True)
class Figure:
    """What some costs come to at one delta.

    Attributes:
      rho: the sum, never too low.
      delta: as written.
      ours, google, google_fine: epsilon, above.
      gdp: exact epsilon if the noise were a continuous Gaussian (Gaussian DP); a second opinion.
      pld: the same by dp_accounting's privacy loss distribution; None when not asked for or epsilon is above 50.
    """

    rho: Fraction
    delta: str
    ours: float
    google: float
    google_fine: float
    gdp: float
    pld: float | None

    @property
    def agree(self) -> bool:
        """Whether Google's library says the same to 1e-3 on orders close enough, and no less on its own."""
        least = self.ours * (1 - AGREE) - SMALLEST
        most = self.ours * (1 + (AGREE if self.ours <= VAST else VASTLY)) + SMALLEST
        return least <= self.google_fine <= most and self.google >= least

    def document(self) -> dict[str, Any]:
        """For --json; infinity is "inf"."""
        return {
            "rho": plain(float(self.rho)),
            "delta": self.delta,
            "epsilon": {"ours": plain(self.ours), "google": plain(self.google), "google_fine": plain(self.google_fine)},
            "agree": self.agree,
            "second_opinion": {"assumes": ASSUMPTION, "gdp": plain(self.gdp), "pld": self.pld},
        }


def figure(costs: Sequence[Cost], delta: str, *, pld: bool = False) -> Figure:
    """Both accountants on the same costs, and the second opinions; `pld` takes up to a second."""
    rho, at = total(costs), float(delta)
    ours, tree = epsilon_of(rho, at), event(costs)
    mu = math.sqrt(2 * upward(rho))
    loss = _pld(mu, at) if pld and 0 < ours <= MOST_PLD else None
    return Figure(rho, delta, ours, google(tree, at), google(tree, at, _fine()), gdp_epsilon(mu, at), loss)


def grouped(costs: Sequence[Cost]) -> list[tuple[Cost, int]]:
    """Costs of the same numbers once, with how many there are; in order of first appearance."""
    first: dict[tuple[Any, ...], Cost] = {}
    for cost in costs:
        first.setdefault((cost.rho, cost.numbers), cost)
    counts = Counter((cost.rho, cost.numbers) for cost in costs)
    return [(cost, counts[key]) for key, cost in first.items()]


def event(costs: Sequence[Cost]) -> dp_accounting.DpEvent:
    """The tree: one zCDP event for each group (that library has no discrete Gaussian), rho rounded up."""
    import dp_accounting as dp

    groups = [(cost, count) for cost, count in grouped(costs) if cost.rho]
    return dp.ComposedDpEvent([dp.SelfComposedDpEvent(dp.ZCDpEvent(upward(c.rho)), count) for c, count in groups])


def google(tree: dp_accounting.DpEvent, delta: float, orders: Sequence[float] | None = None) -> float:
    """RdpAccountant's epsilon, on its own orders unless some are given."""
    import dp_accounting as dp

    return float(dp.rdp.RdpAccountant(orders).compose(tree).get_epsilon(delta))


def upward(rho: Fraction) -> float:
    """The fraction as a float that is not below it; infinity above the largest."""
    try:
        near = float(rho)
    except OverflowError:
        return math.inf
    return near if Fraction(near) >= rho else math.nextafter(near, math.inf)


def plain(value: float) -> float | str:
    """As JSON can hold it."""
    return value if math.isfinite(value) else "inf"


@functools.cache
def _fine() -> tuple[float, ...]:
    return tuple(1 + math.exp(-4.6 + step / 50) for step in range(1000))


def _pld(mu: float, delta: float) -> float:
    """Exact composition of Gaussians is one Gaussian; its privacy loss on a grid, rounded up."""
    import dp_accounting as dp

    interval = 1e-3 * max(1.0, mu)
    accountant = dp.pld.PLDAccountant(value_discretization_interval=interval)
    return float(accountant.compose(dp.GaussianDpEvent(1 / mu)).get_epsilon(delta))
