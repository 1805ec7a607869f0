"""`from fedcart.simulation import frontier`: run the cells that are missing, then write what all of them say."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from fedcart.shared.errors import FedcartError, InputError
from fedcart.simulation.config import Config
from fedcart.simulation.frontier import cell_process
from fedcart.simulation.frontier.folder import Folder
from fedcart.simulation.frontier.grid import Cell, Experiment, Grid, Size
from fedcart.simulation.frontier.results import Json, complete
from fedcart.simulation.frontier.schedule import Listener, Pace, Process, run_all, why_failed
from fedcart.simulation.frontier.telling import Quiet
from fedcart.simulation.promise import check_promise
from fedcart.simulation.run import baseline_names, learner_of


class Teller(Listener, Protocol):
    """Told of the whole."""

    def begin(self, total: int, done: int) -> None:
        """`done` of `total` cells were complete before."""
        ...

    def note(self, text: str) -> None:
        """Something to know."""
        ...


class CellsFailed(FedcartError):
    """Some cells failed and the others are done; the exit code is theirs where all have the same, else 1."""

    def __init__(self, failed: Mapping[str, tuple[int, str]], total: int, directory: Path) -> None:
        first = "; ".join(f"{name}: {reason}" for name, (_, reason) in list(failed.items())[:3])
        super().__init__(
            f"{len(failed)} of {total} cells failed, the others are in {directory / 'frontier.json'}: {first}",
            "mend the reason and repeat the command: complete cells are not run again",
        )
        codes = {code if code in (2, 3, 4) else 1 for code, _ in failed.values()}
        self.exit_code = codes.pop() if len(codes) == 1 else 1
        self.failed = dict(failed)


@dataclass(frozen=True)
class Frontier:
    """What a frontier left: `document` is frontier.json."""

    directory: Path
    document: Json


def frontier(
    config: Config | None = None,
    *,
    out: Path | str,
    learners: Sequence[str],
    epsilons: Sequence[float] = (1.0, 4.0, float("inf")),
    trust: Sequence[Literal["local", "distributed"]] = ("distributed",),
    seeds: Sequence[int] = (0,),
    sizes: Sequence[Size] = (),
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    title: str = "",
    jobs: int = 1,
    progress: Teller | None = None,
) -> Frontier:
    """Measure learners x epsilons x trust x seeds x sizes, each a run of `simulate`, and write tables and figures.

    Args:
      config: data, stores, split and all else the cells share; its learner, epsilon, trust and seed are not used.
      out: a folder; the same one goes on, and takes more cells.
      settings: learner -> hyper-parameters, in all its cells.
      jobs: cells at once, a process with one thread each.

    Raises:
      CellsFailed: some cells failed; the results of the others are written.
      InputError: configuration or folder cannot be used.
    """
    grid = Grid(
        learners=tuple(learners), epsilons=tuple(map(float, epsilons)), trust=tuple(trust), seeds=tuple(seeds),
        sizes=tuple(sizes),
    )  # fmt: skip
    experiment = Experiment(grid=grid, base=config or Config(), settings=settings or {}, title=title)
    return run(experiment, Path(out), jobs, progress or Quiet(), command="")


def run(experiment: Experiment, out: Path, jobs: int, progress: Teller, command: str) -> Frontier:
    """As `frontier`, for the command line."""
    if jobs < 1:
        raise InputError(f"jobs {jobs} must be at least 1; nothing was run", f"this machine has {os.cpu_count()} cores")
    refuse_early(experiment)
    folder = Folder(out, experiment)
    try:
        found = complete(folder)
        waiting = [cell for cell in folder.cells if cell.name not in found]
        progress.begin(len(folder.cells), len(found))
        pace = Pace()
        for one in found.values():
            pace.add(one.cell, float(one.run["cost"]["seconds"]))
        failed = run_all(waiting, jobs, starter(folder), reasons(folder), progress, pace)
        document = write_all(folder, failed, command or f"fedcart frontier --out {out}", progress)
    finally:
        folder.close()
    if failed:
        raise CellsFailed(failed, len(folder.cells), out)
    return Frontier(out, document)


def refuse_early(experiment: Experiment) -> None:
    """Refuse before anything runs what `simulate` would refuse before it reads data."""
    for cell in experiment.cells():
        config = experiment.config(cell)
        check_promise(config.privacy)
        baseline_names(config)
        if config.learner.name != "auto":
            learner_of(config, config.data.name, config.learner.name)


def starter(folder: Folder) -> Any:
    """Begins a cell's process."""

    def start(cell: Cell) -> Process:
        folder.make_way(cell)
        return cell_process.start(folder.config(cell), folder.path(cell), folder.log(cell))

    return start


def reasons(folder: Folder) -> Any:
    """Why a cell is not complete; a complete one's log goes."""

    def reason(cell: Cell, code: int) -> str | None:
        if code == 0 and folder.run(cell) is not None:
            folder.log(cell).unlink(missing_ok=True)
            return None
        return why_failed(code, folder.log(cell))

    return reason


def write_all(folder: Folder, failed: Mapping[str, tuple[int, str]], command: str, progress: Teller) -> Json:
    """frontier.json, tables, figures and page from the cells' run.json."""
    from fedcart.simulation.frontier.document import frontier_document
    from fedcart.simulation.frontier.write import write

    progress.note("comparing customers and writing frontier.json, tables, figures and frontier.html")
    document = frontier_document(folder, complete(folder), failed, command)
    write(folder.directory, document)
    return document
