"""Metrics against values computed by hand and a plain loop; intervals against their stated coverage."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcart.shared.metrics import bootstrap_interval, gain, several, single, stratified_interval

RANK = st.floats(0, 30).map(lambda x: round(2 * x) / 2) | st.just(math.nan)
HELD_OUT = st.lists(st.lists(RANK, max_size=14), max_size=6)


def csr(customers: list[list[float]]) -> tuple[np.ndarray, np.ndarray]:
    indptr = np.cumsum([0, *map(len, customers)]).astype(np.int64)
    return indptr, np.array([r for ranks in customers for r in ranks], np.float64)


def test_one_customer_by_hand() -> None:
    found = several(*csr([[0.0, 3.0, 14.0, 40.0]]))
    dcg = 1 + 1 / math.log2(5)
    ideal = 1 + 1 / math.log2(3) + 1 / 2 + 1 / math.log2(5)
    precision, recall = 2 / 10, 2 / 4
    expected = {
        "hr@10": 1.0,
        "ndcg@10": dcg / ideal,
        "recall@20": 3 / 4,
        "precision@10": precision,
        "f1@10": 2 * precision * recall / (precision + recall),
        "mrr@10": 1.0,
    }
    assert {name: values[0] for name, values in found.values.items()} == pytest.approx(expected, rel=1e-12)
    assert found.rows.tolist() == [0]


def test_the_tenth_place_counts_and_the_eleventh_does_not() -> None:
    found = several(*csr([[9.0], [10.0]]))
    assert found.values["hr@10"].tolist() == [1, 0]
    assert found.values["ndcg@10"].tolist() == pytest.approx([1 / math.log2(11), 0])
    assert found.values["mrr@10"].tolist() == pytest.approx([1 / 10, 0])


def test_a_customer_without_measured_item_is_left_out() -> None:
    found = several(*csr([[], [math.nan], [0.0, math.nan], [50.0]]))
    assert found.rows.tolist() == [2, 3]
    assert found.values["recall@20"].tolist() == [1, 0]
    assert several(*csr([])).rows.tolist() == []


def slow(ranks: list[float]) -> dict[str, float] | None:
    """The definitions, one customer at a time."""
    known = [r for r in ranks if not math.isnan(r)]
    if not known:
        return None
    hits = min(10, sum(r < 10 for r in known))
    ideal = sum(1 / math.log2(place + 2) for place in range(min(10, len(known))))
    precision, recall = hits / 10, hits / len(known)
    return {
        "hr@10": float(hits > 0),
        "ndcg@10": min(1.0, sum(1 / math.log2(r + 2) for r in known if r < 10) / ideal),
        "recall@20": sum(r < 20 for r in known) / len(known),
        "precision@10": precision,
        "f1@10": 2 * precision * recall / (precision + recall) if hits else 0.0,
        "mrr@10": max((1 / (r + 1) for r in known if r < 10), default=0.0),
    }


@given(HELD_OUT)
def test_metrics_are_what_a_plain_loop_says(customers: list[list[float]]) -> None:
    found = several(*csr(customers))
    expected = {row: x for row, ranks in enumerate(customers) if (x := slow(ranks)) is not None}
    assert found.rows.tolist() == list(expected)
    for position, values in enumerate(expected.values()):
        assert {name: column[position] for name, column in found.values.items()} == pytest.approx(values)


@given(HELD_OUT)
def test_no_metric_leaves_zero_to_one(customers: list[list[float]]) -> None:
    for values in several(*csr(customers)).values.values():
        assert ((values >= 0) & (values <= 1)).all()


def test_many_items_tied_around_the_tenth_place_are_no_better_than_a_perfect_list() -> None:
    """19 items with one score all have rank 9: without a bound their gains would add up to more than the ideal's."""
    found = several(*csr([[9.0] * 19]))
    assert found.values["ndcg@10"].tolist() == [1.0]
    assert found.values["precision@10"].tolist() == [1.0]


