"""Item-kNN: cosine between items' customers, shrunk, the nearest neighbours of each item. Any catalogue size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import Histories
from fedcart.shared.learners.base import Block, LocalTable
from fedcart.simulation.baselines.rows import weight_rows

if TYPE_CHECKING:
    from scipy.sparse import csc_array

COLUMNS_WORDS = 1 << 23
"""Similarities held densely at once."""


@dataclass(frozen=True)
class Neighbours:
    """score of item j = sum over the history's items i of S_ij; S [items, items] sparse."""

    similarity: csc_array

    def score(self, block: Block, local: LocalTable | None) -> npt.NDArray[np.float32]:
        """[block customers, items]."""
        scores: npt.NDArray[np.float32] = (weight_rows(block.histories) @ self.similarity).toarray()
        return scores


def fit(train: Histories, catalogue: Catalogue, *, shrink: float = 10.0, neighbours: int = 200) -> Neighbours:
    """S_ij = x_i x_j / (|x_i| |x_j| + shrink) for the `neighbours` items i nearest to j, zero elsewhere.

    Args:
      shrink: added to the product of the norms; pulls items that few customers took toward zero.
      neighbours: kept for each item.
    """
    from scipy.sparse import csc_array, hstack

    x = weight_rows(train).astype(np.float64).tocsc()
    items = x.shape[1]
    norms = np.sqrt(np.asarray(x.multiply(x).sum(axis=0)).reshape(-1))
    by_customer = x.T.tocsr()
    step = max(1, COLUMNS_WORDS // items)
    parts = []
    for start in range(0, items, step):
        columns = np.arange(start, min(start + step, items))
        cosine = (by_customer @ x[:, columns]).toarray()
        cosine /= np.maximum(np.outer(norms, norms[columns]) + shrink, 1e-12)
        cosine[columns, np.arange(len(columns))] = 0.0
        if neighbours < items - 1:
            edge = np.partition(cosine, items - neighbours, axis=0)[items - neighbours]
            cosine[cosine < edge] = 0.0
        parts.append(csc_array(cosine.astype(np.float32)))
    return Neighbours(csc_array(hstack(parts, format="csc")))
