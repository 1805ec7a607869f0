"""Pairs are of the same customers on the same items, signs are right, and seeds widen an interval."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedcart.shared.errors import DataError
from fedcart.simulation.frontier.buys import bought, reached
from fedcart.simulation.frontier.pairing import difference, paired

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


def test_few_customers_have_no_interval() -> None:
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
