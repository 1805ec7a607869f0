"""run.json and results.parquet: everything a run found, in one schema (docs/schema/run.schema.json)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fedcart.server.checkpoint import read_lines
from fedcart.shared.storage import replace_file
from fedcart.simulation.baselines.memoriser import memoriser_is_null
from fedcart.simulation.config import plain
from fedcart.simulation.datasets.dataset import Dataset
from fedcart.simulation.evaluate import Ranking
from fedcart.simulation.example_customers import examples
from fedcart.simulation.methods import Trainings
from fedcart.simulation.partition import resolved
from fedcart.simulation.privacy_document import privacy_table
from fedcart.simulation.provenance import provenance, validation
from fedcart.simulation.summarise import Summariser
from fedcart.simulation.workspace import Workspace

CENTRALIZED = ("popularity", "itemknn", "userknn", "ease", "ials", "same", "recent", "recent_own")
PEERS = (
    "federated",
    "without_order",
    "with_store",
    "no_noise",
    "local_only",
    "alone_with_store",
    "content",
    "memoriser",
    "random",
)
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
    sittings: int,
    versions: Mapping[str, str],
    peak_rss: int,
    message: str | None,
) -> dict[str, Any]:
    """Write run.json and return it."""
    split, config = trainings.split, trainings.config
    rounds = read_lines(trainings.coalition)
    planned = len(trainings.plan.rounds(trainings.catalogue))
    chosen = provenance(config, dataset, split, trainings.plan.learner, rankings)
    given = dataset.catalogue.source == "given"
    document: dict[str, Any] = {
        "schema": 1,
        "status": status,
        "rehearsal": trainings.plan.privacy is not None and trainings.around.seed is not None,
        "command": command,
        "config": config.shown(),
        "learner": {
            "name": trainings.plan.learner,
            "hyper_parameters": plain(trainings.plan.hyper_parameters),
            "order_of_own_history": "local, no ε" if trainings.uses_order else None,
        },
        "settings": {label(method): one for method, one in chosen.items()},
        "alone_settings": trainings.alone_settings,
        "seeds": [config.seed],
        "plan_hash": trainings.plan_hash,
        "versions": dict(versions),
        "data": {
            "name": dataset.name,
            "customers": len(trainings.partition.people),
            "items": len(dataset.catalogue),
            "interactions": len(trainings.partition.interactions),
            "stores": len(trainings.partition.names),
            "stores_by": resolved(config.stores.by, dataset),
            "catalogue": dataset.catalogue.source,
            "public_features": given and bool(dataset.catalogue.columns),
            "derived_features": not given and bool(dataset.catalogue.columns),
            "dropped": dict(dataset.reading.dropped),
            **({"currency": CURRENCY[dataset.name]} if dataset.name in CURRENCY else {}),
        },
        "split": {
            "rule": split.rule,
            "at": split.at,
            "ties": "seeded draw" if split.rule == "leave-one-out" else None,
            "validation": validation(dataset.name, chosen),
            "held_out": len(split.held_out.items),
            "repeats": int((~split.held_out.is_new).sum()),
            "memoriser_is_null": memoriser_is_null(split),
        },
        **measurements(trainings, rankings),
        "privacy": privacy(trainings, rounds),
        "history": [
            {
                "round": line["round"] + 1,
                "metric": trainings.curve.get(line["round"]),
                "seconds": line["seconds"],
                "upload_bytes": line["upload_bytes"],
                "stores": line["stores"],
            }
            for line in rounds
        ],
        "cost": cost(rounds, len(trainings.partition.names), seconds, sittings, peak_rss),
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
    served, served_alone = rankings.get("with_store"), rankings.get("alone_with_store")
    if served is not None and served_alone is not None:
        for compare in (summary.paired, summary.paired_macro):
            found["paired"].append(compare("with_store", served, "alone_with_store", served_alone))
    measured = trainings.in_stores()
    found["in_stores"] = None if measured is None else {**measured.document(), "measured": "federated"}
    found["stores"] = [] if together is None else summary.stores(alone, together)
    tail = None
    if together is not None:
        tail = summary.long_tail({"alone": alone, "together": together, "popularity": rankings.get("popularity")})
    every = blocks(False)
    every["paired"] = paired_on_all_items(summary, rankings)
    return {"metrics": found, "metrics_all_items": every, "long_tail": tail}


def paired_on_all_items(summary: Summariser, rankings: Mapping[str, Ranking]) -> list[dict[str, Any]]:
    """The coalition against each store alone and content where repeat purchases count."""
    if "federated" not in rankings:
        return []

    def on_all(name: str) -> Ranking:
        return replace(rankings[name], new=rankings[name].all)

    pairs = [("federated", "local_only"), ("federated", "content"), ("with_store", "alone_with_store")]
    return [summary.paired(a, on_all(a), b, on_all(b)) for a, b in pairs if a in rankings and b in rankings]


def label(method: str) -> str:
    """A method's name in run.json."""
    return f"centralized.{method}" if method in CENTRALIZED else method


