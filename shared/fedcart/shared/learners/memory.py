"""A store in memory: its customers, its per-customer tables, and a whole run over a few such stores.

What pooled baselines, the conformance kit and the benchmarks run on: the learner's own code and the plain sums,
without Flower and without files. A real store keeps the same tables on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import Histories
from fedcart.shared.learners.base import Block, Float64Array, Learner, LocalTable, Round, State, Totals
from fedcart.shared.privacy.sums import PlainSums

if TYPE_CHECKING:
    from fedcart.shared.learners.base import LocalLearner

Progress = Callable[[int, int], None]
"""Called after each round with the number of rounds done and of all rounds."""


@dataclass
class _Table:
    settled: npt.NDArray[np.float32]
    settled_rows: npt.NDArray[np.bool_]
    pending: npt.NDArray[np.float32]
    pending_rows: npt.NDArray[np.bool_]


class MemoryTable:
    """`LocalTable` of one store in RAM: what earlier rounds wrote, and beside it what this round writes."""

    def __init__(self, customers: int) -> None:
        self._customers = customers
        self._tables: dict[str, _Table] = {}
        self._round: int | None = None

    def begin(self, round_index: int) -> None:
        """Enter a round: keep what the round before wrote; on a repeat of the same round, forget what it wrote."""
        for table in self._tables.values():
            if round_index != self._round:
                rows = table.pending_rows
                table.settled[rows] = table.pending[rows]
                table.settled_rows |= rows
            table.pending_rows[:] = False
        self._round = round_index

    def read(self, name: str, rows: slice, width: int) -> npt.NDArray[np.float32]:
        """[rows, width] as written by the latest earlier round; zeros where no round has written yet."""
        return self._table(name, width).settled[rows].copy()

    def written(self, name: str, rows: slice, width: int) -> npt.NDArray[np.bool_]:
        """[rows] whether an earlier round has written the row."""
        return self._table(name, width).settled_rows[rows].copy()

    def write(self, name: str, rows: slice, values: npt.NDArray[np.float32]) -> None:
        """Set rows for the rounds after this one."""
        table = self._table(name, values.shape[1])
        table.pending[rows] = values
        table.pending_rows[rows] = True

    def _table(self, name: str, width: int) -> _Table:
        if name not in self._tables:
            shape = (self._customers, width)
            self._tables[name] = _Table(
                np.zeros(shape, np.float32),
                np.zeros(self._customers, np.bool_),
                np.zeros(shape, np.float32),
                np.zeros(self._customers, np.bool_),
            )
        table = self._tables[name]
        if table.settled.shape[1] != width:
            raise ValueError(f"table {name!r} has rows of {table.settled.shape[1]} numbers, not {width}")
        return table


@dataclass
class MemoryCustomers:
    """`Customers` of one store from histories in RAM, all of them consenting."""

    histories: Histories
    local: LocalTable = field(init=False)

    def __post_init__(self) -> None:
        self.local = self._table = MemoryTable(self.histories.customers)

    def begin(self, round_index: int) -> None:
        """Enter a round; see `MemoryTable.begin`."""
        self._table.begin(round_index)

    @property
    def count(self) -> int:
        """Number of customers."""
        return self.histories.customers

    def blocks(self, most_customers: int = 4096) -> Iterator[Block]:
        """All customers, in order, in blocks of at most `most_customers`."""
        for key, start in enumerate(range(0, self.count, most_customers)):
            stop = min(start + most_customers, self.count)
            yield Block(key, start, self.histories.slice(start, stop))


def run_rounds(
    learner: Learner,
    stores: Sequence[MemoryCustomers],
    catalogue: Catalogue,
    seed: int,
    customers_bound: int,
    progress: Progress | None = None,
) -> State:
    """The learner's whole run over `stores`, totals added up in the order of the stores; no noise, no Flower.

    Afterwards the stores' tables show what the last round wrote.
    """
    state = learner.initial_state(catalogue, seed)
    rounds = learner.rounds(catalogue, customers_bound)
    for round_ in rounds:
        state = learner.update(state, round_, round_totals(learner, state, round_, stores))
        if progress is not None:
            progress(round_.index + 1, len(rounds))
    for customers in stores:
        customers.begin(len(rounds))
    return state


def round_totals(learner: Learner, state: State, round_: Round, stores: Sequence[MemoryCustomers]) -> Totals:
    """Sum over `stores` of what one round releases; float64 under the releases' names."""
    totals: dict[str, Float64Array] = {}
    for customers in stores:
        customers.begin(round_.index)
        for name, part in store_totals(learner, state, round_, customers).items():
            if name in totals:
                totals[name] += part
            else:
                totals[name] = part
    return totals


def store_totals(learner: Learner, state: State, round_: Round, customers: MemoryCustomers) -> Totals:
    """What one store would upload in the clear: its plain sums, or its parameters after local steps."""
    if round_.local_steps > 0:
        # Needs the extra `neural`; learners without trained rounds never come here.
        from fedcart.shared.learners.neural.per_customer import train_locally

        return train_locally(cast("LocalLearner", learner), state, round_, customers)
    sums = PlainSums(round_.releases)
    learner.contribute(state, round_, customers, sums)
    return sums.totals
