"""A run's directory: one configuration, stages done once, and nothing half-written that a later run would trust."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcart.shared import storage
from fedcart.shared.errors import InputError
from fedcart.simulation.evaluate import Ranking
from fedcart.simulation.workspace import LOCK, Workspace

CONFIG = {"seed": 0, "data": {"name": "toy"}, "epsilon": "inf"}


def made(value: float = 1.0) -> Ranking:
    return Ranking(np.array([value]), np.array([value, np.nan]), np.array([2.0, 3.0]), np.zeros((1, 10), np.int32))


def must_not_run() -> Ranking:
    raise AssertionError("the stage was done again")


def equal(one: Ranking, other: Ranking) -> bool:
    return all(
        np.array_equal(getattr(one, f.name), getattr(other, f.name), equal_nan=True)
        and getattr(one, f.name).dtype == getattr(other, f.name).dtype
        for f in fields(Ranking)
    )


def names(directory: Path) -> set[str]:
    """The files that count: all but the lock, which says nothing once its process has ended."""
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file() and path.name != LOCK}


def test_a_stage_is_done_once_and_read_back_exactly(tmp_path: Path) -> None:
    first = Workspace(tmp_path / "run", CONFIG).ranking("ease", made)
    again = Workspace(tmp_path / "run", CONFIG).ranking("ease", must_not_run)
    assert equal(first, made())
    assert equal(again, made())


def test_a_stage_that_fails_is_done_again(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "run", CONFIG)
    with pytest.raises(AssertionError):
        workspace.ranking("ease", must_not_run)
    assert equal(workspace.ranking("ease", made), made())


def test_another_configuration_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    Workspace(tmp_path / "run", CONFIG).ranking("ease", made)
    before = names(tmp_path)
    with pytest.raises(InputError, match="another configuration; nothing was run") as caught:
        Workspace(tmp_path / "run", CONFIG | {"seed": 1})
    assert caught.value.hint
    assert names(tmp_path) == before


def test_a_run_that_was_refused_before_it_did_anything_makes_way_for_the_corrected_one(tmp_path: Path) -> None:
    first = Workspace(tmp_path, CONFIG)
    first.bind("data")
    (first.coalition / "plan.json").write_text("{}")
    first.write_text("run.json", json.dumps({"status": "failed"}))
    corrected = Workspace(tmp_path, CONFIG | {"seed": 1})
    corrected.bind("other data")
    assert names(tmp_path) == {"config.json", "work/data.txt"}
    assert json.loads((tmp_path / "config.json").read_text())["seed"] == 1


@pytest.mark.parametrize("done", ["stage", "round", "all"])
def test_what_was_finished_is_never_removed_for_another_configuration(tmp_path: Path, done: str) -> None:
    workspace = Workspace(tmp_path, CONFIG)
    if done == "stage":
        workspace.ranking("ease", made)
    if done == "round":
        (workspace.coalition / "rounds.jsonl").write_text("{}\n")
    if done == "all":
        finish(workspace)
        workspace.clean()
    before = names(tmp_path)
    with pytest.raises(InputError, match="another configuration"):
        Workspace(tmp_path, CONFIG | {"seed": 1})
    assert names(tmp_path) == before


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="not empty and holds no run"):
        Workspace(tmp_path, CONFIG)
    assert names(tmp_path) == {"thesis.tex"}


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    assert Workspace(tmp_path, CONFIG).finished() is None
    assert json.loads((tmp_path / "config.json").read_text()) == CONFIG


@pytest.mark.parametrize("raw", ["", "{", "[]", "\udcff"])
def test_a_configuration_that_someone_damaged_is_refused(tmp_path: Path, raw: str) -> None:
    Workspace(tmp_path, CONFIG)
    (tmp_path / "config.json").write_bytes(raw.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=r"config\.json"):
        Workspace(tmp_path, CONFIG)


def test_a_part_of_a_killed_write_is_no_obstacle_and_never_read(tmp_path: Path) -> None:
    (tmp_path / ".config.json.77.part").write_text('{"seed"')
    workspace = Workspace(tmp_path, CONFIG)
    (tmp_path / "work" / "stages" / ".ease.npz.77.part").write_bytes(b"PK")
    (tmp_path / ".run.json.77.part").write_text('{"status": "complete"}')
    (tmp_path / "report.html").write_text("x")
    assert workspace.finished() is None
    assert equal(workspace.ranking("ease", made), made())


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_a_stage_cut_short_is_refused_by_name_and_not_trusted(tmp_path: Path, keep: int) -> None:
    workspace = Workspace(tmp_path, CONFIG)
    workspace.ranking("ease", made)
    path = tmp_path / "work" / "stages" / "ease.npz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"ease\.npz"):
        workspace.ranking("ease", must_not_run)


def test_arrays_of_something_else_are_no_stage(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, CONFIG)
    np.savez(tmp_path / "work" / "stages" / "ease.npz", new=np.zeros(2))
    with pytest.raises(InputError, match="not the result of a stage"):
        workspace.ranking("ease", must_not_run)


def finish(workspace: Workspace, status: str = "complete") -> None:
    workspace.write_text("run.json", json.dumps({"status": status}))
    workspace.write_text("report.html", "page")


def test_a_run_is_finished_with_its_report_and_not_before(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, CONFIG)
    workspace.write_text("run.json", json.dumps({"status": "complete"}))
    assert workspace.finished() is None
    finish(workspace, "interrupted")
    assert workspace.finished() is None
    finish(workspace)
    assert workspace.finished() == {"status": "complete"}


def test_a_finished_run_keeps_no_customers_rows(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, CONFIG)
    workspace.ranking("ease", made)
    (workspace.coalition / "records").mkdir()
    (workspace.coalition / "records" / "items.npy").write_bytes(b"rows")
    (tmp_path / ".results.parquet.77.part").write_bytes(b"rows")
    finish(workspace)
    workspace.clean()
    assert names(tmp_path) == {"config.json", "run.json", "report.html"}


def test_a_run_killed_before_it_cleaned_up_is_cleaned_by_the_next_look(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, CONFIG)
    workspace.ranking("ease", made)
    finish(workspace)
    assert Workspace(tmp_path, CONFIG).finished() is not None
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "run.json", "report.html"}


CHILD = """
import os, signal, sys
from pathlib import Path
import numpy as np
from fedcart.simulation.evaluate import Ranking
from fedcart.simulation.workspace import Workspace
workspace = Workspace(Path(sys.argv[1]), {"seed": 0})
def made():
    return Ranking(np.array([1.0]), np.array([1.0]), np.array([2.0]), np.zeros((1, 10), np.int32))
