"""Item models in two rounds: popularity, then the co-occurrences sum z z^T of the most popular items.

EASE (Steck 2019, arXiv:1905.03375), cosine item-kNN and factors (`gram_factors`) need nothing else: all are
post-processing at the coordinator. With EASE and item-kNN, items outside the head rank below it, by popularity. Under
noise the co-occurrences are denoised first, and popularity is its posterior mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import ConfigError, ProtocolError
from fedcart.shared.interactions import Histories
from fedcart.shared.learners.base import Block, Customers, Float64Array, LocalTable, Round, State, Sums, Totals
from fedcart.shared.learners.denoise import cut_by, denoised, positive, trace
from fedcart.shared.learners.gram_factors import factors, solver
from fedcart.shared.learners.item_models import cosine_neighbours, ease
from fedcart.shared.learners.popularity import POPULARITY, PopularityScorer, scaled_history
from fedcart.shared.privacy.release import MOST_WORDS, Release
from fedcart.shared.privacy.terms import Bound

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from fedcart.shared.learners.spectral.local_solve import LocalSolve

HEAD = "head"
MODEL = "model"
GRAM = "gram"


@dataclass(frozen=True, kw_only=True)
class Gram:
    """EASE, item-kNN or factors on the `max_items` most popular items.

    Attributes:
      model: "ease", "itemknn", or "factors": directions of the co-occurrences beside public columns, solved for each
        customer at the store.
      max_items: most items in the head; its triangle n (n + 1) / 2 must fit one release.
      count_exponent: p, a customer's row is its weights over (number of its items)^p; 0 is the plain history.
      regularization: EASE's lambda, on the diagonal of the co-occurrences.
      shrink: item-kNN, added to the denominator of the cosine.
      neighbours: item-kNN, nearest items kept of each item.
      unobserved_weight, solve_regularization, popularity_weight: factors, those of the local solve (`spectral`).
    """

    name: ClassVar[str] = "gram"
    summary: ClassVar[str] = "EASE, item-kNN or factors from one release of co-occurrences; two rounds"

    model: Literal["ease", "itemknn", "factors"] = "ease"
    max_items: int = 4096
    count_exponent: float = 0.0
    regularization: float = 1000.0
    shrink: float = 10.0
    neighbours: int = 200
    unobserved_weight: float = 1.0
    solve_regularization: float = 200.0
    popularity_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.model not in ("ease", "itemknn", "factors"):
            raise ConfigError(f"gram: unknown model {self.model!r}; nothing was run", "known: ease, itemknn, factors")
        if self.max_items < 1 or self.max_items * (self.max_items + 1) // 2 > MOST_WORDS:
            raise ConfigError(
                f"gram: max_items {self.max_items} is not between 1 and {largest_head()}; nothing was run",
                "items outside the head rank by popularity",
            )
        if not (0 < self.regularization < np.inf and 0 <= self.shrink < np.inf and self.neighbours >= 1):
            raise ConfigError(
                f"gram: regularization {self.regularization} must be positive, shrink {self.shrink} at least 0, "
                f"neighbours {self.neighbours} at least 1; nothing was run"
            )

        if not (0 < self.unobserved_weight < np.inf and 0 < self.solve_regularization < np.inf):
            raise ConfigError(
                f"gram: unobserved_weight {self.unobserved_weight} and solve_regularization "
                f"{self.solve_regularization} must be positive; nothing was run"
            )
        if not 0 <= self.popularity_weight < np.inf:
            raise ConfigError(f"gram: popularity_weight {self.popularity_weight} must be at least 0; nothing was run")

    def rounds(self, catalogue: Catalogue, customers_bound: int) -> tuple[Round, ...]:
        """Popularity, then the triangle of the head's co-occurrences."""
        n = self.head_size(len(catalogue))
        popularity = Release(name=POPULARITY, shape=(len(catalogue),))
        gram = Release(name=GRAM, shape=(n * (n + 1) // 2,), kind="outer")
        return (Round(0, "popularity", (popularity,)), Round(1, f"co-occurrences of {n} items", (gram,)))

    def bounds(self) -> Mapping[str, Bound]:
        """Popularity with a fifth of the budget; of the co-occurrences, a customer's |z|^2 is cut to 1."""
        return {POPULARITY: Bound(clip_norm=1.0, share=0.2), GRAM: Bound(clip_norm=1.0, share=0.8)}

    def head_size(self, items: int) -> int:
        """Number of items in the head."""
        return min(self.max_items, items)

    def initial_state(self, catalogue: Catalogue, seed: int) -> State:
        """Nothing is known."""
        return State({POPULARITY: np.zeros(len(catalogue), np.float32)})

    def contribute(self, state: State, round_: Round, customers: Customers, sums: Sums) -> None:
        """The customer's 0/1 history; then its scaled history, cut to the head."""
        head = None if round_.index == 0 else head_of(state)
        for block in customers.blocks():
            if head is None:
                sums.rows(POPULARITY, block, scaled_history(block.histories, 0.0))
            else:
                sums.outer(GRAM, block, self.head_rows(block.histories, head))

    def head_rows(self, histories: Histories, head: npt.NDArray[np.int64]) -> csr_array:
        """[customers, head] each customer's weights over its count to the given power; a column an item of the head."""
        from scipy.sparse import csr_array

        column = np.full(histories.items_total, -1, np.int64)
        column[head] = np.arange(len(head))
        scale = np.maximum(histories.counts, 1).astype(np.float64) ** -self.count_exponent
        values = histories.weights * np.repeat(scale, histories.counts)
        columns = column[histories.items]
        kept = columns >= 0
        rows = histories.row_of_pair()[kept]
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=histories.customers))])
        return csr_array((values[kept], columns[kept], indptr), shape=(histories.customers, len(head)))

    def update(self, state: State, round_: Round, totals: Totals) -> State:
        """The head after round 0, the model after round 1."""
        if round_.index == 0:
            popularity = positive(totals[POPULARITY], round_.noise_of(round_.releases[0]))
            n = self.head_size(len(popularity))
            head = np.sort(np.argsort(-popularity, kind="stable")[:n])
            return State({POPULARITY: popularity.astype(np.float32), HEAD: head.astype(np.float32)})
        gram = symmetric(totals[GRAM], len(state.public[HEAD]))
        regularization, noise = self.regularization, round_.noise_of(round_.releases[0])
        popularity = state.public[POPULARITY].astype(np.float64)
        if self.model == "factors":
            found = factors(gram, noise, popularity[head_of(state)], len(popularity))
            return State({**state.public, MODEL: found})
        if noise > 0:
            exponent = max(1.0 - 2.0 * self.count_exponent, 0.0)
            regularization *= cut_by(round_.releases[0].clip_norm, popularity, trace(gram, noise)) ** exponent
            gram = denoised(gram, noise, popularity[head_of(state)])
        if self.model == "ease":
            model = ease(gram, regularization)
        else:
            model = cosine_neighbours(gram, self.shrink, self.neighbours)
        return State({**state.public, MODEL: np.ascontiguousarray(model, np.float32)})

    def scorer(self, state: State, catalogue: Catalogue) -> GramScorer | LocalSolve | PopularityScorer:
        """Sums of the model's rows over the customer's own history; factors: the local solve."""
        public = state.public
        if MODEL not in public:  # between the rounds only popularity is known
            return PopularityScorer(public[POPULARITY])
        if self.model == "factors":
            return solver(
                public[MODEL],
                head_of(state),
                public[POPULARITY],
                catalogue,
                unobserved_weight=self.unobserved_weight,
                regularization=self.solve_regularization,
                popularity_weight=self.popularity_weight,
            )
        return GramScorer(self, public[MODEL], head_of(state), public[POPULARITY])


