"""What a learner is: both halves of one algorithm, at the store and at the coordinator, side by side.

Every algorithm is the same loop (DESIGN section 4). The coordinator publishes a state; each store adds up one
contribution a customer through the kernel's `Sums`; the coalition's total comes back; `update` turns it into the
next state. Learners never clip, add noise, count customers on their own or see a sum leave. A contribution is a
pure function of that customer's own rows, the published state and the plan: nothing may look across customers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import Histories
from fedcart.shared.privacy.release import Release
from fedcart.shared.privacy.terms import Bound

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Array = npt.NDArray[Any]
Float64Array = npt.NDArray[np.float64]
Totals = Mapping[str, Float64Array]
STEP = "gradient"
"""Name of the sum behind each step of a trained round under a guarantee, and of its bound."""


@dataclass(frozen=True)
class State:
    """What the coordinator knows between rounds.

    Attributes:
      public: float32 arrays in C order, sent to every store and hashed.
      carried: any arrays, kept by the coordinator only: sketches, server moments.
    """

    public: Mapping[str, Array] = field(default_factory=dict)
    carried: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, array in self.public.items():
            if array.dtype != np.float32 or not array.flags.c_contiguous:
                raise TypeError(f"state.public[{name!r}] is {array.dtype}, not float32 in C order")


@dataclass(frozen=True, slots=True)
class Round:
    """One exchange: everything in it leaves a store in one upload.

    Attributes:
      index: 0-based position in the run.
      stage: what the round does, for people and for the learner ("items 0-3705").
      releases: the totals that come back, under their names.
      local_steps: > 0 for a *trained* round: optimiser steps at each store, a plan constant.
      step: of a trained round under a guarantee: the clipped, noised sum over all customers that each local step
        moves by. The plan's terms set it. It stays at the store; the parameters that leave follow from it alone.
      noise_excess: how much larger the noise of a total is than what is certain in it, in standard deviations, when
        no store drops. A plan constant, for learners that shrink by the scale of the noise.
    """

    index: int
    stage: str
    releases: tuple[Release, ...]
    local_steps: int = 0
    step: Release | None = None
    noise_excess: float = 1.0

    @property
    def charges(self) -> tuple[Release, ...]:
        """What is paid for: each step's sum (`gradient.0`, `gradient.1`, ...) where there is one, else the releases."""
        if self.step is None:
            return self.releases
        return tuple(replace(self.step, name=f"{self.step.name}.{number}") for number in range(self.local_steps))

    def noise_of(self, release: Release) -> float:
        """Standard deviation of a number of the release's total (of a triangle: on its diagonal) when no store drops;
        0 without noise."""
        if release.noise_multiplier == 0:
            return 0.0
        return release.noise_multiplier * release.sensitivity() * self.noise_excess


@dataclass(frozen=True, slots=True)
class Block:
    """Some customers of one store, in order. Made by `Customers`, after consent; `key` is unique within the store.

    Attributes:
      key: index of the block.
      start: store row of the block's first customer (its rows in a LocalTable follow). Blocks are added to a release
        in order, each customer at most once.
      histories: [block customers] training view.
    """

    key: int
    start: int
    histories: Histories

    @property
    def rows(self) -> slice:
        """The block's rows in the store's LocalTables."""
        return slice(self.start, self.start + self.histories.customers)


class LocalTable(Protocol):
    """Per-customer rows that stay at the store: factors, moments. Survive rounds and restarts, never in a message.

    Two generations are kept, so a round that is run again starts from what it started from the first time.
    """

    def read(self, name: str, rows: slice, width: int) -> npt.NDArray[np.float32]:
        """[rows, width] as written by the latest earlier round; zeros where no round has written yet."""
        ...

    def written(self, name: str, rows: slice, width: int) -> npt.NDArray[np.bool_]:
        """[rows] whether an earlier round has written the row."""
        ...

    def write(self, name: str, rows: slice, values: npt.NDArray[np.float32]) -> None:
        """Set rows for the rounds after this one."""
        ...


class Customers(Protocol):
    """A store's consenting customers: the training view only."""

    local: LocalTable

    @property
    def count(self) -> int:
        """Number of customers; never leaves the store as a plain number."""
        ...

    def blocks(self, most_customers: int = 4096) -> Iterator[Block]:
        """All customers, in order, in blocks of at most `most_customers`."""
        ...


class Sums(Protocol):
    """The kernel's four sums: each clips every customer to the release's bound, then adds (DESIGN section 4)."""

    def rows(self, name: str, block: Block, x: csr_array) -> None:
        """Add sum_u clip(x_u); x [block customers, release words]."""
        ...

    def outer(self, name: str, block: Block, z: csr_array) -> None:
        """Add sum_u of the upper triangle of z_u z_u^T, row by row; z [block customers, n], release n (n + 1) / 2."""
        ...

    def cross(self, name: str, block: Block, z: csr_array, a: Float64Array) -> None:
        """Add sum_u z_u a_u^T; z [block customers, m], a [block customers, k], release [m, k]."""
        ...

    def per_item(self, name: str, block: Block, w: csr_array, u: Float64Array) -> None:
        """Add sum_u w_uj u_u (order 1, release [band, k]) or w_uj u_u u_u^T (order 2, release [band, k (k + 1) / 2]).

        w [block customers, items] over the whole catalogue; the release's band of items is cut here.
        u [block customers, k].
        """
        ...


class Scorer(Protocol):
    """At the store: public state and a customer's own rows -> scores. Higher is better; -inf = cannot rank."""

    def score(self, block: Block, local: LocalTable | None) -> npt.NDArray[np.float32]:
        """[block customers, items]. `local` = the store's tables for customers it has, None for others (fold-in)."""
        ...


class Learner(Protocol):
    """An algorithm. Instances are frozen dataclasses whose fields are the hyper-parameters (plan constants)."""

    name: ClassVar[str]
    summary: ClassVar[str]

    def rounds(self, catalogue: Catalogue, customers_bound: int) -> tuple[Round, ...]:
        """The whole run and its cost, known before it starts."""
        ...

    def bounds(self) -> Mapping[str, Bound]:
        """Name of each release -> a clip and a share of the budget that suit it, for plans that name none."""
        ...

    def initial_state(self, catalogue: Catalogue, seed: int) -> State:
        """The state published for round 0."""
        ...

    def contribute(self, state: State, round_: Round, customers: Customers, sums: Sums) -> None:
        """At the store: add every customer's contribution to each of the round's releases."""
        ...

    def update(self, state: State, round_: Round, totals: Totals) -> State:
        """At the coordinator: the next state from the totals (float64, already rescaled)."""
        ...

    def scorer(self, state: State, catalogue: Catalogue) -> Scorer:
        """At the store, after the last round."""
        ...


class LocalLearner(Learner, Protocol):
    """A learner with trained rounds (`local_steps` > 0): several optimiser steps at the store."""

    def optimizer_of(self, round_: Round) -> Any:
        """The optimiser of a round's steps, a `LocalOptimizer`: plan constants, asked for before data are seen."""
        ...

    def train(self, state: State, round_: Round, customers: Customers, trainer: Any) -> None:
        """At the store without a guarantee: the trainer owns parameters, steps and what is sent."""
        ...

    def contribute_step(self, state: State, round_: Round, step: int, customers: Customers, sums: Sums) -> None:
        """At the store under a guarantee: add every customer's gradient at `state`, the parameters after `step` steps.

        The release is `STEP`, the published parameters' gradients side by side in the order of the round's releases.
        """
        ...
