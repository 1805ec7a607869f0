"""EASE (Steck 2019, arXiv:1905.03375) on pooled data: the learner `gram` with the largest head it allows."""

from __future__ import annotations

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import Histories
from fedcart.shared.learners.base import Scorer
from fedcart.shared.learners.gram import Gram, largest_head
from fedcart.simulation.baselines.central import run_centrally


def fit(train: Histories, catalogue: Catalogue, *, regularization: float = 1000.0) -> Scorer:
    """`regularization` is lambda, on the diagonal of the co-occurrences; items beyond the head rank by popularity."""
    learner = Gram(model="ease", regularization=regularization, max_items=min(largest_head(), len(catalogue)))
    return learner.scorer(run_centrally(learner, train, catalogue, 0).state, catalogue)
