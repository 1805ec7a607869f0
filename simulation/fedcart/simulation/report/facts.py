"""What the page states beside the figures: the strip, what left each store, three customers, costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedcart.simulation.report.formats import (
    MISSING,
    NBSP,
    bytes_,
    count,
    noun,
    plain,
    price,
    seconds,
)

Json = dict[str, Any]
TOP = 5
"""Items of an example list that are shown."""
MOST_RELEASES = 6
"""Releases on the first screen; longer lists stand in full below."""


@dataclass(frozen=True, slots=True)
class Chip:
    """One fact of the strip; `warning` marks what weakens the claim at the top."""

    label: str
    value: str
    note: str = ""
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """One item of an example; `fresh` = in the list of the stores together and not in that of the store alone."""

    title: str
    price: str
    category: str
    fresh: bool = False


def strip(run: Json) -> list[Chip]:
    """ε, δ, unit, trust, accountant, colluders, item list, rehearsal, aggregation: in this order, all of them."""
    p, derived = run["privacy"], run["data"]["catalogue"] == "derived"
    private = p["epsilon"] is not None
    several = ", ".join(
        f"{plain(e)} in {n} stores" for n, e in sorted(p.get("epsilon_in_stores", {}).items(), key=lambda x: int(x[0]))
    )
    return [
        Chip("ε", plain(p["epsilon"]) if private else "none", "" if private else "no guarantee", not private),
        Chip("δ", plain(p["delta"]) if private else MISSING),
        Chip(
            "unit",
            "customer" if p["unit"] == "customer" else "customer–store pair",
            f"ε {several}" if several else "add or remove one",
        ),
        _trust(p),
        Chip("accountant", p["accountant"] or MISSING, "" if private else "nothing to account"),
        Chip("colluders", _colluders(p), _survivors(p)),
        Chip("item list", run["data"]["catalogue"], "not covered by ε" if derived else "public input", derived),
        Chip(
            "rehearsal",
            "yes" if run["rehearsal"] else "no",
            "noise from a seed: not evidence" if run["rehearsal"] else "",
            run["rehearsal"],
        ),
        _aggregation(p),
    ]


def _trust(privacy: Json) -> Chip:
    notes = {
        "local": "each store adds all the noise",
        "distributed": "each store adds a share of the noise",
        "none": "no noise is added",
    }
    trust = privacy["trust"]
    bare = privacy["epsilon"] is None
    return Chip("trust", trust, notes["none"] if bare else notes[trust], warning=bare)


def _aggregation(privacy: Json) -> Chip:
    if privacy["aggregation"] == "plain":
        return Chip("aggregation", "plain", "sums seen one by one", privacy["trust"] != "local")
    return Chip("aggregation", privacy["aggregation"], "only totals are opened")


def _colluders(privacy: Json) -> str:
    return MISSING if privacy["colluders"] is None else f"up to {count(privacy['colluders'])}"


def _survivors(privacy: Json) -> str:
    found = privacy["min_survivors"]
    return "" if found is None else f"at least {noun(found, 'store')} in a sum"


def releases(run: Json) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Rows of `what left each store`, and the total."""
    found = run["privacy"]["releases"]
    rows = [
        {
            "name": r["name"],
            "words": count(r["words"]) if r["rounds"] == 1 else f"{count(r['rounds'])} × {count(r['words'])}",
            "bytes": bytes_(r["bytes"]),
            "clip": "not clipped" if r["clip_norm"] is None else f"clip {plain(r['clip_norm'])}",
            "epsilon": "none" if r["epsilon"] is None else f"{r['epsilon']:.2f}",
        }
        for r in found
    ]
    spent = run["privacy"]["epsilon"]
    total = {
        "words": count(sum(r["words"] * r["rounds"] for r in found)),
        "bytes": bytes_(sum(r["bytes"] for r in found)),
        "epsilon": "none" if spent is None else f"{spent:.2f}",
    }
    return rows, total


def examples(run: Json) -> list[dict[str, Any]]:
    """Three customers: history, top five alone, top five together."""
    currency = run["data"].get("currency", "")
    return [
        {
            "title": e["title"],
            "history": [_listed(item, currency) for item in e["history"][:TOP]],
            "more": max(0, len(e["history"]) - TOP),
            "alone": [_listed(item, currency) for item in e["alone"][:TOP]],
            "together": [_listed(item, currency, e["alone"][:TOP]) for item in e["together"][:TOP]],
        }
        for e in run.get("examples", [])
    ]


def _listed(item: Json, currency: str, others: list[Json] | None = None) -> Listed:
    return Listed(
        item["title"] or "(no title)",
        price(item["price"], currency),
        item["category"] or "",
        others is not None and item not in others,
    )


def measured(run: Json) -> str:
    """Who held the held-out interactions."""
    m = run["metrics"]
    found = {r["measured"] for r in (m["federated"], m["local_only"], m["no_noise"]) if r is not None}
    if found == {"federated"}:
        return "Measured by the stores on their own held-out interactions and added up"
    return "Measured with all data in hand"


def cost(run: Json) -> list[tuple[str, str]]:
    """What the run cost; what was not measured is a dash."""
    c = run["cost"]
    return [
        ("rounds", count(c["rounds"])),
        ("time, whole run", seconds(c["seconds"])),
        ("time, one round", seconds(c["seconds_per_round"])),
        ("sent by each store", bytes_(c["upload_bytes_per_store"])),
        ("received by each store", bytes_(c["download_bytes_per_store"])),
        ("peak memory", bytes_(c["peak_rss_bytes"])),
    ]


def data(run: Json) -> list[tuple[str, str]]:
    """What went in and how it was split."""
    d, split = run["data"], run["split"]
    dropped = "; ".join(f"{reason} {count(n)}" for reason, n in sorted(d.get("dropped", {}).items()))
    at = "" if split["at"] is None else f" at {split['at']}"
    return [
        ("data", d["name"]),
        ("customers", count(d["customers"])),
        ("items", f"{count(d['items'])} ({d['catalogue']})"),
        ("interactions", count(d["interactions"])),
        ("bad rows dropped", dropped or "none"),
        ("item features", "public, used" if d.get("public_features") else "none used"),
        ("split", f"{split['rule']}{at}"),
        ("ties", split["ties"] or MISSING),
        ("validation", split["validation"] or "none"),
        ("held out", count(split["held_out"])),
        ("learner", run["learner"]["name"]),
        ("seed" if len(run["seeds"]) == 1 else "seeds", ", ".join(str(seed) for seed in run["seeds"])),
        ("plan", (run["plan_hash"] or MISSING)[:16]),
        ("software", ", ".join(f"{name}{NBSP}{version}" for name, version in sorted(run["versions"].items()))),
    ]


def uncovered(run: Json) -> list[str]:
    """What ε does not cover, in the run's words, and the item list when it came from the interactions."""
    lines = list(run["privacy"]["uncovered"])
    if run["data"]["catalogue"] == "derived":
        lines.insert(0, "Item list derived from interactions: not covered by ε.")
    return lines
