"""Implicit alternating least squares (iALS), exact over any number of stores.

Minimises sum_(u,i) w_ui (1 - x_u v_i)^2 + alpha0 sum_u sum_i (x_u v_i)^2
          + lambda (sum_u r_u |x_u|^2 + sum_i r_i |v_i|^2)
with frequency-scaled r_u = (sum_i w_ui + alpha0 items)^nu, r_i = (sum_u w_ui + alpha0 customers)^nu (Rendle, Krichene,
Zhang, Koren 2021, arXiv:2110.14037, equations 1 to 3 and section 3.2; w = 1 there, the confidence here).

A customer's factor x_u is solved at the store from the public item factors and never leaves it. The item step needs
only sums over customers: per item sum w x x^T and sum w x, and one Gram matrix sum x x^T. They come in bands of
items, so that no upload exceeds the kernel's limit; all bands of a sweep see the same customer factors.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import ConfigError
from fedcart.shared.interactions import Histories
from fedcart.shared.learners.base import Block, Customers, LocalTable, Round, State, Sums, Totals
from fedcart.shared.learners.solve import Float32Array, Float64Array, fold_in, solve_packed, unpack
from fedcart.shared.privacy.release import MOST_WORDS, Release
from fedcart.shared.privacy.terms import Bound

if TYPE_CHECKING:
    from scipy.sparse import csr_array

POPULARITY = "popularity"
ITEMS = "items"
NEXT = "next"
GRAM = "gram"
CURVATURE = "curvature"
PULL = "pull"
FACTORS = "als_factors"


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
    """

    name: ClassVar[str] = "als"
    summary: ClassVar[str] = "implicit ALS from per-item statistics; equals the centralised model"

    embedding_dim: int = 64
    unobserved_weight: float = 0.3
    regularization: float = 0.003
    regularization_exponent: float = 1.0
    init_scale: float = 0.1
    sweeps: int = 12

    def __post_init__(self) -> None:
        for field, value, least in (
            ("embedding_dim", self.embedding_dim, 1),
            ("sweeps", self.sweeps, 1),
            ("unobserved_weight", self.unobserved_weight, 0.0),
            ("regularization_exponent", self.regularization_exponent, 0.0),
        ):
            if not least <= value < np.inf:
                raise ConfigError(f"als: {field} {value} must be at least {least} and finite; nothing was run")
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
        """(first, stop) of each band of items whose matrices fit one release; sizes differ by at most one."""
        count = -(-items * self.triangle // MOST_WORDS)
        while -(-items // count) * self.triangle > MOST_WORDS:
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
        """A customer's weights and factor are each cut to 1; the right-hand sides get half of the budget."""
        unit = Bound(clip_norm=1.0, weight_clip_norm=1.0)
        return {
            POPULARITY: Bound(clip_norm=1.0, share=0.1),
            CURVATURE: dataclasses.replace(unit, share=0.3),
            PULL: dataclasses.replace(unit, share=0.5),
            GRAM: Bound(clip_norm=1.0, share=0.1),
        }

    def _releases(self, first: int, stop: int) -> tuple[Release, ...]:
        band = functools.partial(Release, kind="per_item", first_item=first)
        lanes: tuple[Release, ...] = (
            band(name=CURVATURE, shape=(stop - first, self.triangle), order=2),
            band(name=PULL, shape=(stop - first, self.embedding_dim), order=1),
        )
        gram = Release(name=GRAM, shape=(self.triangle,), kind="outer")
        return (*lanes, gram) if first == 0 else lanes

    def initial_state(self, catalogue: Catalogue, seed: int) -> State:
        """Item factors drawn from `seed`."""
        scale = self.init_scale / np.sqrt(self.embedding_dim)
        items = np.random.default_rng(seed).normal(0.0, scale, (len(catalogue), self.embedding_dim))
        return State({ITEMS: items.astype(np.float32), POPULARITY: np.zeros(len(catalogue), np.float32)})

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
            w = weight_matrix(block.histories)
            for release in round_.releases:
                if release.kind == "outer":
                    sums.outer(release.name, block, dense_as_csr(factors))
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
            counted = totals[POPULARITY]
            public = {**state.public, POPULARITY: counted[:-1].astype(np.float32)}
            return State(public, {"item_weights": counted[:-1], "customers": counted[-1:]})
        carried = dict(state.carried)
        curvature = next(release for release in round_.releases if release.name == CURVATURE)
        band = slice(curvature.first_item, curvature.first_item + curvature.shape[0])
        if band.start == 0:
            carried[GRAM] = totals[GRAM]
            carried[NEXT] = np.empty_like(state.public[ITEMS])
        base = self.unobserved_weight * unpack(carried[GRAM], self.embedding_dim)
        mass = carried["item_weights"][band] + self.unobserved_weight * carried["customers"]
        ridge = self.regularization * np.maximum(mass, 0.0) ** self.regularization_exponent
        filled = carried[NEXT].copy()
        filled[band] = solve_packed(totals[CURVATURE], base, np.maximum(ridge, 1e-9), totals[PULL])
        if band.stop < len(filled):
            return State(state.public, {**carried, NEXT: filled})
        del carried[NEXT], carried[GRAM]
        return State({**state.public, ITEMS: filled}, carried)

    def customer_solver(self, state: State) -> CustomerSolver:
        """Solves customers' factors against the state's items."""
        items = state.public[ITEMS]
        return CustomerSolver(
            items, self.unobserved_weight, self.regularization, self.regularization_exponent, gram_of(items)
        )

    def scorer(self, state: State, catalogue: Catalogue) -> AlsScorer:
        """Fold-in: the customer's own history against the final items; works for customers never seen."""
        return AlsScorer(self.customer_solver(state), state.public[POPULARITY])


@dataclass(frozen=True)
class CustomerSolver:
    """x_u = argmin over x of the loss above, item factors [items, d] fixed; `gram` = items^T items."""

    items: Float32Array
    unobserved_weight: float
    regularization: float
    regularization_exponent: float
    gram: Float64Array

    def solve(self, histories: Histories) -> Float32Array:
        """[customers, d]; zeros for an empty history, NaN for one with a weight that is not finite."""
        base = (self.unobserved_weight * self.gram).astype(np.float32)
        rows = histories.row_of_pair()
        observed = np.bincount(rows, weights=histories.weights, minlength=histories.customers)
        mass = observed + self.unobserved_weight * histories.items_total
        ridge = np.maximum(self.regularization * mass**self.regularization_exponent, 1e-9).astype(np.float32)
        return fold_in(histories.indptr, histories.items, histories.weights, self.items, base, ridge)


@dataclass(frozen=True)
class AlsScorer:
    """x_u v_i with x_u folded in; a customer without history, or with one that is not finite, gets popularity."""

    solver: CustomerSolver
    popularity: npt.NDArray[np.float32]

    def score(self, block: Block, local: LocalTable | None) -> npt.NDArray[np.float32]:
        """[block customers, items]."""
        factors = self.solver.solve(block.histories)
        unknown = (block.histories.counts == 0) | ~np.isfinite(factors).all(axis=1)
        factors[unknown] = 0.0
        scores: npt.NDArray[np.float32] = factors @ self.solver.items.T
        scores[unknown] = self.popularity
        return scores


def gram_of(items: Float32Array) -> Float64Array:
    """[d, d] items^T items in double precision, in slices of bounded memory."""
    gram = np.zeros((items.shape[1], items.shape[1]))
    for start in range(0, len(items), 1 << 14):
        part = items[start : start + (1 << 14)].astype(np.float64)
        gram += part.T @ part
    return gram


def weight_matrix(histories: Histories) -> csr_array:
    """[customers, items] the pairs' weights, float64."""
    from scipy.sparse import csr_array

    shape = (histories.customers, histories.items_total)
    return csr_array((histories.weights.astype(np.float64), histories.items, histories.indptr), shape=shape)


def weights_and_one(histories: Histories) -> csr_array:
    """[customers, items + 1] each customer's weights, then 1 in the last column if it has any."""
    from scipy.sparse import csr_array, hstack

    present = csr_array((histories.counts > 0).astype(np.float64)[:, None])
    return csr_array(hstack([weight_matrix(histories), present], format="csr"))


def dense_as_csr(factors: Float64Array) -> csr_array:
    """A dense [customers, d] matrix as CSR with every cell stored."""
    from scipy.sparse import csr_array

    customers, d = factors.shape
    columns = np.tile(np.arange(d, dtype=np.int32), customers)
    return csr_array((factors.reshape(-1), columns, np.arange(customers + 1) * d), shape=(customers, d))
