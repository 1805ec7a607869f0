"""A toy run under an epsilon in one process: the plan's clips, integers and scale of noise, drawn by numpy."""

from __future__ import annotations

import numpy as np

from fedcart.shared.interactions import build_histories
from fedcart.shared.learners.memory import MemoryCustomers
from fedcart.shared.learners.toy import toy_catalogue, toy_interactions
from fedcart.shared.privacy.clipped_sums import ClippedSums
from fedcart.shared.privacy.grid import grid
from fedcart.shared.privacy.terms import PrivacyTerms

N, CUSTOMERS = 60, 80
HISTORIES = build_histories(toy_interactions(3, CUSTOMERS, N), CUSTOMERS, N)


def private_run(learner, epsilon, seed=0):
    """The learner's rounds with the plan's clips and noise; totals noised here."""
    catalogue, store, draw = toy_catalogue(N), MemoryCustomers(HISTORIES), np.random.default_rng(seed)
    terms = PrivacyTerms(epsilon=epsilon, delta=1e-4, bounds=learner.bounds())
    state = learner.initial_state(catalogue, 0)
    for round_ in terms.apply(learner.rounds(catalogue, 100), honest=1, attempts=1, customers_bound=100):
        store.begin(round_.index)
        sums = ClippedSums(round_.releases)
        learner.contribute(state, round_, store, sums)
        totals = {}
        for release in round_.releases:
            units = sums.units()[release.name]
            scale = release.noise_multiplier * grid(release).sensitivity
            totals[release.name] = grid(release).values(
                np.rint(units + draw.normal(0, scale, units.shape)).astype(np.int64)
            )
        state = learner.update(state, round_, totals)
    return state
