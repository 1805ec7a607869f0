"""The table: one row a learner, epsilon, trust and size, mean over seeds, beside what it is compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from fedcart.shared.errors import DataError
from fedcart.simulation.frontier.claims import SIMPLE
from fedcart.simulation.frontier.grid import FLOOR, Cell, Experiment
from fedcart.simulation.frontier.pairing import Difference, accuracy, difference, paired
from fedcart.simulation.frontier.results import (
    ALONE_WITH_STORE,
    MAIN,
    MEASURES,
    SAMPLED,
    WITH_STORE,
    Found,
    Json,
    baselines,
    finite,
    interval,
    measures,
)

FLOOR_NAME = "private popularity"
"""What a private learner is compared with: the floor under the same epsilon, trust and seed."""
SIMPLE_METHODS = {name: "content" if name == "content" else f"centralized.{name}" for name in SIMPLE}
ALONE = "alone"
"""The same learner in each store by itself: nothing leaves, so it needs no noise. In the cell without noise."""
TOGETHER = "together"
"""What `with_store` is compared with: the same run's model without the store's own co-occurrences."""


def learner_rows(experiment: Experiment, found: dict[str, Found]) -> list[Json]:
    """Rows of all groups of cells of which at least one is complete, in the grid's order."""
    groups: dict[tuple[Any, ...], list[Found]] = {}
    for cell in experiment.cells():
        if cell.learner is not None and cell.name in found:
            groups.setdefault((cell.learner, cell.epsilon, cell.trust, cell.size), []).append(found[cell.name])
    return [learner_row(experiment, found, group) for group in groups.values()]


def learner_row(experiment: Experiment, found: dict[str, Found], group: Sequence[Found]) -> Json:
    """One row; `seeds` are those that are complete."""
    cell, replicates = group[0].cell, experiment.base.evaluate.replicates
    floor = {} if cell.learner == FLOOR or cell.trust == "none" else {FLOOR_NAME: "federated"}
    against = {**SIMPLE_METHODS, **floor, ALONE: "local_only"}
    return {
        "learner": cell.learner,
        "epsilon": finite(cell.epsilon),
        "trust": cell.trust,
        "size": cell.size,
        "seeds": [one.cell.seed for one in group],
        "customers": group[0].run["data"]["customers"],
        **summary([(one, "federated") for one in group], replicates),
        "alone": mean([(measures(one.run, "local_only") or {}).get(MAIN) for one in group]),
        "paired": compared(experiment, found, group, "federated", against),
        WITH_STORE: beside_store(experiment, found, group, floor),
    }


def beside_store(
    experiment: Experiment, found: dict[str, Found], group: Sequence[Found], floor: Mapping[str, str]
) -> Json | None:
    """The row once more, each store's own co-occurrences beside the model; None where a cell did not measure that."""
    if any(measures(one.run, WITH_STORE) is None for one in group):
        return None
    against = {TOGETHER: "federated", ALONE_WITH_STORE: ALONE_WITH_STORE, "content": "content", **floor}
    return {
        **summary([(one, WITH_STORE) for one in group], experiment.base.evaluate.replicates),
        ALONE_WITH_STORE: mean([(measures(one.run, ALONE_WITH_STORE) or {}).get(MAIN) for one in group]),
        "paired": compared(experiment, found, group, WITH_STORE, against),
    }


def compared(
    experiment: Experiment, found: dict[str, Found], group: Sequence[Found], ours: str, against: Mapping[str, str]
) -> list[Json]:
    """The group's method `ours` minus each of `against` (name -> method), full ranking first."""
    return [
        one
        for metric in (MAIN, SAMPLED[0])
        for name, method in against.items()
        if (one := compare(experiment, found, group, ours, name, method, metric)) is not None
    ]


def compare(
    experiment: Experiment,
    found: dict[str, Found],
    group: Sequence[Found],
    ours: str,
    name: str,
    method: str,
    metric: str,
) -> Json | None:
    """The group minus content, the floor or each store alone; None while that is not there for every seed of the
    group, or the split has no candidates; `why` where the two cannot be paired."""
    parts = []
    for one in group:
        other = found.get(opponent(experiment, one.cell, name).name)
        if other is None or (measures(other.run, method) or {}).get(metric) is None:
            return None
        parts.append((one, other))
    try:
        pairs = [difference(a.directory, ours, b.directory, column(method), metric != MAIN) for a, b in parts]
    except DataError as error:
        return {"against": name, "metric": metric, "why": error.message}
    result = paired(pairs, experiment.base.evaluate.replicates)
    return {"against": name, "metric": metric, **asdict(result), "verdict": result.verdict}


def opponent(experiment: Experiment, cell: Cell, name: str) -> Cell:
    """The cell that holds an opponent: the floor's under the same epsilon for content and popularity."""
    if name == TOGETHER:
        return cell
    if name in (ALONE, ALONE_WITH_STORE):
        return replace(cell, epsilon=math.inf, trust="none")
    if cell.trust != "none":
        return Cell(learner=FLOOR, epsilon=cell.epsilon, trust=cell.trust, seed=cell.seed, size=cell.size)
    return experiment.reference(cell.seed, cell.size)


def baseline_rows(experiment: Experiment, found: dict[str, Found]) -> list[Json]:
    """One row a baseline and size without epsilon, and one a baseline, epsilon, trust and size under one."""
    groups: dict[tuple[Any, ...], list[Found]] = {}
    for cell in experiment.cells():
        holds = cell.learner is None or (cell.learner == FLOOR and cell.trust != "none")
        if holds and cell.name in found:
            groups.setdefault((cell.epsilon, cell.trust, cell.size), []).append(found[cell.name])
    return [
        {
            "method": method,
            "epsilon": finite(epsilon),
            "trust": trust,
            "size": size,
            "seeds": [one.cell.seed for one in group],
            "customers": group[0].run["data"]["customers"],
            **summary([(one, method) for one in group], experiment.base.evaluate.replicates),
        }
        for (epsilon, trust, size), group in groups.items()
        for method in baselines(group[0].run)
    ]


def summary(parts: Sequence[tuple[Found, str]], replicates: int) -> Json:
    """Means over seeds, least and greatest NDCG@10 of a seed, and a 95 % interval over customers and seeds."""
    each = [measures(one.run, method) or {} for one, method in parts]
    values: Json = {name: mean([x.get(name) for x in each]) for name in (*MEASURES, *SAMPLED)}
    main = [float(x[MAIN] or 0.0) for x in each]
    if len(parts) == 1:
        bounds = interval(parts[0][0].run, parts[0][1])
    else:
        whole: Difference = accuracy([(one.directory, column(method)) for one, method in parts], replicates)
        bounds = None if whole.low is None or whole.high is None else [whole.low, whole.high]
    return {**values, "least": min(main), "greatest": max(main), "ci95": bounds}


def column(method: str) -> str:
    """A method's name in results.parquet."""
    return method.removeprefix("centralized.")


def mean(values: Sequence[float | None]) -> float | None:
    """The mean; None where any is missing."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def best(rows: Sequence[Json], **wanted: Any) -> Json | None:
    """The row with the highest NDCG@10 among those with these keys; None of none."""
    kept = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return max(kept, key=lambda row: float(row[MAIN]), default=None)


def epsilons(rows: Sequence[Json]) -> list[float]:
    """The finite epsilons of the rows, ascending."""
    return sorted({row["epsilon"] for row in rows if row["epsilon"] is not None and row["epsilon"] < math.inf})
