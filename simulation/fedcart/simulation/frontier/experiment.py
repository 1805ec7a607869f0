"""EXPERIMENT.toml and the command's options, read into one `Experiment` by the strict loader.

An experiment is a CONFIG.toml of `simulate` without what the grid says, and with three tables of its own:
`title`, `[grid]`, and `[learners.NAME]` with that learner's keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from fedcart.shared.config import build, read_toml
from fedcart.shared.errors import ConfigError, did_you_mean
from fedcart.simulation.config import Config
from fedcart.simulation.frontier.grid import Experiment, Grid

GRIDDED = {
    "learner": "[grid] learners, and [learners.NAME] for keys",
    "seed": "[grid] seeds",
    "output": "--out",
    "privacy.epsilon": "[grid] epsilons",
    "privacy.trust": "[grid] trust",
}
"""Keys of `simulate` that an experiment says elsewhere."""
OWN = ("title", "grid", "learners")


def read(path: Path | None, overrides: Mapping[str, Any], grid: Mapping[str, Any]) -> Experiment:
    """The file's tables, with `overrides` ("table.key" -> value) and `grid` (key -> value) on top; None = not given.

    Raises:
      ConfigError: an unknown key, or one that the grid has to say.
    """
    tables: dict[str, Any] = {} if path is None else read_toml(find(path))
    where = f"{path}:" if path else "options:"
    own = {key: tables.pop(key) for key in OWN if key in tables}
    refuse_gridded(tables, where)
    for key, value in overrides.items():
        if value is None:
            continue
        table, _, name = key.rpartition(".")
        tables.setdefault(table, {})[name] = value
    axes = {**own.get("grid", {}), **{key: value for key, value in grid.items() if value is not None}}
    if "learners" not in axes:
        raise ConfigError("no learner in the grid; nothing was run", "--learners popularity,als")
    return build(
        Experiment,
        {
            "title": own.get("title", ""),
            "grid": build(Grid, axes, f"{where} grid" if path else where),
            "settings": own.get("learners", {}),
            "base": build(Config, tables, where),
        },
        where,
    )


def refuse_gridded(tables: Mapping[str, Any], where: str) -> None:
    """Refuse what the grid says: else a file would seem to say two things."""
    for key, instead in GRIDDED.items():
        table, _, name = key.rpartition(".")
        inside = tables.get(table, {}) if table else tables
        if isinstance(inside, Mapping) and name in inside:
            raise ConfigError(f"{where} {key} in an experiment; nothing was run", f"use {instead}")


def find(path: Path) -> Path:
    """The file, or the experiment of that name that fedcart brings.

    Raises:
      ConfigError: there is neither.
    """
    if path.exists():
        return path
    known = {file.stem: file for file in packaged()}
    if path.name in known or (path.stem in known and path.suffix == ".toml" and len(path.parts) == 1):
        return known[path.stem if path.suffix == ".toml" else path.name]
    raise ConfigError(f"{path}: no such file, and no experiment of that name", did_you_mean(path.stem, known))


def packaged() -> list[Path]:
    """The experiments that fedcart brings: beside the package in a checkout, inside it when installed."""
    package = Path(str(resources.files("fedcart.simulation")))
    for folder in (package / "experiments", package.parents[1] / "experiments"):
        if folder.is_dir():
            return sorted(folder.glob("*.toml"))
    return []
