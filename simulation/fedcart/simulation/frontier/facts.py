"""What the page states beside its figures: the strip, the table's rows, failed cells, data and software."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fedcart.simulation.frontier.claims import SIMPLE
from fedcart.simulation.frontier.own import ALONE_OWN, with_served
from fedcart.simulation.frontier.results import ALONE_WITH_STORE, MAIN, Json
from fedcart.simulation.frontier.words import listed, method_name
from fedcart.simulation.report.facts import LINKED, Chip
from fedcart.simulation.report.formats import MISSING, count, noun, plain, score, seconds, signed

AGAINST = {**SIMPLE, ALONE_WITH_STORE: ALONE_OWN}
VERDICTS = {1: "better", 0: "no measurable difference", -1: "worse"}


def strip(document: Json) -> list[Chip]:
    """ε, δ, unit, trust, accountant, colluders, item features, item list, settings, rehearsal, aggregation, seeds."""
    p, grid = document["privacy"], document["grid"]
    private = [epsilon for epsilon in grid["epsilons"] if epsilon is not None]
    weak = bool(p["unprotected_because"])
    derived = any(one["catalogue"] == "derived" for one in document["data"])
    relation = LINKED if "weights" in p["overlap"] else "add or remove one"
    kept, seeded = "rehearsed, not kept" if weak else "each a run of its own", p["rehearsal"]
    return [
        Chip("ε", listed(map(plain, private)) or "none", kept, weak),
        Chip("δ", listed(map(plain, p["delta"])) or MISSING),
        Chip("unit", units(p["unit"]), several(p["epsilon_in_stores"]) or relation),
        Chip("trust", listed(grid["trust"]), "who adds the noise"),
        Chip("accountant", listed(p["accountant"]) or MISSING),
        Chip("colluders", listed(f"up to {count(c)}" for c in p["colluders"]) or MISSING, "trust distributed"),
        features(document),
        Chip(
            "item list",
            "item list derived" if derived else "item list given",
            "from interactions: not covered by ε" if derived else "a public input",
            derived,
        ),
        Chip("choice of settings", p["settings_choice"], "no ε pays for it", True),
        Chip("rehearsal", "yes" if seeded else "no", "noise from the seed" if seeded else "", seeded),
        aggregation(document),
        Chip("seeds", listed(map(str, grid["seeds"])), one_seed(grid["seeds"])),
    ]  # fmt: skip


def units(found: Sequence[str]) -> str:
    """Of privacy, in words."""
    return listed("customer" if unit == "customer" else "customer–store pair" for unit in found) or MISSING


def several(table: Json) -> str:
    """The greatest ε of a person at two stores, over all cells."""
    greatest = max((cell.get("2", 0.0) for cell in table.values()), default=0.0)
    return f"at 2 stores: up to ε {math.ceil(greatest * 10) / 10:g}" if greatest else ""


def features(document: Json) -> Chip:
    """Whose titles, prices and categories content uses."""
    if any(one["derived_features"] for one in document["data"]):
        return Chip("item features", "item features derived", "from interactions: not covered by ε", True)
    if any(one["public_features"] for one in document["data"]):
        return Chip("item features", "item features public", "free to use, no ε")
    return Chip("item features", "none")


def aggregation(document: Json) -> Chip:
    """How stores' sums were opened under each trust."""
    found: dict[str, set[str]] = {}
    for row in document["cells"]:
        if row["epsilon"] is not None and row.get("aggregation"):
            found.setdefault(row["trust"], set()).add(row["aggregation"])
    words = listed(f"{listed(sorted(how))} ({trust})" for trust, how in found.items())
    return Chip("aggregation", words or MISSING, "SA1: only totals are opened", "plain" in found.get("distributed", ()))


def one_seed(seeds: Sequence[int]) -> str:
    """What an interval does not hold."""
    if len(seeds) == 1:
        return "intervals over customers only"
    return f"intervals over customers and {len(seeds)} seeds"


