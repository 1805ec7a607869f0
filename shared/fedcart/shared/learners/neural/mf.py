"""`mf`: matrix factorisation with item biases; the score of item i for customer u is u . v_i + b_i.

With `popularity_share` the run begins with a round that releases popularity. Biases then start at its logarithm and
vectors at directions of the public item features, so that few noisy gradients are spent on what is known without them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import ConfigError
from fedcart.shared.learners.base import Customers, Round, Scorer, State, Sums, Totals
from fedcart.shared.learners.neural.item_side import Head, ItemSide, ItemTable
from fedcart.shared.learners.neural.learner import NeuralLearner
from fedcart.shared.learners.popularity import POPULARITY
from fedcart.shared.privacy.release import Release
from fedcart.shared.privacy.terms import Bound

BIAS, VECTORS, FEATURES = "tables.bias.weight", "tables.vectors.weight", "features"


@dataclass(frozen=True, kw_only=True)
class MatrixFactorization(NeuralLearner):
    """Item vectors and biases are learned together, customer vectors stay at the store.

    Attributes (and those of NeuralLearner):
      popularity_share: of the budget, for a first round that releases popularity; 0 = none, tables start at random.
      feature_scale: root mean square length of an item's vector after that round.
      solve_regularization: scores are a ridge regression on the customer's own items with this ridge (`spectral`'s
        local solve, a0 = 1) in place of steps of gradient descent, which follow noise in the vectors; 0 = those steps.
    """

    name: ClassVar[str] = "mf"
    summary: ClassVar[str] = "matrix factorisation by gradients, customer factors stay at the store; many rounds"

    positives: int = 60
    local_steps: int = 10
    steps_per_epoch: int = 10
    round_count: int = 140
    popularity_share: float = 0.0
    feature_scale: float = 1.0
    solve_regularization: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 <= self.popularity_share < 1 and 0 <= self.feature_scale < math.inf):
            raise ConfigError(
                f"mf: popularity_share {self.popularity_share} must be at least 0 and below 1, feature_scale "
                f"{self.feature_scale} at least 0 and finite; nothing was run"
            )
        if not 0 <= self.solve_regularization < math.inf:
            raise ConfigError(
                f"mf: solve_regularization {self.solve_regularization} must be at least 0 and finite; nothing was run"
            )

    def module(self, items: int) -> ItemSide:
        """Tables `vectors` [items, embedding_dim] and `bias` [items, 1]."""
        tables = {"vectors": ItemTable(items, self.embedding_dim), "bias": ItemTable(items, 1)}
        return ItemSide(tables, Dot(self.embedding_dim), self.loss, self.regularization)

    def initialise(self, module: ItemSide, generator: torch.Generator) -> None:
        """Normal vectors, zero biases."""
        super().initialise(module, generator)
        torch.nn.init.zeros_(module.tables["bias"].weight)  # type: ignore[arg-type]

    def rounds(self, catalogue: Catalogue, customers_bound: int) -> tuple[Round, ...]:
        """Popularity where it has a share, then the gradients' rounds."""
        rounds = super().rounds(catalogue, customers_bound)
        if not self.popularity_share:
            return rounds
        first = Round(0, POPULARITY, (Release(name=POPULARITY, shape=(len(catalogue),)),))
        return (first, *(replace(round_, index=round_.index + 1) for round_ in rounds))

    @property
    def first_round(self) -> int:
        """After the one that releases popularity."""
        return 1 if self.popularity_share else 0

    def bounds(self) -> Mapping[str, Bound]:
        """Of the gradient, and of a unit row for popularity."""
        if not self.popularity_share:
            return super().bounds()
        rest = {name: replace(bound, share=1 - self.popularity_share) for name, bound in super().bounds().items()}
        return {POPULARITY: Bound(clip_norm=1.0, share=self.popularity_share), **rest}

    def initial_state(self, catalogue: Catalogue, seed: int) -> State:
        """As every neural learner's; the public features wait at the coordinator for the popularity."""
        state = super().initial_state(catalogue, seed)
        if not self.popularity_share:
            return state
        from fedcart.shared.learners.spectral.learner import public_features

        return State(state.public, {FEATURES: public_features(catalogue, self.embedding_dim, seed)})

    def contribute(self, state: State, round_: Round, customers: Customers, sums: Sums) -> None:
        """The customer's history at unit norm in the first round, gradients in the others."""
        if round_.stage != POPULARITY:
            super().contribute(state, round_, customers, sums)
            return
        from fedcart.shared.learners.spectral.contribution import unit_history

        for block in customers.blocks():
            sums.rows(POPULARITY, block, unit_history(block.histories, math.inf))

    def update(self, state: State, round_: Round, totals: Totals) -> State:
        """The tables' start from popularity q: bias log(items q / negatives), the logit that BCE gives one who has no
        taste; vectors along the public directions. Then steps against gradients."""
        if round_.stage != POPULARITY:
            return super().update(state, round_, totals)
        from fedcart.shared.learners.spectral.posterior import shares
        from fedcart.shared.learners.spectral.sketch import first_basis
        from fedcart.shared.learners.spectral.table import item_vectors

        q = shares(totals[POPULARITY], round_.noise_of(round_.releases[0]))
        vectors = item_vectors(first_basis(state.carried[FEATURES], q, self.embedding_dim), q)[:, :-1]
        bias = np.log(len(q) * q / self.negatives)[:, None]
        start = {VECTORS: np.ascontiguousarray(self.feature_scale * vectors, np.float32), BIAS: bias.astype(np.float32)}
        return State({**state.public, **start}, {})

    def scorer(self, state: State, catalogue: Catalogue) -> Scorer:
        """By the local solve, on the vectors and the biases as log popularity; or as every neural learner."""
        if not self.solve_regularization:
            return super().scorer(state, catalogue)
        from fedcart.shared.learners.spectral.local_solve import LocalSolve
        from fedcart.shared.learners.spectral.table import item_vectors

        vectors, bias = (np.asarray(state.public[name], np.float64) for name in (VECTORS, BIAS))
        popularity = np.exp(bias[:, 0] - bias.max())
        return LocalSolve.of(item_vectors(vectors, popularity / popularity.sum()), 1.0, self.solve_regularization)


class Dot(Head):
    """u . v + b; no parameters of its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.factor_width = width

    def forward(self, factors: torch.Tensor, *rows: torch.Tensor) -> torch.Tensor:
        vectors, bias = rows
        # This orientation is eight times as fast as vectors @ factor, forward and backward.
        return torch.bmm(factors.unsqueeze(1), vectors.transpose(1, 2)).squeeze(1) + bias.squeeze(-1)

    def catalogue(self, factors: torch.Tensor, *tables: torch.Tensor) -> torch.Tensor:
        vectors, bias = tables
        return factors @ vectors.T + bias.T
