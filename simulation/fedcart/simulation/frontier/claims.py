"""What may be claimed of private learners: paired with all that learns nothing together but popularity.

Whoever is not measurably above each of these has not shown that learning together helps; where one of them is better,
it is said unasked.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

from fedcart.simulation.frontier.grid import FLOOR
from fedcart.simulation.frontier.results import MAIN, SAMPLED, Json
from fedcart.simulation.frontier.words import epsilons as eps
from fedcart.simulation.frontier.words import listed
from fedcart.simulation.report.formats import NBSP, plain, score, signed

SIMPLE = {
    "content": "content",
    "recent": "recent popularity",
    "recent_own": "recent popularity with own purchases",
}
"""Baselines that learn nothing together but popularity, under the same epsilon: name in results.parquet -> words."""
Verdict = Literal["gain", "none", "loss"]


def pair(row: Json, against: str, metric: str = MAIN) -> Json | None:
    """The paired difference of a row; None where it was not computed."""
    wanted = (against, metric)
    return next((one for one in row["paired"] if (one["against"], one["metric"]) == wanted and "why" not in one), None)


def hardest(row: Json) -> Json | None:
    """The row beside the simple method that it is worst against."""
    found = [one for name in SIMPLE if (one := pair(row, name)) is not None]
    return min(found, key=lambda one: (one["verdict"], one["difference"]), default=None)


def against_simple(leaders: Sequence[Json]) -> tuple[str, Verdict]:
    """The best private learner of each epsilon beside the hardest simple method."""
    pairs = [(row, found) for row in leaders if (found := hardest(row)) is not None]
    if not pairs:
        return "Nothing that learns popularity alone was measured beside these learners: a gain cannot be told.", "none"
    sides = {side: [both for both in pairs if both[1]["verdict"] == side] for side in (1, 0, -1)}
    lost = "; ".join(f"{SIMPLE[one['against']]} is better at {eps([row['epsilon']])}" for row, one in sides[-1])
    nearest = at(*max(pairs, key=lambda both: both[1]["difference"]))
    if sides[1]:
        where = places(sides[1], len(pairs))
        even = f"no difference is measurable at {eps(row['epsilon'] for row, _ in sides[0])}" if sides[0] else ""
        tail = "".join(f"; {words}" for words in (lost, even) if words)
        return (
            f"Learning together under ε ranks better than popularity and item data alone {where} ({nearest}){tail}.",
            "gain",
        )
    if not sides[0]:
        return (
            f"What learns nothing together but popularity ranks better than every private learner "
            f"{places(sides[-1], len(pairs))}; the nearest is {nearest}."
        ), "loss"
    worse = f"; {lost}" if lost else ""
    return (
        f"No measurable gain over what learns nothing together but popularity, at any ε measured{worse} "
        f"(the nearest is {nearest})."
    ), "none"


def places(found: Sequence[tuple[Json, Json]], total: int) -> str:
    """At which epsilons."""
    if len(found) == total > 1:
        return "at every ε measured"
    return f"at {eps(row['epsilon'] for row, _ in found)}"


def at(row: Json, one: Json) -> str:
    """Who, at which epsilon, against what, with the interval of the difference."""
    bounds = "no interval" if one["low"] is None else f"{signed(one['low'])} to {signed(one['high'])} at 95{NBSP}%"
    return (
        f"{row['learner']} at ε = {plain(row['epsilon'])}, NDCG@10 {score(row[MAIN])} against "
        f"{score(row[MAIN] - one['difference'])} of {SIMPLE[one['against']]}, difference {bounds}"
    )


def beside(rows: Sequence[Json], trust: str, against: str, words: str, metric: str = MAIN) -> list[str]:
    """Each learner beside an opponent, introduced by `words`, at every epsilon of the trust."""
    found = []
    for learner in dict.fromkeys(row["learner"] for row in rows if row["learner"] != FLOOR):
        mine = [row for row in rows if row["learner"] == learner and row["trust"] == trust]
        pairs = [(row["epsilon"], one["verdict"]) for row in mine if (one := pair(row, against, metric)) is not None]
        sides = {1: "better", 0: "not measurably different", -1: "worse"}
        parts = [
            f"{side} at {eps(e for e, verdict in pairs if verdict == sign)}"
            for sign, side in sides.items()
            if any(verdict == sign for _, verdict in pairs)
        ]
        if parts:
            found.append(f"{words}, {learner} is {listed(parts)}.")
    return found


def simple_better(document: Json) -> list[str]:
    """A line for each simple method, learner, size and ranking in which the simple method is measurably better."""
    found: dict[tuple[str, str, str | None, str], dict[str, list[float]]] = {}
    for name, metric, row in itertools.product(SIMPLE, (MAIN, SAMPLED[0]), document["table"]):
        one = pair(row, name, metric)
        if row["epsilon"] is None or one is None or one["verdict"] >= 0:
            continue
        if row["learner"] != FLOOR or (metric, name) == (MAIN, "content"):
            key = (name, row["learner"], row["size"], metric)
            found.setdefault(key, {}).setdefault(row["trust"], []).append(row["epsilon"])
    return [
        f"{SIMPLE[name].capitalize()} is measurably better than {learner}{' (' + size + ')' if size else ''} "
        + ("" if metric == MAIN else "among sampled candidates ")
        + "; ".join(f"under trust {trust} at {eps(values)}" for trust, values in places_.items())
        + "."
        for (name, learner, size, metric), places_ in found.items()
    ]
