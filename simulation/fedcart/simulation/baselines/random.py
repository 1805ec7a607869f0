"""Scores drawn at random, the same for the same seed and customer: what chance looks like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import Histories
from fedcart.shared.learners.base import Block, LocalTable


@dataclass(frozen=True)
class Chance:
    """Uniform numbers from (seed, the customer's row)."""

    seed: int

    def score(self, block: Block, local: LocalTable | None) -> npt.NDArray[np.float32]:
        """[block customers, items]."""
        scores = np.empty((block.histories.customers, block.histories.items_total), np.float32)
        for row in range(len(scores)):
            scores[row] = np.random.default_rng([self.seed, block.start + row]).random(scores.shape[1], np.float32)
        return scores


def fit(train: Histories, catalogue: Catalogue, *, seed: int = 0) -> Chance:
    """Nothing to fit."""
    return Chance(seed)
