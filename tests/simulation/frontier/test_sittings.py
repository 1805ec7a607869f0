"""A frontier that is begun, grown, broken in one cell and mended; and what another configuration is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import fedcart.simulation.frontier.grid as grid_module
from fedcart.shared.errors import ConfigError, InputError
from fedcart.simulation import Config
from fedcart.simulation.frontier.experiment import read
from fedcart.simulation.frontier.folder import Folder
from fedcart.simulation.frontier.grid import Cell, Experiment, Grid
from fedcart.simulation.frontier.schedule import Pace, run_all, stop

FIRST = ["baselines-seed0", "gram-epsinf-none-seed0"]
BROKEN = "gram-eps4-local-seed0"
ALL = [
    "baselines-seed0",
    *(f"popularity-{rest}-seed0" for rest in ("eps4-distributed", "eps4-local", "epsinf-none")),
    *(f"gram-{rest}-seed0" for rest in ("eps4-distributed", "eps4-local", "epsinf-none")),
]


def test_a_grid_that_grows_runs_what_is_new_only(made: Any) -> None:
    assert made.sittings[0].began == FIRST
    assert made.sittings[1].began == [name for name in ALL if name not in FIRST]


def test_a_failed_cell_is_reported_and_the_others_go_on(made: Any) -> None:
    second = made.sittings[1]
    assert second.code == 3  # that of the one failed cell
    assert f"{BROKEN}: no such luck; nothing was released" in second.err
    states = {row["cell"]: (row["status"], row["reason"]) for row in second.document["cells"]}
    assert states.pop(BROKEN) == ("failed", "no such luck; nothing was released")
    assert set(states.values()) == {("complete", None)}
    assert second.document["status"] == "incomplete"


def test_the_failed_cell_alone_is_run_again(made: Any) -> None:
    third = made.sittings[2]
    assert (third.code, third.began) == (0, [BROKEN])
    assert third.document["status"] == "complete"
    assert not list((made.directory / "cells").glob("*.log"))


def test_what_is_complete_is_not_run_again(made: Any, sitting: Any) -> None:
    again = sitting(made, "--epsilons", "4,inf", "--trust", "distributed,local")
    assert (again.code, again.began) == (0, [])
    assert again.document == made.document | {"command": again.document["command"]}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--epsilons", "4,inf"), "cells that this grid lacks"),
        (("--epsilons", "4,inf", "--trust", "distributed,local", "--delta", "1e-4"), "another configuration"),
    ],
)
def test_another_grid_or_configuration_is_refused(made: Any, sitting: Any, more: tuple[str, ...], words: str) -> None:
    refused = sitting(made, *more)
    assert (refused.code, refused.began) == (2, [])
    assert words in refused.err
    assert "hint: " in refused.err


def test_a_folder_of_something_else_is_refused(made: Any, sitting: Any, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    refused = sitting(made, "--epsilons", "inf", out=tmp_path)
    assert (refused.code, refused.began) == (2, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["letter.txt"]


def grid(**axes: Any) -> Grid:
    return Grid(**{"learners": ("als",), **axes})


def test_noise_free_cells_are_one_whatever_the_trust() -> None:
    cells = Experiment(grid=grid(epsilons=(1.0, float("inf")), trust=("local", "distributed"))).cells()
    assert [cell.name for cell in cells if cell.trust == "none"] == [
        "baselines-seed0", "popularity-epsinf-none-seed0", "als-epsinf-none-seed0",
    ]  # fmt: skip
    assert len({cell.name for cell in cells}) == len(cells)


def test_baselines_run_once_where_all_seeds_hold_out_the_same() -> None:
    for data, runs in (("ncf-split", 1), ("online-retail", 1), ("ml-1m", 3), ("marketplace", 3)):
        base = Config.read(None, {"data.name": data})
        cells = Experiment(grid=grid(seeds=(0, 1, 2)), base=base).cells()
        assert sum(cell.learner is None for cell in cells) == runs, data


def test_cells_of_different_epsilons_never_share_a_folder() -> None:
    names = {Cell(learner="als", epsilon=epsilon).name for epsilon in (1.0, 1.0000001, 1 / 3, 0.333333)}
    assert len(names) == 4
    assert Cell(learner="als", epsilon=1.0, trust="local").name == "als-eps1-local-seed0"


def test_a_cell_that_was_never_begun_may_leave_the_grid(tmp_path: Path) -> None:
    base = Config.read(None, {"data.name": "ncf-split"})
    Folder(tmp_path, Experiment(grid=grid(seeds=(0, 1)), base=base)).close()
    fewer = Experiment(grid=grid(), base=base)
    Folder(tmp_path, fewer).close()
    (tmp_path / "cells" / "als-eps4-distributed-seed0").mkdir()
    with pytest.raises(InputError, match="als-eps4-distributed-seed0 the first"):
        Folder(tmp_path, Experiment(grid=grid(epsilons=(1.0,)), base=base))


@pytest.mark.parametrize(
    ("rehearsal", "epsilon", "stays"), [(False, 4.0, False), (True, 4.0, True), (False, float("inf"), True)]
)
def test_what_cannot_go_on_makes_way_and_is_kept(
    tmp_path: Path, rehearsal: bool, epsilon: float, stays: bool, write_sales: Any
) -> None:
    data = {"data.name": str(write_sales(tmp_path / "sales.csv")), "privacy.rehearsal": rehearsal}
    folder = Folder(tmp_path / "out", Experiment(grid=grid(epsilons=(epsilon,)), base=Config.read(None, data)))
    cell = folder.cells[-1]
    for _ in range(2):
        folder.path(cell).mkdir(exist_ok=True)
        (folder.path(cell) / "ledger").write_text("charged")
        folder.make_way(cell)
    folder.close()
    aside = [folder.path(cell).with_name(f"{cell.name}.stopped-{number}") for number in (1, 2)]
    assert folder.path(cell).exists() == stays
    assert [path.exists() and (path / "ledger").read_text() == "charged" for path in aside] == [not stays] * 2


def test_private_popularity_is_always_there() -> None:
    assert grid_module.FLOOR in Experiment(grid=grid()).learners
    assert Experiment(grid=grid(epsilons=(float("inf"),))).learners == ("als",)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ("[grid]\nlearners = []", "an empty list"),
        ("[grid]\nlearners = ['als']\nepsilons = [0]", "must be above 0"),
        ("[grid]\nlearners = ['als']\nseeds = [1, 1]", "one twice"),
        ("[grid]\nlearners = ['alz']", "unknown 'alz'"),
        ("[grid]\nlearners = ['als']\ntrust = ['none']", "'none' is not one of"),
        ("[grid]\nlearners = ['als']\n[privacy]\nepsilon = 4.0", "privacy.epsilon in an experiment"),
        ("[grid]\nlearners = ['als']\n[rounds]\ncount = 4", r"\[rounds\] count in a frontier"),
        ("[grid]\nlearners = ['als']\n[learners.mf]\nround_count = 4", r"\[learners.mf\]: not in the grid"),
        ("[grid]\nlearners = ['als']\nsizes = ['small']\n[data]\nname = 'ml-1m'", "has one size"),
        ("[stores]\ncount = 3", "no learner in the grid"),
        ("[grid]\nlearners = ['als']\n[strores]\ncount = 3", "unknown key 'strores'"),
    ],
)
def test_refuses_an_experiment(tables: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "experiment.toml"
    path.write_text(tables)
    with pytest.raises(ConfigError, match=words):
        read(path, {}, {})


def test_time_left_is_that_of_the_same_learner() -> None:
    pace, one, other = Pace(), Cell(learner="als"), Cell(learner="mf")
    assert pace.left([one], [], 1) is None
    pace.add(one, 10.0)
    pace.add(other, 100.0)
    assert pace.left([one, other], [], 1) == pytest.approx(110)
    assert pace.left([other], [(one, 4.0)], 2) == pytest.approx(53)
    assert pace.left([Cell(learner="gram")], [], 1) == pytest.approx(55)


def test_ctrl_c_is_passed_on_once_and_waited_for() -> None:
    class Stubborn:
        def __init__(self) -> None:
            self.told: list[object] = []

        def poll(self) -> int | None:
            if not self.told:
                raise KeyboardInterrupt
            return 130 if "waited" in self.told else None

        def send_signal(self, sig: int) -> None:
            self.told.append(sig)

        def kill(self) -> None:
            self.told.append("killed")

        def wait(self, timeout: float | None = None) -> int:
            self.told.append("waited")
            return 130

    process = Stubborn()
    with pytest.raises(KeyboardInterrupt):
        run_all([Cell(learner="als")], 1, lambda cell: process, lambda cell, code: None, listener(), Pace())
    assert process.told == [signal.SIGINT, "waited"]
    stop([])


def listener() -> Any:
    from fedcart.simulation.frontier.telling import Quiet

    return Quiet()


@pytest.mark.slow
def test_kill_9_in_a_cell_repeats_that_cell_only(tmp_path: Path, write_sales: Any) -> None:
    """Real processes: the frontier and its running cell are killed; the same command then runs the rest."""
    table, out = write_sales(tmp_path / "sales.csv"), tmp_path / "out"
    command = [
        *(sys.executable, "-m", "fedcart.shared", "frontier", "--data", str(table), "--learners", "popularity"),
        *("--epsilons", "inf", "--no-alone", "--out", str(out)),
    ]
    first = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    second_cell = out / "cells" / "popularity-epsinf-none-seed0"
    until = time.monotonic() + 60
    while not (second_cell / "config.json").exists() and time.monotonic() < until:
        time.sleep(0.02)
    first.kill()
    first.wait()
    before = (out / "cells" / "baselines-seed0" / "run.json").stat().st_mtime_ns
    while time.monotonic() < until:  # its cell notices and lets go
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "in use by another run" not in done.stderr:
            break
        time.sleep(0.2)
    assert done.returncode == 0, done.stderr
    assert (out / "cells" / "baselines-seed0" / "run.json").stat().st_mtime_ns == before
    assert json.loads((out / "frontier.json").read_text())["status"] == "complete"


def test_configurations_are_their_owners_alone_since_a_database_url_may_hold_a_password(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = Folder(tmp_path / "out", Experiment(grid=grid(), base=Config.read(None, {"data.name": "ncf-split"})))
        cell = folder.config(folder.cells[0])
    finally:
        os.umask(before)
    for path in (tmp_path / "out" / "grid.json", cell):
        assert path.stat().st_mode & 0o777 == 0o600
    folder.close()
