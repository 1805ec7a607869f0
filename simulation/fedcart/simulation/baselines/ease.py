"""EASE (Steck 2019, arXiv:1905.03375) on pooled data: the learner `gram` with the largest head it allows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import Histories
from fedcart.shared.learners.base import Block, LocalTable, Scorer
from fedcart.shared.learners.gram import Gram, largest_head
from fedcart.shared.learners.spectral.own_history import order_weights
from fedcart.simulation.baselines.central import run_centrally


@dataclass(frozen=True)
class RecentFirst:
    """Another scorer, told that a customer's most recent items weigh more, as in `spectral`."""

    scorer: Scorer
    order_weight: float
    order_items: float

    def score(self, block: Block, local: LocalTable | None) -> npt.NDArray[np.float32]:
        """[block customers, items]."""
        own = block.histories
        weights = own.weights * order_weights(own, self.order_weight, self.order_items)
        return self.scorer.score(replace(block, histories=replace(own, weights=weights)), local)


def fit(
    train: Histories,
    catalogue: Catalogue,
    *,
    regularization: float = 1000.0,
    order_weight: float = 0.0,
    order_items: float = 3.0,
) -> Scorer:
    """`regularization` is lambda, on the diagonal of the co-occurrences; items beyond the head rank by popularity.

    `order_weight` and `order_items` weigh a customer's own most recent items when scoring, not when learning.
    """
    learner = Gram(model="ease", regularization=regularization, max_items=min(largest_head(), len(catalogue)))
    scorer = learner.scorer(run_centrally(learner, train, catalogue, 0).state, catalogue)
    return RecentFirst(scorer, order_weight, order_items) if order_weight else scorer
