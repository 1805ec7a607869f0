"""What a store's own co-occurrences are worth beside the coalition's model, where a store makes its lists.

They stay in the store and no epsilon covers them, so nothing here is claimed of an epsilon; and a store
alone, where the two are compared, has the same beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fedcart.simulation.frontier.claims import beside, pair
from fedcart.simulation.frontier.grid import FLOOR
from fedcart.simulation.frontier.results import ALONE_WITH_STORE, MAIN, WITH_STORE, Json
from fedcart.simulation.frontier.table import TOGETHER
from fedcart.simulation.report.formats import NBSP, plain, score, signed

OWN = " + own"
"""After a learner's name: with each store's own co-occurrences beside its model."""
ALONE_OWN = "alone + own"


def served(rows: Sequence[Json]) -> list[Json]:
    """Rows with the store's own co-occurrences beside the model, in the same keys; none where that was not measured."""
    return [row | row[WITH_STORE] | {"learner": row["learner"] + OWN} for row in rows if row[WITH_STORE] is not None]


def with_served(rows: Sequence[Json]) -> list[Json]:
    """Each row, and after it what `served` makes of it."""
    return [found for row in rows for found in (row, *served([row]))]


def claims(rows: Sequence[Json], trust: str, stores_by: str | None) -> list[str]:
    """What it is worth, and what learning together is still worth when each store alone has the same beside it.

    Args:
      stores_by: how stores were made, `column`, `random` and so on; None = not known.
    """
    mine = [row for row in served(rows) if row["trust"] == trust and row["learner"] != FLOOR + OWN]
    found = list(worth(mine))
    found += beside(mine, trust, ALONE_WITH_STORE, "Against each store alone with the same beside it")
    verdicts = [one["verdict"] for row in mine if (one := pair(row, ALONE_WITH_STORE)) and one["low"] is not None]
    if verdicts and max(verdicts) <= 0:
        random = (stores_by or "").partition(":")[0] in ("random", "dirichlet")
        who = "Stores drawn at random" if random else "These stores"
        found.append(f"{who} gain nothing measurable by learning together over {ALONE_OWN}.")
    return found


def worth(mine: Sequence[Json]) -> Iterator[str]:
    """One sentence over all learners: from the model as it is to the model with it, at each epsilon."""
    found = []
    for learner in dict.fromkeys(row["learner"] for row in mine):
        parts = [
            f"{score(row[MAIN] - one['difference'])} → {score(row[MAIN])} at ε = {plain(row['epsilon'])}, {bounds(one)}"
            for row in mine
            if row["learner"] == learner and (one := pair(row, TOGETHER)) is not None
        ]
        if parts:
            found.append(f"{learner.removesuffix(OWN)} {' and '.join(parts)}")
    if found:
        yield (
            "With each store's own co-occurrences beside the model, which stay in the store and which no ε covers, "
            f"NDCG@10 changes: {'; '.join(found)}."
        )


def bounds(one: Json) -> str:
    """The interval of a paired difference."""
    return "no interval" if one["low"] is None else f"{signed(one['low'])} to {signed(one['high'])} at 95{NBSP}%"