def table(document: Json) -> list[Json]:
    """Blocks of rows, ready to print: methods without ε first, then trust by trust."""
    rows = with_served(document["table"])
    free = [cells(row) for row in document["baselines"] if row["trust"] == "none"]
    blocks = [{"heading": "Without ε, all data pooled", "rows": free}]
    for trust in (*document["grid"]["trust"], "none"):
        heading = "Together, without noise" if trust == "none" else f"Together under ε, trust {trust}"
        blocks.append({"heading": heading, "rows": [cells(row) for row in rows if row["trust"] == trust]})
        floor = [cells(row) for row in document["baselines"] if row["trust"] == trust != "none"]
        heading = f"Nothing learned together but popularity, under the same ε, trust {trust}"
        blocks.append({"heading": heading, "rows": floor})
    return [block for block in blocks if block["rows"]]


def cells(row: Json) -> Json:
    """One row of the table."""
    low_high = row["ci95"]
    return {
        "name": method_name(row["method"]) if "method" in row else row["learner"],
        "size": row["size"],
        "cells": [
            MISSING if row["epsilon"] is None else plain(row["epsilon"]),
            count(row["customers"]),
            score(row["hr@10"]),
            score(row[MAIN]),
            MISSING if low_high is None else f"{score(low_high[0])}–{score(low_high[1])}",
            f"{score(row['least'])}–{score(row['greatest'])}" if len(row["seeds"]) > 1 else MISSING,
            score(row["sampled hr@10"]),
            score(row["sampled ndcg@10"]),
        ],
    }


def differences(document: Json) -> list[Json]:
    """Paired differences, one a row and opponent."""
    found = []
    for row in with_served(document["table"]):
        for one in row["paired"]:
            known = "why" not in one
            bounded = known and one["low"] is not None
            found.append(
                {
                    "learner": row["learner"],
                    "epsilon": MISSING if row["epsilon"] is None else plain(row["epsilon"]),
                    "trust": row["trust"] + (f", {row['size']}" if row["size"] else ""),
                    "against": AGAINST.get(one["against"], one["against"]),
                    "metric": "full" if one["metric"] == MAIN else "sampled",
                    "difference": signed(one["difference"]) if known else MISSING,
                    "interval": f"{signed(one['low'])} to {signed(one['high'])}" if bounded else MISSING,
                    "customers": count(one["customers"]) if known else MISSING,
                    "verdict": VERDICTS[one["verdict"]] if bounded else one.get("why", "too few customers measured"),
                    "worse": known and one["verdict"] < 0,
                }
            )
    return found


def bought(document: Json) -> list[list[str]]:
    """What a coalition buys, a row a private point under own noise."""
    return [
        [
            row["learner"] + (f", {row['size']}" if row["size"] else ""),
            score(row[MAIN]),
            shared(row),
            plain(row["local"]),
            MISSING,
        ]
        for row in document["coalition_buys"]
    ]


def shared(row: Json) -> str:
    """The epsilon under one shared noise, and how far that can be told."""
    if row["distributed"] is None:
        return str(row["relation"])
    return ("at most " if row["relation"] == "at most" else "") + plain(round(row["distributed"], 2))


def runs(document: Json) -> list[Json]:
    """Every cell: state, time, and where its own report is."""
    return [
        {
            "name": row["cell"],
            "report": row["run"].replace("run.json", "report.html") if row["run"] else None,
            "state": row["reason"] or row["status"],
            "failed": row["status"] != "complete",
            "ndcg": score(row.get(MAIN)),
            "seconds": seconds(row.get("seconds")),
        }
        for row in document["cells"]
    ]


def data(document: Json) -> list[tuple[str, str]]:
    """What went in."""
    found = [
        (
            f"data{', ' + one['size'] if one['size'] else ''}",
            f"{one['name']}: {noun(one['customers'], 'customer')}, {noun(one['items'], 'item')}, "
            f"{noun(one['interactions'], 'interaction')}, {noun(one['stores'], 'store')}",
        )
        for one in document["data"]
    ]
    software = [", ".join(f"{name} {version}" for name, version in sorted(one.items())) for one in document["versions"]]
    return [*found, ("split", listed(document["split"])), *(("software", one) for one in software)]