@dataclass(frozen=True)
class GramScorer:
    """z_u times the model [head, head]; popularity for the tail, and for a customer with nothing in the head."""

    learner: Gram
    model: npt.NDArray[np.float32]
    head: npt.NDArray[np.int64]
    popularity: npt.NDArray[np.float32]

    def score(self, block: Block, local: LocalTable | None) -> npt.NDArray[np.float32]:
        """[block customers, items]."""
        z = self.learner.head_rows(block.histories, self.head).astype(np.float32)
        z.data[~np.isfinite(z.data)] = 0.0
        head_scores = z @ self.model
        scores = np.empty((block.histories.customers, len(self.popularity)), np.float32)
        scores[:] = head_scores.min(axis=1, initial=0.0)[:, None] - 2.0 + self._tail()
        scores[:, self.head] = head_scores
        scores[np.diff(z.indptr) == 0] = self.popularity
        return scores

    def _tail(self) -> npt.NDArray[np.float32]:
        """[items] popularity as numbers in [0, 1]; ties stay ties."""
        return self.popularity / max(float(self.popularity.max(initial=0.0)), 1.0)


def head_of(state: State) -> npt.NDArray[np.int64]:
    """[head] positions in the catalogue, ascending; refuses a published head that is no set of items."""
    head = state.public[HEAD]
    items = len(state.public[POPULARITY])
    if not (np.isfinite(head).all() and (np.diff(head) > 0).all() and head[0] >= 0 and head[-1] < items):
        raise ProtocolError(
            f"the published head of {len(head)} items is no set of the {items} items; nothing was added"
        )
    return head.astype(np.int64)


def symmetric(triangle: Float64Array, n: int) -> Float64Array:
    """[n, n] from its upper triangle, row by row; in place rather than by an index of n^2 words."""
    full = np.empty((n, n))
    start = 0
    for row in range(n):
        part = triangle[start : start + n - row]
        full[row, row:] = part
        full[row:, row] = part
        start += n - row
    return full


def largest_head() -> int:
    """The most items whose triangle fits one release."""
    n = int((2 * MOST_WORDS) ** 0.5)
    while n * (n + 1) // 2 > MOST_WORDS:
        n -= 1
    return n
