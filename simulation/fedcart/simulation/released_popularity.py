"""The popularity that baselines of a private run may know: one release with the run's whole budget.

So `content`, `recent` and `recent_own` are held to the same epsilon, trust and cohort as what they are compared with,
and learn nothing else together. Their noise comes from the seed of the run (a rehearsal) or from fresh keys.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import Histories
from fedcart.shared.learners.memory import MemoryCustomers
from fedcart.shared.learners.popularity import POPULARITY
from fedcart.shared.learners.spectral import Spectral
from fedcart.shared.plan import Plan, hyper_parameters
from fedcart.shared.privacy import keystream
from fedcart.shared.privacy.clipped_sums import ClippedSums
from fedcart.shared.privacy.discrete_gaussian import add_discrete_gaussian
from fedcart.shared.privacy.grid import grid, share_variance
from fedcart.simulation.rehearsal import RehearsalKeys

POOLED = -1
"""Stands for all stores at once in the keys of a rehearsal."""


def released_popularity(
    plan: Plan, catalogue: Catalogue, train: Histories, half_life_days: float, rehearsal: int | None
) -> npt.NDArray[np.float64]:
    """[items] popularity, sum 1, under the promise of `plan`.

    The stores' sums of integers add up to the pooled sum, and n shares of discrete noise to one n times as wide
    (`fedcart.shared.privacy.accounting`), so it is computed in one go.

    Args:
      plan: of the private run.
      rehearsal: seed of its noise; None = keys of the operating system.
    """
    assert plan.privacy is not None
    learner = Spectral(sketch_rounds=0, half_life_days=half_life_days)
    alone = replace(
        plan,
        learner=learner.name,
        hyper_parameters=hyper_parameters(learner),
        privacy=replace(plan.privacy, bounds=learner.bounds()),
        evaluation=None,
    )
    (round_,) = alone.rounds(catalogue)
    (release,) = round_.releases
    state = learner.initial_state(catalogue, plan.seed)
    sums = ClippedSums([release], parted=plan.privacy.overlap == "weights")
    learner.contribute(state, round_, MemoryCustomers(train), sums)
    units = sums.units()[POPULARITY]
    keys = keystream.fresh if rehearsal is None else RehearsalKeys(rehearsal, POOLED)
    stream = keys("baseline popularity", 0, 0, f"half life {half_life_days}")
    add_discrete_gaussian(units, plan.participants * share_variance(release, plan.honest), stream)
    found = learner.update(state, round_, {POPULARITY: grid(release).values(units)})
    return found.public[POPULARITY].astype(np.float64)
