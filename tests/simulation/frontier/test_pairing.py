"""Pairs are of the same customers on the same items, signs are right, and seeds widen an interval."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedcart.shared.errors import DataError
from fedcart.simulation.frontier.buys import bought, reached
from fedcart.simulation.frontier.grid import Cell
from fedcart.simulation.frontier.pairing import Difference, difference, paired
from fedcart.simulation.frontier.results import Found
from fedcart.simulation.frontier.table import summary

PEOPLE = 40


def write(directory: Path, ranks: list[float], *, store: str = "a", item: str = "i", people: int = PEOPLE) -> Path:
    directory.mkdir()
    order = list(range(people)) if store == "a" else list(reversed(range(people)))
    frame = pd.DataFrame(
        {
            "customer": order,
            "store": [f"{store}{person % 2}" for person in order],
            "item": [f"{item}{person}" for person in order],
            "is_new": True,
            "federated.new": [ranks[person] for person in order],
        }
    )
    frame.sort_values("store", kind="stable").to_parquet(directory / "results.parquet", index=False)
    return directory


def test_the_sign_is_that_of_the_first_minus_the_second(tmp_path: Path) -> None:
    good = write(tmp_path / "good", [0.0] * PEOPLE)
    bad = write(tmp_path / "bad", [float(3 + person % 3) for person in range(PEOPLE)])
    better = paired([difference(good, "federated", bad, "federated")], 100)
    worse = paired([difference(bad, "federated", good, "federated")], 100)
    assert better.low is not None
    assert (better.verdict, worse.verdict) == (1, -1)
    assert 0 < better.low <= better.difference
    assert worse.difference == -better.difference


def test_customers_are_matched_whatever_their_store_and_order(tmp_path: Path) -> None:
    ranks = [float(person % 12) for person in range(PEOPLE)]
    one, other = write(tmp_path / "one", ranks), write(tmp_path / "other", ranks, store="b")
    _, values = difference(one, "federated", other, "federated")
    assert np.abs(values).max() == 0


@pytest.mark.parametrize("change", [{"item": "j"}, {"people": PEOPLE - 1}])
def test_other_items_or_customers_are_not_compared(tmp_path: Path, change: dict[str, object]) -> None:
    ranks = [0.0] * PEOPLE
    one = write(tmp_path / "one", ranks)
    other = write(tmp_path / "other", ranks, **change)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="not compared"):
        difference(one, "federated", other, "federated")


def test_seeds_that_disagree_widen_the_interval() -> None:
    """Two seeds a customer would call certain, of opposite sign: over customers alone each is far from zero."""
    keys, noise = tuple(range(400)), np.random.default_rng(0).normal(0, 0.01, 400)
    up, down = (keys, 0.1 + noise), (keys, -0.1 + noise)
    assert paired([up], 200).verdict == 1
    assert paired([down], 200).verdict == -1
    both = paired([up, down], 200)
    assert (both.verdict, both.seeds) == (0, 2)
    apart = paired([up, (tuple(range(400, 800)), -0.1 + noise)], 200)  # other customers in each seed
    assert apart.verdict == 0


def test_few_customers_have_no_interval_and_zero_is_on_neither_side() -> None:
    near = Difference(difference=0.003, low=0.00004, high=0.006, customers=6000, seeds=1)
    assert near.verdict == 0  # its bound is printed as 0.0000
    few = paired([(tuple(range(19)), np.ones(19))], 100)
    assert (few.low, few.high, few.verdict, few.difference) == (None, None, 0, 1.0)


def test_equal_accuracy_is_read_off_between_measured_points_only() -> None:
    curve = [(1.0, 0.1), (4.0, 0.2), (8.0, 0.2)]
    assert reached(curve, 0.15) == (pytest.approx(2.0), "equal")
    assert reached(curve, 0.2) == (pytest.approx(4.0), "equal")
    assert reached(curve, 0.05) == (1.0, "at most")
    assert reached(curve, 0.21) == (None, "not reached")


def test_a_store_alone_with_its_own_noise_is_given_no_epsilon() -> None:
    rows = [
        {"learner": "x", "size": None, "trust": trust, "epsilon": epsilon, "ndcg@10": value}
        for trust, epsilon, value in (("local", 8.0, 0.15), ("distributed", 1.0, 0.1), ("distributed", 4.0, 0.2))
    ]
    (row,) = bought(rows)
    assert (row["local"], row["distributed"], row["alone"]) == (8.0, pytest.approx(2.0), None)
    assert "without noise only" in row["alone_why"]


def test_a_row_of_several_seeds_is_their_mean_with_a_band_and_an_interval(tmp_path: Path) -> None:
    parts, means = [], []
    for seed, rank in enumerate((0.0, 2.0, 6.0)):
        directory = write(tmp_path / str(seed), [rank + person % 2 for person in range(PEOPLE)])
        value = float(np.mean([1 / np.log2(rank + person % 2 + 2) for person in range(PEOPLE)]))
        block = {"sampled": None, "full": {"ndcg@10": value, "hr@10": 1.0}, "ci95": None}
        run = {"metrics": {"federated": block}}
        parts.append((Found(Cell(learner="als", seed=seed), run, directory), "federated"))
        means.append(value)
    row = summary(parts, 200)
    assert row["ndcg@10"] == pytest.approx(np.mean(means))
    assert (row["least"], row["greatest"]) == (min(means), max(means))
    assert row["sampled ndcg@10"] is None
    low, high = row["ci95"]
    assert low < row["ndcg@10"] < high
    assert high - low > 0.3  # far apart seeds: customers alone would give less than 0.1
