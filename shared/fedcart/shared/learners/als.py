"""Implicit alternating least squares (iALS), exact over any number of stores.

Minimises sum_(u,i) w_ui (1 - x_u v_i)^2 + alpha0 sum_u sum_i (x_u v_i)^2
          + lambda (sum_u r_u |x_u|^2 + sum_i r_i |v_i|^2)
with frequency-scaled r_u = (sum_i w_ui + alpha0 items)^nu, r_i = (sum_u w_ui + alpha0 customers)^nu (Rendle, Krichene,
Zhang, Koren 2021, arXiv:2110.14037, equations 1 to 3 and section 3.2; w = 1 there, the confidence here).

A customer's factor x_u is solved at the store from the public item factors and never leaves it. The item step needs
only sums over customers: per item sum w x x^T and sum w x, and one Gram matrix sum x x^T. They come in bands of
items, so that no upload exceeds the kernel's limit; all bands of a sweep see the same customer factors. Under a
guarantee a customer's factor has length 1 (`als_noise`).
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import ConfigError
from fedcart.shared.learners.als_customers import (
    AlsScorer,
    CustomerSolver,
    gram_of,
    weight_matrix,
    weights_and_one,
)
from fedcart.shared.learners.als_noise import NoisedStep, public_directions, shares_of, unit_rows
from fedcart.shared.learners.base import Array, Block, Customers, LocalTable, Round, Scorer, State, Sums, Totals
from fedcart.shared.learners.denoise import positive
from fedcart.shared.learners.solve import Float32Array, Float64Array, solve_packed, unpack
from fedcart.shared.learners.spectral.contribution import full_rows
from fedcart.shared.learners.spectral.local_solve import LocalSolve
from fedcart.shared.learners.spectral.table import item_vectors
from fedcart.shared.privacy.release import MOST_WORDS, Release
from fedcart.shared.privacy.terms import Bound

POPULARITY = "popularity"
ITEMS = "items"
NEXT = "next"
GRAM = "gram"
GRAM_NOISE = "gram_noise"
CURVATURE = "curvature"
PULL = "pull"
FACTORS = "als_factors"
FEATURES = "features"
BESIDE_GRAM = 0.9
"""Of the budget, for popularity and the items' own sums; the rest is for the matrix common to them."""


