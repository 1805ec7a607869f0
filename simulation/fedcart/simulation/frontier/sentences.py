"""What a frontier found, in one sentence, and where content is better, unasked.

Content learns nothing together: whoever is not measurably above it has not shown that learning together helps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fedcart.simulation.frontier.grid import FLOOR
from fedcart.simulation.frontier.results import MAIN, SAMPLED, Json
from fedcart.simulation.frontier.table import ALONE, FLOOR_NAME, best, epsilons
from fedcart.simulation.frontier.words import epsilons as eps
from fedcart.simulation.frontier.words import listed, method_name
from fedcart.simulation.report.formats import NBSP, noun, percent, plain, score, signed

CEILINGS = ("centralized.ease", "centralized.ials")


@dataclass(frozen=True)
class Headline:
    """`finding` is the one sentence; `lead` says of what, `rest` what else a reader must know at once."""

    lead: str
    finding: str
    rest: list[str]
    verdict: Literal["gain", "none", "loss"]


def headline(document: Json) -> Headline:
    """Of the largest size, under one shared noise where that was measured."""
    rows, size = main_rows(document)
    trust = main_trust(rows)
    data = next((one for one in document["data"] if one["size"] == size), None)
    who = "" if data is None else market(data)
    if trust is None:
        return Headline(who, "No private cell is complete: nothing can be said of accuracy under an ε.", [], "none")
    leaders = [best(rows, epsilon=epsilon, trust=trust) for epsilon in epsilons(rows)]
    shown = [row for row in leaders if row is not None]
    finding, verdict = against_content(shown)
    rest = beside(rows, trust, "content", "Against content among 1 + 99 sampled candidates", SAMPLED[0])
    rest += beside(rows, trust, ALONE, "Against each store alone, which needs no noise")
    rest += [*beside(rows, trust, FLOOR_NAME, "Against popularity under the same ε"), *ceiling(document, shown, size)]
    if len({row["learner"] for row in rows}) > 1:
        rest.append("The best learner of each ε was picked with the results in hand.")
    return Headline(f"{who}, trust {trust}.", finding, rest, verdict)


def market(data: Json) -> str:
    """Name, stores and customers; of a path only the file."""
    name = data["name"].rpartition("/")[2]
    return f"{name}, {noun(data['stores'], 'store')}, {noun(data['customers'], 'customer')}"


def main_rows(document: Json) -> tuple[list[Json], str | None]:
    """The table's rows of the size with most customers, and that size."""
    rows = document["table"]
    if not rows:
        return [], None
    size = max(rows, key=lambda row: row["customers"])["size"]
    return [row for row in rows if row["size"] == size], size


def main_trust(rows: Sequence[Json]) -> str | None:
    """`distributed` where it was measured under an epsilon, else another; None where nothing was."""
    found = sorted({row["trust"] for row in rows if row["epsilon"] is not None})
    return found[0] if found else None


def pair(row: Json, against: str, metric: str = MAIN) -> Json | None:
    """The paired difference of a row; None where it was not computed."""
    wanted = (against, metric)
    return next((one for one in row["paired"] if (one["against"], one["metric"]) == wanted and "why" not in one), None)


def against_content(leaders: Sequence[Json]) -> tuple[str, Literal["gain", "none", "loss"]]:
    """The best private learner of each epsilon beside content."""
    pairs = [(row, found) for row in leaders if (found := pair(row, "content")) is not None]
    if not pairs:
        return "Content was not measured beside these learners, so a gain over public item data cannot be told.", "none"
    sides = {side: [row for row, one in pairs if one["verdict"] == side] for side in (1, 0, -1)}
    if sides[1]:
        top = max(pairs, key=lambda both: both[1]["difference"])
        where = "at every ε measured" if len(sides[1]) == len(pairs) else f"at {eps(r['epsilon'] for r in sides[1])}"
        rest = [
            f"content is measurably better at {eps(r['epsilon'] for r in sides[-1])}" if sides[-1] else "",
            f"no difference is measurable at {eps(r['epsilon'] for r in sides[0])}" if sides[0] else "",
        ]
        tail = "".join(f"; {words}" for words in rest if words)
        return f"Learning together under ε ranks better than content {where} ({at(*top)}){tail}.", "gain"
    closest = max(pairs, key=lambda both: both[1]["difference"])
    if not sides[0]:
        which = "at every ε measured" if len(pairs) > 1 else f"at {eps(r['epsilon'] for r in sides[-1])}"
        return (
            f"Content, which learns nothing together, ranks better than every private learner {which}; "
            f"the nearest is {at(*closest)}."
        ), "loss"
    worse = f"; content is better at {eps(r['epsilon'] for r in sides[-1])}" if sides[-1] else ""
    return (
        f"No measurable gain over public item data: no private learner ranks better than content at any ε measured"
        f"{worse} (the nearest is {at(*closest)})."
    ), "none"


