"""The tables below the first screen: every method, paired differences, every store, the long tail."""

from __future__ import annotations

from typing import Any

from fedcart.simulation.report.formats import MISSING, count, noun, percent, plain, score, signed
from fedcart.simulation.report.methods import METRIC, Gain, groups, name, result

Json = dict[str, Any]
Table = list[dict[str, Any]]
MOST_STORES = 200

FULL = ("hr@10", "ndcg@10", "recall@20", "mrr@10", "precision@10", "f1@10")
BEYOND = ("coverage@10", "novelty@10", "diversity@10")


def methods(run: Json, metrics: Json) -> Table:
    """Blocks of rows: heading, and per method the cells in the order of `method_columns`."""
    return [
        {"heading": heading, "rows": [_method(run, metrics, method) for method in listed]}
        for heading, listed in groups(run)
    ]


def method_columns(run: Json) -> dict[str, list[str]]:
    """Column headings by group, in the order of a row's cells; those of sampled candidates where there are any."""
    return {
        **({"sampled candidates": ["HR@10", "NDCG@10"]} if _has_candidates(run) else {}),
        "full ranking": ["HR@10", "NDCG@10", "95 %", "mean of stores", "R@20", "MRR@10", "P@10", "F1@10"],
        "beyond accuracy": ["coverage", "novelty", "diversity"],
        "measured": ["customers"],
    }


def _has_candidates(run: Json) -> bool:
    listed = (method for _, block in groups(run) for method in block)
    return any((result(run["metrics"], method) or {}).get("sampled") for method in listed)


def _method(run: Json, metrics: Json, method: str) -> dict[str, Any]:
    """One row; a method that was not run has no cells."""
    found = result(metrics, method)
    chosen = run.get("settings", {}).get(method)
    row = {
        "name": name(run, method),
        "ours": method == "federated",
        "settings": None if chosen is None or chosen["source"] == "none" else chosen["words"],
        "cells": None,
    }
    if found is None:
        return row
    sampled, full = found["sampled"] or {}, found["full"]
    low_high = (found["ci95"] or {}).get(METRIC)
    hr, ndcg, *others = (score(full.get(key)) for key in FULL)
    row["cells"] = [
        *((score(sampled.get(key)) for key in ("hr@10", METRIC)) if _has_candidates(run) else ()),
        hr,
        ndcg,
        MISSING if low_high is None else f"{score(low_high[0])}–{score(low_high[1])}",
        score((found["macro"] or {}).get(METRIC)),
        *others,
        percent(full.get("coverage@10")),
        plain(full.get("novelty@10")),
        plain(full.get("diversity@10")),
        count(found["n"]),
    ]
    return row


def paired(run: Json) -> Table:
    """Differences over the same customers, with what the interval allows to say; all items last."""
    every = (run["metrics_all_items"] or {}).get("paired", [])
    repeats = run["split"].get("repeats")
    return [
        *(_pair(run, p, "new items") for p in run["metrics"]["paired"]),
        *(_pair(run, p, "all items") for p in every if repeats),
    ]


def _pair(run: Json, p: Json, items: str) -> dict[str, str]:
    words = {1: "better", 0: "no measurable difference", -1: "worse"}
    found = Gain(p["difference"], p["low"], p["high"])
    return {
        "method": name(run, p["method"]),
        "against": name(run, p["against"]),
        "metric": p["metric"].replace("ndcg", "NDCG").replace("hr", "HR").replace("macro", "mean of stores,"),
        "items": items,
        "difference": signed(p["difference"]),
        "interval": MISSING if found.unknown else f"{signed(p['low'])} to {signed(p['high'])}",
        "n": count(p["n"]),
        "verdict": "too few customers measured" if found.unknown else words[found.verdict],
    }


def stores(run: Json) -> tuple[Table, str]:
    """Every store, smallest first, and what was left out of a very long list."""
    found = sorted(run["metrics"]["stores"], key=lambda s: (s["customers"], s["store"]))
    rows = [_store(s) for s in found[:MOST_STORES]]
    left = len(found) - len(rows)
    return rows, f"{noun(left, 'larger store')} not listed here; run.json has them all." if left else ""


def _store(s: Json) -> dict[str, Any]:
    known = None not in (s["alone"], s["together"])
    difference = s["together"] - s["alone"] if known else None
    bounded = None not in (s["low"], s["high"])
    return {
        "store": s["store"],
        "customers": count(s["customers"]),
        "alone": score(s["alone"]),
        "together": score(s["together"]),
        "difference": signed(difference),
        "interval": f"{signed(s['low'])} to {signed(s['high'])}" if bounded else MISSING,
        "lost": difference is not None and difference < 0,
    }


def long_tail(run: Json) -> Table:
    """Head, middle and tail: the numbers of the figure."""
    return [
        {
            "group": g["group"],
            "share": percent(g["share_of_items"]),
            **{key: score(g[METRIC][key]) for key in ("popularity", "alone", "together")},
        }
        for g in run["long_tail"] or []
    ]
