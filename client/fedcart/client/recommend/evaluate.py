"""How well the model in use ranks for this store's customers, beside popularity, all measured here.

Where the plan says up to when its data go (`as_of`) and there are purchases after that, those are held out: the model
cannot have learned from them. Otherwise each customer's latest item is, which the model may have learned from: the
figure is then too good, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from fedcart.client.data.view import View
from fedcart.client.recommend.hold_out import HeldOut, hold_out_after, hold_out_latest, target_of
from fedcart.client.recommend.measure import Measured, ranks, summary
from fedcart.shared.draws import draws
from fedcart.shared.errors import DataError
from fedcart.shared.learners.base import Scorer
from fedcart.shared.learners.popularity import PopularityScorer
from fedcart.shared.learners.store_cooccurrences import beside_store
from fedcart.shared.model_files import Model

MOST_MEASURED = 5000
_MEASURED = 0xE7A1
"""Purpose of the draw of customers to measure."""
TOO_GOOD = "the model may have learned from the held-out rows: these figures are too good"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Of one model at this store.

    Attributes:
      at: first held-out second; None = each one's latest item was held out.
      target: the behaviour that was held out.
      may_have_been_learned: whether the model may have seen what it is measured on.
      results: `new` (items the customer had not) and `all` -> method -> its figures, `with_store` with the store's own
        co-occurrences, learned from what is not held out; None where nobody was measured.
    """

    model: str
    at: int | None
    target: str
    may_have_been_learned: bool
    results: dict[str, dict[str, Measured | None]]

    def document(self) -> dict[str, Any]:
        """For --json."""
        return {
            "schema": 1,
            "model": self.model,
            "held_out_from": None if self.at is None else self.day,
            "target": self.target,
            "may_have_been_learned": self.may_have_been_learned,
            **{
                kind: {name: found and found.document() for name, found in methods.items()}
                for kind, methods in self.results.items()
            },
        }

    @property
    def day(self) -> str:
        """`at` for people."""
        return f"{datetime.fromtimestamp(self.at or 0, UTC):%Y-%m-%d}"


def evaluate(model: Model, view: View, at: int | None = None) -> Evaluation:
    """Measure the model on this store's customers who consent.

    Args:
      at: seconds; what came then or later is held out. None = from the plan's `as_of` on, before which all that a run
        learns from lies; where nothing came after it, the latest items.

    Raises:
      DataError: nobody can be measured.
    """
    target = target_of(view.events.behaviour)
    as_of = model.agreement.plan.as_of
    held, found_at = _held_out(view, at, as_of, target)
    consenting = np.intersect1d(held.measured, view.learned_from)
    drawn = np.argsort(draws(0, _MEASURED, consenting), kind="stable")[:MOST_MEASURED]
    consenting = np.sort(consenting[drawn])
    if not len(consenting):
        raise DataError("nobody who consents has a held-out item and a history before it; nothing was measured")
    counts = np.bincount(held.train.take(view.learned_from).items, minlength=len(view.catalogue))
    scorer = model.scorer()
    scorers: dict[str, Scorer] = {
        "model": scorer,
        "with_store": beside_store(scorer, held.train.take(view.learned_from)),
        "popularity": PopularityScorer(counts.astype(np.float32)),
    }
    return Evaluation(
        model=model.name,
        at=found_at,
        target=target,
        may_have_been_learned=found_at is None or as_of is None or found_at < as_of,
        results={
            kind: {
                name: summary(ranks(scorer, held, consenting, new=kind == "new")) for name, scorer in scorers.items()
            }
            for kind in ("new", "all")
        },
    )


def _held_out(view: View, at: int | None, as_of: int | None, target: str) -> tuple[HeldOut, int | None]:
    wanted = as_of if at is None else at
    if wanted is not None:
        held = hold_out_after(view.events, view.customers, len(view.catalogue), wanted, target, view.weights)
        if at is not None or len(np.intersect1d(held.measured, view.learned_from)):
            return held, wanted
    return hold_out_latest(view.histories, target), None


def evaluation_lines(found: Evaluation) -> list[str]:
    """The same for people."""
    from fedcart.shared.cost_text import table

    when = "each one's latest item" if found.at is None else f"from {found.day} on"
    rows = [(f"{found.target}s, {when}", "NDCG@10", "95 %", "HR@10", "customers")]
    for kind, methods in found.results.items():
        for name, one in methods.items():
            if one is None:
                rows.append((f"{kind} items, {name}", "-", "-", "-", "0"))
                continue
            between = "too few" if one.interval is None else f"{one.interval[0]:.4f} to {one.interval[1]:.4f}"
            figures = f"{one.ndcg:.4f}", between, f"{one.hit_rate:.4f}", f"{one.customers:,}"
            rows.append((f"{kind} items, {name}", *figures))
    return table(rows) + ([TOO_GOOD] if found.may_have_been_learned else [])
