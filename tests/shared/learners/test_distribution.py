"""A model trained over stores, each adding its share of noise, is one draw of what central training with the same noise
gives: compared by a Kolmogorov-Smirnov test on numbers of the final model."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from fedcart.shared.interactions import build_histories
from fedcart.shared.learners.base import Block
from fedcart.shared.learners.memory import MemoryCustomers
from fedcart.shared.learners.spectral import Spectral
from fedcart.shared.learners.toy import toy_catalogue, toy_interactions
from fedcart.shared.privacy.clipped_sums import ClippedSums
from fedcart.shared.privacy.discrete_gaussian import add_discrete_gaussian
from fedcart.shared.privacy.grid import grid, share_variance
from fedcart.shared.privacy.keystream import KEY_BYTES, Keystream
from fedcart.shared.privacy.terms import PrivacyTerms

ITEMS, CUSTOMERS, STORES, DRAWS = 12, 40, 10, 300
HISTORIES = build_histories(toy_interactions(3, CUSTOMERS, ITEMS), CUSTOMERS, ITEMS)
CATALOGUE = toy_catalogue(ITEMS)
LEARNER = Spectral(sketch_rounds=1, embedding_dim=3, first_dim=3, content_rank=2)
TERMS = PrivacyTerms(epsilon=2.0, delta=1e-4, bounds=LEARNER.bounds())
ALPHA = 1e-6
"""Probability that one comparison of equal distributions is called different."""
LIMIT = math.sqrt(-math.log(ALPHA / 2) / 2) * math.sqrt(2 / DRAWS)
"""Of the Kolmogorov-Smirnov distance of two samples of DRAWS."""


def model(parts, honest, draw):
    """(popularity of item 0, score of the first customer for item 1) after a run whose parts each add their share."""
    stores = [MemoryCustomers(part) for part in parts]
    state = LEARNER.initial_state(CATALOGUE, 0)
    for round_ in TERMS.apply(LEARNER.rounds(CATALOGUE, 100), honest=honest, attempts=1, customers_bound=100):
        totals = {release.name: np.zeros(release.shape, np.int64) for release in round_.releases}
        for store in stores:
            store.begin(round_.index)
            sums = ClippedSums(round_.releases)
            LEARNER.contribute(state, round_, store, sums)
            for release in round_.releases:
                units = sums.units()[release.name]
                key = draw.integers(0, 256, KEY_BYTES, np.uint8).tobytes()
                add_discrete_gaussian(units, share_variance(release, honest), Keystream(key))
                totals[release.name] += units
        values = {release.name: grid(release).values(totals[release.name]) for release in round_.releases}
        state = LEARNER.update(state, round_, values)
    scores = LEARNER.scorer(state, CATALOGUE).score(Block(0, 0, HISTORIES.slice(0, 1)), None)
    return float(state.public["popularity"][0]), float(scores[0, 1])


def sample(parts, honest, seed):
    draw = np.random.default_rng(seed)
    return np.array([model(parts, honest, draw) for _ in range(DRAWS)]).T


def distance(a, b):
    """Kolmogorov-Smirnov, of two samples."""
    at = np.concatenate([a, b])
    below = [np.searchsorted(np.sort(x), at, side="right") / len(x) for x in (a, b)]
    return float(np.abs(below[0] - below[1]).max())


@pytest.fixture(scope="module")
def central():
    return sample([HISTORIES], 1, 1)


def ten():
    edges = np.linspace(0, CUSTOMERS, STORES + 1).astype(int)
    return [HISTORIES.slice(int(a), int(b)) for a, b in itertools.pairwise(edges)]


def test_federated_and_central_models_have_the_same_distribution(central):
    for here, there in zip(sample(ten(), STORES, 2), central, strict=True):
        assert distance(here, there) < LIMIT


def test_the_comparison_notices_ten_times_the_noise(central):
    """Each of the ten stores adds all of it."""
    found = [distance(here, there) for here, there in zip(sample(ten(), 1, 3), central, strict=True)]
    assert max(found) > LIMIT