@dataclass(frozen=True, kw_only=True)
class Als:
    """iALS with frequency-scaled regularisation.

    Attributes:
      embedding_dim: d, numbers in a factor.
      unobserved_weight: alpha0, weight of every (customer, item) cell beside the observed ones' confidence.
      regularization: lambda.
      regularization_exponent: nu; 1 scales with frequency as SGD does, 0 is plain ridge.
      init_scale: the items start as N(0, (init_scale / sqrt d)^2).
      sweeps: times that all customers, then all items, are solved.
      shared_curvature: take an item's matrix sum w x x^T to be its weight's share of sum x x^T instead of releasing
        it: not the published model, but far fewer numbers under noise.
      popularity_weight: of log popularity (spread 1) beside the personal score, then brought to spread 1; 0 = none.
      popularity_share: of the budget (rho), for the items' weights in round 0.
      public_start: items start along directions of the public features, and noised sums are pulled to what those say.
      solve_regularization: scores come from `spectral`'s local solve with this ridge (a0 = 1), log popularity among its
        columns; 0 = from the model's own customer step.
    """

    name: ClassVar[str] = "als"
    summary: ClassVar[str] = "implicit ALS from per-item statistics; equals the centralised model"

    embedding_dim: int = 64
    unobserved_weight: float = 0.3
    regularization: float = 0.003
    regularization_exponent: float = 1.0
    init_scale: float = 0.1
    sweeps: int = 12
    shared_curvature: bool = False
    popularity_weight: float = 0.0
    popularity_share: float = 0.1
    public_start: bool = False
    solve_regularization: float = 0.0

    def __post_init__(self) -> None:
        for field, value, least in (
            ("embedding_dim", self.embedding_dim, 1),
            ("sweeps", self.sweeps, 1),
            ("unobserved_weight", self.unobserved_weight, 0.0),
            ("regularization_exponent", self.regularization_exponent, 0.0),
            ("popularity_weight", self.popularity_weight, 0.0),
            ("solve_regularization", self.solve_regularization, 0.0),
        ):
            if not least <= value < np.inf:
                raise ConfigError(f"als: {field} {value} must be at least {least} and finite; nothing was run")
        if self.triangle > MOST_WORDS:
            raise ConfigError(
                f"als: embedding_dim {self.embedding_dim} needs {self.triangle} numbers for one matrix, over the limit "
                f"of {MOST_WORDS} a release; nothing was run"
            )
        if not 0 < self.popularity_share < BESIDE_GRAM:
            raise ConfigError(
                f"als: popularity_share {self.popularity_share} must be above 0 and below {BESIDE_GRAM}; "
                "nothing was run"
            )
        if not (0 < self.regularization < np.inf and 0 < self.init_scale < np.inf):
            raise ConfigError(
                f"als: regularization {self.regularization} and init_scale {self.init_scale} must be positive "
                "and finite; nothing was run"
            )

    @property
    def triangle(self) -> int:
        """Words of one item's symmetric d x d matrix."""
        return self.embedding_dim * (self.embedding_dim + 1) // 2

    def bands(self, items: int) -> list[tuple[int, int]]:
        """(first, stop) of each band of items whose totals fit one release; sizes differ by at most one.

        Every band is a release of its own at the whole sensitivity: a customer may have items in all of them.
        """
        each = self.embedding_dim if self.shared_curvature else self.triangle
        count = -(-items * each // MOST_WORDS)
        while -(-items // count) * each > MOST_WORDS:
            count += 1
        edges = [items * band // count for band in range(count + 1)]
        return list(itertools.pairwise(edges))

    def rounds(self, catalogue: Catalogue, customers_bound: int) -> tuple[Round, ...]:
        """Round 0: each item's weight and the number of customers. Then one round a band and sweep."""
        weights = Release(name=POPULARITY, shape=(len(catalogue) + 1,))
        rounds = [Round(0, "popularity", (weights,))]
        for sweep in range(self.sweeps):
            for first, stop in self.bands(len(catalogue)):
                stage = f"sweep {sweep}, items {first}-{stop - 1}"
                rounds.append(Round(len(rounds), stage, self._releases(first, stop)))
        return tuple(rounds)

    def bounds(self) -> Mapping[str, Bound]:
        """A customer's weights and factor are each cut to 1; the right-hand sides get most of the budget."""
        unit = Bound(clip_norm=1.0, weight_clip_norm=1.0)
        rest = BESIDE_GRAM - self.popularity_share
        pull = rest if self.shared_curvature else rest * 5 / 8
        found = {
            POPULARITY: Bound(clip_norm=1.0, share=self.popularity_share),
            PULL: dataclasses.replace(unit, share=pull),
            GRAM: Bound(clip_norm=1.0, share=1.0 - BESIDE_GRAM),
        }
        return found if self.shared_curvature else found | {CURVATURE: dataclasses.replace(unit, share=rest - pull)}

    def _releases(self, first: int, stop: int) -> tuple[Release, ...]:
        band = functools.partial(Release, kind="per_item", first_item=first)
        curvature = band(name=CURVATURE, shape=(stop - first, self.triangle), order=2)
        pull = band(name=PULL, shape=(stop - first, self.embedding_dim), order=1)
        lanes: tuple[Release, ...] = (pull,) if self.shared_curvature else (curvature, pull)
        gram = Release(name=GRAM, shape=(self.triangle,), kind="outer")
        return (*lanes, gram) if first == 0 else lanes

    def initial_state(self, catalogue: Catalogue, seed: int) -> State:
        """Item factors drawn from `seed`; public features wait at the coordinator for the popularity."""
        scale = self.init_scale / np.sqrt(self.embedding_dim)
        items = np.random.default_rng(seed).normal(0.0, scale, (len(catalogue), self.embedding_dim))
        carried = {}
        if self.public_start:
            from fedcart.shared.learners.spectral.learner import public_features

            carried[FEATURES] = public_features(catalogue, self.embedding_dim, seed)
        return State({ITEMS: items.astype(np.float32), POPULARITY: np.zeros(len(catalogue), np.float32)}, carried)

    def contribute(self, state: State, round_: Round, customers: Customers, sums: Sums) -> None:
        """The customer's weights in round 0; then its factor, times its weights in the band of items."""
        if round_.index == 0:
            for block in customers.blocks():
                sums.rows(POPULARITY, block, weights_and_one(block.histories))
            return
        solver = self.customer_solver(state)
        sweep = np.float32(1 + (round_.index - 1) // len(self.bands(len(state.public[ITEMS]))))
        for block in customers.blocks():
            factors = self._factors(solver, sweep, block, customers.local).astype(np.float64)
            if noised(round_):
                factors = unit_rows(factors)
            w = weight_matrix(block.histories)
            for release in round_.releases:
                if release.kind == "outer":
                    sums.outer(release.name, block, full_rows(factors))
                else:
                    sums.per_item(release.name, block, w, factors)

    def _factors(self, solver: CustomerSolver, sweep: np.float32, block: Block, local: LocalTable) -> Float32Array:
        """[block customers, d] this sweep's factors: kept rows of an earlier band of the same sweep, else solved."""
        width = self.embedding_dim + 1  # the last column says which sweep the row belongs to
        kept = local.read(FACTORS, block.rows, width)
        if bool((kept[:, -1] == sweep).all()):
            return kept[:, :-1]
        factors = solver.solve(block.histories)
        local.write(FACTORS, block.rows, np.column_stack([factors, np.full(len(factors), sweep)]))
        return factors

    def update(self, state: State, round_: Round, totals: Totals) -> State:
        """Solve the band's items; the last band of a sweep makes the new items public."""
        if round_.index == 0:
            return self._counted(state, round_, totals[POPULARITY])
        carried = dict(state.carried)
        pull = next(release for release in round_.releases if release.name == PULL)
        band = slice(pull.first_item, pull.first_item + pull.shape[0])
        if band.start == 0:
            carried[GRAM] = totals[GRAM]
            carried[GRAM_NOISE] = np.array([round_.noise_of(r) for r in round_.releases if r.name == GRAM])
            carried[NEXT] = np.empty_like(state.public[ITEMS])
        weights = carried["item_weights"][band]
        mass = weights + self.unobserved_weight * carried["customers"]
        ridge = self.regularization * np.maximum(mass, 0.0) ** self.regularization_exponent
        filled = carried[NEXT].copy()
        if noised(round_):
            step = self._noised_step(round_, carried)
            public = carried[FEATURES][band] if FEATURES in carried else None
            filled[band] = step.solve(totals[PULL], totals.get(CURVATURE), weights, ridge, public)
        else:
            base = self.unobserved_weight * unpack(carried[GRAM], self.embedding_dim)
            own = totals.get(CURVATURE)
            if own is None:
                own = (weights / np.maximum(carried["customers"], 1.0))[:, None] * carried[GRAM]
            filled[band] = solve_packed(own, base, np.maximum(ridge, 1e-9), totals[PULL])
        if band.stop < len(filled):
            return State(state.public, {**carried, NEXT: filled})
        del carried[NEXT], carried[GRAM], carried[GRAM_NOISE]
        return State({**state.public, ITEMS: filled}, carried)

    def _counted(self, state: State, round_: Round, counted: Float64Array) -> State:
        """Each item's weight and the number of customers, positive where they come with noise."""
        noise = round_.noise_of(round_.releases[0])
        weights, customers = positive(counted[:-1], noise), counted[-1:]
        if noise > 0:
            customers = np.maximum(customers, max(noise, 1.0))
        public = {**state.public, POPULARITY: weights.astype(np.float32)}
        if FEATURES in state.carried:
            public[ITEMS] = public_directions(state.carried[FEATURES], weights, self.embedding_dim)
        return State(public, {**state.carried, "item_weights": weights, "customers": customers})

    def _noised_step(self, round_: Round, carried: Mapping[str, Array]) -> NoisedStep:
        noise = {release.name: round_.noise_of(release) for release in round_.releases}
        return NoisedStep(
            gram=carried[GRAM],
            gram_noise=float(carried[GRAM_NOISE][0]),
            pull_noise=noise[PULL],
            curvature_noise=noise.get(CURVATURE, 0.0),
            unobserved_weight=self.unobserved_weight,
        )

    def customer_solver(self, state: State) -> CustomerSolver:
        """Solves customers' factors against the state's items."""
        items = state.public[ITEMS]
        return CustomerSolver(
            items, self.unobserved_weight, self.regularization, self.regularization_exponent, gram_of(items)
        )

    def scorer(self, state: State, catalogue: Catalogue) -> Scorer:
        """Fold-in: the customer's own history against the final items; works for customers never seen."""
        if self.solve_regularization:
            vectors = item_vectors(state.public[ITEMS].astype(np.float64), shares_of(state.public[POPULARITY]))
            return LocalSolve.of(vectors, 1.0, self.solve_regularization, popularity_weight=self.popularity_weight)
        return AlsScorer(self.customer_solver(state), state.public[POPULARITY], self.popularity_weight)


def noised(round_: Round) -> bool:
    """Whether the round's sums are under a guarantee."""
    return round_.releases[0].noise_multiplier > 0
