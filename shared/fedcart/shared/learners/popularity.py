"""Popularity: the sum of the customers' unit-length histories. One round; the honest floor of every table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import Histories
from fedcart.shared.learners.base import Block, Customers, LocalTable, Round, State, Sums, Totals
from fedcart.shared.privacy.release import Release
from fedcart.shared.privacy.terms import Bound

if TYPE_CHECKING:
    from scipy.sparse import csr_array

POPULARITY = "popularity"


@dataclass(frozen=True, kw_only=True)
class Popularity:
    """Ranks items by sum_u x_u / |x_u|^p over customers u, x_u the 0/1 history.

    Attributes:
      count_exponent: p. 0 counts customers (the field's popularity baseline); 0.5 gives every customer the L2
        norm 1, the same say and the sensitivity 1.
    """

    name: ClassVar[str] = "popularity"
    summary: ClassVar[str] = "how many customers took an item; one round"

    count_exponent: float = 0.0

    def rounds(self, catalogue: Catalogue, customers_bound: int) -> tuple[Round, ...]:
        """One round: one word an item."""
        return (Round(0, "popularity", (Release(name=POPULARITY, shape=(len(catalogue),)),)),)

    def bounds(self) -> Mapping[str, Bound]:
        """Every customer the same say: a history longer than 1 is scaled to 1."""
        return {POPULARITY: Bound(clip_norm=1.0)}

    def initial_state(self, catalogue: Catalogue, seed: int) -> State:
        """Nothing is known."""
        return State({POPULARITY: np.zeros(len(catalogue), np.float32)})

    def contribute(self, state: State, round_: Round, customers: Customers, sums: Sums) -> None:
        """Each customer's 0/1 history over its count to the p-th power."""
        for block in customers.blocks():
            sums.rows(POPULARITY, block, scaled_history(block.histories, self.count_exponent))

    def update(self, state: State, round_: Round, totals: Totals) -> State:
        """The total is the model."""
        return State({POPULARITY: totals[POPULARITY].astype(np.float32)})

    def scorer(self, state: State, catalogue: Catalogue) -> PopularityScorer:
        """The same scores for everyone."""
        return PopularityScorer(state.public[POPULARITY])


@dataclass(frozen=True)
class PopularityScorer:
    """Scores [items], whoever asks."""

    scores: npt.NDArray[np.float32]

    def score(self, block: Block, local: LocalTable | None) -> npt.NDArray[np.float32]:
        """[block customers, items], a read-only view of one row."""
        return np.broadcast_to(self.scores, (block.histories.customers, len(self.scores)))


def scaled_history(histories: Histories, count_exponent: float) -> csr_array:
    """[customers, items] the 0/1 history of each customer over its number of items to the given power."""
    from scipy.sparse import csr_array

    scale = np.maximum(histories.counts, 1).astype(np.float64) ** -count_exponent
    values = np.repeat(scale, histories.counts)
    return csr_array((values, histories.items, histories.indptr), shape=(histories.customers, histories.items_total))
