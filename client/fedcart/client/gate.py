"""The one way out of a store: everything computed from interactions that leaves the process passes `release`.

The store's policy is asked first: who signed the plan, what it says, and what the round would spend.

Under a guarantee, in this order: charge every release of the round in the ledger (fsynced), add up clipped integers,
draw noise from a key made after the charge, use the charge up, record the hash of what is sent. A crash between any
two of these leaves a charge without a release, never a release without a charge. In a trained round each local step
is such a release: all are charged before the first is computed, and the parameters move by the noised sums alone.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import numpy as np

from fedcart.shared.agreement import Agreement
from fedcart.shared.errors import PrivacyRefused, ProtocolError
from fedcart.shared.learners.base import Array, Customers, Learner, LocalLearner, Round, State, Totals
from fedcart.shared.ledger.charged import Charged
from fedcart.shared.ledger.ledger import Ledger, now
from fedcart.shared.policy import Policy
from fedcart.shared.privacy.accounting import release_rho, run_rho
from fedcart.shared.privacy.clipped_sums import ClippedSums
from fedcart.shared.privacy.discrete_gaussian import Int64Array, add_discrete_gaussian
from fedcart.shared.privacy.grid import grid, share_variance
from fedcart.shared.privacy.keystream import NoiseKeys, fresh
from fedcart.shared.privacy.release import Release
from fedcart.shared.privacy.sums import PlainSums
from fedcart.shared.roster import headroom
from fedcart.shared.secagg.masks import Bits
from fedcart.shared.signatures import require_signature
from fedcart.shared.wire import total_dtype

if TYPE_CHECKING:
    from fedcart.client.masking import StoreMasks


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a store brings to the gate that no plan or message can change.

    Attributes:
      policy: what this store allows.
      keys: where noise comes from; the operating system, except in rehearsals.
      open_ledger: opens and locks this store's ledger.
      plain_shares: whether a share of the coalition's noise may leave without a mask. Only a simulation may say so,
        where one person holds all stores' data anyway.
      masks: this store's part in secure aggregation; None where it takes none.
      coordinator: public key whose receipts count, 32 bytes: without them the store stops after two rounds. None =
        none is pinned, and nobody witnesses its ledger.
    """

    policy: Policy
    keys: NoiseKeys = fresh
    open_ledger: Callable[[], AbstractContextManager[Ledger]]
    plain_shares: bool = False
    masks: StoreMasks | None = None
    coordinator: bytes | None = None


def release(
    agreement: Agreement,
    round_: Round,
    attempt: int,
    state: State,
    customers: Customers,
    around: Surroundings,
    masked: Bits | None = None,
) -> Mapping[str, Array]:
    """One store's totals of a round, one for each of its releases: int64 with noise, float64 under trust `none` and
    for parameters that local steps moved.

    Args:
      masked: bits of the words that the totals go into, and nowhere else, before a mask is added; None = they leave as
        they are.

    Raises:
      PrivacyRefused: the policy's coordinator did not sign the plan, the policy does not allow it, the ledger cannot
        be charged, or a share of noise would leave without a mask.
      ConfigError: the policy names a coordinator, and there are no signatures.
      ProtocolError: the learner left other totals than the round's releases.
    """
    require_signature(agreement.directory, agreement.plan_hash, around.policy.trust.coordinator_key)
    around.policy.check_plan(agreement.plan, agreement.rounds)
    if agreement.plan.trust == "none":
        totals: Mapping[str, Array] = without_noise(agreement.learner, state, round_, customers)
    else:
        _refuse_without_mask(agreement, round_, masked, around)
        totals = with_noise(agreement, round_, attempt, state, customers, around, masked)
    _check(round_, totals)
    return totals


def _refuse_without_mask(agreement: Agreement, round_: Round, masked: Bits | None, around: Surroundings) -> None:
    """A share of noise needs a mask, and only integers can have one."""
    if agreement.plan.trust == "distributed" and masked is None and not around.plain_shares:
        raise PrivacyRefused(
            "a share of the coalition's noise protects nobody unless stores' sums are hidden, and a "
            "request without secure aggregation cannot mask them; nothing was released",
            "use secure aggregation, or trust 'local'",
        )
    if masked is not None and round_.step is not None:
        raise PrivacyRefused("parameters after local steps are no integers to mask; nothing was charged or released")


def without_noise(learner: Learner, state: State, round_: Round, customers: Customers) -> Totals:
    """Plain sums, or parameters after local steps; refuses a release that promises anything."""
    if round_.local_steps > 0:
        from fedcart.shared.learners.neural.per_customer import train_locally

        return train_locally(cast(LocalLearner, learner), state, round_, customers)
    sums = PlainSums(round_.releases)
    learner.contribute(state, round_, customers, sums)
    return sums.totals


def with_noise(
    agreement: Agreement,
    round_: Round,
    attempt: int,
    state: State,
    customers: Customers,
    around: Surroundings,
    masked: Bits | None = None,
) -> Mapping[str, Array]:
    """Charge, add up, clamp where words of 32 bits come next, add noise, record."""
    parted = _parted(agreement, customers)
    with around.open_ledger() as ledger:
        paid = _PaidRound(ledger, agreement, round_, attempt, around)
        if round_.step is not None:
            parameters = _train(agreement, round_, state, customers, paid)
            for wanted in round_.charges:
                paid.record(wanted, *(parameters[lane.name] for lane in round_.releases))
            return parameters
        sums = ClippedSums(round_.releases, parted=parted)
        agreement.learner.contribute(state, round_, customers, sums)
        totals = sums.units()
        for wanted in round_.releases:
            if masked == 32:
                most = headroom(agreement.plan, wanted)
                np.clip(totals[wanted.name], -most, most, out=totals[wanted.name])
            paid.add_noise(wanted, totals[wanted.name])
            paid.record(wanted, totals[wanted.name])
    return totals


