"""The oracle: ranks of held-out items, measured with all data in hand, outside both apps. No epsilon covers it.

Scorers see a customer's training view only. What the customer had (`Split.seen`) is masked here, for every method
alike, when new items are ranked; nothing is masked when all items are (repeat purchases count). Masked is
NaN, which compares with nothing: -inf would tie with items that a scorer cannot rank.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from fedcart.shared.errors import FedcartError
from fedcart.shared.learners.base import Block, LocalTable, Scorer
from fedcart.simulation.split import Split

TOP = 10
SCORES_AT_ONCE = 1 << 22
"""Scores held in memory at once: 16 MB of float32 and a few masks of the same size."""


@dataclass(frozen=True)
class Ranking:
    """What one method did for every customer.

    Attributes:
      sampled: [customers] rank of the new held-out item among its candidates; NaN where not measured, or a repeat.
      new: [held-out pairs] rank among the items the customer has not had; NaN for a repeat.
      all: [held-out pairs] rank among all items.
      top: int32 [customers, 10] the list shown of new items; -1 for customers not measured, and where no item that
        the scorer can rank is left.
    """

    sampled: npt.NDArray[np.float64]
    new: npt.NDArray[np.float64]
    all: npt.NDArray[np.float64]
    top: npt.NDArray[np.int32]


def rank(
    scorer: Scorer,
    split: Split,
    local: LocalTable | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Ranking:
    """Rank every held-out item under `scorer`; `local` holds the customers' rows where the learner keeps any."""
    held, train, seen = split.held_out, split.train, split.seen
    customers, measured = train.customers, held.measured
    sampled = np.full(customers, np.nan)
    new, everything = np.full(len(held.items), np.nan), np.full(len(held.items), np.nan)
    top = np.full((customers, TOP), -1, np.int32)
    for key, (start, stop) in enumerate(_runs(measured, max(1, SCORES_AT_ONCE // train.items_total))):
        histories = train.slice(start, stop)
        scores = np.asarray(scorer.score(Block(key, start, histories), local), np.float32)
        if scores.shape != (stop - start, train.items_total) or np.isnan(scores).any():
            raise FedcartError(f"a scorer gave {scores.shape} scores, some NaN or too few; nothing was ranked")
        rows = measured[(measured >= start) & (measured < stop)]
        pairs = slice(int(held.indptr[start]), int(held.indptr[stop]))
        owner = np.repeat(np.arange(stop - start), np.diff(held.indptr[start : stop + 1]))
        everything[pairs] = _ranks(scores, owner, held.items[pairs])
        masked = scores.copy()
        had = seen[int(train.indptr[start]) : int(train.indptr[stop])]
        masked[histories.row_of_pair()[had], histories.items[had]] = np.nan
        fresh = np.flatnonzero(held.is_new[pairs])
        new[pairs.start + fresh] = _ranks(masked, owner[fresh], held.items[pairs][fresh])
        if held.candidates is not None:  # then no customer has two held-out items
            sampled[start + owner[fresh]] = _sampled_ranks(scores[owner[fresh]], held.candidates[start + owner[fresh]])
        top[rows] = _top(masked[rows - start])
        if progress is not None:
            progress(stop, customers)
    return Ranking(sampled, new, everything, top)


def join(parts: Sequence[Ranking]) -> Ranking:
    """The rankings of one store after another as one."""
    return Ranking(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Ranking)))


def _runs(wanted: npt.NDArray[np.intp], step: int) -> list[tuple[int, int]]:
    """Spans of at most `step` rows that together cover `wanted`."""
    spans: list[tuple[int, int]] = []
    position = 0
    while position < len(wanted):
        start = int(wanted[position])
        end = int(np.searchsorted(wanted, start + step))
        spans.append((start, int(wanted[end - 1]) + 1))
        position = end
    return spans


def _ranks(
    scores: npt.NDArray[np.float32], rows: npt.NDArray[np.intp], items: npt.NDArray[np.int32]
) -> npt.NDArray[np.float64]:
    """[pairs] number of items scored higher than the pair's, plus half of the other items scored the same."""
    found = np.empty(len(rows))
    step = max(1, SCORES_AT_ONCE // scores.shape[1])
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        row = scores[rows[part]]
        own = row[np.arange(len(row)), items[part]][:, None]
        if np.isnan(own).any():
            raise FedcartError("a held-out item that counts as new is masked as seen; nothing was ranked")
        higher = (row > own).sum(axis=1)
        found[part] = higher + ((row == own).sum(axis=1) - 1) / 2.0
    return found


def _sampled_ranks(scores: npt.NDArray[np.float32], candidates: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """[rows] rank of column 0 among the candidates; -1 = no candidate; NaN where column 0 is none."""
    rows = np.arange(len(scores))[:, None]
    taken = np.where(candidates >= 0, scores[rows, np.maximum(candidates, 0)], np.nan)
    own, others = taken[:, :1], taken[:, 1:]
    found = (others > own).sum(axis=1) + (others == own).sum(axis=1) / 2.0
    return np.where(np.isnan(own[:, 0]), np.nan, found)


def _top(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    """[rows, 10] positions of the best scores, best first; -1 where only NaN and -inf are left."""
    count = min(TOP, scores.shape[1])
    best = np.argpartition(-scores, count - 1, axis=1)[:, :count]  # NaN comes last
    found = np.take_along_axis(scores, best, axis=1)
    order = np.argsort(-found, axis=1, kind="stable")
    ranked = np.take_along_axis(found, order, axis=1) > -np.inf
    lists = np.full((len(scores), TOP), -1, np.int32)
    lists[:, :count] = np.where(ranked, np.take_along_axis(best, order, axis=1), -1)
    return lists
