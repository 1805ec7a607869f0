"""Each store alone at its best: one regularization for all stores, chosen on the stores' own validation items.

The coalition's value was chosen on all stores' customers; a store with a tenth of them is better served by another,
and a baseline that is left untuned makes learning together look better than it is. Test items are in neither half.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from fedcart.shared import metrics
from fedcart.shared.errors import DataError
from fedcart.shared.learners.base import Learner
from fedcart.simulation import defaults
from fedcart.simulation.config import Config
from fedcart.simulation.evaluate import Ranking
from fedcart.simulation.partition import Partition
from fedcart.simulation.split import Split
from fedcart.simulation.summarise import macro
from fedcart.simulation.validation import inner_split

GRID = {"als": (1 / 3, 1.0, 3.0), "gram": (1 / 3, 1.0)}
"""Learner -> multiples of the coalition's regularization that are tried. EASE's lambda stands beside co-occurrences of
all customers, so fewer customers want less of it; that of als grows with an item's customers by itself."""
MOST_STORES = 50
"""Above this many stores trying would take longer than the run, and alone keeps the coalition's value."""
MOST_MEASURED = 3000

TrainAlone = Callable[[Learner, Split], Ranking]
"""Train every store alone on its part of a split, and rank its customers."""


def settings_alone(
    config: Config,
    name: str,
    learner: Learner,
    split: Split,
    stores: Partition,
    train: TrainAlone,
) -> dict[str, Any]:
    """`alone_settings` of run.json: the regularization for each store alone, what was tried, and why.

    The mean over stores of NDCG@10 on new validation items decides, so that a small store counts like a large one;
    of equals the first in the grid. A regularization that the configuration gives holds for all.
    """
    why = kept_because(config, name, len(stores.names))
    inner = None
    if why is None:
        try:
            inner = inner_split(split, stores, config.seed, config.data.behaviour_weights)
        except DataError:
            why = "too few customers to validate on"
    together: Any = getattr(learner, "regularization", None)
    if inner is None:
        return {"regularization": together, "tried": [], "words": f"as together: {why}"}
    inner = inner.measure_some(MOST_MEASURED, config.seed, stores.people)
    tried = []
    for multiple in GRID[name]:
        value = float(f"{together * multiple:.3g}")
        ranking = train(with_regularization(learner, value), inner)
        found = metrics.several(inner.held_out.indptr, ranking.new)
        tried.append({"regularization": value, "macro ndcg@10": macro(found, stores.store_of)})
    best = max(tried, key=lambda one: one["macro ndcg@10"])
    words = "regularization for all stores chosen on their own validation items, by the mean over stores"
    return {"regularization": best["regularization"], "tried": tried, "words": words}


def kept_because(config: Config, name: str, stores: int) -> str | None:
    """Why alone keeps the coalition's regularization; None where it is chosen."""
    if name not in GRID:
        return f"{name} has no grid"
    if "regularization" in defaults.given_settings(config, name):
        return "given by the configuration"
    return f"more than {MOST_STORES} stores" if stores > MOST_STORES else None


def with_regularization(learner: Learner, value: Any) -> Learner:
    """The learner with another regularization; itself where that is its own, or it has none."""
    if value is None or value == getattr(learner, "regularization", None):
        return learner
    return dataclasses.replace(learner, regularization=value)  # type: ignore[type-var]


def by_store(split: Split, stores: Partition) -> list[Split]:
    """Each store's customers."""
    return [split.slice(start, stop) for start, stop in itertools.pairwise(np.asarray(stores.offsets).tolist())]