@given(st.lists(RANK, max_size=8))
def test_one_held_out_item_measures_alike_both_ways(ranks: list[float]) -> None:
    one = single(np.array(ranks, np.float64))
    many = several(*csr([[r] for r in ranks]))
    assert one.rows.tolist() == many.rows.tolist()
    for name, values in one.values.items():
        np.testing.assert_allclose(values, many.values[name], rtol=1e-12)


def test_gain_falls_with_rank_and_ends_at_the_cutoff() -> None:
    ranks = np.arange(0, 12, 0.5)
    values = gain(ranks, 10)
    assert values[0] == 1
    assert (np.diff(values[ranks < 10]) < 0).all()
    assert (values[ranks >= 10] == 0).all()


def coverage(level: float, trials: int = 250, customers: int = 80) -> float:
    generator = np.random.default_rng(20_260_101)
    inside = 0
    for trial in range(trials):
        sample = (generator.random(customers) < 0.3).astype(np.float64)
        low, high = bootstrap_interval(sample, seed=trial, replicates=200, level=level)
        inside += low <= 0.3 <= high
    return inside / trials


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Fixed seed. Over seeds, of a true coverage of .93 (the percentile interval's at n = 80), 250 trials fall
    outside .88 to .98 with probability 2e-3 (binomial, standard deviation .0161)."""
    assert 0.88 < coverage(0.95) < 0.98


def test_the_coverage_test_would_catch_an_interval_that_is_too_narrow() -> None:
    """An interval of level .80 covers about .78: 250 trials reach .88 with probability 1e-4."""
    assert not 0.88 < coverage(0.80) < 0.98


NORMAL = {0.90: 1.6449, 0.95: 1.9600, 0.99: 2.5758}


@pytest.mark.parametrize("level", NORMAL)
def test_the_interval_is_that_of_the_mean_at_its_level(level: float) -> None:
    """Of 20,000 replicates the .005, .025 and .05 quantiles have standard errors of at most .019 half-widths: 8 %
    are four of them. The interval of 90 % is 16 % narrower than that of 95 %."""
    values = np.random.default_rng(1).normal(5, 2, 500)
    half = NORMAL[level] * values.std() / math.sqrt(500)
    options = {} if level == 0.95 else {"level": level}  # 95 % unless told otherwise
    for low, high in (
        bootstrap_interval(values, 0, 20_000, **options),
        stratified_interval([values], 0, 20_000, **options),
    ):
        assert low == pytest.approx(values.mean() - half, abs=0.08 * half)
        assert high == pytest.approx(values.mean() + half, abs=0.08 * half)


def test_the_level_test_tells_neighbouring_levels_apart() -> None:
    levels = list(NORMAL.values())
    assert all(abs(a / b - 1) > 2 * 0.08 - 0.01 for a, b in itertools.permutations(levels, 2))


def test_a_stratified_interval_draws_within_every_group_and_weighs_groups_alike() -> None:
    """Groups of other sizes, means and spreads; 4000 replicates, a quantile's standard error .022 half-widths."""
    generator = np.random.default_rng(2)
    groups = [generator.normal(0, 1, 30), generator.normal(9, 3, 400), generator.normal(-4, 0.5, 60)]
    centre = np.mean([x.mean() for x in groups])
    half = 1.96 * math.sqrt(sum(x.var() / len(x) for x in groups)) / 3
    low, high = stratified_interval(groups, 0, 4000)
    assert low == pytest.approx(centre - half, abs=0.08 * half)
    assert high == pytest.approx(centre + half, abs=0.08 * half)


def test_no_groups_have_no_stratified_interval() -> None:
    assert all(math.isnan(x) for x in stratified_interval([], 0))


def test_the_same_seed_gives_the_same_interval_and_another_one_another() -> None:
    values = np.random.default_rng(1).random(50)
    assert bootstrap_interval(values, 3) == bootstrap_interval(values, 3)
    assert bootstrap_interval(values, 3) != bootstrap_interval(values, 4)


def test_no_customers_have_no_interval() -> None:
    low, high = bootstrap_interval(np.empty(0), 0)
    assert math.isnan(low)
    assert math.isnan(high)
