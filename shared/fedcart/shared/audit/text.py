"""What the audit commands print for people. A rehearsal is said before anything else."""

from __future__ import annotations

from collections.abc import Iterator

from fedcart.shared.audit.budget import ASSUMES, Budget, Subject
from fedcart.shared.audit.figures import ASSUMPTION, Figure
from fedcart.shared.audit.inspection import Inspection
from fedcart.shared.ledger.verify import UNDETECTABLE, Finding


def verify_lines(inspection: Inspection) -> Iterator[str]:
    """Of `fedcart audit verify`."""
    yield from _rehearsal(inspection)
    for one in inspection.ledgers:
        kind = "rehearsal, " if one.verdict.rehearsal else ""
        yield f"{one.path.name}: {kind}{one.word} ({one.verdict.lines} lines, {one.verdict.witnessed} witnessed)"
    yield from _findings(inspection.findings)
    yield from (f"not read: {name}" for name in inspection.folder.foreign)
    if not inspection.anchored:
        yield "whose ledgers these are, nobody told: compare out of band, then give it as --roster-fingerprint"
    yield from (f"roster fingerprint: {fingerprint}" for fingerprint in inspection.fingerprints)
    yield "no verifier can find:"
    yield from (f"  {words}" for words in UNDETECTABLE)


def budget_lines(budget: Budget) -> Iterator[str]:
    """Of `fedcart audit budget`."""
    yield from _rehearsal(budget.inspection)
    spent = {subject.name: subject for subject in budget.subjects}
    for one in budget.inspection.ledgers:
        kind = "rehearsal, " if one.verdict.rehearsal else ""
        yield f"{one.path.name}: {kind}{one.word}"
        if one.path.name not in spent:
            yield "  no figures: the sum of a damaged ledger bounds nothing"
            continue
        account = budget.accounts[one.path.name]
        yield f"  {len(account.charges)} charges, {account.released} releases, {len(account.torn)} torn lines"
        yield from _subject(spent[one.path.name], {d: t.epsilon for d, t in account.plans.items()})
    if budget.coalition is None or budget.merged is None:
        yield "coalition: no figures: a ledger is damaged"
    else:
        shared = len(budget.merged.shared)
        yield f"coalition: {len(budget.inspection.ledgers)} stores, {shared} releases of shared noise"
        terms = {d: t.epsilon for one in budget.accounts.values() for d, t in one.plans.items()}
        yield from _subject(budget.coalition, terms)
        for (plan, round_, attempt, name), ledgers in budget.merged.missing:
            where = f"plan {plan[:16]}…, round {round_}, attempt {attempt}"
            yield f"  {name!r} ({where}) was not charged by {', '.join(ledgers)}: it missed the round, or left it out"
    yield from _findings(budget.findings)
    yield "assumed:"
    yield from (f"  {words}" for words in ASSUMES)
    yield "no verifier can find:"
    yield from (f"  {words}" for words in UNDETECTABLE)


def _subject(subject: Subject, epsilons: dict[str, str]) -> Iterator[str]:
    for found in subject.lifetime:
        yield f"  lifetime: {_figure(found)}"
        loss = "" if found.pld is None else f", {found.pld:.6f} (privacy loss distribution)"
        yield f"    second opinion, {ASSUMPTION}: {found.gdp:.6f} (Gaussian DP){loss}"
    for digest, found in subject.plans.items():
        yield f"  plan {digest[:16]}… (epsilon {epsilons[digest]}): {_figure(found)}"
    for days, (most, last) in subject.windows.items():
        yield f"  {days} days, the dearest: {_figure(most)}; the last: {last.ours:.6f}"


def _figure(found: Figure) -> str:
    words = "" if found.agree else "; THEY DISAGREE"
    return f"epsilon {found.ours:.6f} ours, {found.google:.6f} dp-accounting, at delta {found.delta}{words}"


def _rehearsal(inspection: Inspection) -> Iterator[str]:
    if inspection.rehearsals:
        count, of = inspection.rehearsals, len(inspection.ledgers)
        yield f"rehearsal: {count} of {of} ledgers; their noise came from a seed, so they prove nothing"


def _findings(findings: tuple[Finding, ...]) -> Iterator[str]:
    yield from (f"finding: {finding}" for finding in findings)
