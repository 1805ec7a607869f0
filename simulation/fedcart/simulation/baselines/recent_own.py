"""Recent popularity, with the customer's own purchases on top: repeat purchases are a third of retail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import Histories
from fedcart.shared.learners.base import Block, LocalTable
from fedcart.shared.learners.spectral.own_history import own_bonus
from fedcart.simulation.baselines.recent import HALF_LIFE_DAYS, faded_counts

OWN_HALF_LIFE_DAYS = 180.0
"""Of the bonus for the customer's own purchases."""


@dataclass(frozen=True)
class OwnFirst:
    """Everything by its share of the most popular item's faded count, own items by 1 + their bonus as well."""

    shares: npt.NDArray[np.float32]
    own_half_life_days: float

    def score(self, block: Block, local: LocalTable | None) -> npt.NDArray[np.float32]:
        """[block customers, items]."""
        histories = block.histories
        scores = np.tile(self.shares, (histories.customers, 1))
        scores[histories.row_of_pair(), histories.items] += 1.0 + own_bonus(histories, self.own_half_life_days)
        return scores


def fit(
    train: Histories,
    catalogue: Catalogue,
    *,
    half_life_days: float = HALF_LIFE_DAYS,
    own_half_life_days: float = OWN_HALF_LIFE_DAYS,
    popularity: npt.NDArray[np.floating] | None = None,
) -> OwnFirst:
    """Faded counts of all customers, or `popularity` [items] as released; the bonus is each customer's own."""
    counts = (faded_counts(train, half_life_days) if popularity is None else popularity).astype(np.float32)
    return OwnFirst(counts / max(float(counts.max(initial=0.0)), 1e-12), own_half_life_days)
