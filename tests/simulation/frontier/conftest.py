"""One small frontier in three sittings: two cells, then more of which one fails, then the one that failed.

Cells run in this process, by the command that a cell's own process would run; one test starts real processes.
"""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fedcart.shared.cli import run
from fedcart.simulation.frontier import api
from fedcart.simulation.frontier.folder import Folder
from fedcart.simulation.frontier.grid import Cell

PEOPLE = 120
BROKEN = "gram-eps4-local-seed0"


def write_table(path: Path) -> Path:
    """120 people at five shops, 19 items, each person at one shop."""
    rows = ["customer,item,time,store"]
    for person in range(PEOPLE):
        rows += [f"p{person},s{(person * 5 + 2 * k + person // 7) % 19},{1000 + k},b{person % 5}" for k in range(6)]
    path.write_text("\n".join(rows) + "\n")
    return path


class Ended:
    """A process that is over."""

    def __init__(self, code: int) -> None:
        self.code = code

    def poll(self) -> int:
        return self.code

    def send_signal(self, sig: int) -> None:
        raise AssertionError(sig)

    def kill(self) -> None:
        raise AssertionError

    def wait(self, timeout: float | None = None) -> int:
        return self.code


@dataclass
class Starts:
    """Runs cells in this process; those in `broken` fail as a refused run does. `began` lists what was run."""

    broken: tuple[str, ...] = ()
    began: list[str] = field(default_factory=list)

    def __call__(self, folder: Folder) -> Any:
        def start(cell: Cell) -> Ended:
            self.began.append(cell.name)
            if cell.name in self.broken:
                folder.log(cell).write_text("fedcart: error: no such luck; nothing was released\nfedcart: hint: none\n")
                return Ended(3)
            said = io.StringIO()
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
                code = run(["simulate", str(folder.config(cell)), "--out", str(folder.path(cell))])
            folder.log(cell).write_text(said.getvalue())
            return Ended(code)

        return start


@dataclass(frozen=True)
class Sitting:
    """What a call left: exit code, standard output and error, cells that were run, frontier.json."""

    code: int
    out: str
    err: str
    began: list[str]
    document: dict[str, Any]


@dataclass
class Made:
    directory: Path
    table: Path
    sittings: list[Sitting]

    @property
    def document(self) -> dict[str, Any]:
        return self.sittings[-1].document

    def run(self, cell: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.directory / "cells" / cell / "run.json").read_text())
        return found


def typed(table: Path, out: Path, *more: str) -> list[str]:
    return ["frontier", "--data", str(table), "--learners", "gram", "--out", str(out), *more]


def sit(arguments: list[str], out: Path, starts: Starts) -> Sitting:
    said, printed = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "starter", starts)
        patch.setattr("sys.argv", ["fedcart", *arguments])
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
            code = run(arguments)
    path = out / "frontier.json"
    document = json.loads(path.read_text()) if path.exists() else {}
    return Sitting(code, printed.getvalue(), said.getvalue(), starts.began, document)


FULL = ("--epsilons", "4,inf", "--trust", "distributed,local")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    home = tmp_path_factory.mktemp("frontier")
    table, out = write_table(home / "sales.csv"), home / "out"
    sittings = [
        sit(typed(table, out, "--epsilons", "inf", "--trust", "distributed,local"), out, Starts()),
        sit(typed(table, out, *FULL), out, Starts(broken=(BROKEN,))),
        sit(typed(table, out, *FULL), out, Starts()),
    ]
    return Made(out, table, sittings)


@pytest.fixture(scope="session")
def sitting() -> Any:
    """Repeat the frontier's command with other options."""

    def again(made: Made, *more: str, out: Path | None = None) -> Sitting:
        directory = out or made.directory
        return sit(typed(made.table, directory, *more), directory, Starts())

    return again


@pytest.fixture(scope="session")
def write_sales() -> Any:
    return write_table
