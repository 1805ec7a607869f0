"""A store's own learning curve: what a quarter, half and all of its customers teach it, measured on held-out items.

The same customers are measured each time, on their latest item, which no training sees. EASE's regularization is
chosen with all customers on one half of those measured, and all figures are of the other half. Nothing leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedcart.client.data.view import View
from fedcart.client.recommend.hold_out import HeldOut, hold_out_latest, target_of
from fedcart.client.recommend.measure import Measured, ranks, summary
from fedcart.shared.draws import draws
from fedcart.shared.learners.base import Learner, Scorer
from fedcart.shared.learners.gram import Gram
from fedcart.shared.learners.memory import MemoryCustomers, run_rounds
from fedcart.shared.learners.popularity import Popularity

SHARES = (0.25, 0.5, 1.0)
REGULARIZATIONS = (10.0, 100.0, 1000.0)
HEAD = 2000
"""Most items that EASE models here; the others rank by popularity."""
MOST_MEASURED = 4000
FEWEST_MEASURED = 40
_CUSTOMER, _MEASURED = 0x5A4E, 0x3EA5
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Point:
    """One share: customers that were learned from, and NDCG@10 on new items."""

    share: float
    customers: int
    popularity: Measured
    ease: Measured


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The curve, or why there is none.

    Attributes:
      regularization: EASE's, chosen on the other half of those measured.
      why_not: words; None when there is a curve.
    """

    points: tuple[Point, ...] = ()
    regularization: float | None = None
    why_not: str | None = None


def learning_curve(view: View) -> Curve:
    """Train alone, three times, and measure; some seconds for a few thousand items."""
    learned = view.learned_from
    histories = view.histories.take(learned)
    if not len(learned):
        return Curve(why_not="no customer may be learned from")
    held = hold_out_latest(histories, target_of(view.events.behaviour), SEED)
    measured = held.measured
    if len(measured) < FEWEST_MEASURED:
        return Curve(
            why_not=f"{len(measured)} customers have two items or more, and at least {FEWEST_MEASURED} are needed"
        )
    order = np.argsort(draws(SEED, _MEASURED, learned[measured]), kind="stable")
    chosen = measured[order][:MOST_MEASURED]
    tuning, shown = np.sort(chosen[: len(chosen) // 2]), np.sort(chosen[len(chosen) // 2 :])
    drawn = np.argsort(draws(SEED, _CUSTOMER, learned), kind="stable")
    scorers = [(value, _train(_ease(value, view), view, held, drawn)) for value in REGULARIZATIONS]
    best, whole = max(scorers, key=lambda pair: _mean(pair[1], held, tuning))
    points = []
    for share in SHARES:
        some = np.sort(drawn[: max(1, round(share * len(drawn)))])
        ease = whole if share == 1 else _train(_ease(best, view), view, held, some)
        popularity = _train(Popularity(), view, held, some)
        found = [summary(ranks(scorer, held, shown, new=True)) for scorer in (popularity, ease)]
        assert found[0] is not None
        assert found[1] is not None
        points.append(Point(share=share, customers=len(some), popularity=found[0], ease=found[1]))
    return Curve(points=tuple(points), regularization=best)


def _ease(regularization: float, view: View) -> Gram:
    return Gram(max_items=min(HEAD, len(view.catalogue)), regularization=regularization)


def _train(learner: Learner, view: View, held: HeldOut, customers: npt.NDArray[np.int64]) -> Scorer:
    """The learner on some of the customers, in memory and in the clear."""
    store = MemoryCustomers(held.train.take(np.sort(customers)))
    state = run_rounds(learner, [store], view.catalogue, SEED, max(1, store.count))
    return learner.scorer(state, view.catalogue)


def _mean(scorer: Scorer, held: HeldOut, customers: npt.NDArray[np.intp]) -> float:
    found = summary(ranks(scorer, held, customers, new=True))
    return 0.0 if found is None else found.ndcg
