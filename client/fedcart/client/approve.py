"""A store looks at a plan before anything is spent: who signed it, what the policy says, what the ledger has left.

`look` reads and changes nothing (an unfinished last line of the ledger is recovered, as at every opening). `accept`
writes two lines into the ledger, durably, then the countersignature: a crash in between leaves an approval that can be
made again, never a countersignature that the ledger knows nothing of. Such a one proves that the ledger was cut, put
back or swapped, and `look` stops it for good, as a receipt of a head that it lacks does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from fedcart.client.ledger_files import home_of
from fedcart.shared.agreement import PLAN, Agreement
from fedcart.shared.cost import Cost, plan_cost
from fedcart.shared.cost_text import rounded
from fedcart.shared.errors import PrivacyRefused
from fedcart.shared.identity import Identity
from fedcart.shared.ledger.ledger import Ledger, now
from fedcart.shared.plan import exact
from fedcart.shared.policy import Policy, advice
from fedcart.shared.privacy.accounting import dearest_charge, run_rho
from fedcart.shared.roster import ROSTER, Roster
from fedcart.shared.signatures import SIGNATURES, PlanSignatures
from fedcart.shared.storage import named_failures


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a ledger has spent, and would have after the plan with all its attempts; epsilons at the policy's delta.

    Attributes:
      window_days, epsilon_total, epsilon_window, delta: the policy's.
      total_before, total_after: over the ledger's life.
      window_before, window_after: in the last `window_days`.
      approved: whether the plan stands in the ledger already; what it has spent so far is then in `before`.
      rehearsal: whether the ledger's noise came from a seed: then it is evidence of nothing.
    """

    delta: float
    window_days: int
    epsilon_total: float
    epsilon_window: float
    total_before: float
    total_after: float
    window_before: float
    window_after: float
    approved: bool
    rehearsal: bool


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a store sees before it decides.

    Attributes:
      objections: everything that the policy has against the plan; empty = it may be approved.
    """

    agreement: Agreement
    signatures: PlanSignatures
    policy: Policy
    cost: Cost
    spent: Spent
    objections: tuple[str, ...]

    def require(self) -> None:
        """Refuse what the policy does not allow. Raises PrivacyRefused, naming every objection."""
        if self.objections:
            raise PrivacyRefused(
                f"the policy does not allow plan {self.agreement.plan_hash[:16]}…: {'; '.join(self.objections)}; "
                "nothing was approved or released",
                advice(self.agreement.plan),
            )

    def document(self) -> dict[str, Any]:
        """For --json; a cap that is none is None."""
        spent = self.spent
        return {
            "plan_hash": self.agreement.plan_hash,
            "learner": self.agreement.plan.learner,
            "coordinator_key": self.signatures.coordinator_key,
            "coordinator_pinned": bool(self.policy.trust.coordinator_key),
            "policy_hash": self.policy.digest,
            "objections": list(self.objections),
            "cost": self.cost.document(),
            "ledger": {
                "rehearsal": spent.rehearsal,
                "approved_before": spent.approved,
                "delta": spent.delta,
                "total": _caps(spent.total_before, spent.total_after, spent.epsilon_total),
                "window": {
                    "days": spent.window_days,
                    **_caps(spent.window_before, spent.window_after, spent.epsilon_window),
                },
            },
        }


def look(directory: Path, policy: Policy, ledger: Ledger, store: Identity) -> Look:
    """Read a plan as a store does: roster and signatures first, then the plan, then policy and ledger.

    A plan in a store's folder has a roster beside it; elsewhere one is checked where it lies there.

    Raises:
      InputError, DataError: the roster cannot be read.
      PrivacyRefused: the roster names another store or ledger; a signature is bad, foreign or of another plan; or the
        store's own countersignature stands under a plan that its ledger does not know: then the ledger is stopped.
      ConfigError: no signatures, or not a plan of this version, learner and catalogue.
    """
    path = directory / SIGNATURES
    if (directory / ROSTER).exists() or home_of(directory) != directory:
        check_roster(Roster.load(directory / ROSTER), store.public.hex(), ledger.genesis)
    signatures = PlanSignatures.load(path)
    with named_failures(directory / PLAN, "read"):
        digest = hashlib.sha256((directory / PLAN).read_bytes()).hexdigest()
    signatures.check(path, digest, policy.trust.coordinator_key)
    agreement = Agreement.open(directory)
    signatures.check(path, agreement.plan_hash, policy.trust.coordinator_key)  # the very bytes that were read
    approved = ledger.approved(digest)
    if agreement.plan.privacy and store.public.hex() in signatures.countersignatures and not approved:
        ledger.rolled_back("a countersignature", f"plan {digest[:16]}…, which its own key approved")
    cost = plan_cost(agreement.plan, agreement.rounds)
    objections = tuple(dict.fromkeys(_objections(agreement, policy, ledger, approved)))
    return Look(
        agreement=agreement,
        signatures=signatures,
        policy=policy,
        cost=cost,
        spent=_spent(agreement, policy, ledger, approved),
        objections=objections,
    )


def accept(seen: Look, ledger: Ledger, store: Identity) -> PlanSignatures:
    """Write the policy's and the plan's lines into the ledger, then the store's countersignature beside the plan.

    An approval made before is not written into the ledger again.

    Raises:
      PrivacyRefused: the policy does not allow it, or the ledger stopped. Nothing was approved.
    """
    seen.require()
    plan, digest = seen.agreement.plan, seen.agreement.plan_hash
    if plan.privacy is not None and not ledger.approved(digest):
        ledger.policy(seen.policy.digest)
        ledger.plan(
            digest,
            epsilon=str(exact(plan.privacy.epsilon)),
            delta=plan.privacy.delta,
            dearest=dearest_charge(seen.agreement.rounds, plan.honest),
            attempts=plan.attempts,
        )
    path = seen.agreement.directory / SIGNATURES
    signed = PlanSignatures.load(path).countersigned(store)
    signed.check(path, digest, seen.signatures.coordinator_key)
    signed.save(path)
    return signed


def check_roster(roster: Roster, own: str, genesis: str) -> None:
    """Refuse a roster that does not name this store and its ledger, or names it twice. Raises PrivacyRefused."""
    if own not in roster.stores:
        raise PrivacyRefused(
            "the plan's roster does not name this store; nothing was approved or released",
            "it takes part from the first plan that is made after it joined: ask the operator for one",
        )
    if len(set(roster.stores)) != len(roster.stores):
        raise PrivacyRefused("the plan's roster names a store twice; nothing was approved or released")
    if roster.ledgers[roster.stores.index(own)] != genesis:
        raise PrivacyRefused(
            "the plan's roster does not name this store with this ledger, but with another; nothing was approved or "
            "released",
            "use the ledger that the store joined with",
        )


def spent_lines(seen: Look) -> list[str]:
    """What the ledger has spent and would have after, for people."""
    spent = seen.spent
    lines = ["rehearsal: this ledger's noise came from a seed; it is evidence of nothing"] if spent.rehearsal else []
    lines.append(
        f"{'ledger':<12} {'epsilon at delta ' + format(spent.delta, 'g'):<26} {'now':>9} {'after':>9} {'cap':>9}"
    )
    for name, before, after, cap in (
        ("over its life", spent.total_before, spent.total_after, spent.epsilon_total),
        (f"in {spent.window_days} days", spent.window_before, spent.window_after, spent.epsilon_window),
    ):
        lines.append(f"{'':<12} {name:<26} {rounded(before):>9} {rounded(after):>9} {cap:>9g}")
    if spent.approved:
        lines.append(f"{'':<12} this plan stands in the ledger already: what it spent is in 'now'")
    pinned = "as policy.toml pins it" if seen.policy.trust.coordinator_key else "pinned by no policy: compare it"
    lines.append(f"{'signed by':<12} {seen.signatures.coordinator_key} ({pinned})")
    lines.append(f"{'plan':<12} {seen.agreement.plan_hash}")
    return lines + [f"{'objection':<12} {wrong}" for wrong in seen.objections]


def _objections(agreement: Agreement, policy: Policy, ledger: Ledger, approved: bool) -> Iterator[str]:
    yield from policy.objections(agreement.plan, agreement.rounds)
    if approved:
        return
    for name, would, cap in policy.over_caps(ledger, _still_to_spend(agreement, ledger), now()):
        yield f"it would bring the {name} to epsilon {rounded(would)} at delta {policy.limits.delta:g}, over {cap:g}"


def _spent(agreement: Agreement, policy: Policy, ledger: Ledger, approved: bool) -> Spent:
    limits, at = policy.limits, now()
    rho = _still_to_spend(agreement, ledger)
    return Spent(
        delta=limits.delta,
        window_days=limits.window_days,
        epsilon_total=limits.epsilon_total,
        epsilon_window=limits.epsilon_window,
        total_before=ledger.epsilon(limits.delta),
        total_after=ledger.would_spend(rho, limits.delta),
        window_before=ledger.window_epsilon(limits.window_days, limits.delta, at),
        window_after=ledger.window_epsilon(limits.window_days, limits.delta, at, and_rho=rho),
        approved=approved,
        rehearsal=ledger.rehearsal,
    )


def _still_to_spend(agreement: Agreement, ledger: Ledger) -> Fraction:
    """rho of the plan with all its attempts, less what it was charged for here."""
    plan = agreement.plan
    if plan.privacy is None:
        return Fraction(0)
    whole = run_rho(agreement.rounds, plan.honest, plan.attempts)
    return max(Fraction(0), whole - ledger.plan_rho(agreement.plan_hash))


def _caps(before: float, after: float, cap: float) -> dict[str, float | None]:
    return {"before": before, "after": after, "cap": cap if cap < float("inf") else None}
