"""The coordinator's optimisers: from a total to the next published model, with moments in `State.carried`.

`average` moves by the mean change with momentum (FedAvgM, Hsu et al. 2019; without momentum FedAvg, McMahan et
al. 2017); `adam` takes the mean change, or the summed gradient, for Adam's gradient (FedAdam, Reddi et al. 2021,
arXiv:2003.00295, Alg. 2; with bias correction as in Kingma & Ba 2015).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fedcart.shared.learners.base import Array, Float64Array, State

ServerOptimizer = Literal["average", "adam"]
BETA2, EPSILON = 0.99, 1e-8


@dataclass(frozen=True, slots=True)
class ServerStep:
    """One step of the coordinator.

    Attributes:
      optimizer: `average` or `adam`.
      learning_rate: what the (normalised) direction is multiplied by; 1 with `average` is plain averaging.
      momentum: beta of FedAvgM, beta_1 of Adam.
    """

    optimizer: ServerOptimizer
    learning_rate: float
    momentum: float

    def apply(self, state: State, ascent: Mapping[str, Float64Array]) -> State:
        """`state` moved along `ascent` (parameter name -> direction in which the model should move)."""
        public, carried = dict(state.public), dict(state.carried)
        count = float(carried.get("steps", np.zeros(1))[0]) + 1
        for name, direction in ascent.items():
            move = self._direction(name, direction, carried, count)
            public[name] = (public[name] + self.learning_rate * move).astype(np.float32)
        carried["steps"] = np.array([count])
        return State(public, carried)

    def _direction(self, name: str, direction: Float64Array, carried: dict[str, Array], count: float) -> Float64Array:
        if self.optimizer == "average" and not self.momentum:
            return direction
        first = carried.get(f"first.{name}", np.zeros(1)) * self.momentum
        if self.optimizer == "average":
            carried[f"first.{name}"] = first = first + direction
            return first
        carried[f"first.{name}"] = first = first + (1 - self.momentum) * direction
        second = carried.get(f"second.{name}", np.zeros(1)) * BETA2 + (1 - BETA2) * direction**2
        carried[f"second.{name}"] = second
        root = np.sqrt(second / (1 - BETA2**count)) + EPSILON
        moved: Float64Array = first / (1 - self.momentum**count) / root
        return moved
