"""run.json and results.parquet: everything a run found, in one schema (docs/schema/run.schema.json)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from fedcart.server.checkpoint import read_lines
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.storage import replace_file
from fedcart.simulation import defaults
from fedcart.simulation.baselines.memoriser import memoriser_is_null
from fedcart.simulation.config import plain
from fedcart.simulation.datasets.dataset import Dataset
from fedcart.simulation.evaluate import Ranking
from fedcart.simulation.methods import Trainings
from fedcart.simulation.privacy_document import privacy_table
from fedcart.simulation.summarise import Summariser
from fedcart.simulation.workspace import Workspace

CENTRALIZED = ("popularity", "itemknn", "userknn", "ease", "ials", "same", "recent", "recent_own")
PEERS = ("federated", "no_noise", "local_only", "content", "memoriser", "random")
CURRENCY = {"marketplace": "€", "online-retail": "£", "complete-journey": "$"}
MADE_UP = ("marketplace",)
"""Data sets whose customers may be shown in a report: nobody is behind them."""


def write_run(
    workspace: Workspace,
    trainings: Trainings,
    dataset: Dataset,
    rankings: Mapping[str, Ranking],
    *,
    status: str,
    command: str,
    seconds: float,
    versions: Mapping[str, str],
    peak_rss: int,
    message: str | None,
) -> dict[str, Any]:
    """Write run.json and return it."""
    split, config = trainings.split, trainings.config
    rounds = read_lines(trainings.coalition)
    planned = len(trainings.plan.rounds(trainings.catalogue))
    document: dict[str, Any] = {
        "schema": 1,
        "status": status,
        "rehearsal": trainings.plan.privacy is not None and trainings.around.seed is not None,
        "command": command,
        "config": config.document(),
        "learner": {"name": trainings.plan.learner, "hyper_parameters": plain(trainings.plan.hyper_parameters)},
        "seeds": [config.seed],
        "plan_hash": trainings.plan_hash,
        "versions": dict(versions),
        "data": {
            "name": dataset.name,
            "customers": len(trainings.partition.people),
            "items": len(dataset.catalogue),
            "interactions": len(trainings.partition.interactions),
            "stores": len(trainings.partition.names),
            "catalogue": dataset.catalogue.source,
            "public_features": bool(dataset.catalogue.columns),
            "dropped": dict(dataset.reading.dropped),
            **({"currency": CURRENCY[dataset.name]} if dataset.name in CURRENCY else {}),
        },
        "split": {
            "rule": split.rule,
            "at": split.at,
            "ties": "seeded draw" if split.rule == "leave-one-out" else None,
            "validation": defaults.settings_chosen_on(dataset.name),
            "held_out": len(split.held_out.items),
            "memoriser_is_null": memoriser_is_null(split),
        },
        **measurements(trainings, rankings),
        "privacy": privacy(trainings, len(rounds)),
        "history": [
            {
                "round": line["round"] + 1,
                "metric": trainings.curve.get(line["round"]),
                "seconds": line["seconds"],
                "upload_bytes": line["upload_bytes"],
            }
            for line in rounds
        ],
        "cost": cost(rounds, len(trainings.partition.names), seconds, peak_rss),
    }
    if dataset.name in MADE_UP and {"federated", "local_only"} <= rankings.keys():
        document["examples"] = examples(trainings, rankings["local_only"], rankings["federated"])
    if status != "complete":
        document["progress"] = {
            "stage": next((n for n in (*PEERS, *CENTRALIZED) if n not in rankings), "report"),
            "rounds_done": len(rounds),
            "rounds_planned": planned,
            "message": message,
        }
    workspace.write_text("run.json", json.dumps(document, indent=1, allow_nan=False) + "\n")
    return document


def measurements(trainings: Trainings, rankings: Mapping[str, Ranking]) -> dict[str, Any]:
    """`metrics`, `metrics_all_items` and `long_tail`."""
    summary = Summariser(
        trainings.split,
        trainings.partition,
        trainings.catalogue,
        trainings.config.seed,
        trainings.config.evaluate.replicates,
    )

    def blocks(new: bool) -> dict[str, Any]:
        def one(name: str) -> dict[str, Any] | None:
            return summary.block(rankings[name], new) if name in rankings else None

        return {name: one(name) for name in PEERS} | {"centralized": {name: one(name) for name in CENTRALIZED}}

    found = blocks(True)
    found["paired"] = [
        summary.paired("federated", rankings["federated"], label, rankings[name])
        for name, label in comparisons()
        if name in rankings and "federated" in rankings
    ]
    alone, together = rankings.get("local_only"), rankings.get("federated")
    if alone is not None and together is not None:
        found["paired"].append(summary.paired_macro("federated", together, "local_only", alone))
    found["stores"] = [] if together is None else summary.stores(alone, together)
    tail = None
    if together is not None:
        tail = summary.long_tail({"alone": alone, "together": together, "popularity": rankings.get("popularity")})
    return {"metrics": found, "metrics_all_items": blocks(False), "long_tail": tail}


def comparisons() -> list[tuple[str, str]]:
    """Rankings the coalition's is paired with, and their names in run.json."""
    return [("local_only", "local_only"), ("content", "content"), ("memoriser", "memoriser"), ("random", "random")] + [
        (name, f"centralized.{name}") for name in CENTRALIZED
    ]


