"""Spectral: a few clipped, low-rank sketches of the co-occurrences, started from public item columns.

Round 0 releases popularity. Each further round publishes a basis V and gets back Y = sum_u z_u clip(z_u^T V)^T, a
power step on the covariance of centred histories. The coordinator shrinks the noise out of all sketches so far and
factors them; the store solves each customer's taste against the factors, public columns and popularity. Nothing of
size [items, items] is built anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import ConfigError
from fedcart.shared.item_features.factors import eigenfactors
from fedcart.shared.item_features.kernel import public_kernel
from fedcart.shared.learners.base import Customers, Float64Array, Round, State, Sums, Totals
from fedcart.shared.learners.popularity import POPULARITY
from fedcart.shared.learners.spectral.contribution import DENSE_WORDS, Centring, unit_history
from fedcart.shared.learners.spectral.local_solve import LocalSolve
from fedcart.shared.learners.spectral.posterior import shares
from fedcart.shared.learners.spectral.sketch import factors, first_basis, weights
from fedcart.shared.learners.spectral.table import content_columns, item_vectors
from fedcart.shared.privacy.release import Release
from fedcart.shared.privacy.terms import Bound

SKETCH = "sketch"
BASIS, FACTORS, VALUES = "basis", "factors", "values"
FEATURES, SKETCHES, BASES = "features", "sketches", "bases"
FEATURE_RANK = 150
"""Eigenvectors of the public kernel that predict the sketches."""


@dataclass(frozen=True, kw_only=True)
class Spectral:
    """The best known accuracy under customer-level privacy, in 1 + `sketch_rounds` rounds.

    Attributes:
      sketch_rounds: T; 0 learns popularity alone, and what is left is the content model.
      embedding_dim: factors kept, and columns of each basis after the first.
      first_dim: columns of the first basis.
      popularity_share: of the budget (rho), for round 0; the rest is for the sketches.
      clip: bound on a customer's projection |V^T z|, |z| = 1.
      half_life_days: of an event's say in popularity; infinity = all alike.
      factor_weight, factor_exponent: a factor counts factor_weight (value / largest)^factor_exponent beside the public
        columns; a smaller weight and a larger exponent trust noisy factors less.
      content_rank: columns of public features beside the factors.
      unobserved_weight, regularization: a0 and reg of the local solve.
      popularity_weight: of log popularity beside the personal score (spread 1).
      order_weight, order_items: how much a customer's most recent items count more, at the store; 0 = not at all.
      own_weight, own_half_life_days: bonus of a customer's own items where repeats count, at the store; 0 = none.
    """

    name: ClassVar[str] = "spectral"
    summary: ClassVar[str] = "sketches of co-occurrences from a public basis; best under epsilon; 3 to 5 rounds"

    sketch_rounds: int = 4
    embedding_dim: int = 32
    first_dim: int = 40
    popularity_share: float = 0.2
    clip: float = 0.2
    half_life_days: float = np.inf
    factor_weight: float = 1.0
    factor_exponent: float = 0.25
    content_rank: int = 50
    unobserved_weight: float = 1.0
    regularization: float = 1000.0
    popularity_weight: float = 0.0
    order_weight: float = 0.0
    order_items: float = 3.0
    own_weight: float = 0.0
    own_half_life_days: float = np.inf

    def __post_init__(self) -> None:
        if self.sketch_rounds < 0 or min(self.embedding_dim, self.first_dim) < 1 or self.content_rank < 0:
            raise ConfigError(
                f"spectral: sketch_rounds {self.sketch_rounds} and content_rank {self.content_rank} must be at least "
                f"0, embedding_dim {self.embedding_dim} and first_dim {self.first_dim} at least 1; nothing was run"
            )
        if not (0 < self.popularity_share < 1 and 0 < self.clip < np.inf and self.half_life_days > 0):
            raise ConfigError(
                f"spectral: popularity_share {self.popularity_share} must lie between 0 and 1, clip {self.clip} and "
                f"half_life_days {self.half_life_days} must be positive; nothing was run"
            )
        if not (0 < self.unobserved_weight < np.inf and 0 < self.regularization < np.inf):
            raise ConfigError(
                f"spectral: unobserved_weight {self.unobserved_weight} and regularization {self.regularization} "
                "must be positive; nothing was run"
            )
        if not (0 <= self.factor_weight < np.inf and 0 <= self.factor_exponent < np.inf):
            raise ConfigError(
                f"spectral: factor_weight {self.factor_weight} and factor_exponent {self.factor_exponent} must be at "
                "least 0; nothing was run"
            )
        if not (0 <= self.order_weight < np.inf and self.order_items > 0 and np.isfinite(self.popularity_weight)):
            raise ConfigError(
                f"spectral: order_weight {self.order_weight} must be at least 0, order_items {self.order_items} "
                f"positive, popularity_weight {self.popularity_weight} finite; nothing was run"
            )
        if not (0 <= self.own_weight < np.inf and self.own_half_life_days > 0):
            raise ConfigError(
                f"spectral: own_weight {self.own_weight} must be at least 0 and finite, own_half_life_days "
                f"{self.own_half_life_days} positive; nothing was run"
            )

    def rounds(self, catalogue: Catalogue, customers_bound: int) -> tuple[Round, ...]:
        """Popularity, then one sketch a round."""
        items = len(catalogue)
        rounds = [Round(0, "popularity", (Release(name=POPULARITY, shape=(items,)),))]
        for number in range(self.sketch_rounds):
            columns = min(self.first_dim if number == 0 else self.embedding_dim, items)
            release = Release(name=SKETCH, shape=(items, columns), kind="cross")
            rounds.append(Round(number + 1, f"sketch {number + 1} of {self.sketch_rounds}", (release,)))
        return tuple(rounds)

    def bounds(self) -> Mapping[str, Bound]:
        """A unit row for popularity; a projection cut to `clip` for the sketches."""
        if self.sketch_rounds == 0:
            return {POPULARITY: Bound(clip_norm=1.0)}
        return {
            POPULARITY: Bound(clip_norm=1.0, share=self.popularity_share),
            SKETCH: Bound(clip_norm=self.clip, share=1.0 - self.popularity_share),
        }

    def initial_state(self, catalogue: Catalogue, seed: int) -> State:
        """Every item as popular as any other; the features that later sketches are compared with."""
        items = len(catalogue)
        q = np.full(items, 1.0 / items, np.float32)
        return State({POPULARITY: q}, {FEATURES: public_features(catalogue, self.first_dim, seed)})

    def contribute(self, state: State, round_: Round, customers: Customers, sums: Sums) -> None:
        """The customer's unit row; then its centred history times its projection on the published basis."""
        if round_.index == 0:
            for block in customers.blocks():
                sums.rows(POPULARITY, block, unit_history(block.histories, self.half_life_days))
            return
        centring, basis = Centring.of(state.public[POPULARITY].astype(np.float64)), published_basis(state)
        for block in customers.blocks(max(1, DENSE_WORDS // len(basis))):
            z, projections = centring.rows(block.histories, basis)
            sums.cross(SKETCH, block, z, projections)

    def update(self, state: State, round_: Round, totals: Totals) -> State:
        """Popularity and the first basis; then factors of all sketches so far."""
        carried = state.carried
        if round_.index == 0:
            q = shares(totals[POPULARITY], round_.noise_of(round_.releases[0]))
            public = {POPULARITY: q.astype(np.float32)}
            if self.sketch_rounds:
                columns = min(self.first_dim, len(q))
                public[BASIS] = np.ascontiguousarray(first_basis(carried[FEATURES], q, columns), np.float32)
            return State(public, carried)
        q = state.public[POPULARITY].astype(np.float64)
        basis = published_basis(state)
        sketch = np.column_stack([carried.get(SKETCHES, np.zeros((len(q), 0))), totals[SKETCH]])
        bases = np.column_stack([carried.get(BASES, np.zeros((len(q), 0))), basis])
        rank = min(self.embedding_dim, len(q))
        found, values = factors(sketch, bases, round_.noise_of(round_.releases[0]), carried[FEATURES], q, rank)
        public = {
            POPULARITY: state.public[POPULARITY],
            FACTORS: np.ascontiguousarray(found, np.float32),
            VALUES: values.astype(np.float32),
        }
        return State(public, {**carried, SKETCHES: sketch, BASES: bases})

    def scorer(self, state: State, catalogue: Catalogue) -> LocalSolve:
        """The local solve over factors (none before the first sketch), public columns and popularity."""
        q = state.public[POPULARITY].astype(np.float64)
        columns = content_columns(catalogue, q, self.content_rank)
        if FACTORS in state.public:
            values = state.public[VALUES]
            scaled = state.public[FACTORS] * (
                self.factor_weight * np.where(values > 0, weights(values, self.factor_exponent), 0.0)
            )
            columns = np.column_stack([scaled, columns])
        return LocalSolve.of(
            item_vectors(columns, q),
            self.unobserved_weight,
            self.regularization,
            popularity_weight=self.popularity_weight,
            order_weight=self.order_weight,
            order_items=self.order_items,
            own_weight=self.own_weight,
            own_half_life_days=self.own_half_life_days,
        )


def public_features(catalogue: Catalogue, least: int, seed: int) -> Float64Array:
    """[items, d] eigenvectors of the public kernel x sqrt(eigenvalue); random ones fill up to `least` columns."""
    values, vectors = eigenfactors(public_kernel(catalogue), len(catalogue), FEATURE_RANK)
    features = vectors * np.sqrt(values)
    missing = least - features.shape[1]
    if missing > 0:
        scale = np.sqrt(float(values.min(initial=1.0)) / len(catalogue))
        drawn = np.random.default_rng(seed).standard_normal((len(catalogue), missing))
        features = np.column_stack([features, scale * drawn])
    return features


def published_basis(state: State) -> Float64Array:
    """[items, columns] what a history is projected on: the first basis, or the factors, weak ones weighted up."""
    if FACTORS not in state.public:
        return state.public[BASIS].astype(np.float64)
    found: Float64Array = state.public[FACTORS].astype(np.float64) * weights(state.public[VALUES], -0.25)
    return found
