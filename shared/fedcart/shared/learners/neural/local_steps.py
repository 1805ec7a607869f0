"""Local steps under a guarantee: parameters that move by noised sums and by nothing else.

The gate drives it: for each step the learner adds up customers' gradients at `state()`, the kernel clips and noises
the sum, `move` takes one optimiser step along it. Learners get copies of the parameters and never the parameters, the
optimiser or what is sent; so what leaves is post-processing of the noised sums. The divisor and the store's weight in
the average are public constants of the plan: nothing here knows how many customers the store has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from fedcart.shared.errors import ProtocolError
from fedcart.shared.learners.base import Block, Customers, Float64Array, LocalTable, Round, State

OptimizerName = Literal["adam", "sgd"]


@dataclass(frozen=True, slots=True)
class LocalOptimizer:
    """An optimiser at a store, by its name and learning rate: plan constants, which hold nothing of the data."""

    name: OptimizerName
    learning_rate: float

    def over(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """It, with moments of zero."""
        if self.name == "adam":
            return torch.optim.Adam(parameters, lr=self.learning_rate, fused=True)
        return torch.optim.SGD(parameters, lr=self.learning_rate)


class LocalSteps:
    """One store's parameters during one round."""

    def __init__(self, optimizer: LocalOptimizer, state: State, round_: Round, divisor: float) -> None:
        """Start from the published parameters.

        Args:
          divisor: public constant, what a noised sum is divided by to make the optimiser's gradient.

        Raises:
          ProtocolError: the published state lacks a parameter, has it in another shape, or is not finite.
        """
        for lane in round_.releases:
            found = state.public.get(lane.name)
            if found is None or found.shape != lane.shape or not np.isfinite(found).all():
                told = "missing" if found is None else f"{found.shape}, not {lane.shape}, or not finite"
                raise ProtocolError(f"the published model's {lane.name!r} is {told}; nothing was computed")
        self._published, self._divisor = state.public, divisor
        self._parameters = {
            lane.name: torch.nn.Parameter(torch.from_numpy(state.public[lane.name].copy())) for lane in round_.releases
        }
        self._optimizer = optimizer.over(self._parameters.values())

    def state(self) -> State:
        """The published state with the parameters as they are now: copies, not to be written to."""
        public = {name: array.copy() for name, array in self._published.items()}
        public |= {name: parameter.detach().numpy().copy() for name, parameter in self._parameters.items()}
        for array in public.values():
            array.setflags(write=False)
        return State(public)

    def move(self, total: Float64Array) -> None:
        """One step of the optimiser along a noised sum, the parameters' gradients side by side."""
        start = 0
        for parameter in self._parameters.values():
            piece = total[start : start + parameter.numel()].reshape(tuple(parameter.shape)) / self._divisor
            parameter.grad = torch.from_numpy(piece.astype(np.float32))
            start += parameter.numel()
        if start != total.size:
            raise ProtocolError(f"a step of {total.size} numbers for {start} parameters; nothing was released")
        self._optimizer.step()

    def changes(self, weight: float) -> Mapping[str, Float64Array]:
        """Parameter name -> `weight` times trained minus published; `weight` is a public constant."""
        return {
            name: weight * np.subtract(parameter.detach().numpy(), self._published[name], dtype=np.float64)
            for name, parameter in self._parameters.items()
        }


class StepTable:
    """A store's `LocalTable` during the steps of a round: a step reads what the steps before it wrote."""

    def __init__(self, local: LocalTable, customers: int) -> None:
        self._local, self._customers = local, customers
        self._rows: dict[str, npt.NDArray[np.float32]] = {}
        self._written: dict[str, npt.NDArray[np.bool_]] = {}

    def read(self, name: str, rows: slice, width: int) -> npt.NDArray[np.float32]:
        """[rows, width] as last written, in this round or before it."""
        found = self._local.read(name, rows, width)
        if name in self._rows:
            found = np.where(self._written[name][rows, None], self._rows[name][rows], found)
        return found

    def written(self, name: str, rows: slice, width: int) -> npt.NDArray[np.bool_]:
        """[rows] whether the row was ever written."""
        found = self._local.written(name, rows, width)
        return found | self._written[name][rows] if name in self._rows else found

    def write(self, name: str, rows: slice, values: npt.NDArray[np.float32]) -> None:
        """Set rows for the steps and rounds after this one."""
        if name not in self._rows:
            self._rows[name] = np.zeros((self._customers, values.shape[1]), np.float32)
            self._written[name] = np.zeros(self._customers, np.bool_)
        self._rows[name][rows], self._written[name][rows] = values, True
        self._local.write(name, rows, values)


class StepCustomers:
    """A store's customers during the steps of a round: all of them in every step, with a `StepTable`."""

    def __init__(self, customers: Customers) -> None:
        self._customers = customers
        self.local: LocalTable = StepTable(customers.local, customers.count)

    @property
    def count(self) -> int:
        """Number of customers; private."""
        return self._customers.count

    def blocks(self, most_customers: int = 4096) -> Iterator[Block]:
        """As the store's own."""
        return self._customers.blocks(most_customers)
