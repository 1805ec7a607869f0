"""What `auto` means: learner, split and settings by data set. All fixed here, none read off held-out items."""

from __future__ import annotations

import calendar
import math
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from fedcart.shared.errors import ConfigError
from fedcart.shared.learners.spectral.suited import suited
from fedcart.simulation.config import Config, SplitConfig
from fedcart.simulation.datasets.dataset import Dataset

FIRST_HELD_OUT_DAY = {
    "marketplace": "2025-10-23",
    "online-retail": "2011-10-01",
    "complete-journey": "2017-10-15",
}
"""The day from which sets split by time are held out: round dates, chosen before any model was fitted."""

DAY_AFTER = {
    "marketplace": "2026-01-01",
    "online-retail": "2011-12-10",
    "complete-journey": "2018-01-02",
    "ml-1m": "2003-03-01",
    "ncf-split": "2003-03-01",
    "ml-100k": "1998-04-23",
    "ml-latest-small": "2018-09-25",
}
"""The day after each set's published period: what ages are relative to where the split names no time."""

BEHAVIOUR_WEIGHTS = {"view": 0.05, "favourite": 0.3, "cart": 0.5, "purchase": 1.0, "rating": 1.0}
"""How much one event of each behaviour counts in a history, unless [data] behaviour_weights says otherwise."""


MOST_EASE_ITEMS = 4096
"""Catalogues up to this size fit `gram`'s one release whole."""

VALIDATION_DAYS = 56
"""Days before the split on which the settings of sets split by time were chosen."""

SAME_SETTINGS = {"ials": "als", "gram": "ease"}
"""Methods that are the same model as another one and take its settings."""

ROUNDS_KEY = {"als": "sweeps", "mf": "round_count", "ncf": "round_count"}
"""What the learners that have a choice call their number of rounds."""

TUNED_SPECTRAL = ("ncf-split", "online-retail")
"""The sets on which the settings of `spectral` were chosen."""

WITHOUT_SETTINGS = frozenset({"popularity", "random", "memoriser"})


def split_rule(dataset: Dataset, config: SplitConfig) -> tuple[str, int | None]:
    """The split rule and, for `time`, the first held-out second."""
    rule: str = config.rule
    day = config.at
    default_day = FIRST_HELD_OUT_DAY.get(dataset.name)
    if rule == "auto":
        own = "ncf" if dataset.given_split is not None else "leave-one-out"
        rule = "time" if day or default_day else own
    if rule != "time":
        if day is not None:
            raise ConfigError(f"[split] at: rule {rule!r} has no use for {day!r}; nothing was run", "--split time:DAY")
        return rule, None
    day = day or default_day
    if day is None:
        raise ConfigError("split by time needs a first held-out day; nothing was run", "--split time:2011-10-01")
    return rule, _second(day)


def as_of(dataset: str) -> int | None:
    """What ages in the set are relative to, in seconds; None where no period is published."""
    return _second(DAY_AFTER[dataset]) if dataset in DAY_AFTER else None


def _second(day: str) -> int:
    """The first second of a day, UTC, since 1970."""
    try:
        return calendar.timegm(time.strptime(day, "%Y-%m-%d"))
    except ValueError:
        raise ConfigError(f"[split] at: {day!r} is not a day", "write it as YYYY-MM-DD") from None


def learner_name(name: str, items: int, epsilon: float = math.inf) -> str:
    """`auto`: `spectral` with an epsilon; without, EASE (`gram`) while its one matrix fits, else implicit ALS.

    On validation items EASE is the better of those two on most sets at hand (docs/decisions/0004-auto.md).
    """
    if name != "auto":
        return name
    if epsilon < math.inf:
        return "spectral"
    return "gram" if items <= MOST_EASE_ITEMS else "als"


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Settings of a method and where they come from.

    Attributes:
      source: `validation` of this very set; `published`; `other set`; `private`: one choice for all runs under an
        epsilon; `default`: those of the method's class; `none`: the method has none.
      words: the same for people.
    """

    settings: Mapping[str, Any]
    source: Literal["validation", "published", "other set", "private", "default", "none"]
    words: str


def given_settings(config: Config, learner: str) -> dict[str, Any]:
    """What the configuration itself says of the learner, [rounds] count under the learner's own name for it.

    Raises:
      ConfigError: the learner's number of rounds cannot be chosen, or is given twice.
    """
    given, count = dict(config.learner.settings), config.rounds.count
    if count is None:
        return given
    key = ROUNDS_KEY.get(learner)
    if key is None:
        raise ConfigError(
            f"[rounds] count {count}: learner {learner!r} has a fixed number of rounds; nothing was run",
            f"learners that have a choice: {', '.join(sorted(ROUNDS_KEY))}",
        )
    if given.get(key, count) != count:
        raise ConfigError(f"[rounds] count {count} and [learner] {key} {given[key]} differ; nothing was run")
    return {**given, key: count}


def settings(
    dataset: str, method: str, *, private: bool = False, epsilon: float = math.inf, customers_bound: int = 1
) -> Mapping[str, Any]:
    """Settings of a learner or baseline, as `chosen` finds them."""
    return chosen(dataset, method, private=private, epsilon=epsilon, customers_bound=customers_bound).settings


def chosen(
    dataset: str, method: str, *, private: bool = False, epsilon: float = math.inf, customers_bound: int = 1
) -> Chosen:
    """Settings from settings.toml: for runs under an epsilon those in [private], else the set's, else [default].

    Those of `spectral` are a function of epsilon and the bound on customers, and what the set's table says on top.

    Args:
      private: whether the run is under an epsilon.
      epsilon, customers_bound: of the run; only `spectral` asks.
    """
    tables = _tables()
    if method == "spectral":
        own = dict(tables.get(dataset, {}).get(method, {}))
        words = f"a function of ε and the bound on customers, chosen on {' and '.join(TUNED_SPECTRAL)}"
        if own:
            words += f"; {len(own)} of them tuned on validation of this set"
        here = "validation" if dataset in TUNED_SPECTRAL else "other set"
        source: Any = "private" if private else here
        return Chosen(settings=suited(epsilon, customers_bound) | own, source=source, words=words)
    if private and method in tables["private"]:
        return Chosen(
            settings=tables["private"][method], source="private", words="fixed for runs under an ε, chosen on ncf-split"
        )
    method = SAME_SETTINGS.get(method, method)
    if method in WITHOUT_SETTINGS:
        return Chosen(settings={}, source="none", words="has no settings")
    own = dict(tables.get(dataset, {}).get(method, {}))
    if own:
        published = own.pop("source", None)
        if published is not None:
            return Chosen(settings=own, source="published", words=published)
        return Chosen(settings=own, source="validation", words="tuned on validation of this set")
    default = tables["default"].get(method)
    if default:
        return Chosen(settings=default, source="other set", words="chosen on another set")
    return Chosen(settings={}, source="default", words="the method's defaults, not tuned")


def validation(dataset: str) -> str:
    """In words, what a set's settings were tuned on."""
    if dataset in FIRST_HELD_OUT_DAY:
        return f"the last {VALIDATION_DAYS} days before {FIRST_HELD_OUT_DAY[dataset]}"
    return "one training item a customer, by seeded hash"


def _tables() -> dict[str, Any]:
    text = (resources.files("fedcart.simulation") / "settings.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
