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


def one_item_each(*sizes: int) -> Summariser:
    """Stores of `sizes` customers, each with one new held-out item; 4000 replicates, whose quantiles have a standard
    error of .022 half-widths, so 8 % is 3.7 of them."""
    customers = sum(sizes)
    train = build_histories(Interactions.build([0], [0]), customers, ITEMS)
    held = HeldOut(np.arange(customers + 1), np.full(customers, 5, np.int32), np.ones(customers, np.bool_), None)
    offsets = np.cumsum([0, *sizes]).astype(np.int64)
    names = tuple(f"store {index}" for index in range(len(sizes)))
    stores = Partition(Interactions.build([0], [0]), np.arange(customers), offsets, names)
    catalogue = Catalogue(tuple(map(str, range(ITEMS))), "given", {})
    return Summariser(Split(train, held, "purchase", "time", None), stores, catalogue, 0, 4000)


def ranked(hits: Any) -> Ranking:
    """NDCG@10 of 1 where a hit, of 0 elsewhere."""
    ranks = np.where(np.asarray(hits, bool), 0.0, 100.0)
    return Ranking(np.full(len(ranks), np.nan), ranks, ranks, np.full((len(ranks), 10), -1, np.int32))


def assert_normal_95(found: dict[str, Any], groups: list[Any]) -> None:
    """The interval is mean -+ 1.96 sqrt(sum of the groups' var / n) / groups; a 90 % one is 16 % too narrow."""
    difference = float(np.mean([np.mean(group) for group in groups]))
    half = 1.96 * math.sqrt(sum(np.var(group) / len(group) for group in groups)) / len(groups)
    assert found["difference"] == pytest.approx(difference, abs=1e-12)
    assert (found["high"] - found["low"]) / 2 == pytest.approx(half, rel=0.08)
    assert found["low"] == pytest.approx(difference - half, abs=0.1 * half)


def test_a_block_holds_means_over_measured_customers() -> None:
    block = summariser(ONE_EACH, sampled=True).block(ranking([0.0, 3.0, 11.0], sampled=[0.0, 1.0, math.nan, 2.0]), True)
    assert block["n"] == 3
    assert block["full"]["ndcg@10"] == pytest.approx((1 + gain(3)) / 3)
    assert block["full"]["hr@10"] == pytest.approx(2 / 3)
    assert block["full"]["recall@20"] == 1
    assert block["sampled"]["ndcg@10"] == pytest.approx((1 + gain(1) + gain(2)) / 3)
    assert block["macro"]["ndcg@10"] == pytest.approx((1 + gain(3) / 2) / 2)  # the empty store counts for nothing
    assert block["sampled"]["n"] == 3


def test_a_sampled_mean_is_over_its_own_customers_and_says_how_many() -> None:
    ranks = [0.0, math.nan, math.nan, math.nan]
    block = summariser(ONE_EACH, sampled=True).block(ranking([0.0, 3.0, 11.0], sampled=ranks), True)
    assert (block["n"], block["sampled"]) == (3, {"hr@10": 1.0, "ndcg@10": 1.0, "n": 1})


def test_an_interval_of_a_mean_is_one_of_95_percent() -> None:
    s, hits = one_item_each(1000), np.arange(1000) % 5 == 0
    low, high = s.block(ranked(hits), True)["ci95"]["ndcg@10"]
    assert_normal_95({"difference": hits.mean(), "low": low, "high": high}, [hits])


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
    assert s.paired("a", one, "b", other)["difference"] == pytest.approx((1 - gain(1) + 0 - gain(2)) / 3)
    assert s.paired("a", one, "b", one)["difference"] == 0


def test_who_gains_is_paired_with_who_loses_and_not_the_best_with_the_best() -> None:
    """Both methods hit 500 of 1000, but not the same 500: sorted before they are subtracted they would be equal."""
    s, hits = one_item_each(1000), np.arange(1000) % 2 == 0
    found = s.paired("a", ranked(hits), "b", ranked(~hits))
    assert_normal_95(found, [np.where(hits, 1.0, -1.0)])
    assert s.paired("a", ranked(hits), "b", ranked(hits)) == found | {"difference": 0, "low": 0, "high": 0}


