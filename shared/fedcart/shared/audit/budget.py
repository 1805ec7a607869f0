"""What every ledger of a folder spent, and all of them together: epsilon computed again from the raw numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcart.shared.audit.accounts import Account, Cost, read_account
from fedcart.shared.audit.coalition import Coalition, compare, together, within_plans
from fedcart.shared.audit.figures import Figure, figure
from fedcart.shared.audit.inspection import SCHEMA, Inspected, Inspection, finding_document, inspect, refuse
from fedcart.shared.ledger.verify import UNDETECTABLE, Finding

WINDOWS = (30, 365)
COALITION = "coalition"
ASSUMES = (
    "neighbouring data differ by all interactions of one customer at one store",
    "where stores share one noise, at least h of them added their share and told nobody what it was",
    "a person at k stores: rho is k^2 times that of shared noise, k times that of stores' own",
    "every release stands in these ledgers, with the noise that it says",
)


@dataclass(frozen=True, slots=True)
class Subject:
    """A store or the coalition, and what it spent.

    Attributes:
      lifetime: one figure for each delta in use, the smallest first.
      plans: hash -> figure at the plan's delta.
      windows: days -> (the dearest window that ever was, the last one), at the smallest delta; stores only.
    """

    name: str
    costs: tuple[Cost, ...]
    lifetime: tuple[Figure, ...]
    plans: dict[str, Figure]
    windows: dict[int, tuple[Figure, Figure]]

    @property
    def figures(self) -> list[Figure]:
        """All of them."""
        return [*self.lifetime, *self.plans.values(), *(x for pair in self.windows.values() for x in pair)]

    def document(self) -> dict[str, Any]:
        """For --json."""
        return {
            "lifetime": [x.document() for x in self.lifetime],
            "plans": [{"plan": digest, "spent": x.document()} for digest, x in self.plans.items()],
            "windows": [
                {"days": days, "dearest": most.document(), "last": last.document()}
                for days, (most, last) in self.windows.items()
            ],
        }


@dataclass(frozen=True, slots=True)
class Budget:
    """A folder's spending.

    Attributes:
      accounts: name of a ledger -> its account; a damaged ledger has none, since its sum would be no bound.
      subjects: of the stores.
      coalition: None when a ledger is damaged.
      findings: everything `inspect` found, and what the numbers show.
    """

    inspection: Inspection
    accounts: dict[str, Account]
    subjects: tuple[Subject, ...]
    merged: Coalition | None
    coalition: Subject | None
    findings: tuple[Finding, ...]

    @property
    def all_subjects(self) -> tuple[Subject, ...]:
        """Stores, then the coalition."""
        return self.subjects if self.coalition is None else (*self.subjects, self.coalition)

    def require(self) -> None:
        """Raise ProtocolError when there is a finding, after everything was shown."""
        refuse(self.findings, "these figures bound nothing until it is explained")

    def document(self) -> dict[str, Any]:
        """For --json."""
        spent = {subject.name: subject for subject in self.subjects}
        merged = self.merged
        return {
            "rehearsal": self.inspection.rehearsals > 0,
            "schema": SCHEMA,
            "command": "audit budget",
            "directory": str(self.inspection.folder.directory),
            "stores": [self._store(one, spent.get(one.path.name)) for one in self.inspection.ledgers],
            "coalition": None
            if self.coalition is None or merged is None
            else {
                "releases": len(merged.shared),
                "missing": [
                    {"plan": r[0], "round": r[1], "attempt": r[2], "release": r[3], "ledgers": list(names)}
                    for r, names in merged.missing
                ],
                **self.coalition.document(),
            },
            "findings": [finding_document(finding) for finding in self.findings],
            "assumes": list(ASSUMES),
            "undetectable": list(UNDETECTABLE),
        }

    def _store(self, one: Inspected, subject: Subject | None) -> dict[str, Any]:
        about = {"ledger": one.path.name, "rehearsal": one.verdict.rehearsal, "verdict": one.word}
        if subject is None:
            return {**about, "spent": None}
        account = self.accounts[one.path.name]
        counts = {
            "charges": len(account.charges),
            "releases": account.released,
            "torn": len(account.torn),
            "torn_not_yet_charged": sum(cost.line == 0 for cost in account.torn),
            "terms": [{"plan": d, "epsilon": x.epsilon, "delta": x.delta} for d, x in account.plans.items()],
        }
        return {**about, "spent": {**counts, **subject.document()}}


def audit_budget(directory: Path) -> Budget:
    """Verify a folder's ledgers, then add up what they say.

    Raises:
      InputError: no such directory, no ledgers, or one cannot be read.
    """
    inspection = inspect(directory)
    accounts = [read_account(one.path) for one in inspection.ledgers if one.only_torn]
    subjects = tuple(_store(account) for account in accounts)
    findings = [*inspection.findings, *compare(accounts), *(x for one in accounts for x in within_plans(one))]
    merged = together(accounts) if len(accounts) == len(inspection.ledgers) else None
    coalition = None if merged is None else _coalition(accounts, merged)
    place = inspection.folder.directory
    for subject in (*subjects, *([coalition] if coalition else [])):
        if odd := next((x for x in subject.figures if not x.agree), None):
            message = f"{subject.name}: epsilon {odd.ours:.6g} by ours, {odd.google_fine:.6g} by Google's"
            findings.append(Finding(place, 0, "accountants", message))
    named = {one.path.name: one for one in accounts}
    return Budget(inspection, named, subjects, merged, coalition, tuple(findings))


def _store(account: Account) -> Subject:
    deltas = account.deltas
    windows = {
        days: (figure(account.dearest_window(days), deltas[0]), figure(account.last_window(days), deltas[0]))
        for days in (WINDOWS if deltas else ())
    }
    plans = {digest: figure(account.of_plan(digest), terms.delta) for digest, terms in account.plans.items()}
    return Subject(account.path.name, account.costs, _lifetime(account.costs, deltas), plans, windows)


def _coalition(accounts: Sequence[Account], merged: Coalition) -> Subject:
    deltas = sorted({(float(delta), delta) for one in accounts for delta in one.deltas})
    terms = {digest: terms.delta for one in accounts for digest, terms in one.plans.items()}
    plans = {digest: figure(merged.of_plan(digest), delta) for digest, delta in terms.items()}
    return Subject(COALITION, merged.costs, _lifetime(merged.costs, [delta for _, delta in deltas]), plans, {})


def _lifetime(costs: Sequence[Cost], deltas: Sequence[str]) -> tuple[Figure, ...]:
    return tuple(figure(costs, delta, pld=True) for delta in deltas)
