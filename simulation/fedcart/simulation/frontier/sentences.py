"""What a frontier found: the headline of its page, and the table as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fedcart.simulation.frontier import own
from fedcart.simulation.frontier.claims import against_simple, beside
from fedcart.simulation.frontier.results import MAIN, SAMPLED, Json
from fedcart.simulation.frontier.table import ALONE, FLOOR_NAME, best, epsilons
from fedcart.simulation.frontier.words import method_name
from fedcart.simulation.report.formats import noun, percent, plain, score

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
    finding, verdict = against_simple(shown)
    rest = beside(rows, trust, "content", "Against content among 1 + 99 sampled candidates", SAMPLED[0])
    rest += beside(rows, trust, ALONE, "Against each store alone, which needs no noise")
    rest += beside(rows, trust, ALONE, "Against each store alone among sampled candidates", SAMPLED[0])
    rest += [*beside(rows, trust, FLOOR_NAME, "Against popularity under the same ε"), *ceiling(document, shown, size)]
    rest += own.claims(rows, trust, None if data is None else data["stores_by"])
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


def summary(document: Json) -> str:
    """The table as text, and the sentence."""
    lines = [f"{'':30}{'epsilon':>8}  {'trust':12}{'NDCG@10':>8}{'95 %':>16}{'HR@10':>8}"]
    for row in [*document["baselines"], *own.with_served(document["table"])]:
        name = method_name(row["method"]) if "method" in row else row["learner"]
        size = f" {row['size']}" if row["size"] else ""
        epsilon = "inf" if row["epsilon"] is None else f"{row['epsilon']:g}"
        bounds = "" if row["ci95"] is None else f"{row['ci95'][0]:.4f}-{row['ci95'][1]:.4f}"
        name = (name + size)[:30]
        lines.append(f"{name:30}{epsilon:>8}  {row['trust']:12}{row[MAIN]:8.4f}{bounds:>16}{row['hr@10']:8.4f}")
    said = headline(document)
    return "\n".join([*lines, f"{said.lead} {said.finding}", *said.rest])
