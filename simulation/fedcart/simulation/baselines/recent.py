"""Popularity in which an event fades: counts times 2^(-age / half-life); in a private run, as it was released."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import Histories
from fedcart.shared.learners.popularity import PopularityScorer
from fedcart.shared.learners.spectral.own_history import fading

HALF_LIFE_DAYS = 21.0
"""About exp(-age / 30 days)."""


def fit(
    train: Histories,
    catalogue: Catalogue,
    *,
    half_life_days: float = HALF_LIFE_DAYS,
    popularity: npt.NDArray[np.floating] | None = None,
) -> PopularityScorer:
    """Faded counts by item; pairs without a time count 1. `popularity` [items]: released, instead of counts."""
    found = faded_counts(train, half_life_days) if popularity is None else popularity
    return PopularityScorer(found.astype(np.float32))


def faded_counts(train: Histories, half_life_days: float) -> npt.NDArray[np.float32]:
    """[items] sum over customers of the pair's fading."""
    counts = np.bincount(train.items, weights=fading(train, half_life_days), minlength=train.items_total)
    return counts.astype(np.float32)