def _parted(agreement: Agreement, customers: Customers) -> bool:
    """Whether each customer has only a part of the clip; asked before anything is charged."""
    terms = agreement.plan.privacy
    if terms is None or terms.overlap != "weights":
        return False
    first = next(iter(customers.blocks(1)), None)
    if first is not None and first.histories.parts is None:
        raise PrivacyRefused(
            "the plan's overlap is weights, and this store does not know its customers' parts of the clip; nothing was "
            "charged or released",
            "overlap pair or declared needs no linkage",
        )
    return True


class _PaidRound:
    """A round whose releases are all charged: noise is added to each, and what leaves is recorded, once a charge.

    A rehearsal that stopped and repeats a round has charges of None: the same noise once more, and no second line.
    """

    def __init__(self, ledger: Ledger, agreement: Agreement, round_: Round, attempt: int, around: Surroundings) -> None:
        """Charge it, unless the ledger may be rolled back unseen since receipts are missing."""
        if around.coordinator is not None:
            ledger.refuse_unwitnessed(agreement.plan_hash, round_.index)
        self._charges = _charge_round(ledger, agreement, round_, attempt, around.policy)
        self._ledger, self._honest = ledger, agreement.plan.honest
        self._stream = functools.partial(around.keys, agreement.plan_hash, round_.index, attempt)

    def add_noise(self, wanted: Release, total: Int64Array) -> None:
        """Use the charge up, then draw."""
        charge = self._charges[wanted.name]
        if charge is not None:
            charge.spend()
        add_discrete_gaussian(total, share_variance(wanted, self._honest), self._stream(wanted.name))

    def record(self, wanted: Release, *sent: Array) -> None:
        """Write down the hash of what is about to leave."""
        charge = self._charges[wanted.name]
        if charge is not None:
            digest = hashlib.sha256()
            for array in sent:
                digest.update(array.data)
            self._ledger.release(charge, digest.hexdigest())


def _train(
    agreement: Agreement,
    round_: Round,
    state: State,
    customers: Customers,
    paid: _PaidRound,
) -> Mapping[str, Array]:
    """The store's part of the average after the round's local steps, each along one noised sum over all customers.

    Divisor and weight come from the plan's public bound and number of stores, never from the store's own customers.
    """
    from fedcart.shared.learners.neural.local_steps import LocalSteps, StepCustomers

    assert round_.step is not None
    plan, learner = agreement.plan, cast(LocalLearner, agreement.learner)
    divisor = plan.customers_bound / plan.participants
    steps, visited = LocalSteps(learner.optimizer_of(round_), state, round_, divisor), StepCustomers(customers)
    for number, wanted in enumerate(round_.charges):
        sums = ClippedSums([round_.step], parted=_parted(agreement, customers))
        learner.contribute_step(steps.state(), round_, number, visited, sums)
        total = sums.units()[round_.step.name]
        paid.add_noise(wanted, total)
        steps.move(grid(wanted).values(total))
    return steps.changes(1 / plan.participants)


def _charge_round(
    ledger: Ledger, agreement: Agreement, round_: Round, attempt: int, policy: Policy
) -> dict[str, Charged | None]:
    """Charge all of a round's releases, once plan and policy have room for every one of them."""
    plan = agreement.plan
    if not 0 <= attempt < plan.attempts:
        raise PrivacyRefused(
            f"attempt {attempt} of round {round_.index}, and the plan pays for {plan.attempts}; nothing was released"
        )
    due = [x for x in round_.charges if not _repeats_a_rehearsal(ledger, agreement, round_, attempt, x)]
    cost = sum((release_rho(x, plan.honest) for x in due), Fraction(0))
    allowed = run_rho(agreement.rounds, plan.honest, plan.attempts)
    policy.check_within_plan(ledger, agreement.plan_hash, cost, allowed)
    policy.check_charge(ledger, cost, now())
    return {x.name: _charge(ledger, agreement, round_, attempt, x) for x in round_.charges}


def _charge(ledger: Ledger, agreement: Agreement, round_: Round, attempt: int, wanted: Release) -> Charged | None:
    """The charge of one release. None in a rehearsal that charged it before and stopped: the seed gives the same noise
    again, so what leaves is the same and no second release."""
    plan, terms = agreement.plan, agreement.plan.privacy
    assert terms is not None
    if _repeats_a_rehearsal(ledger, agreement, round_, attempt, wanted):
        return None
    return ledger.charge(
        plan=agreement.plan_hash,
        round=round_.index,
        attempt=attempt,
        release=wanted.name,
        D=grid(wanted).sensitivity,
        variance=share_variance(wanted, plan.honest),
        honest=plan.honest,
        delta=terms.delta,
    )


def _repeats_a_rehearsal(ledger: Ledger, agreement: Agreement, round_: Round, attempt: int, wanted: Release) -> bool:
    return ledger.rehearsal and ledger.was_charged(agreement.plan_hash, round_.index, attempt, wanted.name)


def _check(round_: Round, totals: Mapping[str, Array]) -> None:
    if set(totals) != {release.name for release in round_.releases}:
        raise ProtocolError(f"round {round_.index}: totals other than the round's releases; nothing was released")
    for expected in round_.releases:
        total, dtype = totals[expected.name], total_dtype(expected)
        if total.dtype != dtype or total.shape != expected.shape or not np.isfinite(total).all():
            raise ProtocolError(
                f"release {expected.name!r}: a total of {total.dtype} {total.shape} or with numbers that are not "
                f"finite, not {dtype} {expected.shape}; nothing was released"
            )
