"""The one way out of a store: everything computed from interactions that leaves the process passes `release`.

The store's policy is asked first: about the plan, and about what the round would spend.

Under a guarantee, in this order: charge every release of the round in the ledger (fsynced), add up clipped integers,
draw noise from a key made after the charge, use the charge up, record the hash of what is sent. A crash between any
two of these leaves a charge without a release, never a release without a charge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import cast

import numpy as np

from fedcart.shared.agreement import Agreement
from fedcart.shared.errors import PrivacyRefused, ProtocolError
from fedcart.shared.learners.base import Array, Customers, Learner, LocalLearner, Round, State, Totals
from fedcart.shared.ledger.charged import Charged
from fedcart.shared.ledger.ledger import Ledger, now
from fedcart.shared.policy import Policy
from fedcart.shared.privacy.accounting import round_rho
from fedcart.shared.privacy.clipped_sums import ClippedSums
from fedcart.shared.privacy.discrete_gaussian import add_discrete_gaussian
from fedcart.shared.privacy.grid import grid, share_variance
from fedcart.shared.privacy.keystream import NoiseKeys, fresh
from fedcart.shared.privacy.release import Release
from fedcart.shared.privacy.sums import PlainSums
from fedcart.shared.wire import total_dtype


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a store brings to the gate that no plan or message can change.

    Attributes:
      policy: what this store allows.
      keys: where noise comes from; the operating system, except in rehearsals.
      open_ledger: opens and locks this store's ledger.
      plain_shares: whether a share of the coalition's noise may leave without a mask. Only a simulation may say so,
        where one person holds all stores' data anyway.
    """

    policy: Policy
    keys: NoiseKeys = fresh
    open_ledger: Callable[[], AbstractContextManager[Ledger]]
    plain_shares: bool = False


def release(
    agreement: Agreement, round_: Round, attempt: int, state: State, customers: Customers, around: Surroundings
) -> Mapping[str, Array]:
    """One store's totals of a round, one for each of its releases: int64 with noise, float64 under trust `none`.

    Raises:
      PrivacyRefused: the policy does not allow it, the ledger cannot be charged, or a share of noise would leave
        without a mask.
      ProtocolError: the learner left other totals than the round's releases.
    """
    around.policy.check_plan(agreement.plan, agreement.rounds)
    if agreement.plan.trust == "none":
        totals: Mapping[str, Array] = without_noise(agreement.learner, state, round_, customers)
    else:
        if agreement.plan.trust == "distributed" and not around.plain_shares:
            raise PrivacyRefused(
                "a share of the coalition's noise protects nobody unless stores' sums are hidden, and this build "
                "cannot mask them; nothing was released",
                "use trust 'local'",
            )
        totals = with_noise(agreement, round_, attempt, state, customers, around)
    _check(round_, totals)
    return totals


def without_noise(learner: Learner, state: State, round_: Round, customers: Customers) -> Totals:
    """Plain sums, or parameters after local steps; refuses a release that promises anything."""
    if round_.local_steps > 0:
        from fedcart.shared.learners.neural.per_customer import train_locally

        return train_locally(cast(LocalLearner, learner), state, round_, customers)
    sums = PlainSums(round_.releases)
    learner.contribute(state, round_, customers, sums)
    return sums.totals


def with_noise(
    agreement: Agreement, round_: Round, attempt: int, state: State, customers: Customers, around: Surroundings
) -> Mapping[str, Array]:
    """Charge, add up, add noise, record."""
    honest = agreement.plan.honest
    with around.open_ledger() as ledger:
        around.policy.check_charge(ledger, round_rho(round_, honest), now())
        charges = {x.name: _charge(ledger, agreement, round_, attempt, x) for x in round_.releases}
        sums = ClippedSums(round_.releases)
        agreement.learner.contribute(state, round_, customers, sums)
        totals = sums.units()
        for wanted in round_.releases:
            charge, total = charges[wanted.name], totals[wanted.name]
            if charge is not None:
                charge.spend()
            stream = around.keys(agreement.plan_hash, round_.index, attempt, wanted.name)
            add_discrete_gaussian(total, share_variance(wanted, honest), stream)
            if charge is not None:
                ledger.release(charge, hashlib.sha256(total.data).hexdigest())
    return totals


def _charge(ledger: Ledger, agreement: Agreement, round_: Round, attempt: int, wanted: Release) -> Charged | None:
    """The charge of one release. None in a rehearsal that charged it before and stopped: the seed gives the same noise
    again, so what leaves is the same and no second release."""
    plan, terms = agreement.plan, agreement.plan.privacy
    if terms is None or not 0 <= attempt < plan.attempts:
        raise PrivacyRefused(
            f"attempt {attempt} of round {round_.index}, and the plan pays for {plan.attempts}; nothing was released"
        )
    if ledger.rehearsal and ledger.was_charged(agreement.plan_hash, round_.index, attempt, wanted.name):
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
