"""iALS (Rendle et al. 2021, arXiv:2110.14037) on pooled data: the learner `als`, one store."""

from __future__ import annotations

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import Histories
from fedcart.shared.learners.als import Als
from fedcart.shared.learners.base import Scorer
from fedcart.simulation.baselines.central import run_centrally


def fit(
    train: Histories,
    catalogue: Catalogue,
    *,
    seed: int = 0,
    embedding_dim: int = 64,
    unobserved_weight: float = 0.3,
    regularization: float = 0.003,
    sweeps: int = 12,
) -> Scorer:
    """The settings are those of `fedcart.shared.learners.als.Als`."""
    learner = Als(
        embedding_dim=embedding_dim,
        unobserved_weight=unobserved_weight,
        regularization=regularization,
        sweeps=sweeps,
    )
    return learner.scorer(run_centrally(learner, train, catalogue, seed).state, catalogue)
