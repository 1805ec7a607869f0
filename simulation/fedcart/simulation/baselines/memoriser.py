"""The memoriser: ranks by minus the number of times an item was a training negative. It must be at chance.

It finds the held-out item at once when training negatives avoid held-out items: then the one candidate never drawn
is the answer (RESEARCH section 1.2). Here negatives are drawn as every learner of this package draws them, from what
the customer has not had in the *training* view. Above chance means that a split or a sampler leaks.

It is a null model of new items alone, and only where no new item can stand in training (`memoriser_is_null`). Under
a split by time a view before the split is rightly known: the item viewed is no training negative, the memoriser
ranks it first, and what it scores then is the worth of earlier views, not a leak. Among all items repeats have
the same effect under every split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import Histories
from fedcart.shared.learners.base import Block, LocalTable

if TYPE_CHECKING:
    from fedcart.simulation.split import Split


@dataclass(frozen=True)
class Memoriser:
    """Counts of negatives from (seed, the customer's row), `draws_per_item` for each item of the history."""

    seed: int
    draws_per_item: int

    def score(self, block: Block, local: LocalTable | None) -> npt.NDArray[np.float32]:
        """[block customers, items] minus the number of draws."""
        histories = block.histories
        scores = np.empty((histories.customers, histories.items_total), np.float32)
        for row in range(histories.customers):
            mine = histories.items[histories.indptr[row] : histories.indptr[row + 1]]
            free = np.ones(histories.items_total, np.bool_)
            free[mine] = False
            generator = np.random.default_rng([self.seed, block.start + row])
            scores[row] = generator.random(len(free)) / 2.0  # breaks ties; mid-ranks would fall below chance
            scores[row] -= negative_counts(free, self.draws_per_item * len(mine), generator)
        return scores


def negative_counts(free: npt.NDArray[np.bool_], draws: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """[items] how often each item came up in `draws` uniform draws from the free items."""
    counts = np.zeros(len(free), np.int64)
    items = np.flatnonzero(free)
    if len(items):
        drawn = generator.integers(0, len(items), draws)
        counts[items] = np.bincount(drawn, minlength=len(items))
    return counts


def memoriser_is_null(split: Split) -> bool:
    """Whether the memoriser must be at chance on new items, sampled and in full.

    So it is where every training pair is masked: then the held-out item and those ranked beside it are alike, for no
    event of the customer with any of them is in training.
    """
    held, train = split.held_out, split.train
    new = held.owner[held.is_new] * train.items_total + held.items[held.is_new]
    return bool(split.seen.all()) and not np.isin(new, train.row_of_pair() * train.items_total + train.items).any()


def fit(train: Histories, catalogue: Catalogue, *, seed: int = 0, epochs: int = 20, negatives: int = 4) -> Memoriser:
    """As many draws as `epochs` passes with `negatives` for each training item."""
    return Memoriser(seed, epochs * negatives)
