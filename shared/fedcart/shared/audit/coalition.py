"""Several stores' accounts as one: which charges are the same release, and where the stores' words differ.

With h > 1 stores share one noise: (plan, round, attempt, release) is one release, whoever charged it, and is counted
once. With h = 1 each store adds all the noise its release needs, and another store's release has other customers in
it: such charges, and torn lines, are the store's own, and the dearest store's count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from fedcart.shared.audit.accounts import Account, Cost, Release, of_plan, total
from fedcart.shared.audit.figures import figure
from fedcart.shared.ledger.verify import Finding

SLACK = 1e-9
"""Relative: the last bits of an epsilon that was calibrated to its target."""


@dataclass(frozen=True, slots=True)
class Coalition:
    """What the stores spent together.

    Attributes:
      shared: one cost for each release under one noise; the dearest, where stores differ.
      own: of each store, its charges under its own noise and its torn lines.
      missing: (release under shared noise, names of the ledgers that have its plan but no charge of it): no finding,
        since a store may have missed a round; a charge that was left out looks the same.
    """

    shared: tuple[Cost, ...]
    own: tuple[tuple[Cost, ...], ...]
    missing: tuple[tuple[Release, tuple[str, ...]], ...]

    @property
    def costs(self) -> tuple[Cost, ...]:
        """What counts for a person whose data lie at one store: all that is shared, and the dearest store's own."""
        return self.shared + max(self.own, key=total, default=())

    def of_plan(self, plan: str) -> tuple[Cost, ...]:
        """The same of one plan's charges; torn lines belong to none."""
        own = max((of_plan(each, plan) for each in self.own), key=total, default=())
        return of_plan(self.shared, plan) + own


def together(accounts: Sequence[Account]) -> Coalition:
    """Merge the accounts."""
    same = _by_release(accounts)
    own = tuple(tuple(cost for cost in one.costs if cost.release not in same) for one in accounts)
    missing = []
    for release, charged in same.items():
        absent = [one.path.name for one in accounts if release[0] in one.plans and one.path.name not in charged]
        if absent:
            missing.append((release, tuple(absent)))
    shared = tuple(max(charged.values(), key=lambda cost: cost.rho) for charged in same.values())
    return Coalition(shared, own, tuple(missing))


def compare(accounts: Sequence[Account]) -> tuple[Finding, ...]:
    """Every place where two stores say different things of the same plan or release: `terms`, `differs`."""
    found = []
    first: dict[str, Account] = {}
    for one in accounts:
        for digest, terms in one.plans.items():
            other = first.setdefault(digest, one)
            known = other.plans[digest]
            names = ("epsilon", "delta", "dearest", "attempts")
            if odd := [name for name in names if getattr(known, name) != getattr(terms, name)]:
                message = f"{', '.join(odd)} of plan {digest[:16]}… not as in {other.path.name} line {known.line}"
                found.append(Finding(one.path, terms.line, "terms", message))
    for release, charged in _by_release(accounts).items():
        (name, known_cost), *others = charged.items()
        for other_name, cost in others:
            if cost.numbers != known_cost.numbers:
                path = next(one.path for one in accounts if one.path.name == other_name)
                message = f"D, variance or h of {_spell(release)} not as in {name} line {known_cost.line}"
                found.append(Finding(path, cost.line, "differs", message))
    return tuple(found)


def within_plans(account: Account) -> tuple[Finding, ...]:
    """Where a ledger's charges are not what its own plans say: `delta`, `over-plan`."""
    found = []
    for digest, terms in account.plans.items():
        mine = account.of_plan(digest)
        if odd := next((cost for cost in mine if float(cost.delta or 0) != float(terms.delta)), None):
            message = f"delta {odd.delta:.20} where plan {digest[:16]}… says {terms.delta:.20}"
            found.append(Finding(account.path, odd.line, "delta", message))
        spent = figure(mine, terms.delta).ours
        if spent > float(terms.epsilon) * (1 + SLACK):
            message = f"plan {digest[:16]}… cost epsilon {spent:.6f}, over its {terms.epsilon:.20}"
            found.append(Finding(account.path, mine[-1].line, "over-plan", message))
    return tuple(found)


def _shares(cost: Cost) -> bool:
    return cost.numbers is not None and cost.numbers[2] > 1


def _by_release(accounts: Sequence[Account]) -> dict[Release, dict[str, Cost]]:
    """Release under one noise -> name of the ledger -> its charge. One store's h > 1 makes it shared for all."""
    found: dict[Release, dict[str, Cost]] = defaultdict(dict)
    for one in accounts:
        for cost in one.charges:
            if cost.release is not None:
                found[cost.release][one.path.name] = cost
    return {release: charged for release, charged in found.items() if any(map(_shares, charged.values()))}


def _spell(release: Release) -> str:
    plan, round_, attempt, name = release
    return f"release {name!r} (plan {plan[:16]}…, round {round_}, attempt {attempt})"
