"""Federated metrics: each store measures its own held-out items, and one clipped, noised sum of it leaves, once.

The release `metrics` is the sum over customers of (hit@10, ndcg@10, 1), zero for customers without a new held-out item:
three numbers between 0 and 1, so no customer moves it by more than sqrt 3. It is a round of the plan like any other,
after the last one: charged, noised, opened by secure sums. No learner sees an item that is held out.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from fedcart.shared import metrics
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import ProtocolError
from fedcart.shared.interactions import BEHAVIOURS, WHOLE, Histories
from fedcart.shared.learners.base import Block, Customers, Learner, LocalTable, Round, Scorer, State, Sums, Totals
from fedcart.shared.privacy.release import Release
from fedcart.shared.privacy.terms import Bound

METRICS, STAGE = "metrics", "evaluation"
CLIP = math.sqrt(3.0)
SHARE = 0.02
"""Of the run's rho, unless [privacy] bounds.metrics says otherwise."""
LEAVE_OUT = ("leave-one-out", "last-basket")
"""Rules whose new items have no trace in training; so new items are ranked among untouched items."""
LEAST_OVER_NOISE = 5.0
"""Customers measured, in standard deviations of the noise, below which a ratio says nothing."""
CUSTOMERS_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """How every store holds out, before a learner sees a row; ties by the plan's seed.

    Attributes:
      rule: name of the split rule.
      target: behaviour that is held out.
    """

    rule: str
    target: str

    def seen(self, histories: Histories) -> npt.NDArray[np.bool_]:
        """[training pairs] which are not ranked among new items: pairs of the target behaviour; under `LEAVE_OUT` all,
        since an item the customer viewed and did not buy is known not to be the held-out one."""
        if self.rule in LEAVE_OUT:
            return np.ones(len(histories.items), np.bool_)
        found: npt.NDArray[np.bool_] = (histories.behaviours >> BEHAVIOURS.index(self.target)) & 1 == 1
        return found


class MeasuredCustomers(Customers, Protocol):
    """A store's customers with what was held out of them; for `Measuring` in its one round, never for a learner."""

    def held_out(self, block: Block) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """indptr [block customers + 1] and items of the new held-out items."""
        ...


class Measuring:
    """A learner whose run ends with its measurement; everything else is the learner's own."""

    def __init__(self, inner: Learner, catalogue: Catalogue, evaluation: Evaluation) -> None:
        self._inner, self._catalogue, self._evaluation = inner, catalogue, evaluation

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def contribute(self, state: State, round_: Round, customers: Customers, sums: Sums) -> None:
        """At the store."""
        if round_.stage != STAGE:
            self._inner.contribute(state, round_, customers, sums)
            return
        if not hasattr(customers, "held_out"):
            raise ProtocolError("the store holds nothing out, and cannot measure; nothing was released")
        from scipy.sparse import csr_array

        measured = cast(MeasuredCustomers, customers)
        scorer = self._inner.scorer(state, self._catalogue)
        for block in measured.blocks(CUSTOMERS_AT_ONCE):
            rows = measured_rows(scorer, self._evaluation, block, measured.local, *measured.held_out(block))
            parts = block.histories.parts
            if parts is not None:  # a customer counts by their part: a person at most once over all their stores
                rows *= (parts / WHOLE)[:, None]
            sums.rows(METRICS, block, csr_array(rows))

    def update(self, state: State, round_: Round, totals: Totals) -> State:
        """At the coordinator: the model stays as it is, the sum is kept."""
        if round_.stage != STAGE:
            return self._inner.update(state, round_, totals)
        return State(state.public, {**state.carried, METRICS: np.asarray(totals[METRICS], np.float64)})


def measured_rows(
    scorer: Scorer,
    evaluation: Evaluation,
    block: Block,
    local: LocalTable,
    indptr: npt.NDArray[np.int64],
    items: npt.NDArray[np.int32],
) -> npt.NDArray[np.float64]:
    """[block customers, 3] (hit@10, ndcg@10, 1) of each customer with a new held-out item, zeros for others.

    Customers are scored one by one: in a batch the last bits of a score, and so a rank, could depend on who else is
    in it.
    """
    ranks = np.full(len(items), np.nan)
    for row in np.flatnonzero(np.diff(indptr) > 0):
        history = block.histories.slice(int(row), int(row) + 1)
        one = Block(block.key, block.start + int(row), history)
        scores = np.array(scorer.score(one, local), np.float32).reshape(-1)
        scores[history.items[evaluation.seen(history)]] = np.nan
        own = scores[items[indptr[row] : indptr[row + 1]]][:, None]
        found = (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2.0
        ranks[indptr[row] : indptr[row + 1]] = np.where(np.isnan(own[:, 0]), np.nan, found)
    found_rows = metrics.several(indptr, ranks)
    rows = np.zeros((len(indptr) - 1, 3))
    rows[found_rows.rows] = np.stack(
        [found_rows.values["hr@10"], found_rows.values["ndcg@10"], np.ones(len(found_rows.rows))], axis=1
    )
    return rows


def with_evaluation(rounds: tuple[Round, ...]) -> tuple[Round, ...]:
    """A learner's rounds and the one that measures."""
    return (*rounds, Round(len(rounds), STAGE, (Release(name=METRICS, shape=(3,)),)))


def with_metrics_bound(bounds: Mapping[str, Bound]) -> dict[str, Bound]:
    """A learner's bounds and that of `metrics`, whose rho is `SHARE` of all of them."""
    others = sum(bound.share for bound in bounds.values())
    return {**bounds, METRICS: Bound(clip_norm=CLIP, share=others * SHARE / (1 - SHARE))}


def document(evaluation: Evaluation | None) -> dict[str, Any] | None:
    """As a plan lists it."""
    return None if evaluation is None else dataclasses.asdict(evaluation)


@dataclass(frozen=True, slots=True)
class FederatedMetrics:
    """What the noised sum says.

    Attributes:
      values: hr@10 and ndcg@10, between 0 and 1; None where the noise drowns the number of customers.
      n: noised number of customers measured.
      standard_error: of the noise alone, for each of the three.
    """

    values: Mapping[str, float | None]
    n: float
    standard_error: Mapping[str, float | None]

    @classmethod
    def of(cls, total: npt.NDArray[np.float64], sigma: float) -> FederatedMetrics:
        """Ratios of the noised sums; errors by the delta method, sigma sqrt(1 + r^2) / n.

        Args:
          total: [3] sums of hits, of NDCG, and of customers.
          sigma: standard deviation of the noise in each of them.
        """
        n = float(total[2])
        values: dict[str, float | None] = {"hr@10": None, "ndcg@10": None}
        errors: dict[str, float | None] = {**values, "n": sigma}
        if n > LEAST_OVER_NOISE * sigma:
            for place, name in enumerate(values):
                ratio = float(total[place]) / n
                values[name] = min(1.0, max(0.0, ratio))
                errors[name] = sigma * math.sqrt(1 + ratio**2) / n
        return cls(values, n, errors)

    def document(self) -> dict[str, Any]:
        """As run.json holds it."""
        return {**self.values, "n": self.n, "standard_error": dict(self.standard_error)}
