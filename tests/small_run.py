"""A run small enough for a test, and a learner of several rounds that shows every way a resumed run could differ.

Importing this module makes the learner `stepping` known; a child process needs `tests` on its PYTHONPATH.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from fedcart.client.app import POLICY
from fedcart.client.records import write_records
from fedcart.server.checkpoint import load_checkpoint
from fedcart.shared import learners
from fedcart.shared.agreement import CATALOGUE, PLAN, Agreement
from fedcart.shared.canonical import model_hash
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import Interactions, build_histories
from fedcart.shared.learners.base import Customers, Round, State, Sums, Totals
from fedcart.shared.plan import Plan, build_learner
from fedcart.shared.privacy.cohort import Cohort
from fedcart.shared.privacy.release import Release
from fedcart.shared.privacy.terms import PrivacyTerms

if TYPE_CHECKING:
    from scipy.sparse import csr_array

learners.BUILT_IN["stepping"] = "small_run:Stepping"


@dataclass(frozen=True, kw_only=True)
class Stepping:
    """Adds up numbers whose sum depends on the order, keeps moments here and a factor a customer at the store."""

    name: ClassVar[str] = "stepping"
    summary: ClassVar[str] = "a test's learner"

    steps: int = 6

    def rounds(self, catalogue: Catalogue, customers_bound: int) -> tuple[Round, ...]:
        return tuple(Round(i, f"step {i}", (Release(name="x", shape=(len(catalogue),)),)) for i in range(self.steps))

    def initial_state(self, catalogue: Catalogue, seed: int) -> State:
        start = np.random.default_rng(seed).random(len(catalogue), np.float32)
        return State({"v": start}, {"m": np.zeros(len(catalogue))})

    def contribute(self, state: State, round_: Round, customers: Customers, sums: Sums) -> None:
        for block in customers.blocks(3):
            h = block.histories
            factor = customers.local.read("factor", block.rows, 2)
            scale = np.repeat(1.1 + factor[:, 0], h.counts)
            sums.rows("x", block, self._row(h, np.sin(state.public["v"][h.items] * scale)))
            customers.local.write("factor", block.rows, (0.7 * factor + h.counts[:, None]).astype(np.float32))

    def update(self, state: State, round_: Round, totals: Totals) -> State:
        moment = 0.9 * state.carried["m"] + totals["x"]
        return State({"v": (state.public["v"] + 0.01 * moment).astype(np.float32)}, {"m": moment})

    def scorer(self, state: State, catalogue: Catalogue) -> Any:
        raise NotImplementedError("a test's learner ranks nothing")

    @staticmethod
    def _row(h: Any, values: npt.NDArray[np.float64]) -> csr_array:
        from scipy.sparse import csr_array

        return csr_array((values.astype(np.float64), h.items, h.indptr), shape=(h.customers, h.items_total))


ALLOW_ALL = """[limits]
epsilon_total = 100.0
delta = 0.01
attempts = 100
[require]
trust = ["local", "distributed", "none"]
"""


def write_small_run(
    directory: Path,
    *,
    stores: int = 4,
    learner: str = "popularity",
    attempts: int = 1,
    seed: int = 0,
    trust: Any = "none",
    customers_per_store: int = 5,
    items: int = 12,
    epsilon: float | None = None,
    **hyper_parameters: Any,
) -> Agreement:
    """Plan, catalogue and records of a run; the last store but one has no customers."""
    rng = np.random.default_rng(seed)
    sizes = np.full(stores, customers_per_store)
    if stores > 2:
        sizes[-2] = 0
    customers = int(sizes.sum())
    events = Interactions.build(rng.integers(0, customers, customers * 6), rng.integers(0, items, customers * 6))
    catalogue = Catalogue(tuple(f"item {i}" for i in range(items)), "given")
    write_records(directory, build_histories(events, customers, items), np.concatenate([[0], np.cumsum(sizes)]))
    catalogue.save(directory / CATALOGUE)
    if learner == "popularity":
        hyper_parameters.setdefault("count_exponent", 0.5)
    terms = None
    if epsilon is not None:
        cohort = Cohort.default(stores) if trust == "distributed" else None
        terms = PrivacyTerms(
            epsilon=epsilon,
            delta=1e-4,
            bounds=build_learner(learner, hyper_parameters).bounds(),
            colluders=cohort and cohort.colluders,
            min_survivors=cohort and cohort.min_survivors,
        )
    plan = Plan(
        privacy=terms,
        catalogue_hash=catalogue.hash,
        catalogue_source="given",
        as_of=None,
        participants=stores,
        learner=learner,
        hyper_parameters=hyper_parameters,
        trust=trust,
        customers_bound=100,
        seed=seed,
        attempts=attempts,
    )
    plan.save(directory / PLAN, catalogue)
    policy = directory / POLICY
    policy.write_text(ALLOW_ALL)
    policy.chmod(0o600)
    return Agreement.open(directory)


def final_hash(directory: Path) -> str:
    """Of the checkpoint's state, public and carried."""
    found = load_checkpoint(directory, Agreement.open(directory).plan_hash)
    assert found is not None
    assert found.round_index == len(Agreement.open(directory).rounds) - 1
    return model_hash({**found.state.public, **{f"carried {k}": v for k, v in found.state.carried.items()}})
