"""What `mf` and `ncf` share: customers' factors stay, the item side travels.

Two ways to learn, one code: `local_steps = 0` releases one gradient a customer and round, which the coordinator
feeds to Adam; `local_steps > 0` trains at the store and averages the change. In both a visited customer first fits
their own factor to the frozen item side, then the item side gets the gradient of that customer's loss. Under a
guarantee a local step is such a gradient of every customer, clipped and noised by the kernel (`local_steps`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import ProtocolError
from fedcart.shared.learners.base import STEP, Customers, Round, Scorer, State, Sums, Totals
from fedcart.shared.learners.neural.customer_rows import (
    CustomerFit,
    all_histories,
    fit,
    read_rows,
    row_width,
)
from fedcart.shared.learners.neural.item_side import ItemSide, Loss, load_public, public_arrays, public_views
from fedcart.shared.learners.neural.limits import Limits, check
from fedcart.shared.learners.neural.local_steps import LocalOptimizer, OptimizerName
from fedcart.shared.learners.neural.per_customer import (
    CUSTOMERS,
    Trainer,
    customer_gradients,
    gradient_words,
    split_gradient,
)
from fedcart.shared.learners.neural.sampling import Draw, UInt64, draw, parts, stamp
from fedcart.shared.learners.neural.scorer import NeuralScorer
from fedcart.shared.learners.neural.server import ServerOptimizer, ServerStep
from fedcart.shared.privacy.release import Release
from fedcart.shared.privacy.terms import Bound

GRADIENT = STEP
SEED = "seed"
FACTORS = "neural.customers"
CLIP_NORM = 1.0
"""Of one customer's gradient, unless the plan says otherwise."""
GRADIENT_NUMBERS = 1 << 22
"""Numbers in the gradients of one block of customers."""
MOST_DIM = 4096
"""Numbers an item and customer at most: a mistyped width is refused before tables of it are filled."""
WORDS = ("negatives", "steps_per_epoch", "round_count", "customer_steps")
RATES = ("learning_rate", "customer_learning_rate", "server_learning_rate", "fold_in_learning_rate")
LIMITS: Limits = {
    **dict.fromkeys(WORDS, (1, math.inf)),
    "embedding_dim": (1, MOST_DIM),
    **dict.fromkeys(("positives", "local_steps", "fold_in_steps", "refine_steps"), (0, math.inf)),
    **dict.fromkeys(("regularization", "initial_scale"), (0, math.inf)),
    **dict.fromkeys(RATES, (1e-12, math.inf)),
    "history_exponent": (0, 1),
    "final_learning_rate": (1e-6, 1),
    "server_momentum": (0, 0.999),
    "loss": ("bce", "bpr", "mse"),
    "server_optimizer": ("average", "adam"),
    "local_optimizer": ("adam", "sgd"),
}


