"""The published numbers on ncf-split: slow, and only where the data lie."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from fedcart.shared.errors import DataError
from fedcart.simulation import baselines
from fedcart.simulation.datasets import load
from fedcart.simulation.evaluate import rank
from fedcart.simulation.split import make_split


@functools.cache
def ncf_split():
    try:
        dataset = load("ncf-split")
    except DataError as error:
        pytest.skip(f"ncf-split is not here: {error.message}")
    rows, items = dataset.interactions, len(dataset.catalogue)
    return dataset.catalogue, make_split(rows, dataset.customers, items, rule="ncf", seed=0, given=dataset.given_split)


def hit_and_gain(ranks):
    known = ranks[~np.isnan(ranks)]
    hits = known < 10
    return hits.mean(), (hits / np.log2(known + 2)).mean()


def reached(name, **settings):
    catalogue, split = ncf_split()
    ranking = rank(baselines.fit(name, split.train, catalogue, seed=0, **settings), split)
    return (*hit_and_gain(ranking.sampled), *hit_and_gain(ranking.new))


def test_popularity_equals_its_published_number():
    hit, gain, *_ = reached("popularity")
    assert hit == pytest.approx(0.4538, abs=1e-3)
    assert gain == pytest.approx(0.2543, abs=1e-3)


def test_the_memoriser_is_at_chance_on_the_published_candidates():
    assert reached("memoriser")[0] == pytest.approx(0.10, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings", "least"),
    [
        ("ease", {"regularization": 1000.0}, (0.717, 0.448, 0.108, 0.054)),
        ("ials", {}, (0.72, 0.443, 0.097, 0.048)),
        ("itemknn", {}, (0.645, 0.379, 0.078, 0.039)),
        ("userknn", {}, (0.62, 0.37, 0.08, 0.04)),
        ("content", {}, (0.61, 0.36, 0.074, 0.036)),
    ],
)
def test_a_baseline_reaches_its_figure(name, settings, least):
    assert all(found >= wanted for found, wanted in zip(reached(name, **settings), least, strict=True))
