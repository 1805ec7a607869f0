"""How a scorer ranks held-out items: among items the customer has not had, and among all. Ties count half."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedcart.client.recommend.hold_out import HeldOut
from fedcart.shared import metrics
from fedcart.shared.errors import FedcartError
from fedcart.shared.interactions import BEHAVIOURS
from fedcart.shared.learners.base import Block, Scorer
from fedcart.shared.metrics import PerCustomer, Ranks

SCORES_AT_ONCE = 1 << 22
SEED = 0
FEWEST_FOR_INTERVAL = 20
"""Below this many customers no interval is given."""


@dataclass(frozen=True)
class Measured:
    """Means over customers; `interval` is the 95 % bootstrap interval of the mean, None for few customers."""

    customers: int
    ndcg: float
    hit_rate: float
    interval: tuple[float, float] | None

    def document(self) -> dict[str, object]:
        """For --json."""
        interval = None if self.interval is None else list(self.interval)
        return {"customers": self.customers, "ndcg@10": self.ndcg, "hr@10": self.hit_rate, "ci95": interval}


def ranks(scorer: Scorer, held: HeldOut, customers: npt.NDArray[np.intp], *, new: bool) -> PerCustomer:
    """Ranking metrics of the stated customers; with `new` among items they had not, where repeats are not measured.

    Raises:
      FedcartError: the scorer gave NaN or too few scores.
    """
    train = held.train
    found: list[Ranks] = []
    counts = np.zeros(len(held.indptr) - 1, np.int64)
    step = max(1, SCORES_AT_ONCE // train.items_total)
    for key, start in enumerate(range(0, len(customers), step)):
        chosen = customers[start : start + step]
        block = Block(key, 0, train.take(chosen))
        scores = np.array(scorer.score(block, None), np.float32)
        if scores.shape != (len(chosen), train.items_total) or np.isnan(scores).any():
            raise FedcartError(f"a scorer gave {scores.shape} scores, some NaN or too few; nothing was measured")
        for row, customer in enumerate(chosen.tolist()):
            pairs = slice(int(held.indptr[customer]), int(held.indptr[customer + 1]))
            wanted, repeat = held.items[pairs], held.repeat[pairs]
            own = scores[row, wanted]
            rivals = scores[row]
            if new:
                history = block.histories.slice(row, row + 1)
                had = (history.behaviours >> BEHAVIOURS.index(held.target)) & 1 == 1
                rivals = np.delete(rivals, history.items[had])
            higher = (rivals[None, :] > own[:, None]).sum(axis=1)
            same = (rivals[None, :] == own[:, None]).sum(axis=1) - 1
            found.append(np.where(repeat & new, np.nan, higher + same / 2.0))
            counts[customer] = len(wanted)
    indptr = np.concatenate([[0], np.cumsum(counts[customers])]).astype(np.int64)
    return metrics.several(indptr, np.concatenate(found) if found else np.zeros(0))


def summary(values: PerCustomer) -> Measured | None:
    """Means and interval; None where nobody was measured."""
    ndcg = values.values["ndcg@10"]
    if not len(ndcg):
        return None
    interval = metrics.bootstrap_interval(ndcg, SEED) if len(ndcg) >= FEWEST_FOR_INTERVAL else None
    return Measured(len(ndcg), float(ndcg.mean()), float(values.values["hr@10"].mean()), interval)
