"""What the page states beside the figures: the strip, what left each store, three customers, costs."""

from __future__ import annotations

import math
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


LINKED = "one clip over its stores, by a trusted linkage"


def strip(run: Json) -> list[Chip]:
    """ε, δ, unit, trust, accountant, colluders, item list, rehearsal, aggregation: in this order, all of them."""
    p, derived = run["privacy"], run["data"]["catalogue"] == "derived"
    private, why = p["epsilon"] is not None, rehearsed(run)
    several = ", ".join(
        f"{math.ceil(e * 10) / 10:g} in {n}" for n, e in sorted(p.get("epsilon_in_stores", {}).items(), key=_stores)
    )
    return [
        Chip(
            "ε",
            plain(p["epsilon"]) if private else "none",
            ("rehearsed, not kept" if why else "") if private else "no guarantee",
            not private or bool(why),
        ),
        Chip("δ", plain(p["delta"]) if private else MISSING),
        Chip(
            "unit",
            "customer" if p["unit"] == "customer" else "customer–store pair",
            f"ε {several} stores" if several else LINKED if p["overlap"] == "weights" else "add or remove one",
        ),
        _trust(p),
        Chip("accountant", p["accountant"] or MISSING, "" if private else "nothing to account"),
        Chip("colluders", _colluders(p), _survivors(p)),
        Chip("item list", run["data"]["catalogue"], "not covered by ε" if derived else "public input", derived),
        Chip(
            "rehearsal",
            "yes" if run["rehearsal"] else "no",
            "noise from the seed" if run["rehearsal"] else "",
            run["rehearsal"],
        ),
        _aggregation(p),
    ]


def _stores(entry: tuple[str, float]) -> int:
    return int(entry[0])


def rehearsed(run: Json) -> list[str]:
    """Why an ε of this run protected nobody; empty where it did, or where there is none."""
    privacy = run["privacy"]
    if privacy["epsilon"] is None:
        return []
    found = []
    if run["rehearsal"]:
        found.append("whoever knows the seed can take its noise off again")
    if in_the_clear(privacy):
        found.append("each sum was seen with only a share of the noise on it")
    return found


def in_the_clear(privacy: Json) -> bool:
    """Whether stores' sums with a share of the noise each were seen one by one."""
    return bool(privacy["trust"] == "distributed" and privacy["aggregation"] == "plain")


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
    """Rows of `what left each store`, each with its own epsilon, and the total: what the whole run may spend."""
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
            "had": count(len(e["history"])),
            "alone": [_listed(item, currency) for item in e["alone"][:TOP]],
            "together": [_listed(item, currency, e["alone"][:TOP]) for item in e["together"][:TOP]],
        }
        for e in run.get("examples", [])
    ]


def _listed(item: Json, currency: str, others: list[Json] | None = None) -> Listed:
    return Listed(
        item["title"] or f"untitled {(item['category'] or 'item').lower()}",
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
        ("time" if c.get("sittings", 1) == 1 else f"time, {c['sittings']} sittings", seconds(c["seconds"])),
        ("time, one round", seconds(c["seconds_per_round"])),
        ("stores that answered a round", _answered(run)),
        ("sent by each store", bytes_(c["upload_bytes_per_store"])),
        ("received by each store", bytes_(c["download_bytes_per_store"])),
        ("peak memory", bytes_(c["peak_rss_bytes"])),
    ]


def _answered(run: Json) -> str:
    found = run["cost"].get("stores_answered")
    if found is None:
        return MISSING
    return f"{plain(found['mean'])} of {count(run['data']['stores'])} on average, at least {count(found['least'])}"


def _features(data: Json) -> str:
    """Whose the titles, prices and categories are."""
    if data.get("derived_features"):
        return "derived from the interactions; content uses them"
    return "public; content uses them" if data.get("public_features") else "none"


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
        ("item features", _features(d)),
        ("split", f"{split['rule']}{at}"),
        ("ties", split["ties"] or MISSING),
        ("tuned on", split["validation"] or "nothing of this set"),
        (
            "held out",
            count(split["held_out"]) + (f", {count(split['repeats'])} repeats" if split.get("repeats") else ""),
        ),
        ("learner", run["learner"]["name"]),
        ("seed" if len(run["seeds"]) == 1 else "seeds", ", ".join(str(seed) for seed in run["seeds"])),
        ("plan", (run["plan_hash"] or MISSING)[:16]),
        ("software", ", ".join(f"{name}{NBSP}{version}" for name, version in sorted(run["versions"].items()))),
    ]


def uncovered(run: Json) -> list[str]:
    """What ε does not cover, in the run's words, and the item list when it came from the interactions."""
    lines = list(run["privacy"]["uncovered"])
    if run["data"]["catalogue"] == "derived" and not any(
        line.startswith("The item list was derived") for line in lines
    ):
        lines.insert(0, "Item list derived from interactions: not covered by ε.")
    return lines