def test_what_both_methods_share_does_not_widen_their_interval() -> None:
    """The method hits who the other hits and 20 more; as two samples the interval would be 5 times as wide."""
    s, hits = one_item_each(1000), np.arange(1000) < 500
    found = s.paired("a", ranked(np.arange(1000) < 520), "b", ranked(hits))
    assert_normal_95(found, [np.repeat([1.0, 0.0], [20, 980])])


def test_the_mean_over_stores_pairs_customers_and_draws_within_every_store() -> None:
    """A large even store, a small one that gains and a small one that loses a little. Sorted before they are
    subtracted, the first would have no spread; without the others the mean and the width would be other ones."""
    s = one_item_each(400, 40, 60)
    one = np.concatenate([np.arange(400) % 2 == 0, np.arange(40) < 30, np.arange(60) < 15])
    other = np.concatenate([np.arange(400) % 2 == 1, np.arange(40) >= 35, np.arange(60) >= 40])
    difference = one.astype(float) - other
    groups = [difference[:400], difference[400:440], difference[440:]]
    found = s.paired_macro("a", ranked(one), "b", ranked(other))
    assert_normal_95(found, groups)
    assert (found["metric"], found["n"]) == ("macro ndcg@10", 500)
    assert found["difference"] == pytest.approx((0 + 25 / 40 - 5 / 60) / 3)


def test_stores_are_strata_and_their_distance_does_not_widen_the_interval() -> None:
    """One store gains everywhere, the other loses everywhere: redrawn within stores the mean is 0 each time."""
    s, gains = one_item_each(50, 50), np.arange(100) < 50
    found = s.paired_macro("a", ranked(gains), "b", ranked(~gains))
    assert (found["difference"], found["low"], found["high"]) == (0, 0, 0)


@pytest.mark.parametrize("customers", [1, 19, 20])
def test_fewer_than_twenty_measured_customers_have_no_interval(customers: int) -> None:
    """One customer's bootstrap is a point: every draw is the same."""
    s = one_item_each(customers)
    one, other = ranked(np.arange(customers) == 0), ranked(np.zeros(customers))
    known = customers == 20
    assert (s.block(one, True)["ci95"] is not None) == known
    for found in (s.paired("a", one, "b", other), s.paired_macro("a", one, "b", other)):
        assert ((found["low"], found["high"]) != (-1, 1)) == known
    (row,) = s.stores(other, one)
    assert (row["measured"], row["together"], row["alone"]) == (customers, pytest.approx(1 / customers), 0)
    assert (None not in (row["low"], row["high"])) == known


def test_a_stores_interval_is_that_of_its_own_customers_in_pairs() -> None:
    s = one_item_each(300, 1000, 30)
    one = np.concatenate([np.ones(300), np.arange(1000) % 2 == 0, np.ones(30)])
    other = np.concatenate([np.zeros(300), np.arange(1000) % 2 == 1, np.zeros(30)])
    rows = s.stores(ranked(other), ranked(one))
    assert [row["measured"] for row in rows] == [300, 1000, 30]
    assert [(row["low"], row["high"]) for row in rows[::2]] == [(1, 1), (1, 1)]
    assert_normal_95(rows[1] | {"difference": rows[1]["together"] - rows[1]["alone"]}, [(one - other)[300:1300]])


def test_every_store_has_its_row_and_an_empty_one_has_no_figure() -> None:
    rows = summariser(ONE_EACH).stores(ranking([1.0, 3.0, 3.0]), ranking([0.0, 3.0, 11.0]))
    assert [(r["store"], r["customers"]) for r in rows] == [("first", 1), ("empty", 0), ("third", 3)]
    assert rows[0]["together"] == 1
    assert rows[0]["alone"] == pytest.approx(gain(1))
    assert (rows[1]["together"], rows[1]["alone"], rows[1]["low"]) == (None, None, None)
    assert rows[2]["together"] == pytest.approx(gain(3) / 2)
    assert [row["measured"] for row in rows] == [1, 0, 2]


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
