"""frontier.json: everything a frontier found, in one schema (docs/schema/frontier.schema.json)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedcart.simulation.frontier.buys import bought
from fedcart.simulation.frontier.folder import Folder, common
from fedcart.simulation.frontier.grid import Experiment
from fedcart.simulation.frontier.results import Found, Json, cell_row, distinct, finite
from fedcart.simulation.frontier.table import baseline_rows, learner_rows
from fedcart.simulation.report import facts

SCHEMA = 1
SETTINGS = "not accounted"
"""Settings were chosen by looking at data, and no epsilon pays for that: see `settings` of the cells' run.json."""


def frontier_document(
    folder: Folder, found: dict[str, Found], failed: Mapping[str, tuple[int, str]], command: str
) -> Json:
    """frontier.json from the complete cells; `failed`: cell -> exit code and reason."""
    experiment = folder.experiment
    rows = learner_rows(experiment, found)
    return {
        "schema": SCHEMA,
        "status": "complete" if len(found) == len(folder.cells) else "incomplete",
        "title": experiment.title,
        "command": command,
        "config": common(experiment.base.shown()),
        "grid": grid(experiment),
        "versions": distinct(found, "versions"),
        "data": [data(one) for one in datasets(found)],
        "split": distinct(found, "split", "rule"),
        "privacy": privacy(found),
        "baselines": baseline_rows(experiment, found),
        "table": rows,
        "coalition_buys": bought(rows),
        "cells": [cell_row(cell, found.get(cell.name), failed.get(cell.name)) for cell in folder.cells],
    }


def grid(experiment: Experiment) -> Json:
    """The lists of the grid; an infinite epsilon is None."""
    axes = experiment.grid
    return {
        "learners": list(experiment.learners),
        "asked": list(axes.learners),
        "epsilons": [finite(epsilon) for epsilon in axes.epsilons],
        "trust": list(axes.trust),
        "seeds": list(axes.seeds),
        "sizes": list(axes.sizes),
        "settings": {name: dict(keys) for name, keys in experiment.settings.items()},
    }


def datasets(found: Mapping[str, Found]) -> list[Found]:
    """One complete cell a size."""
    first: dict[str | None, Found] = {}
    for one in found.values():
        first.setdefault(one.cell.size, one)
    return list(first.values())


def data(one: Found) -> Json:
    """What was read."""
    counts = ("name", "customers", "items", "interactions", "stores", "stores_by")
    keys = (*counts, "catalogue", "public_features", "derived_features")
    return {"size": one.cell.size, **{key: one.run["data"].get(key) for key in keys}}


def privacy(found: Mapping[str, Found]) -> Json:
    """What the private cells promise; every value that occurs. `protected` false: nobody was, and why."""
    keys = ("unit", "relation", "delta", "accountant", "overlap", "colluders", "min_survivors", "aggregation")
    table: dict[str, Any] = {key: distinct(found, "privacy", key, private=True) for key in keys}
    private = [one for one in found.values() if one.run["privacy"]["epsilon"] is not None]
    why = sorted({reason for one in private for reason in facts.rehearsed(one.run)})
    uncovered = sorted({line for one in private for line in facts.uncovered(one.run)})
    several: dict[str, Any] = {
        one.cell.name: one.run["privacy"]["epsilon_in_stores"]
        for one in private
        if "epsilon_in_stores" in one.run["privacy"]
    }
    return {
        **table,
        "rehearsal": any(one.run["rehearsal"] for one in private),
        "unprotected_because": why,
        "settings_choice": SETTINGS,
        "uncovered": uncovered,
        "epsilon_in_stores": several,
    }
