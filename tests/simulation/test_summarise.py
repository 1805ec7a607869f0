"""From rankings to run.json: hand-computed means, stores, pairs, lists and long tail; never a NaN."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import Interactions, build_histories
from fedcart.simulation.evaluate import Ranking
from fedcart.simulation.held_out import HeldOut
from fedcart.simulation.partition import Partition
from fedcart.simulation.split import Split
from fedcart.simulation.summarise import Summariser, different_pairs, macro, pair_gain

ITEMS = 12
CATEGORY = np.array(["a", "a", "b", "b", "c", "c", "d", "d", "e", "e", "f", "f"], object)


def summariser(held: list[list[int]], sampled: bool = False, category: bool = True) -> Summariser:
    """Four customers in stores of 1, 0 and 3; item i was had by one customer, item 0 by all."""
    train = build_histories(Interactions.build([0, 1, 2, 3, 0, 1], [0, 0, 0, 0, 1, 2]), 4, ITEMS)
    indptr = np.cumsum([0, *map(len, held)]).astype(np.int64)
    items = np.array([i for row in held for i in row], np.int32)
    candidates = np.zeros((4, 2), np.int32) if sampled else None
    split = Split(train, HeldOut(indptr, items, np.ones(len(items), np.bool_), candidates), "purchase", "time", None)
    stores = Partition(
        Interactions.build([0], [0]), np.arange(4), np.array([0, 1, 1, 4], np.int64), ("first", "empty", "third")
    )
    columns = {"category": CATEGORY} if category else {}
    return Summariser(split, stores, Catalogue(tuple(map(str, range(ITEMS))), "given", columns), 0, 200)


def ranking(new: list[float], top: Any = None, sampled: Any = None) -> Ranking:
    lists = np.full((4, 10), -1, np.int32) if top is None else np.asarray(top, np.int32)
    ranks = np.full(4, np.nan) if sampled is None else np.asarray(sampled, np.float64)
    return Ranking(ranks, np.array(new, np.float64), np.array(new, np.float64) + 1, lists)


ONE_EACH = [[5], [6], [], [7]]


def gain(rank: float) -> float:
    return 1 / math.log2(rank + 2)


def test_a_block_holds_means_over_measured_customers() -> None:
    block = summariser(ONE_EACH, sampled=True).block(ranking([0.0, 3.0, 11.0], sampled=[0.0, 1.0, math.nan, 2.0]), True)
    assert block["n"] == 3
    assert block["full"]["ndcg@10"] == pytest.approx((1 + gain(3)) / 3)
    assert block["full"]["hr@10"] == pytest.approx(2 / 3)
    assert block["full"]["recall@20"] == 1
    assert block["sampled"]["ndcg@10"] == pytest.approx((1 + gain(1) + gain(2)) / 3)
    assert block["macro"]["ndcg@10"] == pytest.approx((1 + gain(3) / 2) / 2)  # the empty store counts for nothing
    low, high = block["ci95"]["ndcg@10"]
    assert low <= block["full"]["ndcg@10"] <= high


def test_all_items_are_measured_by_their_own_ranks_and_have_no_lists() -> None:
    block = summariser(ONE_EACH, sampled=True).block(ranking([0.0, 3.0, 11.0]), False)
    assert block["full"]["ndcg@10"] == pytest.approx((gain(1) + gain(4)) / 3)
    assert block["sampled"] is None
    assert block["full"]["coverage@10"] is None


def test_lists_are_described_by_hand_computed_coverage_novelty_and_diversity() -> None:
    top = np.full((4, 10), -1)
    top[0] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    top[1, :2] = [0, 1]
    block = summariser(ONE_EACH).block(ranking([0.0, 3.0, 11.0], top), True)
    assert block["full"]["coverage@10"] == pytest.approx(10 / 12)
    bits = [0.0] + [2.0] * 9 + [0.0, 2.0]  # item 0 was had by 4 of 4 customers, the others by 1, or count as 1
    assert block["full"]["novelty@10"] == pytest.approx(sum(bits) / 12)
    assert block["full"]["diversity@10"] == pytest.approx(40 / 45)  # five of 45 pairs share a category
    assert (
        summariser(ONE_EACH, category=False).block(ranking([0.0, 3.0, 11.0], top), True)["full"]["diversity@10"] is None
    )


def test_a_pair_of_methods_is_compared_customer_by_customer() -> None:
    s = summariser(ONE_EACH)
    one, other = ranking([0.0, 3.0, 11.0]), ranking([1.0, 3.0, 2.0])
    found = s.paired("a", one, "b", other)
    assert found["difference"] == pytest.approx((1 - gain(1) + 0 - gain(2)) / 3)
    assert found["low"] <= found["difference"] <= found["high"]
    assert s.paired("a", one, "a", one) == found | {"against": "a", "difference": 0, "low": 0, "high": 0}


def test_every_store_has_its_row_and_an_empty_one_has_no_figure() -> None:
    rows = summariser(ONE_EACH).stores(ranking([1.0, 3.0, 3.0]), ranking([0.0, 3.0, 11.0]))
    assert [(r["store"], r["customers"]) for r in rows] == [("first", 1), ("empty", 0), ("third", 3)]
    assert rows[0]["together"] == 1
    assert rows[0]["alone"] == pytest.approx(gain(1))
    assert rows[0]["low"] == rows[0]["high"] == pytest.approx(1 - gain(1))
    assert (rows[1]["together"], rows[1]["alone"], rows[1]["low"]) == (None, None, None)
    assert rows[2]["together"] == pytest.approx(gain(3) / 2)
    assert rows[2]["low"] <= -gain(3) / 2 <= rows[2]["high"]


def test_without_training_alone_a_store_has_its_figure_together() -> None:
    rows = summariser(ONE_EACH).stores(None, ranking([0.0, 3.0, 11.0]))
    assert [(r["alone"], r["low"]) for r in rows] == [(None, None)] * 3
    assert rows[0]["together"] == 1


def test_the_long_tail_groups_items_by_training_pairs() -> None:
    """Item 0 holds 4 of 6 training pairs: it alone is the head."""
    tail = summariser([[0], [1], [], [7]]).long_tail({"together": ranking([0.0, 3.0, 11.0]), "alone": None})
    assert [row["group"] for row in tail] == ["head", "middle", "tail"]
    assert sum(row["share_of_items"] for row in tail) == pytest.approx(1)
    assert tail[0]["share_of_items"] == pytest.approx(1 / 12)
    assert tail[0]["ndcg@10"] == {"together": 1.0, "alone": None}
    assert tail[1]["ndcg@10"]["together"] == pytest.approx(gain(3))
    assert tail[2]["ndcg@10"]["together"] == 0


def test_an_item_whose_pairs_begin_after_half_of_all_is_no_head_item() -> None:
    s = summariser([[0], [1], [], [2]])
    train = build_histories(Interactions.build([0, 1, 0, 1], [0, 0, 1, 2]), 4, ITEMS)  # shares .5, .25, .25
    tail = Summariser(replace(s.split, train=train), s.partition, s.catalogue, 0, 10).long_tail({})
    assert [row["share_of_items"] * ITEMS for row in tail] == pytest.approx([1, 2, 9])


def test_a_run_that_measured_nobody_still_writes_numbers() -> None:
    """JSON has no NaN: a run whose held-out items are all repeats has no new one to measure."""
    s = summariser(ONE_EACH)
    nothing = ranking([math.nan] * 3)
    document = [
        s.block(nothing, True),
        s.paired("a", nothing, "b", nothing),
        s.paired_macro("a", nothing, "b", nothing),
        s.stores(nothing, nothing),
        s.long_tail({"together": nothing}),
    ]
    json.dumps(document, allow_nan=False)
    assert document[0]["n"] == 0


def test_pieces_by_hand() -> None:
    assert pair_gain(np.array([math.nan, 0.0, 10.0])) == 0.5
    assert pair_gain(np.array([math.nan])) is None
    assert different_pairs(np.array([[0, 1, 2]]), CATEGORY) == pytest.approx(2 / 3)
    assert different_pairs(np.array([[0, 1, -1]]), CATEGORY) == 0


def test_macro_gives_a_small_store_the_weight_of_a_large_one() -> None:
    from fedcart.shared.metrics import PerCustomer

    found = PerCustomer(np.arange(4), {"ndcg@10": np.array([1.0, 0.0, 0.0, 0.3])})
    assert macro(found, np.array([0, 2, 2, 2])) == pytest.approx((1 + 0.1) / 2)