def at(row: Json, one: Json) -> str:
    """Who, at which epsilon, from what to what, with the interval of the difference."""
    before = row[MAIN] - one["difference"]
    bounds = "no interval" if one["low"] is None else f"{signed(one['low'])} to {signed(one['high'])} at 95{NBSP}%"
    return (
        f"{row['learner']} at ε = {plain(row['epsilon'])}, NDCG@10 {score(row[MAIN])} against {score(before)}, "
        f"difference {bounds}"
    )


def beside(rows: Sequence[Json], trust: str, against: str, words: str, metric: str = MAIN) -> list[str]:
    """Each learner beside an opponent, `words`, at every epsilon of the trust."""
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


def ceiling(document: Json, leaders: Sequence[Json], size: str | None) -> list[str]:
    """How far the best private learner is from the best method on pooled data without noise."""
    top = ceiling_of(document, size)
    if top is None or not leaders:
        return []
    row = max(leaders, key=lambda one: float(one[MAIN]))
    share = percent(row[MAIN] / top[MAIN]) if top[MAIN] > 0 else "–"
    return [
        f"Without privacy {method_name(top['method'])} on pooled data reaches {score(top[MAIN])}; {row['learner']} at "
        f"ε = {plain(row['epsilon'])} is at {share} of it."
    ]


def ceiling_of(document: Json, size: str | None) -> Json | None:
    """The better of EASE and iALS on pooled data, without noise."""
    return best([row for row in document["baselines"] if row["method"] in CEILINGS], size=size, trust="none")


def content_better(document: Json) -> list[str]:
    """A line for each learner and size than which content is measurably better, and where."""
    found: dict[tuple[str, str | None], dict[str, list[float]]] = {}
    for row in document["table"]:
        one = pair(row, "content")
        if row["epsilon"] is not None and one is not None and one["verdict"] < 0:
            found.setdefault((row["learner"], row["size"]), {}).setdefault(row["trust"], []).append(row["epsilon"])
    return [
        f"Content is measurably better than {learner}{' (' + size + ')' if size else ''} "
        + "; ".join(f"under trust {trust} at {eps(values)}" for trust, values in places.items())
        + "."
        for (learner, size), places in found.items()
    ]


def summary(document: Json) -> str:
    """The table as text, and the sentence."""
    lines = [f"{'':30}{'epsilon':>8}  {'trust':12}{'NDCG@10':>8}{'95 %':>16}{'HR@10':>8}"]
    for row in [*document["baselines"], *document["table"]]:
        name = method_name(row["method"]) if "method" in row else row["learner"]
        size = f" {row['size']}" if row["size"] else ""
        epsilon = "inf" if row["epsilon"] is None else f"{row['epsilon']:g}"
        bounds = "" if row["ci95"] is None else f"{row['ci95'][0]:.4f}-{row['ci95'][1]:.4f}"
        name = (name + size)[:30]
        lines.append(f"{name:30}{epsilon:>8}  {row['trust']:12}{row[MAIN]:8.4f}{bounds:>16}{row['hr@10']:8.4f}")
    said = headline(document)
    return "\n".join([*lines, f"{said.lead} {said.finding}", *said.rest])
