"""Federated metrics: what one customer's row is, what a noised sum of them says, what the lane costs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcart.shared.errors import ProtocolError
from fedcart.shared.evaluation import (
    CLIP,
    METRICS,
    STAGE,
    Evaluation,
    FederatedMetrics,
    Measuring,
    measured_rows,
    with_evaluation,
    with_metrics_bound,
)
from fedcart.shared.interactions import Histories
from fedcart.shared.learners.base import Block, State
from fedcart.shared.learners.memory import MemoryCustomers
from fedcart.shared.learners.popularity import Popularity
from fedcart.shared.learners.toy import toy_catalogue
from fedcart.shared.privacy.accounting import run_rho
from fedcart.shared.privacy.release import Release
from fedcart.shared.privacy.sums import PlainSums
from fedcart.shared.privacy.terms import PrivacyTerms

NDCG2 = 1 / math.log2(3)


class Given:
    """The same scores for everybody."""

    def __init__(self, scores: Any) -> None:
        self.scores = np.asarray(scores, np.float32)

    def score(self, block: Block, local: Any) -> Any:
        assert block.histories.customers == 1
        return self.scores[None, :]


def held(rows: list[list[int]]) -> tuple[Any, Any]:
    """CSR of each customer's held-out items."""
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return indptr, np.array([item for row in rows for item in row], np.int32)


def block(histories: Histories) -> Block:
    return Block(0, 0, histories)


NEW = Evaluation(rule="leave-one-out", target="purchase")


def bought(*rows: list[int], items: int = 20) -> Histories:
    indptr, chosen = held([list(row) for row in rows])
    ones = np.ones(len(chosen), np.float32)
    fields = {"weights": ones, "behaviours": np.full(len(chosen), 8, np.uint8), "ages": ones}
    return Histories(items, indptr, chosen, **fields)


def test_hits_gains_and_ties_are_those_of_the_metrics():
    histories = bought([0], [0], [0, 1], [])
    falling = -np.arange(20.0)
    rows = measured_rows(Given(falling), NEW, block(histories), None, *held([[1], [15], [], [1, 19]]))
    assert rows[0].tolist() == [1, 1, 1]  # item 0 is masked, so item 1 comes first
    assert rows[1].tolist() == [0, 0, 1]
    assert rows[2].tolist() == [0, 0, 0]  # nothing held out: not measured
    assert rows[3] == pytest.approx([1, NDCG2 / (1 + NDCG2), 1])
    tied = measured_rows(Given(np.zeros(20)), NEW, block(bought([])), None, *held([[3]]))
    assert tied[0].tolist() == [1, 1 / math.log2(9.5 + 2), 1]  # rank 9.5 of 20


def test_only_pairs_of_the_target_are_masked_under_rules_by_time():
    histories = bought([0, 1])
    viewed = replace(histories, behaviours=np.array([1, 8], np.uint8))
    by_time = Evaluation(rule="time", target="purchase")
    assert by_time.seen(viewed).tolist() == [False, True]
    assert NEW.seen(viewed).tolist() == [True, True]


def test_an_item_that_is_held_out_and_seen_is_not_measured_and_fails_nothing():
    rows = measured_rows(Given(np.arange(20.0)), NEW, block(bought([4])), None, *held([[4]]))
    assert rows.tolist() == [[0, 0, 0]]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(width=32), min_size=20, max_size=20), st.lists(st.integers(0, 19), unique=True, max_size=20))
def test_no_customer_is_longer_than_the_clip_whatever_the_model_says(scores, items):
    rows = measured_rows(Given(scores), NEW, block(bought([0])), None, *held([items]))
    assert np.isfinite(rows).all()
    assert (rows >= 0).all()
    assert np.linalg.norm(rows[0]) <= CLIP * (1 + 1e-15)


def test_the_measuring_round_is_the_last_and_asks_for_what_was_held_out():
    catalogue, histories = toy_catalogue(20), bought([0], [0, 1])
    inner = Popularity()
    learner = Measuring(inner, catalogue, NEW)
    rounds = with_evaluation(inner.rounds(catalogue, 100))
    last = rounds[-1]
    assert (last.index, last.stage) == (len(rounds) - 1, STAGE)
    assert learner.bounds() == inner.bounds()  # everything else is the learner's own
    state = inner.initial_state(catalogue, 0)
    with pytest.raises(ProtocolError, match="holds nothing out"):
        learner.contribute(state, last, MemoryCustomers(histories), PlainSums(last.releases))
    after = learner.update(State(state.public, {"kept": np.ones(1)}), last, {METRICS: np.array([1.0, 0.5, 4.0])})
    assert after.public is state.public
    assert set(after.carried) == {"kept", METRICS}
    sums = PlainSums(rounds[0].releases)
    learner.contribute(state, rounds[0], MemoryCustomers(histories), sums)  # a learner's round needs no held-out items
    assert sums.totals["popularity"].any()


@pytest.mark.parametrize("epsilon", [0.5, 4.0])
def test_the_lane_costs_two_percent_of_mu_squared_and_the_run_its_epsilon(epsilon):
    catalogue, inner = toy_catalogue(8), Popularity()
    terms = PrivacyTerms(epsilon=epsilon, delta=1e-5, bounds=with_metrics_bound(inner.bounds()))
    rounds = terms.apply(with_evaluation(inner.rounds(catalogue, 100)), honest=1, attempts=1, customers_bound=100)
    assert float(run_rho(rounds[-1:], 1, 1) / run_rho(rounds, 1, 1)) == pytest.approx(0.02, rel=1e-4)
    (lane,) = rounds[-1].releases
    assert (lane.name, lane.shape, lane.sensitivity()) == (METRICS, (3,), CLIP)


def test_the_printed_error_is_the_error_of_the_ratio():
    """100,000 draws: the empirical deviation errs by 0.3 %; 5 % off would be seen."""
    truth, sigma = np.array([400.0, 150.0, 2000.0]), 20.0
    draws = np.random.default_rng(0).normal(truth, sigma, (100_000, 3))
    said = FederatedMetrics.of(truth, sigma)
    for place, name in enumerate(("hr@10", "ndcg@10")):
        empirical = np.std(draws[:, place] / draws[:, 2])
        assert said.standard_error[name] == pytest.approx(empirical, rel=0.02)
    assert said.standard_error["n"] == sigma


def test_a_ratio_that_noise_drowns_is_not_said_and_one_outside_is_cut():
    drowned = FederatedMetrics.of(np.array([3.0, 1.0, 90.0]), 20.0)
    assert drowned.values == {"hr@10": None, "ndcg@10": None}
    assert drowned.document()["standard_error"] == {"hr@10": None, "ndcg@10": None, "n": 20.0}
    assert FederatedMetrics.of(np.array([-3.0, 120.0, 110.0]), 20.0).values == {"hr@10": 0.0, "ndcg@10": 1.0}


def test_a_learners_release_of_another_name_is_no_lane():
    assert Release(name=METRICS, shape=(3,), clip_norm=CLIP).sensitivity() == CLIP