def privacy(trainings: Trainings, rounds_done: int) -> dict[str, Any]:
    """What was promised and what each release cost."""
    uncovered = ["The results were measured with all data in hand."]
    if trainings.split.as_of_derived:
        uncovered.append("Ages are relative to the latest time of all customers.")
    if trainings.plan.privacy is not None:
        uncovered.append("Settings and clips were chosen by looking at data.")
        if trainings.around.seed is not None:
            uncovered.append("A rehearsal: whoever knows the seed can take the noise off again.")
        if trainings.bound_derived:
            uncovered.append("The bound on the number of customers was taken from the data.")
    one_store_each = trainings.config.privacy.overlap == "declared" or trainings.partition.one_store_each
    rounds = trainings.plan.rounds(trainings.catalogue)
    return privacy_table(trainings.plan, rounds, rounds_done, one_store_each=one_store_each, uncovered=uncovered)


def cost(rounds: list[dict[str, Any]], stores: int, seconds: float, peak_rss: int) -> dict[str, Any]:
    """Rounds, time, traffic and memory; traffic is the mean over stores."""
    training = sum(line["seconds"] for line in rounds)
    return {
        "rounds": len(rounds),
        "seconds": seconds,
        "seconds_per_round": training / len(rounds) if rounds else None,
        "upload_bytes_per_store": sum(line["upload_bytes"] for line in rounds) // stores if rounds else None,
        "download_bytes_per_store": sum(line["download_bytes"] for line in rounds) // stores if rounds else None,
        "peak_rss_bytes": peak_rss,
    }


def examples(trainings: Trainings, alone: Ranking, together: Ranking) -> list[dict[str, Any]]:
    """Three made-up customers with short histories: what they had, and the first five of both lists."""
    counts = trainings.split.train.counts
    fit = trainings.split.held_out.measured
    fit = fit[(counts[fit] >= 4) & (counts[fit] <= 9)]
    if len(fit) < 3:
        return []
    generator = np.random.default_rng([trainings.config.seed, 0xE])
    chosen = np.sort(generator.choice(fit, 3, replace=False))
    train, store = trainings.split.train, trainings.partition.store_of
    return [
        {
            "title": f"Customer {letter} of {trainings.partition.names[store[customer]]}",
            "history": [item(trainings.catalogue, x) for x in train.slice(customer, customer + 1).items],
            "alone": [item(trainings.catalogue, x) for x in alone.top[customer, :5] if x >= 0],
            "together": [item(trainings.catalogue, x) for x in together.top[customer, :5] if x >= 0],
        }
        for letter, customer in zip("ABC", chosen.tolist(), strict=True)
    ]


def item(catalogue: Catalogue, position: int) -> dict[str, Any]:
    """A public item as a page shows it."""
    title, category, price = catalogue.text("title"), catalogue.text("category"), catalogue.number("price")
    known_price = None if price is None or np.isnan(price[position]) else round(float(price[position]), 2)
    return {
        "title": (str(title[position]) if title is not None else "") or catalogue.ids[position],
        "price": known_price,
        "category": None if category is None else str(category[position]) or None,
    }


def write_results(workspace: Workspace, trainings: Trainings, rankings: Mapping[str, Ranking]) -> None:
    """results.parquet: a row a held-out pair, with its ranks under every method (NaN = not measured)."""
    import pandas as pd

    held = trainings.split.held_out
    owner = held.owner
    columns: dict[str, Any] = {
        "customer": trainings.partition.people[owner],
        "store": np.asarray(trainings.partition.names, object)[trainings.partition.store_of[owner]],
        "item": np.asarray(trainings.catalogue.ids, object)[held.items],
        "is_new": held.is_new,
    }
    for name, ranking in rankings.items():
        columns[f"{name}.new"] = ranking.new
        columns[f"{name}.all"] = ranking.all
        if held.candidates is not None:
            columns[f"{name}.candidates"] = ranking.sampled[owner]
    frame = pd.DataFrame(columns)
    replace_file(workspace.directory / "results.parquet", lambda file: frame.to_parquet(file, index=False))
