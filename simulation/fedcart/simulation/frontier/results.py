"""What the cells' run.json files say, row by row: no number of a frontier comes from anywhere else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcart.simulation.frontier.folder import CELLS, Folder
from fedcart.simulation.frontier.grid import Cell
from fedcart.simulation.report.methods import result

Json = dict[str, Any]
MAIN = "ndcg@10"
MEASURES = ("ndcg@10", "hr@10")
SAMPLED = ("sampled ndcg@10", "sampled hr@10")
WITH_STORE, ALONE_WITH_STORE = "with_store", "alone_with_store"
"""The coalition's model with each store's own co-occurrences beside it, and each store alone with the same."""


@dataclass(frozen=True)
class Found:
    """A complete cell and its run.json; `directory` holds its results.parquet."""

    cell: Cell
    run: Json
    directory: Path


def complete(folder: Folder) -> dict[str, Found]:
    """Cell name -> what was found, of all complete cells of the grid."""
    runs = {cell: folder.run(cell) for cell in folder.cells}
    return {cell.name: Found(cell, run, folder.path(cell)) for cell, run in runs.items() if run is not None}


def measures(run: Json, method: str) -> dict[str, float | None] | None:
    """NDCG@10 and HR@10 of new items, full ranking and (where the split has candidates) sampled; None = not run."""
    block = result(run["metrics"], method)
    if block is None:
        return None
    sampled = block["sampled"] or {}
    return {name: block["full"][name] for name in MEASURES} | {
        f"sampled {name}": sampled.get(name) for name in MEASURES
    }


def interval(run: Json, method: str) -> list[float] | None:
    """95 % of NDCG@10 over customers; None where too few were measured."""
    block = result(run["metrics"], method)
    return None if block is None or not block["ci95"] else block["ci95"].get(MAIN)


def baselines(run: Json) -> list[str]:
    """Ids of the baselines a reference run measured, as `metrics.paired` spells them."""
    central = [
        f"centralized.{name}" for name, block in run["metrics"]["centralized"].items() if block and name != "same"
    ]
    return (["content"] if run["metrics"]["content"] else []) + central


def cell_row(cell: Cell, found: Found | None, failure: tuple[int, str] | None) -> Json:
    """One cell in frontier.json."""
    row: Json = {
        "cell": cell.name,
        "learner": cell.learner,
        "epsilon": finite(cell.epsilon),
        "trust": cell.trust,
        "seed": cell.seed,
        "size": cell.size,
        "status": "complete" if found else "failed" if failure else "missing",
        "reason": failure[1] if failure and not found else None,
        "run": f"{CELLS}/{cell.name}/run.json" if found else None,
    }
    if found is None:
        return row
    run = found.run
    row |= {"seconds": run["cost"]["seconds"], "customers": run["data"]["customers"]}
    if cell.learner is None:
        return row
    return row | {
        **(measures(run, "federated") or {}),
        "ci95": interval(run, "federated"),
        "alone": (measures(run, "local_only") or {}).get(MAIN),
        "plan_hash": run["plan_hash"],
        "aggregation": run["privacy"]["aggregation"],
        "noise_multiplier": run["privacy"]["noise_multiplier"],
        "noise_effective": run["privacy"]["noise_effective"],
        "upload_bytes_per_store": run["cost"]["upload_bytes_per_store"],
    }


def finite(epsilon: float) -> float | None:
    """None for infinity: JSON has none."""
    return None if epsilon == math.inf else epsilon


def distinct(found: Mapping[str, Found], *path: str, private: bool = False) -> list[Any]:
    """The values that run.json files have at `path`, each once; `private`: of cells under an epsilon only."""
    values: list[Any] = []
    for one in found.values():
        if private and one.cell.epsilon == math.inf:
            continue
        value: Any = one.run
        for key in path:
            value = value[key]
        if value is not None and value not in values:
            values.append(value)
    return values
