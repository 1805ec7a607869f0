"""User-kNN: what the customers with the most similar histories (cosine) took. Needs everyone's histories raw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import Histories
from fedcart.shared.item_features.columns import unit_rows
from fedcart.shared.learners.base import Block, LocalTable
from fedcart.simulation.baselines.rows import weight_rows

if TYPE_CHECKING:
    from scipy.sparse import csr_array

IDENTICAL = 1.0 - 1e-6
"""A customer as similar as this has the same history: oneself, or someone who adds no new item."""
WORDS = 1 << 23
"""Similarities held at once."""


@dataclass(frozen=True)
class SimilarCustomers:
    """score of item j = sum over the nearest customers v of cos(u, v) x_vj."""

    rows: csr_array
    units: csr_array
    neighbours: int

    def score(self, block: Block, local: LocalTable | None) -> npt.NDArray[np.float32]:
        """[block customers, items]."""
        mine = unit_rows(weight_rows(block.histories))
        scores = np.empty((mine.shape[0], mine.shape[1]), np.float32)
        step = max(1, WORDS // max(1, self.units.shape[0]))
        for start in range(0, mine.shape[0], step):
            scores[start : start + step] = self._score(mine[start : start + step])
        return scores

    def _score(self, mine: csr_array) -> npt.NDArray[np.float32]:
        from scipy.sparse import csr_array

        similar = (mine @ self.units.T).toarray()
        similar[similar >= IDENTICAL] = 0.0
        count = similar.shape[1]
        if self.neighbours < count:
            edge = np.partition(similar, count - self.neighbours, axis=1)[:, count - self.neighbours]
            similar[similar < edge[:, None]] = 0.0
        scores: npt.NDArray[np.float32] = (csr_array(similar) @ self.rows).toarray()
        return scores


def fit(train: Histories, catalogue: Catalogue, *, neighbours: int = 200) -> SimilarCustomers:
    """Keeps the histories; `neighbours` customers are asked."""
    rows = weight_rows(train)
    return SimilarCustomers(rows, unit_rows(rows), neighbours)
