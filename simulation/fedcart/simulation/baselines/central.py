"""The same learner on pooled data: one store that holds everyone, no Flower, no noise."""

from __future__ import annotations

from dataclasses import dataclass

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import Histories
from fedcart.shared.learners.base import Learner, State
from fedcart.shared.learners.memory import MemoryCustomers, Progress, run_rounds


@dataclass(frozen=True)
class Trained:
    """The last state, and the one store with what it keeps of each customer."""

    state: State
    customers: MemoryCustomers


def run_centrally(
    learner: Learner,
    histories: Histories,
    catalogue: Catalogue,
    seed: int,
    customers_bound: int | None = None,
    progress: Progress | None = None,
) -> Trained:
    """All rounds of `learner` over all `histories` as one store.

    Args:
      customers_bound: the plan's public bound; the number of histories when not given.
      progress: called after each round with the rounds done and all rounds.
    """
    bound = max(1, histories.customers) if customers_bound is None else customers_bound
    store = MemoryCustomers(histories)
    return Trained(run_rounds(learner, [store], catalogue, seed, bound, progress), store)