def killed():
    os.kill(os.getpid(), signal.SIGKILL)
workspace.ranking("first", made)
if sys.argv[2] == "in the stage":
    workspace.ranking("second", killed)
os.fsync = lambda handle: killed()
workspace.ranking("second", made)
"""


@pytest.mark.parametrize("when", ["in the stage", "while writing it"])
def test_a_killed_run_goes_on_with_the_stages_it_finished(tmp_path: Path, when: str) -> None:
    child = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path / "run"), when], check=False)
    assert child.returncode == -signal.SIGKILL
    parts = list((tmp_path / "run" / "work" / "stages").glob(".second.npz*.part"))
    assert len(parts) == (when == "while writing it")
    workspace = Workspace(tmp_path / "run", {"seed": 0})
    assert workspace.ranking("first", must_not_run).sampled.tolist() == [1.0]
    assert equal(workspace.ranking("second", made), made())


def test_finished_stages_are_tied_to_their_data(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, CONFIG)
    workspace.bind("one")
    Workspace(tmp_path, CONFIG).bind("one")
    with pytest.raises(InputError, match="other data or another version; nothing was run"):
        workspace.bind("two")


def test_a_directory_in_use_by_another_process_is_refused_until_that_process_ends(tmp_path: Path) -> None:
    code = f"""