@dataclass(frozen=True, kw_only=True)
class NeuralLearner:
    """Hyper-parameters of both learners; all are plan constants.

    Attributes:
      embedding_dim: numbers an item and customer.
      loss: `bce`, `bpr` or `mse` on each positive against its negatives.
      positives: most interactions of a customer in one step; 0 = all.
      negatives: items drawn for each positive.
      history_exponent: p; a customer's loss weighs as n_u^(1 - p), n_u their number of items.
      regularization: of rows and factors, once a sample.
      customer_steps, customer_learning_rate: Adam steps on a customer's factor at each visit.
      local_steps: optimiser steps of a store in a round; 0 = one gradient a round.
      steps_per_epoch: a store visits 1 / steps_per_epoch of its customers in a step (local_steps > 0); under a
        guarantee all of them.
      local_optimizer: of the store, `adam` or `sgd` (local_steps > 0).
      learning_rate: of the store's optimiser; falls by equal factors to final_learning_rate times itself in the last
        round, and customer_learning_rate with it.
      round_count: rounds of gradients or training.
      server_optimizer, server_learning_rate, server_momentum: see `ServerStep`.
      initial_scale: standard deviation of the initial item tables.
      fold_in_steps, fold_in_learning_rate: Adam steps on the factor of a customer who was never trained on, when
        scoring.
      refine_steps: the same for those who were, from their factor on, at the learning rate of the last round.
    """

    embedding_dim: int = 64
    loss: Loss = "bce"
    positives: int = 30
    negatives: int = 4
    history_exponent: float = 0.5
    regularization: float = 0.01
    customer_steps: int = 3
    customer_learning_rate: float = 0.2
    local_steps: int = 25
    steps_per_epoch: int = 25
    local_optimizer: OptimizerName = "adam"
    learning_rate: float = 0.03
    final_learning_rate: float = 0.03
    round_count: int = 70
    server_optimizer: ServerOptimizer = "average"
    server_learning_rate: float = 1.0
    server_momentum: float = 0.8
    initial_scale: float = 0.1
    fold_in_steps: int = 30
    fold_in_learning_rate: float = 0.1
    refine_steps: int = 0

    def __post_init__(self) -> None:
        check(self, LIMITS)

    def module(self, items: int) -> ItemSide:
        """A fresh item side."""
        raise NotImplementedError

    def rounds(self, catalogue: Catalogue, customers_bound: int) -> tuple[Round, ...]:
        """`round_count` equal rounds."""
        module = self.module(len(catalogue))
        if self.local_steps == 0:
            releases = (Release(name=GRADIENT, shape=(gradient_words(module),)),)
            return tuple(Round(t, "gradient", releases) for t in range(self.round_count))
        lanes = [Release(name=n, shape=a.shape, kind="trained") for n, a in public_views(module).items()]
        lanes.append(Release(name=CUSTOMERS, shape=(1,)))
        return tuple(Round(t, "train", tuple(lanes), self.local_steps) for t in range(self.round_count))

    def bounds(self) -> Mapping[str, Bound]:
        """Of the gradient, whether a round releases it or each local step moves by it."""
        return {GRADIENT: Bound(clip_norm=CLIP_NORM)}

    def initial_state(self, catalogue: Catalogue, seed: int) -> State:
        """Random tables and layers; the seed travels as four 16-bit words, since samples are drawn from it."""
        module = self.module(len(catalogue))
        generator = torch.Generator().manual_seed(seed % (1 << 63))
        self.initialise(module, generator)
        words = np.array([(seed >> shift) & 0xFFFF for shift in (0, 16, 32, 48)], np.float32)
        return State({**public_arrays(module), SEED: words})

    def initialise(self, module: ItemSide, generator: torch.Generator) -> None:
        """Normal tables; the sink row stays zero."""
        with torch.no_grad():
            for table in module.item_tables():
                table.shared.normal_(0, self.initial_scale, generator=generator)

    def contribute(self, state: State, round_: Round, customers: Customers, sums: Sums) -> None:
        """Each customer's gradient of their own loss, after they fitted their factor."""
        self._add_gradients(state, round_, stamp(seed_of(state), round_.index), customers, sums)

    def contribute_step(self, state: State, round_: Round, step: int, customers: Customers, sums: Sums) -> None:
        """The same at one step of a trained round: every customer takes part in every step."""
        when = stamp(seed_of(state), round_.index * round_.local_steps + step)
        self._add_gradients(state, round_, when, customers, sums)

    def _add_gradients(self, state: State, round_: Round, when: UInt64, customers: Customers, sums: Sums) -> None:
        module = self.module(items_of(state))
        load_public(module, state.public)
        width = row_width(module.head.factor_width)
        widest = (self.positives or 128) * (1 + self.negatives) * (self.embedding_dim + 1)
        for block in customers.blocks(most_customers=max(1, GRADIENT_NUMBERS // widest)):
            if not block.histories.customers:
                continue
            batch = draw(block.histories, np.arange(block.histories.customers), when, self.samples)
            rows = fit(module, batch, read_rows(customers.local, FACTORS, block.rows, width), self.customer_fit(round_))
            customers.local.write(FACTORS, block.rows, rows.numpy())
            sums.rows(GRADIENT, block, customer_gradients(module, batch, rows[:, : module.head.factor_width]))

    def train(self, state: State, round_: Round, customers: Customers, trainer: Trainer) -> None:
        """`local_steps` steps; step t of an epoch visits the t-th part of the store's customers, shuffled."""
        module = trainer.own(self.module(items_of(state)), self.optimizer_of(round_).over)
        seed, everyone = seed_of(state), all_histories(customers)
        factor_width = module.head.factor_width
        whole = slice(0, customers.count)
        rows = read_rows(customers.local, FACTORS, whole, row_width(factor_width))
        for step in range(round_.index * self.local_steps, (round_.index + 1) * self.local_steps):
            visited = self.visited(seed, step, customers.count)
            for part in parts(everyone, visited, self.samples):
                batch = draw(everyone, part, stamp(seed, step), self.samples)
                rows[part] = fit(module, batch, rows[part], self.customer_fit(round_))
                trainer.add(module(batch, rows[part, :factor_width]))
            trainer.step()
        customers.local.write(FACTORS, whole, rows.numpy())

    def optimizer_of(self, round_: Round) -> LocalOptimizer:
        """The store's, with the round's learning rate."""
        return LocalOptimizer(self.local_optimizer, self.learning_rate * self.fall(round_))

    def visited(self, seed: int, step: int, count: int) -> npt.NDArray[np.int64]:
        """The customers of one step: every customer once an epoch, in an order drawn for the epoch."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([seed, epoch]).permutation(count)
        return np.array_split(order, self.steps_per_epoch)[place]

    def update(self, state: State, round_: Round, totals: Totals) -> State:
        """Average and step (trained rounds), or one Adam step against the summed gradient.

        Under a guarantee stores weigh the same: each sends its change over the plan's number of stores, a constant,
        so the total is the average already, in which a store that did not answer counts as unchanged.
        """
        step = ServerStep(self.server_optimizer, self.server_learning_rate, self.server_momentum)
        if round_.local_steps == 0:
            module = self.module(items_of(state))
            pieces = split_gradient(module, totals[GRADIENT])
            return step.apply(state, {name: -piece for name, piece in pieces.items()})
        if CUSTOMERS not in totals:
            return step.apply(state, totals)
        customers = float(totals[CUSTOMERS][0])
        if customers <= 0:
            return state
        return step.apply(state, {n: x / customers for n, x in totals.items() if n != CUSTOMERS})

    def scorer(self, state: State, catalogue: Catalogue) -> Scorer:
        """Trained customers by their factor, others by fold-in."""
        module = self.module(len(catalogue))
        load_public(module, state.public)
        whole = Draw(0, self.negatives, self.history_exponent)
        last = self.customer_learning_rate * self.final_learning_rate
        newcomers = CustomerFit(self.fold_in_steps, self.fold_in_learning_rate)
        return NeuralScorer(
            module,
            FACTORS,
            whole,
            newcomers,
            CustomerFit(self.refine_steps, last),
            stamp(seed_of(state), self.first_round + self.round_count),
        )

    @property
    def first_round(self) -> int:
        """Index of the first round of gradients."""
        return 0

    @property
    def samples(self) -> Draw:
        """How training samples are drawn."""
        return Draw(self.positives, self.negatives, self.history_exponent)

    def fall(self, round_: Round) -> float:
        """What learning rates are multiplied by in a round: from 1 by equal factors to final_learning_rate."""
        done = (round_.index - self.first_round) / max(self.round_count - 1, 1)
        return float(self.final_learning_rate**done)

    def customer_fit(self, round_: Round) -> CustomerFit:
        """The customer's steps in a round."""
        return CustomerFit(self.customer_steps, self.customer_learning_rate * self.fall(round_))


def seed_of(state: State) -> int:
    """The plan's seed, as published (its lowest 64 bits)."""
    words = state.public[SEED]
    if words.shape != (4,) or not ((words >= 0) & (words < 1 << 16)).all():
        raise ProtocolError("the published seed is no four words of 16 bits; nothing was computed")
    return sum(int(word) << shift for word, shift in zip(words, (0, 16, 32, 48), strict=True))


def items_of(state: State) -> int:
    """Number of items in the published model."""
    return next(len(array) for name, array in state.public.items() if name.startswith("tables."))
