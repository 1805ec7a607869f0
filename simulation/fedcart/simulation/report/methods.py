"""The methods of a run by id, their names, and the lookups that the sentence, the figures and the tables share.

An id is a key of `metrics` or `centralized.<key>`, as `metrics.paired` spells it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

METRIC = "ndcg@10"

NAMES = {
    "with_store": "together + own co-occurrences",
    "local_only": "each store alone",
    "alone_with_store": "each store alone + own co-occurrences",
    "content": "content (item data + pooled popularity)",
    "centralized.popularity": "popularity",
    "centralized.recent": "recent popularity",
    "centralized.recent_own": "recent popularity + own purchases",
    "centralized.itemknn": "item-kNN",
    "centralized.userknn": "user-kNN",
    "centralized.ease": "EASE",
    "centralized.ials": "iALS",
    "random": "random order",
    "memoriser": "memoriser of training negatives",
}


def name(run: Json, method: str) -> str:
    """What the page calls a method."""
    if method == "federated":
        epsilon = run["privacy"]["epsilon"]
        return "together, no noise" if epsilon is None else f"together, ε = {epsilon:g}"
    if method == "without_order":
        return "together, order of own history unread (reading it: local, no ε)"
    if method == "no_noise":
        return "together, without noise"
    if method == "memoriser" and run["split"].get("memoriser_is_null") is False:
        return "memoriser (not null here: it knows earlier views)"
    if method == "centralized.same":
        return f"the same learner ({run['learner']['name']})"
    return NAMES[method]


SHORT = {
    "with_store": "together + own",
    "local_only": "alone",
    "alone_with_store": "alone + own",
    "content": "content",
    "without_order": "together, no order",
    "no_noise": "together, no noise",
    "centralized.recent": "pooled: recent",
    "centralized.recent_own": "pooled: recent + own",
    "centralized.same": "pooled: same learner",
}


def short_name(run: Json, method: str) -> str:
    """The same for a figure's margin: at most 20 letters."""
    if method == "federated":
        return name(run, method)
    return SHORT.get(method) or f"pooled: {name(run, method)}"


def result(metrics: Json | None, method: str) -> Json | None:
    """M of one method, or None when it was not run."""
    if metrics is None:
        return None
    table, _, key = method.rpartition(".")
    found: Json | None = (metrics.get(table) or {} if table else metrics).get(key)
    return found


def value(metrics: Json, method: str) -> float | None:
    """NDCG@10 of the full ranking, or None when the method was not run."""
    found = result(metrics, method)
    return None if found is None else float(found["full"][METRIC])


def best_pooled(metrics: Json) -> str | None:
    """The pooled method with the highest NDCG@10: the hardest opponent, though picked with the results in hand."""
    known = [f"centralized.{key}" for key, found in (metrics["centralized"] or {}).items() if found is not None]
    return max(sorted(known), key=lambda method: value(metrics, method) or 0.0, default=None)


@dataclass(frozen=True, slots=True)
class Gain:
    """method minus against in NDCG@10 over the same customers, 95 % paired bootstrap."""

    difference: float
    low: float
    high: float

    @property
    def unknown(self) -> bool:
        """Too few customers were measured for an interval: it is the whole range."""
        return self.low <= -1 and self.high >= 1

    @property
    def verdict(self) -> int:
        """1 measurably better, −1 measurably worse, 0 neither: the interval holds zero."""
        return (self.low > 0) - (self.high < 0)


def gain(metrics: Json, method: str, against: str) -> Gain | None:
    """The paired interval of two methods, whichever way round it was recorded; None when it was not computed."""
    for pair in metrics.get("paired", []):
        if pair["metric"] != METRIC:
            continue
        if (pair["method"], pair["against"]) == (method, against):
            return Gain(pair["difference"], pair["low"], pair["high"])
        if (pair["method"], pair["against"]) == (against, method):
            return Gain(-pair["difference"], -pair["high"], -pair["low"])
    return None


def bars(run: Json) -> Iterator[str]:
    """The methods of the first figure, weakest idea first; those that were not run are left out."""
    metrics = run["metrics"]
    wanted = [
        "centralized.popularity",
        "content",
        "local_only",
        "alone_with_store",
        "federated",
        "with_store",
        "no_noise",
    ]
    best = best_pooled(metrics)
    if best is not None and best not in wanted:
        wanted.append(best)
    for method in wanted:
        if result(metrics, method) is not None:
            yield method


def groups(run: Json) -> list[tuple[str, list[str]]]:
    """The big table: heading and methods of each block."""
    order = ["without_order"] if result(run["metrics"], "without_order") is not None else []
    together = ["federated", *order, "with_store"]
    if run["privacy"]["epsilon"] is not None:
        together.append("no_noise")
    pooled = [f"centralized.{k}" for k in ("same", "ials", "ease", "itemknn", "userknn")]
    counted = [f"centralized.{k}" for k in ("recent_own", "recent", "popularity")]
    return [
        ("Stores", [*together, "local_only", "alone_with_store", "content"]),
        ("All data pooled in one place", [*pooled, *counted]),
        ("Null models: what a result must be above", ["random", "memoriser"]),
    ]
