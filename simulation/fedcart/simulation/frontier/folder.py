"""A frontier's output directory: what it was begun with, a folder a cell, and how far each of them is.

DIR/grid.json                 configuration and grid; more cells may be added, nothing else may change
DIR/cells/NAME.json, NAME/    a cell's configuration, and its run as `fedcart simulate` leaves it
DIR/cells/NAME.log            what a cell said that did not finish
DIR/frontier.json, …          what all cells together say
"""

from __future__ import annotations

import itertools
import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

from fedcart.shared.errors import InputError
from fedcart.shared.storage import replace_bytes
from fedcart.simulation import datasets
from fedcart.simulation.config import plain
from fedcart.simulation.frontier.grid import Cell, Experiment
from fedcart.simulation.run import file_hashes
from fedcart.simulation.workspace import is_part, lock, read_json

GRID = "grid.json"
CELLS = "cells"
LOCK = ".lock.part"
SCHEMA = 1


class Folder:
    """DIR of one frontier, held against other processes until it is closed."""

    def __init__(self, directory: Path, experiment: Experiment) -> None:
        """Claim `directory` for the experiment.

        Raises:
          InputError: it belongs to another configuration, lacks cells that are there, or cannot be written.
        """
        self.directory, self.experiment = directory, experiment
        self.cells = experiment.cells()
        try:
            if directory.exists() and not (directory / GRID).exists():
                self._refuse_foreign()
            (directory / CELLS).mkdir(parents=True, exist_ok=True)
            self._lock = lock(directory / LOCK)
            self._claim()
        except OSError as error:
            raise InputError(f"{directory}: {error.strerror}; nothing was run", "choose another --out DIR") from None

    def _refuse_foreign(self) -> None:
        if any(not is_part(entry) and entry.name != CELLS for entry in self.directory.iterdir()):
            raise InputError(
                f"{self.directory} is not empty and holds no frontier; nothing was run", "choose another --out DIR"
            )

    def _claim(self) -> None:
        path, wanted = self.directory / GRID, self.document()
        if path.exists():
            before = read_json(path)
            self._refuse_other(before, wanted)
            gone = sorted(set(before.get("cells", [])) - set(wanted["cells"]))
            lost = [name for name in gone if (self.directory / CELLS / name).exists()]  # others were never begun
            if lost:
                raise InputError(
                    f"{self.directory} holds {len(lost)} cells that this grid lacks, {lost[0]} the first; "
                    "nothing was run",
                    "a grid may grow: repeat its lists with what is new, or choose another --out DIR",
                )
        replace_bytes(path, (json.dumps(wanted, indent=1) + "\n").encode(), private=True)  # may hold a password

    def _refuse_other(self, before: dict[str, Any], wanted: dict[str, Any]) -> None:
        """Refuse another configuration, but for keys of learners that are new."""
        same = all(before.get(key) == wanted[key] for key in ("schema", "config", "contents"))
        kept = {name: wanted["settings"].get(name, {}) for name in before.get("settings", {})}
        if not same or kept != before.get("settings", {}):
            raise InputError(
                f"{self.directory} holds a frontier of another configuration; nothing was run",
                "choose another --out DIR, or repeat that frontier's options to resume or extend it",
            )

    def document(self) -> dict[str, Any]:
        """grid.json."""
        experiment = self.experiment
        return {
            "schema": SCHEMA,
            "config": common(experiment.base.document()),
            "contents": file_hashes(experiment.base.data),
            "settings": {name: plain(experiment.settings.get(name, {})) for name in experiment.learners},
            "cells": [cell.name for cell in self.cells],
        }

    def path(self, cell: Cell) -> Path:
        """The folder of a cell's run."""
        return self.directory / CELLS / cell.name

    def log(self, cell: Cell) -> Path:
        """What the cell's process writes to standard error."""
        return self.directory / CELLS / f"{cell.name}.log"

    def config(self, cell: Cell) -> Path:
        """Write the cell's configuration, a file that `fedcart simulate` reads."""
        path = self.directory / CELLS / f"{cell.name}.json"
        document = json.dumps(self.experiment.config(cell).document(), indent=1)
        replace_bytes(path, f"{document}\n".encode(), private=True)  # a URL may hold a password
        return path

    def make_way(self, cell: Cell) -> None:
        """Move aside what is left of a cell that cannot go on; its ledgers are kept, as NAME.stopped-1 and so on.

        Noise from the seed is drawn again, bit for bit, and the run goes on. Fresh noise cannot be: its round is
        charged, and the plan pays for no second attempt. So such a cell begins anew, as a run of its own.
        """
        directory = self.path(cell)
        rehearsal = self.experiment.base.privacy.rehearsal or self.experiment.base.data.name in datasets.names()
        if cell.epsilon == math.inf or rehearsal or not directory.exists():
            return
        with suppress(InputError):  # in use: its own process will say so
            lock(directory / LOCK).close()
            self._move_aside(directory)

    @staticmethod
    def _move_aside(directory: Path) -> None:
        number = next(
            n for n in itertools.count(1) if not directory.with_name(f"{directory.name}.stopped-{n}").exists()
        )
        directory.rename(directory.with_name(f"{directory.name}.stopped-{number}"))

    def run(self, cell: Cell) -> dict[str, Any] | None:
        """run.json of a cell that is complete, report included; None of another."""
        directory = self.path(cell)
        if not (directory / "run.json").exists() or not (directory / "report.html").exists():
            return None
        document = read_json(directory / "run.json")
        return document if document.get("status") == "complete" else None

    def close(self) -> None:
        """Let other processes in."""
        self._lock.close()


def common(config: dict[str, Any]) -> dict[str, Any]:
    """What all cells share of a configuration's document: all but what the grid says."""
    shared = {key: value for key, value in config.items() if key not in ("learner", "seed")}
    privacy = {key: value for key, value in config["privacy"].items() if key not in ("epsilon", "trust")}
    return {**shared, "privacy": privacy, "output": {**config["output"], "dir": None}}
