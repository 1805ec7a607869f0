"""The one way out of a store: everything computed from interactions that leaves the process passes `release`.

Charging the ledger, quantising, noise and masks belong between the sums and the return; this build has none of
them, so it refuses every plan that promises a guarantee.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from fedcart.shared.errors import PrivacyRefused, ProtocolError
from fedcart.shared.learners.base import Customers, Learner, LocalLearner, Round, State, Totals
from fedcart.shared.plan import Trust
from fedcart.shared.privacy.sums import PlainSums


def release(learner: Learner, state: State, round_: Round, customers: Customers, *, trust: Trust) -> Totals:
    """One store's totals of a round: float64, finite, one for each of the round's releases.

    Raises:
      PrivacyRefused: `trust` asks for noise, or a release promises a clip or noise.
      ProtocolError: the learner left other totals than the round's releases.
    """
    if trust != "none":
        raise PrivacyRefused(
            f"the plan's trust is {trust!r}, and this build adds no noise; nothing was released",
            "use trust = 'none' on public data",
        )
    if round_.local_steps > 0:
        from fedcart.shared.learners.neural.per_customer import train_locally

        totals = train_locally(cast(LocalLearner, learner), state, round_, customers)
    else:
        sums = PlainSums(round_.releases)
        learner.contribute(state, round_, customers, sums)
        totals = sums.totals
    _check(round_, totals)
    return totals


def _check(round_: Round, totals: Totals) -> None:
    if set(totals) != {release.name for release in round_.releases}:
        raise ProtocolError(f"round {round_.index}: totals other than the round's releases; nothing was released")
    for expected in round_.releases:
        total = totals[expected.name]
        if total.dtype != np.float64 or total.shape != expected.shape or not np.isfinite(total).all():
            raise ProtocolError(
                f"release {expected.name!r}: a total of {total.dtype} {total.shape} or with numbers that are not "
                f"finite, not float64 {expected.shape}; nothing was released"
            )