def comparisons() -> list[tuple[str, str]]:
    """Rankings the coalition's is paired with, and their names in run.json."""
    return [
        (name, label(name))
        for name in (
            "without_order",
            "with_store",
            "no_noise",
            "local_only",
            "content",
            "memoriser",
            "random",
            *CENTRALIZED,
        )
    ]


LINKAGE = (
    "A person's stores share one clip by parts that the simulation knows; real stores need a linkage for them, and the "
    "promise to a person holds only while their parts add up to at most one."
)
TIES = (
    "Which of a customer's latest events of the same time is held out is drawn by its row number in the data set, "
    "which another customer's absence would shift."
)


def privacy(trainings: Trainings, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """What was promised and what each release cost; `lines`: of the finished rounds."""
    uncovered = ["The results were measured with all data in hand."]
    single = int((np.diff(trainings.partition.offsets) == 1).sum())
    if single and trainings.plan.trust != "local":
        noise = "" if trainings.plan.privacy is None else " and a share of the noise"
        uncovered.append(f"{single} of the stores have a single customer: their sum is that customer's row{noise}.")
    if trainings.catalogue.source == "derived" and trainings.catalogue.columns:
        uncovered.append("Titles, prices and other features of items were taken from the interactions.")
    if trainings.split.as_of_derived:
        uncovered.append("Ages are relative to the latest time of all customers.")
    if trainings.plan.privacy is not None:
        uncovered.append("Settings and clips were chosen by looking at data.")
        if trainings.split.rule == "leave-one-out":
            uncovered.append(TIES)
        if trainings.around.seed is not None:
            uncovered.append("A rehearsal: whoever knows the seed can take the noise off again.")
        if trainings.plan.privacy.overlap == "weights":
            uncovered.append(LINKAGE)
        if trainings.bound_derived:
            uncovered.append("The bound on the number of customers was taken from the data.")
    terms = trainings.plan.privacy
    person_is_unit = trainings.partition.one_store_each or trainings.config.privacy.overlap == "declared"
    person_is_unit |= terms is not None and terms.overlap == "weights"
    rounds = trainings.plan.rounds(trainings.catalogue)
    return privacy_table(
        trainings.plan,
        rounds,
        len(lines),
        person_is_unit=person_is_unit,
        uncovered=uncovered,
        aggregation=opened_by(lines),
    )


def opened_by(lines: list[dict[str, Any]]) -> str:
    """`SA1` exactly when secure aggregation opened every total so far; `plain` otherwise, and before the first."""
    return "SA1" if lines and all(line.get("aggregation") == "SA1" for line in lines) else "plain"


def cost(rounds: list[dict[str, Any]], stores: int, seconds: float, sittings: int, peak_rss: int) -> dict[str, Any]:
    """Rounds, time, traffic, memory and how many stores answered; traffic is the mean over stores."""
    training = sum(line["seconds"] for line in rounds)
    answered = [line["stores"] for line in rounds]
    return {
        "rounds": len(rounds),
        "seconds": seconds,
        "sittings": sittings,
        **({"stores_answered": {"least": min(answered), "mean": sum(answered) / len(rounds)}} if rounds else {}),
        "seconds_per_round": training / len(rounds) if rounds else None,
        "upload_bytes_per_store": sum(line["upload_bytes"] for line in rounds) // stores if rounds else None,
        "download_bytes_per_store": sum(line["download_bytes"] for line in rounds) // stores if rounds else None,
        "peak_rss_bytes": peak_rss,
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
