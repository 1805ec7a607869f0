"""What a coalition buys: epsilon at equal accuracy under one shared noise (distributed) and own noise (local).

Between two measured epsilons accuracy is read off a straight line in log epsilon; outside of them nothing is said but
"at most" or nothing at all. A store that trains alone with its own noise is a third case that `simulate` cannot run:
it trains stores alone without noise only, so no epsilon is given for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from fedcart.simulation.frontier.results import MAIN, Json

ALONE = "not measured: a store alone is trained without noise only"


def bought(rows: Sequence[Json]) -> list[Json]:
    """A row for each private point under own noise: the epsilon at which one shared noise is as accurate.

    `relation`: `equal`, `at most` (already the least measured epsilon is as accurate), or `not reached`.
    """
    found = []
    for row in rows:
        if row["trust"] != "local" or row["epsilon"] is None:
            continue
        curve = points(rows, row["learner"], row["size"], "distributed")
        if not curve:
            continue
        epsilon, relation = reached(curve, row[MAIN])
        found.append(
            {
                "learner": row["learner"],
                "size": row["size"],
                "ndcg@10": row[MAIN],
                "local": row["epsilon"],
                "distributed": epsilon,
                "relation": relation,
                "alone": None,
                "alone_why": ALONE,
            }
        )
    return found


def points(rows: Sequence[Json], learner: str, size: str | None, trust: str) -> list[tuple[float, float]]:
    """(epsilon, NDCG@10) of a learner's private rows, by epsilon."""
    return sorted(
        (row["epsilon"], row[MAIN])
        for row in rows
        if (row["learner"], row["size"], row["trust"]) == (learner, size, trust) and row["epsilon"] is not None
    )


def reached(curve: Sequence[tuple[float, float]], level: float) -> tuple[float | None, str]:
    """The least epsilon at which the line through `curve` is at `level` or above."""
    if curve[0][1] >= level:
        return curve[0][0], "at most"
    for (e0, a0), (e1, a1) in pairwise(curve):
        if a1 >= level:
            share = (level - a0) / (a1 - a0)
            return math.exp(math.log(e0) + share * (math.log(e1) - math.log(e0))), "equal"
    return None, "not reached"
