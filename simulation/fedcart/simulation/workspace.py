"""A run's output directory: its configuration hash, finished stages and final files; nothing half-written.

A stage that ended is a file with its result; a run that goes on reads it instead of doing the work again. The
directory belongs to one configuration: another one is refused rather than mixed in.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from fedcart.shared.errors import InputError
from fedcart.simulation.evaluate import Ranking

CONFIG = "config.json"
WORK = "work"


class Workspace:
    """DIR of one run. `coalition` holds what the two apps read and write; `work` goes when the run is complete."""

    def __init__(self, directory: Path, config: dict[str, Any]) -> None:
        self.directory = directory
        self.coalition = directory / WORK / "coalition"
        self._stages = directory / WORK / "stages"
        try:
            self._claim(config)
            self._stages.mkdir(parents=True, exist_ok=True)
            self.coalition.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{directory}: {error.strerror}; nothing was run", "choose another --out DIR") from None

    def _claim(self, config: dict[str, Any]) -> None:
        path = self.directory / CONFIG
        if path.exists():
            if json.loads(path.read_text()) != config:
                raise InputError(
                    f"{self.directory} holds a run of another configuration; nothing was run",
                    "choose another --out DIR, or repeat that run's options to resume it",
                )
            return
        if self.directory.exists() and any(self.directory.iterdir()):
            raise InputError(
                f"{self.directory} is not empty and holds no run; nothing was run", "choose another --out DIR"
            )
        self.directory.mkdir(parents=True, exist_ok=True)
        self.write_text(CONFIG, json.dumps(config, indent=2) + "\n")

    def write_text(self, name: str, text: str) -> Path:
        """Write a file of the run, all or nothing."""
        path = self.directory / name
        temporary = path.with_name(path.name + ".part")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        return path

    def bind(self, fingerprint: str) -> None:
        """Tie finished stages to what they were computed from; refuse to mix them with other data."""
        path = self.directory / WORK / "data.txt"
        if not path.exists():
            self.write_text(f"{WORK}/data.txt", fingerprint)
        elif path.read_text(encoding="utf-8") != fingerprint:
            raise InputError(
                f"{self.directory} was begun with other data or another version; nothing was run",
                "choose another --out DIR, or remove this one",
            )

    def finished(self) -> dict[str, Any] | None:
        """run.json of a complete run, report included; None while something is missing."""
        path = self.directory / "run.json"
        if not path.exists() or not (self.directory / "report.html").exists():
            return None
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return document if document["status"] == "complete" else None

    def ranking(self, method: str, make: Callable[[], Ranking]) -> Ranking:
        """The method's ranking, from the finished stage or from `make`."""
        path = self._stages / f"{method}.npz"
        if path.exists():
            with np.load(path, allow_pickle=False) as stored:
                return Ranking(*(stored[f.name] for f in fields(Ranking)))
        made = make()
        temporary = path.with_name(path.name + ".part")
        with temporary.open("wb") as file:
            np.savez(file, **{f.name: getattr(made, f.name) for f in fields(Ranking)})
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        return made

    def clean(self) -> None:
        """Remove the working files: the customers' rows stay nowhere in a finished run's directory."""
        shutil.rmtree(self.directory / WORK, ignore_errors=True)
