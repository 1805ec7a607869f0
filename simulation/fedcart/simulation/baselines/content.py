"""Content: nothing learned together but popularity. Public metadata, the customer's own history, a ridge regression.

The row that every private or federated result must beat: kernel, item vectors and local solve are those of the learner
`spectral` without its sketches. The popularity is the coalition's: counts over all customers (faded, if
`half_life_days` is given), or in a private run one release with the run's whole budget.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import Histories
from fedcart.shared.learners.spectral.local_solve import LocalSolve
from fedcart.shared.learners.spectral.table import content_columns, item_vectors
from fedcart.simulation.baselines.recent import faded_counts

PRIOR = 0.25
"""Added to each count, so that an item nobody took has a logarithm."""


def fit(
    train: Histories,
    catalogue: Catalogue,
    *,
    unobserved_weight: float = 1.0,
    regularization: float = 1000.0,
    popularity_weight: float = 0.0,
    rank: int = 50,
    half_life_days: float = np.inf,
    order_weight: float = 0.0,
    order_items: float = 3.0,
    own_weight: float = 0.0,
    own_half_life_days: float = np.inf,
    popularity: npt.NDArray[np.floating] | None = None,
) -> LocalSolve:
    """Item vectors from the catalogue's public columns and the coalition's popularity.

    Args:
      unobserved_weight: a0, weight of all items beside those of the history.
      regularization: the ridge is a0 x this; strong, since a history is short.
      popularity_weight: of log popularity (unit variance) beside the personal score (unit variance).
      rank: number of eigenvectors.
      half_life_days: of the popularity; infinity counts customers.
      order_weight, order_items: of the customer's own most recent items, as in `spectral`.
      own_weight, own_half_life_days: of the customer's own items where repeats count, as in `spectral`.
      popularity: [items] released; None = counted here.
    """
    if popularity is None:
        popularity = faded_counts(train, half_life_days) + PRIOR
    q = popularity.astype(np.float64) / popularity.sum(dtype=np.float64)
    vectors = item_vectors(content_columns(catalogue, q, rank), q)
    return LocalSolve.of(
        vectors,
        unobserved_weight,
        regularization,
        popularity_weight=popularity_weight,
        order_weight=order_weight,
        order_items=order_items,
        own_weight=own_weight,
        own_half_life_days=own_half_life_days,
    )
