"""The memoriser is a null model exactly where it says so, on timed data with views, favourites and carts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fedcart.shared import evaluation
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import BEHAVIOURS, Interactions
from fedcart.simulation import baselines, split_rules
from fedcart.simulation import split as split_module
from fedcart.simulation.baselines.memoriser import memoriser_is_null
from fedcart.simulation.evaluate import rank
from fedcart.simulation.split import Split, make_split

PURCHASE = BEHAVIOURS.index("purchase")
PEOPLE, ITEMS, NEGATIVES = 600, 240, 99
CHANCE = 10 / (1 + NEGATIVES)
BOUND = 4 * np.sqrt(CHANCE * (1 - CHANCE) / PEOPLE)  # 4 binomial standard deviations: two-sided probability 6e-5
CATALOGUE = Catalogue(tuple(map(str, range(ITEMS))), "given")


def shoppers(repeats: bool = False) -> Interactions:
    """Who buys views first, and puts in the cart; eight more items are only viewed. Item popularity is even, so
    that nothing but a leak can beat chance."""
    generator = np.random.default_rng(11)
    rows = []
    for person in range(PEOPLE):
        touched = generator.choice(ITEMS, 14, replace=False)
        clock = int(generator.integers(0, 1000)) * 1000
        for place, item in enumerate(touched):
            bought = place % 3 == 0 and place > 0
            for behaviour in ("view", "favourite", "cart", "purchase") if bought else ("view",):
                rows.append((person, item, BEHAVIOURS.index(behaviour), clock))
                clock += 1
        if repeats and person % 2:
            rows.append((person, touched[3], PURCHASE, clock))
    person, item, behaviour, clock = np.array(rows, np.int64).T
    return Interactions.build(person, item, behaviour=behaviour, time=clock)


def split_of(rows: Interactions, rule: str = "leave-one-out", at: int | None = None) -> Split:
    return make_split(rows, PEOPLE, ITEMS, rule=rule, seed=0, at=at, negatives=NEGATIVES)


def sampled_hit_rate(split: Split, name: str) -> float:
    ranks = rank(baselines.fit(name, split.train, CATALOGUE, seed=0), split).sampled
    return float((ranks[~np.isnan(ranks)] < 10).mean())


def full_percentile(split: Split, name: str) -> npt.NDArray[np.float64]:
    """[customers] rank of the new item over the number of items it is ranked among, 0 = first, 1 = last."""
    new = rank(baselines.fit(name, split.train, CATALOGUE, seed=0), split).new
    return new / (ITEMS - 1 - split.train.counts[split.held_out.owner])


@pytest.mark.parametrize("name", ["memoriser", "random"])
def test_null_models_are_at_chance_among_sampled_candidates(name: str) -> None:
    split = split_of(shoppers())
    assert memoriser_is_null(split)
    assert len(split.held_out.measured) == PEOPLE
    assert abs(sampled_hit_rate(split, name) - CHANCE) < BOUND


@pytest.mark.parametrize("name", ["memoriser", "random"])
@pytest.mark.parametrize("rule", ["leave-one-out", "last-basket"])
def test_null_models_are_at_chance_among_all_new_items(name: str, rule: str) -> None:
    """A uniform percentile has mean 1/2 and variance 1/12; four standard errors, two-sided probability 6e-5."""
    rows = shoppers()
    rows = replace(rows, basket=rows.time // 20)
    split = split_of(rows, rule)
    assert memoriser_is_null(split)
    places = full_percentile(split, name)
    assert abs(places[~np.isnan(places)].mean() - 0.5) < 4 * np.sqrt(1 / 12 / len(places))


def test_a_learner_of_own_history_has_nothing_to_go_by_either() -> None:
    """`recent_own` puts what a customer touched first: .999 of the hits when earlier views of the new item stay.

    What else it knows, recent popularity, says nothing here.
    """
    assert abs(sampled_hit_rate(split_of(shoppers()), "recent_own") - CHANCE) < BOUND


@pytest.fixture
def leaky(monkeypatch: pytest.MonkeyPatch) -> Callable[[Interactions], Split]:
    """The split that leaves views and carts of the new held-out item in training."""

    def keep_all(rows: Interactions, *_: Any) -> npt.NDArray[np.bool_]:
        return np.zeros(len(rows), np.bool_)

    monkeypatch.setattr(split_module, "earlier_traces", keep_all)
    monkeypatch.setattr(evaluation, "LEAVE_OUT", ())
    return split_of


@pytest.mark.parametrize("name", ["memoriser", "recent_own"])
def test_the_chance_test_would_catch_earlier_views_left_in_training(name: str, leaky: Any) -> None:
    split = leaky(shoppers())
    assert not memoriser_is_null(split)
    assert sampled_hit_rate(split, name) > 0.9


def test_under_a_split_by_time_an_earlier_view_makes_the_memoriser_no_null_model() -> None:
    rows = shoppers()
    bought = rows.behaviour == PURCHASE
    at = int(np.median(rows.time[bought]))
    assert not memoriser_is_null(split_of(rows, "time", at))
    assert memoriser_is_null(split_of(rows.select(bought), "time", at))


def test_repeats_do_not_make_the_memoriser_less_null() -> None:
    split = split_of(shoppers(repeats=True))
    assert memoriser_is_null(split)
    new = split.held_out.is_new
    assert new.mean() == 0.5
    ranks = rank(baselines.fit("memoriser", split.train, CATALOGUE, seed=0), split)
    assert np.isnan(ranks.sampled).tolist() == (~new).tolist() == np.isnan(ranks.new).tolist()


def test_traces_are_those_of_pairs_without_a_target_event_in_training() -> None:
    rows = Interactions.build([0] * 5, [1, 1, 2, 2, 2], behaviour=[0, PURCHASE, PURCHASE, 0, PURCHASE])
    test = np.array([False, True, False, False, True])
    wanted = np.array([False, True, True, False, True])
    assert split_rules.earlier_traces(rows, test, ~test, wanted, 3).tolist() == [True, True, False, False, False]
