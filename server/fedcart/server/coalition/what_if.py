"""What accuracy coalitions of a size had in simulation: a range out of measured curves, never a promise.

The rows are those of tests/benchmarks/customer_curves.py: one made-up market, more and more of its people. Between two
measured sizes or epsilons the range covers both; outside them there is none.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

FILE = "measured_curves.json"
SOURCE = "docs/results/customers.md"
TOGETHER = "spectral"
RIVALS = ("alone", "content", "popularity")
SURE = 1.96
"""Standard errors on either side: 95 % over customers. How much noise varies from run to run is not in it."""
ASSUMPTIONS = (
    "a simulated marketplace: 4,000 items with titles, prices and departments, eight stores of 2 to 34 % of the people",
    "a year of views and purchases; customers are all who did either, and a person at two stores is two",
    "learner spectral with the settings fedcart brings; trust distributed, 1 of 8 stores colludes, 1 may be missing",
    "epsilon of a customer, delta the largest power of ten below 1 / (10 x customers), 1e-5 at most",
    "NDCG@10 of items new to the customer, among all items, held out by time, measured with all data in hand",
    "alone is each store by itself with the same learner and no noise, where nothing leaves it",
    "95 % over the customers measured; noise is drawn once a point, so its spread is not in the range",
)


@dataclass(frozen=True, kw_only=True)
class Point:
    """One simulated coalition.

    Attributes:
      people, draw: which part of the market; customers: of its stores, together.
      measured: customers with a held-out new item.
      epsilon: of the run; None = without noise.
      ndcg, error: mean and standard error by method.
      difference_error: of the paired difference of TOGETHER to each other method.
    """

    people: int
    draw: int
    customers: int
    measured: int
    epsilon: float | None
    ndcg: Mapping[str, float]
    error: Mapping[str, float]
    difference_error: Mapping[str, float]

    @property
    def strength(self) -> float:
        """epsilon, infinite without noise."""
        return math.inf if self.epsilon is None else self.epsilon


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the points beside a size and an epsilon say.

    Attributes:
      ndcg: method -> least and greatest, 95 % included.
      gain: rival -> least and greatest of TOGETHER over it, less 1.
    """

    points: tuple[Point, ...]
    ndcg: Mapping[str, tuple[float, float]]
    gain: Mapping[str, tuple[float, float]]

    def document(self) -> dict[str, Any]:
        """For --json."""
        return {
            "customers_measured": sorted({point.customers for point in self.points}),
            "epsilons_measured": sorted({point.epsilon for point in self.points}, key=lambda x: (x is None, x)),
            "ndcg@10": {name: list(span) for name, span in self.ndcg.items()},
            "together_over": {name: list(span) for name, span in self.gain.items()},
        }


@functools.cache
def curves() -> tuple[Point, ...]:
    """All that was measured."""
    text = resources.files("fedcart.server.coalition").joinpath(FILE).read_text(encoding="utf-8")
    return tuple(Point(**row) for row in json.loads(text)["rows"])


def expected(customers: int, epsilon: float, measured: Sequence[Point] | None = None) -> Expected | None:
    """The range for a coalition of that many customers in all; None outside what was measured.

    Args:
      epsilon: of the run; infinite = without noise.
    """
    known = curves() if measured is None else measured
    strengths = beside(epsilon, {point.strength: (point.strength, point.strength) for point in known})
    sizes = beside(
        customers,
        {
            people: (
                min(point.customers for point in known if point.people == people),
                max(point.customers for point in known if point.people == people),
            )
            for people in {point.people for point in known}
        },
    )
    points = tuple(point for point in known if point.strength in strengths and point.people in sizes)
    if not points:
        return None
    spans = {name: [band(point.ndcg[name], point.error[name]) for point in points] for name in (TOGETHER, *RIVALS)}
    gains = {name: [relative(point, name) for point in points] for name in RIVALS}
    return Expected(
        points=points,
        ndcg={name: hull(found) for name, found in spans.items()},
        gain={name: hull(found) for name, found in gains.items()},
    )


def beside(value: float, spans: Mapping[float, tuple[float, float]]) -> set[float]:
    """The keys whose spans [low, high] hold `value`, else the nearest on both sides; none where one side has none."""
    if within := {key for key, (low, high) in spans.items() if low <= value <= high}:
        return within
    below = {key: high for key, (_, high) in spans.items() if high < value}
    above = {key: low for key, (low, _) in spans.items() if low > value}
    return {max(below, key=below.__getitem__), min(above, key=above.__getitem__)} if below and above else set()


def band(value: float, error: float) -> tuple[float, float]:
    """95 % about a mean."""
    return value - SURE * error, value + SURE * error


def relative(point: Point, rival: str) -> tuple[float, float]:
    """95 % of the paired difference, over the rival's mean."""
    low, high = band(point.ndcg[TOGETHER] - point.ndcg[rival], point.difference_error[rival])
    return low / point.ndcg[rival], high / point.ndcg[rival]


def hull(spans: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """From the least to the greatest, rounded to four digits."""
    return round(min(low for low, _ in spans), 4), round(max(high for _, high in spans), 4)


def what_if_lines(customers: int, epsilon: float, found: Expected | None) -> list[str]:
    """For people: the ranges, what they rest on, or that there are none."""
    asked = f"{customers:,} customers, {'without noise' if epsilon == math.inf else f'epsilon {epsilon:g}'}"
    if found is None:
        sizes, finite = [p.customers for p in curves()], [p.strength for p in curves() if p.epsilon is not None]
        return [
            f"{asked}: outside what was measured, so nothing is expected of it",
            f"measured: {min(sizes):,} to {max(sizes):,} customers, epsilon {min(finite):g} and more, or without noise "
            f"({SOURCE})",
        ]
    at = ", ".join(f"{n:,}" for n in sorted({p.customers for p in found.points}))
    noise = sorted({p.strength for p in found.points})
    lines = [
        f"{asked}: what coalitions of that size had in simulation, no promise ({SOURCE})",
        f"  measured at   {at} customers; epsilon {', '.join('none' if e == math.inf else f'{e:g}' for e in noise)}",
    ]
    for name, (low, high) in found.ndcg.items():
        lines.append(f"  {'together' if name == TOGETHER else name:<13} NDCG@10 {low:.4f} to {high:.4f}")
    for name, (low, high) in found.gain.items():
        verdict = "above it" if low > 0 else "below it" if high < 0 else "neither above nor below for sure"
        lines.append(f"  over {name:<12} {low:+.0%} to {high:+.0%}: {verdict}")
    return lines + [f"  assumed: {one}" for one in ASSUMPTIONS]
