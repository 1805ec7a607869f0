"""`coalition plan --what-if`: a measured range with its source, and nothing outside what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedcart.server.coalition.what_if import RIVALS, TOGETHER, Point, beside, curves, expected
from plan_kit import PLAN_TOML, command


def made(customers: int, epsilon: float | None, together: float, alone: float, people: int | None = None) -> Point:
    return Point(
        people=people or customers,
        draw=0,
        customers=customers,
        measured=1000,
        epsilon=epsilon,
        ndcg={TOGETHER: together, "alone": alone, "content": 0.07, "popularity": 0.04},
        error={name: 0.001 for name in (TOGETHER, *RIVALS)},
        difference_error={name: 0.0005 for name in RIVALS},
    )


POINTS = (
    made(1_000, 1.0, 0.06, 0.08),
    made(1_000, 4.0, 0.07, 0.08),
    made(9_000, 1.0, 0.08, 0.08),
    made(9_000, 4.0, 0.09, 0.08),
    made(9_000, None, 0.10, 0.08),
)


def test_between_two_sizes_the_range_covers_both() -> None:
    found = expected(3_000, 4.0, POINTS)
    assert found is not None
    assert {point.customers for point in found.points} == {1_000, 9_000}
    assert found.ndcg[TOGETHER] == (round(0.07 - 0.00196, 4), round(0.09 + 0.00196, 4))
    assert found.gain["alone"] == pytest.approx(((-0.01 - 0.00098) / 0.08, (0.01 + 0.00098) / 0.08), abs=1e-4)


def test_between_two_epsilons_the_range_covers_both() -> None:
    found = expected(9_000, 2.0, POINTS)
    assert found is not None
    assert {point.epsilon for point in found.points} == {1.0, 4.0}
    above = expected(9_000, 8.0, POINTS)
    assert above is not None
    assert {point.epsilon for point in above.points} == {4.0, None}


def test_a_measured_size_is_shown_alone() -> None:
    found = expected(9_000, 4.0, POINTS)
    assert found is not None
    assert len(found.points) == 1
    parts = (made(980, 4.0, 0.05, 0.08, people=1_000), made(1_010, 4.0, 0.06, 0.08, people=1_000))
    both = expected(1_000, 4.0, (*parts, made(9_000, 4.0, 0.09, 0.08)))
    assert both is not None
    assert {point.customers for point in both.points} == {980, 1_010}


@pytest.mark.parametrize(("customers", "epsilon"), [(999, 4.0), (9_001, 4.0), (3_000, 0.99)])
def test_outside_what_was_measured_nothing_is_expected(customers: int, epsilon: float) -> None:
    assert expected(customers, epsilon, POINTS) is None


def test_neighbours_are_the_nearest_on_both_sides() -> None:
    assert beside(5.0, {1: (1.0, 2.0), 3: (3.0, 4.0), 6: (6.0, 7.0), 9: (9.0, 9.0)}) == {3, 6}


def test_the_measured_curves_hold_every_method_at_every_point() -> None:
    points = curves()
    assert {point.epsilon for point in points} == {1.0, 4.0, None}
    for point in points:
        assert set(point.ndcg) == set(point.error) == {TOGETHER, *RIVALS}
        assert set(point.difference_error) == set(RIVALS)
        assert all(0 < value < 1 for value in point.ndcg.values())
    at_each = {people: {p.epsilon for p in points if p.people == people} for people in {p.people for p in points}}
    assert set(map(frozenset, at_each.values())) == {frozenset({1.0, 4.0, None})}


def test_it_shows_a_range_its_source_and_its_assumptions(tmp_path: Path) -> None:
    code, out, err = command("coalition", "plan", tmp_path, "--epsilon", "4", "--what-if", "customers=30,000")
    assert (code, err) == (0, "")
    assert "no promise (docs/results/customers.md)" in out
    assert "over alone" in out
    assert "assumed: " in out
    assert not list(tmp_path.iterdir())


def test_json_has_the_same_range(tmp_path: Path) -> None:
    code, out, _ = command("coalition", "plan", tmp_path, "--epsilon", "4", "--what-if", "customers=30000", "--json")
    told, found = json.loads(out), expected(30_000, 4.0)
    assert code == 0
    assert found is not None
    assert told["expected"]["ndcg@10"][TOGETHER] == list(found.ndcg[TOGETHER])


def test_outside_it_says_so_and_shows_no_number_of_accuracy(tmp_path: Path) -> None:
    words = ("coalition", "plan", tmp_path, "--epsilon", "4", "--what-if", "customers=50000000")
    code, out, _ = command(*words)
    assert code == 0
    assert "outside what was measured, so nothing is expected of it" in out
    assert "NDCG" not in out
    assert json.loads(command(*words, "--json")[1])["expected"] is None


def test_without_epsilon_that_of_the_plan_counts(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(PLAN_TOML)
    for place in (tmp_path, tmp_path / "plan.toml"):
        code, out, _ = command("coalition", "plan", place, "--what-if", "customers=30000")
        assert code == 0
        assert "30,000 customers, epsilon 4:" in out
    _, out, _ = command("coalition", "plan", tmp_path, "--trust", "none", "--what-if", "customers=30000")
    assert "30,000 customers, without noise:" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--what-if", "people=3"), "not a question that can be answered"),
        (("--what-if", "customers=0"), "not a question that can be answered"),
        (("--what-if", "customers=30000"), "says no epsilon"),
        (("--what-if", "customers=30000", "--epsilon", "4", "--trust", "local"), "under trust distributed only"),
        (("--what-if", "customers=30000", "--epsilon", "4", "--trust", "none"), "nobody would add noise"),
        (("--what-if", "customers=30000", "--epsilon", "4", "--learner", "als"), "--learner would change nothing"),
    ],
)
def test_refuses(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    code, out, err = command("coalition", "plan", tmp_path, *words)
    assert (code, out) == (2, "")
    assert said in err
