"""What one ledger says was spent: its charges with their raw numbers, its torn lines at their price.

Costs are computed again from D, variance and h; the rho and epsilon that the store wrote are not used. As in
docs/ledger.md each is rounded up to a multiple of 2^-128 before they are added up: else a ledger of 100-digit variances
could keep an auditor busy for days.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

from fedcart.shared.ledger import torn
from fedcart.shared.ledger.lines import Line, parse_line
from fedcart.shared.ledger.spending import DAY, GRID
from fedcart.shared.privacy.accounting import charge_rho
from fedcart.shared.storage import named_failures

Release = tuple[str, int, int, str]
"""(plan, round, attempt, name): at every store the same."""


@dataclass(frozen=True, slots=True)
class Cost:
    """One spending.

    Attributes:
      time: seconds since 1970 UTC.
      rho: exact.
      line: from 1; 0 of a torn line that the next opening will charge.
      release: None of a torn line.
      numbers: (D, variance, h); None of a torn line.
      delta: of the charge, as written; None of a torn line.
    """

    time: int
    rho: Fraction
    line: int
    release: Release | None = None
    numbers: tuple[int, int, int] | None = None
    delta: str | None = None


@dataclass(frozen=True, slots=True)
class PlanTerms:
    """A plan line: decimal strings as written."""

    line: int
    epsilon: str
    delta: str
    dearest: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Account:
    """One ledger's spending.

    Attributes:
      plans: hash -> terms.
      costs: charges and torn lines, in order of time; torn lines that no recovery line charged yet come last.
      released: how many charges have a release line.
      until: time of the last line.
    """

    path: Path
    plans: dict[str, PlanTerms]
    costs: tuple[Cost, ...]
    released: int
    until: int

    @property
    def charges(self) -> tuple[Cost, ...]:
        """Those of releases."""
        return tuple(cost for cost in self.costs if cost.release is not None)

    def of_plan(self, plan: str) -> tuple[Cost, ...]:
        """The charges of one plan."""
        return of_plan(self.costs, plan)

    @property
    def torn(self) -> tuple[Cost, ...]:
        """Those of torn lines."""
        return tuple(cost for cost in self.costs if cost.release is None)

    @property
    def deltas(self) -> tuple[str, ...]:
        """Every delta of a plan or a charge, the smallest first."""
        found = {terms.delta for terms in self.plans.values()} | {cost.delta for cost in self.costs if cost.delta}
        return tuple(sorted(found, key=Fraction))

    def dearest_window(self, days: int) -> tuple[Cost, ...]:
        """Of all windows of `days` x 86,400 s, both ends included, the one that cost most; it ends at its last cost."""
        times = [cost.time for cost in self.costs]
        totals = list(accumulate(map(_units, self.costs), initial=0))
        best, found = 0, (0, 0)
        for end, time in enumerate(times, 1):
            start = bisect.bisect_left(times, time - days * DAY)
            if totals[end] - totals[start] > best:
                best, found = totals[end] - totals[start], (start, end)
        return self.costs[found[0] : found[1]]

    def last_window(self, days: int) -> tuple[Cost, ...]:
        """The window that ends with the ledger's last line."""
        return tuple(cost for cost in self.costs if cost.time >= self.until - days * DAY)


def read_account(path: Path) -> Account:
    """Read a ledger in which `inspect` found nothing, or nothing but a torn end."""
    with named_failures(path, "read"):
        raw, tail = torn.split(path.read_bytes())
        kept = torn.kept(path)
    lines = [parse_line(text) for text in raw]
    bodies = [(line, line.body) for line in lines]
    plans = {
        body["hash"]: PlanTerms(line.seq + 1, body["epsilon"], body["delta"], body["dearest"], body["attempts"])
        for line, body in bodies
        if line.kind == "plan"
    }
    recovered = {body["hash"]: line.seq for line, body in bodies if line.kind == "recovery"}
    pending = sum(recovered.get(part.hash, -1) < part.seq for part in kept) + bool(tail)
    price = max((Fraction(terms.dearest) for terms in plans.values()), default=Fraction(0))
    until = lines[-1].time
    costs = [cost for line in lines if (cost := _cost(line))] + [Cost(until, price, 0)] * pending
    released = sum(line.kind == "release" for line in lines)
    return Account(path, plans, tuple(costs), released, until)


def _cost(line: Line) -> Cost | None:
    body = line.body
    if line.kind == "recovery":
        return Cost(line.time, Fraction(body["rho"]), line.seq + 1)
    if line.kind != "charge":
        return None
    numbers = (int(body["D"]), int(body["variance"]), body["honest"])
    release = (body["plan"], body["round"], body["attempt"], body["release"])
    return Cost(line.time, charge_rho(*numbers), line.seq + 1, release, numbers, body["delta"])


def of_plan(costs: Sequence[Cost], plan: str) -> tuple[Cost, ...]:
    """Those of one plan's releases; torn lines belong to no plan."""
    return tuple(cost for cost in costs if cost.release is not None and cost.release[0] == plan)


def total(costs: Sequence[Cost]) -> Fraction:
    """rho of all of them, each rounded up to a multiple of 2^-128."""
    return Fraction(sum(map(_units, costs)), GRID)


def _units(cost: Cost) -> int:
    return -(-cost.rho.numerator * GRID // cost.rho.denominator)
