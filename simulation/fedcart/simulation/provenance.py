"""Where each method's settings come from, for run.json: never `tuned` where nothing was tuned for this very run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fedcart.simulation import defaults
from fedcart.simulation.baselines import POPULARITY_ALONE
from fedcart.simulation.config import Config, SplitConfig
from fedcart.simulation.datasets.dataset import Dataset
from fedcart.simulation.split import Split

LEARNER = ("federated", "without_order", "with_store", "no_noise", "local_only", "alone_with_store", "same")
"""Trainings of the run's own learner; the other methods are baselines."""
BESIDE_STORE = {
    "with_store": "as together; what the store's own customers had together is read at the store, and no ε covers it",
    "alone_with_store": "as alone, the same beside it",
}
"""Methods that are another one with the store's own co-occurrences beside it."""
MARKETPLACE = ("default", "daily", 0)
"""Size, events and seed of the marketplace that settings were tuned on."""
TUNED_HERE = "tuned on validation of this set"
TUNED_ELSEWHERE = f"{TUNED_HERE} under another split or draw"


def provenance(
    config: Config, dataset: Dataset, split: Split, learner: str, methods: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """Method -> `source`, `words` and the keys that the configuration itself gave."""
    as_tuned = tuned_for(config, dataset, split)
    found, private = {}, config.privacy.epsilon < float("inf")
    for method in methods:
        own = method in LEARNER
        wanted = learner if own else method
        chosen = defaults.chosen(dataset.name, wanted, private=own and private, epsilon=config.privacy.epsilon)
        source, words = chosen.source, chosen.words
        if private and method in POPULARITY_ALONE:
            words += "; popularity released at the run's ε, nothing else learned together"
        if source == "validation" and not as_tuned:
            source, words = "other set", TUNED_ELSEWHERE
        elif not as_tuned:  # a part of them may be
            words = words.replace(TUNED_HERE, TUNED_ELSEWHERE)
        if method == "federated" and private and source not in ("private", "none", "default"):
            words += "; without noise"
        given = sorted(defaults.given_settings(config, learner)) if own else []
        if given:
            rest = "" if source in ("none", "default") else f"; the others {words}"
            words = f"given: {', '.join(given)}{rest}"
        if method in BESIDE_STORE:
            words = BESIDE_STORE[method]
        found[method] = {"source": "given" if given else source, "words": words, "given": given}
    return found


def tuned_for(config: Config, dataset: Dataset, split: Split) -> bool:
    """Whether the run's split and draw are those under which the set's settings were tuned."""
    made = (config.data.size, config.data.events, config.seed)
    if dataset.name == "marketplace" and made != MARKETPLACE:
        return False
    return defaults.split_rule(dataset, SplitConfig()) == (split.rule, split.at)


def validation(dataset: str, found: Mapping[str, Mapping[str, Any]]) -> str | None:
    """What the tuned methods of a run were tuned on; None when none of them was."""
    tuned = [method for method, one in found.items() if one["source"] == "validation"]
    return f"{defaults.validation(dataset)}; for {', '.join(tuned)}" if tuned else None
