"""The conformance kit under a guarantee: the same learner through the clipping, integer sums of the kernel.

A deletion goes through everything: from the raw table on, reading and histories included. Add `PRIVATE_CHECKS` to
`CHECKS`. Where rounds train at the store each local step is looked at, with the parameters held as published.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

import numpy as np
import numpy.typing as npt

from fedcart.shared.interactions import Histories
from fedcart.shared.learners.base import LocalLearner, Round, State
from fedcart.shared.learners.conformance import Case, NotConforming
from fedcart.shared.learners.memory import MemoryCustomers
from fedcart.shared.learners.toy import CUSTOMERS, ITEMS, OneByOne, toy_interactions
from fedcart.shared.privacy.clipped_sums import ClippedSums
from fedcart.shared.privacy.grid import grid
from fedcart.shared.privacy.terms import PrivacyTerms

EPSILON, DELTA, BOUND = 4.0, 1e-4, 100
SLACK = 1e-5
"""Of the sensitivity: what the last bits of floats may add where a customer's factor is solved in a batch."""
Units = Mapping[str, npt.NDArray[np.int64]]


def bounds_name_every_release_and_no_other(case: Case) -> None:
    """`bounds()` makes a plan that can be calibrated."""
    _private_rounds(case)


def no_customer_moves_a_clipped_total_by_more_than_its_sensitivity(case: Case) -> None:
    """Delete each customer from the raw table, read again, and compare what would be noised."""
    raw, rounds = toy_interactions(1), _private_rounds(case)
    states = [state for _, state, _ in case.replay(case.read(raw, CUSTOMERS, ITEMS))]
    full = _units(case, rounds, states, MemoryCustomers(case.read(raw, CUSTOMERS, ITEMS)))
    for gone in range(CUSTOMERS):
        left = raw.select(raw.customer != gone)
        renumbered = replace(left, customer=left.customer - (left.customer > gone).astype(np.int32))
        rest: Histories = case.read(renumbered, CUSTOMERS - 1, ITEMS)
        for round_, all_, without in zip(
            rounds, full, _units(case, rounds, states, MemoryCustomers(rest)), strict=True
        ):
            for release in round_.charges:
                moved, limit = _norm(all_[release.name] - without[release.name]), grid(release).sensitivity
                if moved > limit * (1 + SLACK):
                    raise NotConforming(
                        f"round {round_.index}: deleting customer {gone} moved {release.name!r} by {moved:.0f} units, "
                        f"over its sensitivity {limit}"
                    )


def clipped_totals_are_those_of_customers_one_by_one(case: Case) -> None:
    """Block sizes change no integer by more than the last bits of a float do."""
    rounds, histories = _private_rounds(case), case.histories()
    states = [state for _, state, _ in case.replay(histories)]
    together = _units(case, rounds, states, MemoryCustomers(histories))
    apart = _units(case, rounds, states, OneByOne(histories))
    for round_, batch, single in zip(rounds, together, apart, strict=True):
        for release in round_.charges:
            if _norm(batch[release.name] - single[release.name]) > SLACK * grid(release).sensitivity:
                raise NotConforming(f"round {round_.index}: one by one differs from the batch in {release.name!r}")


PRIVATE_CHECKS: tuple[Callable[[Case], None], ...] = (
    bounds_name_every_release_and_no_other,
    no_customer_moves_a_clipped_total_by_more_than_its_sensitivity,
    clipped_totals_are_those_of_customers_one_by_one,
)


def _private_rounds(case: Case) -> tuple[Round, ...]:
    terms = PrivacyTerms(epsilon=EPSILON, delta=DELTA, bounds=case.make().bounds())
    return terms.apply(case.rounds(), honest=1, attempts=1, customers_bound=BOUND)


def _units(case: Case, rounds: tuple[Round, ...], states: list[State], store: MemoryCustomers) -> list[Units]:
    """[rounds] integer totals of one store against given states, by the names of what is charged."""
    learner, found = case.make(), list[Units]()
    for round_, state in zip(rounds, states, strict=True):
        store.begin(round_.index)
        if round_.step is not None:
            found.append(_steps(cast(LocalLearner, learner), state, round_, store))
            continue
        sums = ClippedSums(round_.releases)
        learner.contribute(state, round_, store, sums)
        found.append(sums.units())
    return found


def _steps(learner: LocalLearner, state: State, round_: Round, store: MemoryCustomers) -> Units:
    from fedcart.shared.learners.neural.local_steps import StepCustomers

    assert round_.step is not None
    found, visited = {}, StepCustomers(store)
    for number, charge in enumerate(round_.charges):
        sums = ClippedSums([round_.step])
        learner.contribute_step(state, round_, number, visited, sums)
        found[charge.name] = sums.units()[round_.step.name]
    return found


def _norm(units: npt.NDArray[np.int64]) -> float:
    return float(np.sqrt(sum(int(x) ** 2 for x in units.reshape(-1))))
