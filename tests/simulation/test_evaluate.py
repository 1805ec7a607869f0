"""Ranking against a slow plain reference: ties, -inf, masks, candidates, and store by store equal to all at once."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcart.shared.errors import FedcartError
from fedcart.shared.interactions import BEHAVIOURS, Interactions, build_histories
from fedcart.shared.learners.base import Block, LocalTable
from fedcart.simulation import evaluate
from fedcart.simulation.evaluate import Ranking, join, rank
from fedcart.simulation.held_out import HeldOut
from fedcart.simulation.split import Split

PURCHASE, VIEW = BEHAVIOURS.index("purchase"), BEHAVIOURS.index("view")
SCORES = st.sampled_from([-math.inf, -1.0, 0.0, 0.5, 0.5, 2.0, math.inf])


class Table:
    """Scores by store row, whatever the block; counts what it was asked."""

    def __init__(self, scores: npt.NDArray[Any], first: int = 0) -> None:
        self.scores, self.first = scores, first
        self.asked: list[Block] = []

    def score(self, block: Block, local: LocalTable | None) -> npt.NDArray[np.float32]:
        self.asked.append(block)
        start = self.first + block.start
        found: npt.NDArray[np.float32] = self.scores[start : start + block.histories.customers]
        return found


@st.composite
def cases(draw: st.DrawFn) -> tuple[Split, npt.NDArray[np.float32]]:
    customers, items = draw(st.integers(1, 5)), draw(st.integers(1, 14))
    one_each = draw(st.booleans())
    item = st.integers(0, items - 1)
    events = [
        (c, i, b)
        for c in range(customers)
        for i, b in draw(st.lists(st.tuples(item, st.sampled_from([VIEW, PURCHASE])), max_size=items))
    ]
    held = [sorted(draw(st.sets(item, max_size=1 if one_each else 4))) for _ in range(customers)]
    indptr = np.cumsum([0, *map(len, held)]).astype(np.int64)
    bought = {(c, i) for c, i, b in events if b == PURCHASE}
    rule = draw(st.sampled_from(["leave-one-out", "time"]))
    if rule == "leave-one-out":  # there a new item has no trace in training
        events = [(c, i, b) for c, i, b in events if i not in held[c] or (c, i) in bought]
    columns = np.array(events, np.int64).reshape(-1, 3).T
    train = build_histories(Interactions.build(columns[0], columns[1], behaviour=columns[2]), customers, items)
    is_new = np.array([(c, i) not in bought for c, row in enumerate(held) for i in row], np.bool_)
    candidates = None
    if one_each:
        candidates = np.full((customers, 4), -1, np.int32)
        for c, row in enumerate(held):
            if row:
                others = (
                    draw(st.lists(item.filter(lambda i, own=row[0]: i != own), max_size=3, unique=True))
                    if items > 1
                    else []
                )
                candidates[c, : 1 + len(others)] = [row[0], *others]
    out = HeldOut(indptr, np.array([i for row in held for i in row], np.int32), is_new, candidates)
    values = draw(st.lists(SCORES, min_size=customers * items, max_size=customers * items))
    return Split(train, out, "purchase", rule, None), np.array(values, np.float32).reshape(customers, items)


def slow_rank(own: float, others: list[float]) -> float:
    return sum(x > own for x in others) + sum(x == own for x in others) / 2


def had_by(split: Split, customer: int) -> set[int]:
    """What is masked: what was bought, and what was only viewed where a new item has no trace in training."""
    pairs = slice(int(split.train.indptr[customer]), int(split.train.indptr[customer + 1]))
    bought = split.train.behaviours[pairs] >> PURCHASE & 1 == 1
    return set(split.train.items[pairs][bought | (split.rule == "leave-one-out")].tolist())


def reference(split: Split, scores: npt.NDArray[np.float32]) -> Ranking:
    """The docstrings of Ranking, one pair at a time."""
    customers, items = scores.shape
    held = split.held_out
    sampled, new, everything, top = np.full(customers, np.nan), [], [], np.full((customers, 10), -1, np.int32)
    for c in range(customers):
        row, had = scores[c].tolist(), had_by(split, c)
        pairs = range(int(held.indptr[c]), int(held.indptr[c + 1]))
        for pair in pairs:
            item = int(held.items[pair])
            everything.append(slow_rank(row[item], [row[i] for i in range(items) if i != item]))
            fresh = [row[i] for i in range(items) if i != item and i not in had]
            new.append(slow_rank(row[item], fresh) if held.is_new[pair] else math.nan)
        if len(pairs) and held.candidates is not None and held.is_new[pairs[0]]:
            first, *others = [i for i in held.candidates[c].tolist() if i >= 0]
            sampled[c] = slow_rank(row[first], [row[i] for i in others])
    return Ranking(sampled, np.array(new, np.float64), np.array(everything, np.float64), top)


@given(cases())
def test_ranks_are_what_a_plain_loop_says(case: tuple[Split, npt.NDArray[np.float32]]) -> None:
    split, scores = case
    found, expected = rank(Table(scores), split), reference(split, scores)
    np.testing.assert_array_equal(found.sampled, expected.sampled)
    np.testing.assert_array_equal(found.new, expected.new)
    np.testing.assert_array_equal(found.all, expected.all)


@given(cases())
def test_the_list_shown_is_the_best_of_new_items_that_can_be_ranked(case: tuple[Split, Any]) -> None:
    split, scores = case
    found = rank(Table(scores), split)
    for c, shown in enumerate(found.top.tolist()):
        row = scores[c].tolist()
        if not split.held_out.indptr[c + 1] > split.held_out.indptr[c]:
            assert shown == [-1] * 10
            continue
        had = had_by(split, c)
        able = sorted((row[i] for i in range(len(row)) if i not in had and row[i] > -math.inf), reverse=True)
        listed = [i for i in shown if i >= 0]
        assert shown == listed + [-1] * (10 - len(listed))
        assert len(set(listed)) == len(listed)
        assert not had & set(listed)
        assert [row[i] for i in listed] == able[:10]


@given(cases(), st.integers(0, 5))
def test_store_by_store_equals_all_at_once(case: tuple[Split, Any], cut: int) -> None:
    split, scores = case
    cut = min(cut, split.train.customers)
    whole = rank(Table(scores), split)
    parts = [
        rank(Table(scores, first), split.slice(first, last)) for first, last in ((0, cut), (cut, split.train.customers))
    ]
    joined = join(parts)
    for name in ("sampled", "new", "all", "top"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))


@given(cases(), st.integers(1, 40))
def test_the_size_of_the_blocks_changes_nothing(case: tuple[Split, Any], at_once: int) -> None:
    split, scores = case
    whole = rank(Table(scores), split)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "SCORES_AT_ONCE", at_once)
        table = Table(scores)
        small = rank(table, split)
    for name in ("sampled", "new", "all", "top"):
        np.testing.assert_array_equal(getattr(small, name), getattr(whole, name))
    assert all(b.histories.customers <= max(1, at_once // scores.shape[1]) for b in table.asked)
    assert [b.key for b in table.asked] == list(range(len(table.asked)))


@given(cases())
def test_ranking_leaves_the_scorers_array_alone(case: tuple[Split, Any]) -> None:
    split, scores = case
    before = scores.copy()
    rank(Table(scores), split)
    np.testing.assert_array_equal(scores, before)


def one(items: int, held: list[int], bought: list[int], candidates: list[int] | None = None) -> Split:
    train = build_histories(Interactions.build([0] * len(bought), bought), 1, items)
    out = HeldOut(
        np.array([0, len(held)], np.int64),
        np.array(held, np.int32),
        np.array([i not in bought for i in held], np.bool_),
        None if candidates is None else np.array([candidates], np.int32),
    )
    return Split(train, out, "purchase", "leave-one-out", None)


def test_a_constant_scorer_ranks_in_the_middle() -> None:
    found = rank(Table(np.zeros((1, 101), np.float32)), one(101, [7], [], [7, *range(50, 59)]))
    assert (found.all.tolist(), found.new.tolist(), found.sampled.tolist()) == ([50.0], [50.0], [4.5])


def test_a_seen_item_does_not_tie_with_one_that_cannot_be_ranked() -> None:
    scores = np.array([[3.0, -math.inf, -math.inf, 1.0]], np.float32)
    found = rank(Table(scores), one(4, [1], [0, 3]))
    assert found.new.tolist() == [0.5]  # item 2 alone is as hopeless; the seen items are out of the ranking
    assert found.all.tolist() == [2.5]
    assert found.top.tolist() == [[-1] * 10]


def test_a_repeat_has_no_rank_among_candidates_the_customer_never_touched() -> None:
    found = rank(Table(np.array([[3.0, 2.0, 1.0]], np.float32)), one(3, [0], [0], [0, 1, 2]))
    np.testing.assert_array_equal(found.sampled, [math.nan])
    assert found.all.tolist() == [0.0]


def test_a_new_item_that_is_masked_as_seen_is_refused_instead_of_ranked_first() -> None:
    train = build_histories(Interactions.build([0], [1], behaviour="view"), 1, 3)
    split = replace(one(3, [1], []), train=train)
    with pytest.raises(FedcartError, match="masked as seen; nothing was ranked"):
        rank(Table(np.zeros((1, 3), np.float32)), split)


def test_a_repeat_is_ranked_among_all_items_only() -> None:
    found = rank(Table(np.array([[3.0, 2.0, 1.0]], np.float32)), one(3, [0, 2], [0]))
    np.testing.assert_array_equal(found.new, [math.nan, 1.0])
    assert found.all.tolist() == [0.0, 2.0]


@pytest.mark.parametrize(
    "scores", [np.array([[1.0, math.nan, 0.0]], np.float32), np.zeros((1, 2), np.float32), np.zeros((2, 3), np.float32)]
)
def test_scores_that_are_nan_or_of_another_shape_are_refused(scores: Any) -> None:
    class Wrong:
        def score(self, block: Block, local: LocalTable | None) -> Any:
            return scores

    with pytest.raises(FedcartError, match="nothing was ranked"):
        rank(Wrong(), one(3, [0], []))


def test_both_rankings_compare_in_single_precision() -> None:
    """A scorer of doubles would otherwise have other ties among all items than among new ones."""
    scores = np.array([[1.0, 1.0 + 1e-12, 0.0]], np.float64)
    found = rank(Table(scores), one(3, [0], []))
    assert (found.all.tolist(), found.new.tolist()) == ([0.5], [0.5])


def test_progress_ends_with_the_last_measured_customer() -> None:
    seen: list[tuple[int, int]] = []
    rank(Table(np.zeros((1, 3), np.float32)), one(3, [0], []), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 1)]
