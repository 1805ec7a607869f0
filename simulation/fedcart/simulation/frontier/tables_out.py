"""The table as CSV and as LaTeX (booktabs), and the cells as CSV: the numbers of frontier.json, none of its own."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from fedcart.simulation.frontier.own import OWN, with_served
from fedcart.simulation.frontier.results import ALONE_WITH_STORE, MAIN, MEASURES, SAMPLED, Json
from fedcart.simulation.frontier.words import method_name

OPPONENTS = ("content", "recent", "recent_own", "private_popularity", "alone", "together", ALONE_WITH_STORE)
TABLE = (
    "method", "epsilon", "trust", "size", "customers", "seeds", *MEASURES, *SAMPLED,
    "low", "high", "least", "greatest", "alone", ALONE_WITH_STORE,
    *(f"minus_{name}{end}" for name in OPPONENTS for end in ("", "_low", "_high")),
)  # fmt: skip
CELLS = (
    "cell", "learner", "epsilon", "trust", "seed", "size", "status", "customers", *MEASURES, *SAMPLED,
    "seconds", "upload_bytes_per_store", "aggregation", "noise_multiplier", "noise_effective", "plan_hash", "reason",
)  # fmt: skip


def table_csv(document: Json) -> str:
    """frontier.csv: baselines, then learners; epsilon `inf` = without noise; an empty cell = not measured."""
    both = [*document["baselines"], *with_served(document["table"])]
    rows = [{**row, "method": name_of(row), "epsilon": infinite(row["epsilon"])} for row in both]
    return written(TABLE, [{**row, **bounds(row), **paired(row), "seeds": len(row["seeds"])} for row in rows])


def cells_csv(document: Json) -> str:
    """cells.csv: one line a run of a learner."""
    rows = [row for row in document["cells"] if row["learner"] is not None]
    return written(CELLS, [{**row, "epsilon": infinite(row["epsilon"])} for row in rows])


def name_of(row: Json) -> str:
    """Of the method; a baseline's as in run.json."""
    return str(row["method"] if "method" in row else row["learner"])


def infinite(epsilon: float | None) -> float | str:
    """`inf` for None."""
    return "inf" if epsilon is None else epsilon


def bounds(row: Json) -> Json:
    """The interval as two columns."""
    low, high = row["ci95"] or (None, None)
    return {"low": low, "high": high}


def paired(row: Json) -> Json:
    """Paired differences as three columns each."""
    found: Json = {}
    for one in row.get("paired", []):
        name = f"minus_{one['against'].replace(' ', '_')}"
        if "why" not in one and one["metric"] == MAIN:
            found |= {name: one["difference"], f"{name}_low": one["low"], f"{name}_high": one["high"]}
    return found


def written(columns: Sequence[str], rows: Sequence[Json]) -> str:
    """CSV with these columns; None is an empty cell."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, extrasaction="ignore", restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def table_tex(document: Json) -> str:
    """frontier.tex: a booktabs table for \\input, and what a reader must know of it as a comment and a note."""
    sampled = any(row["sampled ndcg@10"] is not None for row in document["table"])
    sizes = len({row["size"] for row in document["table"]}) > 1
    heads = ["method", "trust", r"$\varepsilon$", *(["customers"] if sizes else []), "HR@10", "NDCG@10", r"95\,\%"]
    heads += ["HR@10 (100)", "NDCG@10 (100)"] if sampled else []
    lines = [
        "% needs \\usepackage{booktabs}; made by fedcart, the numbers are those of frontier.json",
        *(f"% {note}" for note in notes(document)),
        r"\begin{tabular}{ll" + "r" * (len(heads) - 2) + "}",
        r"\toprule",
        " & ".join(heads) + r" \\",
        r"\midrule",
    ]
    for block in (document["baselines"], with_served(document["table"])):
        for row in block:
            lines.append(" & ".join(tex_cells(row, sampled, sizes)) + r" \\")
        if block is document["baselines"] and block:
            lines.append(r"\midrule")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def tex_cells(row: Json, sampled: bool, sizes: bool) -> list[str]:
    """One line's cells."""
    name = method_name(name_of(row))
    if name_of(row).startswith("centralized.") and row["epsilon"] is None:
        name += " (pooled)"
    private = row["epsilon"] is not None
    low, high = row["ci95"] or (None, None)
    cells = [
        escaped(name),
        row["trust"] if private else "--",
        f"{row['epsilon']:g}" if private else r"$\infty$",
        *([f"{row['customers']:,}".replace(",", r"\,")] if sizes else []),
        decimals(row["hr@10"]),
        decimals(row[MAIN]),
        "--" if low is None else f"{decimals(low)}--{decimals(high)}",
    ]
    return cells + ([decimals(row["sampled hr@10"]), decimals(row["sampled ndcg@10"])] if sampled else [])


def notes(document: Json) -> list[str]:
    """What a number of this table means, one line each."""
    privacy = document["privacy"]
    deltas = ", ".join(f"{delta:g}" for delta in privacy["delta"])
    found = [
        f"full ranking, new items, mean of {len(document['grid']['seeds'])} seeds; (100) = among 1 + 99 candidates",
        f"delta {deltas or 'none'}; unit {', '.join(privacy['unit']) or 'none'}; accountant "
        f"{', '.join(privacy['accountant']) or 'none'}; settings choice {privacy['settings_choice']}",
    ]
    if any(row["with_store"] for row in document["table"]):
        found.append(f"{OWN.strip()}: each store's own co-occurrences beside the model, local, covered by no epsilon")
    if privacy["rehearsal"]:
        found.append("rehearsal: noise from the seed, nobody was protected")
    return found


def decimals(value: float | None) -> str:
    """.0634, as tables of metrics are set."""
    return "--" if value is None else f"{value:.4f}".removeprefix("0")


def escaped(text: str) -> str:
    """Text for LaTeX."""
    return "".join("\\" + letter if letter in "&%$#_{}" else letter for letter in text)