import pathlib, sys
from fedcart.simulation.workspace import Workspace
held = Workspace(pathlib.Path({str(tmp_path)!r}), {CONFIG!r})
print("held", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="in use by another run; nothing was run"):
            Workspace(tmp_path, CONFIG)
        other.kill()
        other.wait()
    Workspace(tmp_path, CONFIG)


# --- what the operating system refuses


def no_space(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    "act",
    [
        lambda directory: Workspace(directory / "run", CONFIG),
        lambda directory: Workspace(directory, CONFIG).write_text("run.json", "{}"),
        lambda directory: Workspace(directory, CONFIG).ranking("ease", made),
    ],
    ids=["claim", "text", "stage"],
)
def test_a_full_disk_is_one_line_and_leaves_nothing_that_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], Any]
) -> None:
    Workspace(tmp_path, CONFIG)
    before = names(tmp_path)
    monkeypatch.setattr(storage.os, "fsync", no_space)
    with pytest.raises(InputError, match="No space left on device") as caught:
        act(tmp_path)
    assert "\n" not in caught.value.message
    assert names(tmp_path) == before


def test_a_folder_that_may_not_be_written_is_one_line_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal itself is made up: the tests may run as root, whom no folder refuses."""

    def refuse(self: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(InputError, match="Permission denied; nothing was run") as caught:
        Workspace(tmp_path / "run", CONFIG)
    assert caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="Permission denied"):
        Workspace(tmp_path / "run", CONFIG)


def test_a_file_in_the_place_of_the_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    for place in (tmp_path / "run", tmp_path / "run" / "deeper"):
        with pytest.raises(InputError, match="Not a directory"):
            Workspace(place, CONFIG)


# --- what a refused run leaves, and time over several sittings


def test_a_refused_run_leaves_no_directory_that_it_made_itself(tmp_path: Path) -> None:
    Workspace(tmp_path / "run", CONFIG).abandon()
    assert not (tmp_path / "run").exists()
    (tmp_path / "theirs").mkdir()
    Workspace(tmp_path / "theirs", CONFIG).abandon()
    assert (tmp_path / "theirs").exists()


def test_a_directory_with_a_finished_stage_is_never_abandoned(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "run", CONFIG)
    workspace.ranking("ease", made)
    before = names(tmp_path)
    workspace.abandon()
    assert names(tmp_path) == before


def test_time_adds_up_over_sittings_and_counts_what_a_killed_one_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    first = Workspace(tmp_path, CONFIG)
    first.begin_sitting()
    clock[0] += 7
    first.note_time()
    clock[0] += 50  # killed in the middle of a stage
    again = Workspace(tmp_path, CONFIG)
    again.begin_sitting()
    clock[0] += 3
    assert (again.seconds, again.sittings) == (10.0, 2)


def test_a_changed_data_file_is_told_apart_from_another_configuration(tmp_path: Path) -> None:
    Workspace(tmp_path, CONFIG | {"contents": {"data": "a"}}).ranking("ease", made)
    with pytest.raises(InputError, match="the data file has changed"):
        Workspace(tmp_path, CONFIG | {"contents": {"data": "b"}})
    with pytest.raises(InputError, match="another configuration"):
        Workspace(tmp_path, CONFIG | {"contents": {"data": "a"}, "seed": 1})


def test_a_configuration_is_its_owners_alone_since_a_database_url_may_hold_a_password(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Workspace(tmp_path / "run", CONFIG)
    finally:
        os.umask(before)
    assert (tmp_path / "run" / "config.json").stat().st_mode & 0o777 == 0o600


def test_a_run_that_goes_on_takes_its_configuration_from_all_but_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "run" / "config.json"
    Workspace(path.parent, CONFIG)
    path.chmod(0o644)
    written = path.read_bytes()
    Workspace(path.parent, CONFIG)
    assert (path.stat().st_mode & 0o777, path.read_bytes()) == (0o600, written)
