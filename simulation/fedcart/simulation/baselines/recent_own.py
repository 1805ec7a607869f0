"""Recent popularity, with the customer's own purchases on top: repeat purchases are a third of retail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import Histories
from fedcart.shared.learners.base import Block, LocalTable
from fedcart.shared.learners.spectral.own_history import fading
from fedcart.simulation.baselines.recent import HALF_LIFE_DAYS, faded_counts


@dataclass(frozen=True)
class OwnFirst:
    """Own items by 1 + weight x fading, everything by its share of the most popular item's faded count."""

    shares: npt.NDArray[np.float32]
    half_life_days: float

    def score(self, block: Block, local: LocalTable | None) -> npt.NDArray[np.float32]:
        """[block customers, items]."""
        histories = block.histories
        scores = np.tile(self.shares, (histories.customers, 1))
        bonus = 1.0 + histories.weights * fading(histories, self.half_life_days)
        scores[histories.row_of_pair(), histories.items] += bonus.astype(np.float32)
        return scores


def fit(
    train: Histories,
    catalogue: Catalogue,
    *,
    half_life_days: float = HALF_LIFE_DAYS,
    popularity: npt.NDArray[np.floating] | None = None,
) -> OwnFirst:
    """Faded counts of all customers, or `popularity` [items] as released; the bonus is each customer's own."""
    counts = (faded_counts(train, half_life_days) if popularity is None else popularity).astype(np.float32)
    return OwnFirst(counts / max(float(counts.max(initial=0.0)), 1e-12), half_life_days)
