"""What a coalition ran: one SQLite file in its folder, a row for each asking and for each finished round.

Written by the server only, read by anybody who may read the folder. It repeats what the plans' folders say and adds how
each run ended; nothing depends on it, and it may be deleted while nobody serves.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcart.shared.errors import DataError

RUNS = "runs.sqlite"
SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
  run INTEGER PRIMARY KEY, plan TEXT NOT NULL, plan_hash TEXT NOT NULL, learner TEXT NOT NULL, trust TEXT NOT NULL,
  epsilon TEXT, stores INTEGER NOT NULL, rounds INTEGER NOT NULL, started INTEGER NOT NULL, ended INTEGER,
  state TEXT NOT NULL, reason TEXT, exit_code INTEGER);
CREATE TABLE IF NOT EXISTS rounds (
  run INTEGER NOT NULL REFERENCES runs, round INTEGER NOT NULL, stage TEXT, seconds REAL, stores INTEGER,
  failures TEXT, attempt INTEGER, upload_bytes INTEGER, download_bytes INTEGER, aggregation TEXT);
"""
ROUND = ("round", "stage", "seconds", "stores", "failures", "attempt", "upload_bytes", "download_bytes", "aggregation")


@dataclass(frozen=True)
class Runs:
    """The record of a coalition's folder. Times are seconds since 1970 UTC.

    A run's state is `running`, `done`, `failed` (reason and exit code say why), or `interrupted`: the
    server ended first.
    """

    directory: Path

    def interrupt(self) -> None:
        """Say of runs that a server before this one left running that they were interrupted."""
        with self._open() as file:
            file.execute("UPDATE runs SET state = 'interrupted' WHERE state = 'running'")

    def begin(self, now: float, about: Mapping[str, Any]) -> int:
        """A run of these: plan, plan_hash, learner, trust, epsilon, stores, rounds. Its number."""
        words = ("plan", "plan_hash", "learner", "trust", "epsilon", "stores", "rounds")
        with self._open() as file:
            made = file.execute(
                "INSERT INTO runs (plan, plan_hash, learner, trust, epsilon, stores, rounds, started, state) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'running')",
                (*(about[word] for word in words), int(now)),
            )
            return int(made.lastrowid or 0)

    def add_round(self, run: int, line: Mapping[str, Any]) -> None:
        """A finished round, with the fields of rounds.jsonl."""
        values = [json.dumps(line.get(name)) if name == "failures" else line.get(name) for name in ROUND]
        with self._open() as file:
            file.execute("INSERT INTO rounds VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (run, *values))

    def end(self, run: int, now: float, state: str, reason: str | None = None, exit_code: int = 0) -> None:
        """How it ended."""
        with self._open() as file:
            file.execute(
                "UPDATE runs SET ended = ?, state = ?, reason = ?, exit_code = ? WHERE run = ?",
                (int(now), state, reason, exit_code, run),
            )

    def read(self, last: int = 20) -> list[dict[str, Any]]:
        """The latest runs, newest first, each with its finished rounds."""
        if not (self.directory / RUNS).exists():
            return []
        with self._open() as file:
            file.row_factory = sqlite3.Row
            found = [dict(row) for row in file.execute("SELECT * FROM runs ORDER BY run DESC LIMIT ?", (last,))]
            for run in found:
                rows = file.execute("SELECT * FROM rounds WHERE run = ? ORDER BY rowid", (run["run"],))
                run["finished"] = [
                    {name: json.loads(row[name]) if name == "failures" else row[name] for name in ROUND} for row in rows
                ]
        return found

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        path = self.directory / RUNS
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=10)) as file, file:
                file.executescript(SCHEMA)
                yield file
        except sqlite3.Error as error:
            raise DataError(f"{path}: {error}; the run was not recorded", "delete it while nobody serves") from None
