"""The loop: quorum, repeats, checkpoints, and the same end after any interruption."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fedcart.server.checkpoint import CHECKPOINT, load_checkpoint, read_lines
from fedcart.server.rounds import run_rounds
from fedcart.shared import flower_compat as fc
from fedcart.shared.agreement import ROUNDS, Agreement
from fedcart.shared.errors import ConfigError, InputError, ProtocolError, RoundFailed
from fedcart.simulation.engines import EngineSettings, run
from fedcart.simulation.engines.faults import Fault
from fedcart.simulation.engines.in_process import InProcessGrid
from small_run import final_hash, write_small_run

TESTS = Path(__file__).resolve().parents[1]


def test_each_round_leaves_a_line_and_tells_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_small_run(tmp_path, learner="stepping", steps=3)
    with caplog.at_level(logging.INFO, "fedcart.rounds"):
        run(tmp_path, 4, EngineSettings())
    lines = read_lines(tmp_path)
    assert [line["round"] for line in lines] == [0, 1, 2]
    expected = {"stage": "step 1", "stores": 4, "failures": {}, "ignored": 0, "attempt": 0}
    assert expected.items() <= lines[1].items()
    assert (lines[1]["upload_bytes"], lines[1]["download_bytes"]) == (4 * 12 * 8, 4 * 12 * 4)
    said = [record for record in caplog.records if record.getMessage() == "round"]
    assert [(r.round, r.rounds, r.stores) for r in said] == [(0, 3, 4), (1, 3, 4), (2, 3, 4)]  # type: ignore[attr-defined]


def test_a_round_below_its_quorum_fails_and_keeps_the_state_of_the_round_before(tmp_path: Path) -> None:
    agreement = write_small_run(tmp_path, learner="stepping", steps=4)

    def hook(store: int, round_index: int, attempt: int) -> Fault | None:
        return Fault("drop") if round_index == 2 and store != 1 else None

    with pytest.raises(RoundFailed) as caught:
        run(tmp_path, 4, EngineSettings(quorum=2), hook)
    assert caught.value.message == (
        "round 2 (step 2): 1 of 4 stores answered, 2 needed (3 NodeUnavailable); the state is that of the round before"
    )
    assert caught.value.exit_code == 4
    found = load_checkpoint(tmp_path, agreement.plan_hash)
    assert found is not None
    assert found.round_index == 1
    assert len(read_lines(tmp_path)) == 2


def test_a_failed_round_is_repeated_within_the_attempts_and_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    calm, stormy = tmp_path / "calm", tmp_path / "stormy"
    for directory in (calm, stormy):
        directory.mkdir()
        write_small_run(directory, learner="stepping", attempts=3)
    tries: list[tuple[int, int]] = []

    def hook(store: int, round_index: int, attempt: int) -> Fault | None:
        tries.append((round_index, attempt))
        return Fault("raise") if (round_index, attempt) in {(1, 0), (4, 0)} and store == 3 else None

    run(calm, 4, EngineSettings())
    run(stormy, 4, EngineSettings(), hook)
    assert final_hash(stormy) == final_hash(calm)
    assert {(1, 1), (4, 1)} <= set(tries)
    found = load_checkpoint(stormy, Agreement.open(stormy).plan_hash)
    assert found is not None
    assert found.attempts_used == 2


def test_attempts_are_those_of_the_whole_run(tmp_path: Path) -> None:
    write_small_run(tmp_path, learner="stepping", attempts=2)

    def hook(store: int, round_index: int, attempt: int) -> Fault | None:
        return Fault("drop") if round_index in (1, 3) and attempt == 0 and store == 0 else None

    with pytest.raises(RoundFailed, match=r"round 3.*\n.*the plan's 1 repeats of the whole run are used up"):
        run(tmp_path, 4, EngineSettings(), hook)


def test_missing_stores_are_left_out_of_the_total_and_nothing_is_rescaled(tmp_path: Path) -> None:
    agreement = write_small_run(tmp_path, learner="popularity", count_exponent=0.0)
    run(tmp_path, 4, EngineSettings())
    whole = load_checkpoint(tmp_path, agreement.plan_hash)
    (tmp_path / CHECKPOINT).unlink()
    run(tmp_path, 4, EngineSettings(quorum=3), lambda store, *_: Fault("drop") if store == 0 else None)
    part = load_checkpoint(tmp_path, agreement.plan_hash)
    assert whole is not None
    assert part is not None
    first = np.unique(np.load(tmp_path / "records" / "items.npy")[: np.load(tmp_path / "records" / "indptr.npy")[5]])
    difference = whole.state.public["popularity"] - part.state.public["popularity"]
    assert set(np.flatnonzero(difference)) == set(first)
    assert part.line["failures"] == {"NodeUnavailable": 1}
    assert part.line["stores"] == 3


def test_going_on_from_a_checkpoint_ends_where_one_run_ends(tmp_path: Path) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    for directory in (once, twice):
        directory.mkdir()
        write_small_run(directory, learner="stepping")

    def stop(store: int, round_index: int, attempt: int) -> Fault | None:
        return Fault("drop") if round_index == 3 and store == 2 else None

    run(once, 4, EngineSettings())
    with pytest.raises(RoundFailed):
        run(twice, 4, EngineSettings(), stop)
    run(twice, 4, EngineSettings())
    assert final_hash(twice) == final_hash(once)
    assert [line["round"] for line in read_lines(twice)] == list(range(6))


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    write_small_run(tmp_path, learner="stepping")
    run(tmp_path, 4, EngineSettings())
    before = (tmp_path / CHECKPOINT).read_bytes(), (tmp_path / ROUNDS).read_bytes()
    run(tmp_path, 4, EngineSettings())
    assert ((tmp_path / CHECKPOINT).read_bytes(), (tmp_path / ROUNDS).read_bytes()) == before


def test_the_checkpoint_of_another_plan_is_refused(tmp_path: Path) -> None:
    write_small_run(tmp_path, learner="stepping")
    run(tmp_path, 4, EngineSettings())
    write_small_run(tmp_path, learner="stepping", steps=9)
    with pytest.raises(ConfigError, match="nothing was run"):
        run(tmp_path, 4, EngineSettings())


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half a file", b"\x93NUMPY"])
def test_a_damaged_checkpoint_is_refused_in_one_line(tmp_path: Path, damage: bytes) -> None:
    write_small_run(tmp_path, learner="stepping")
    run(tmp_path, 4, EngineSettings())
    (tmp_path / CHECKPOINT).write_bytes(damage)
    with pytest.raises(InputError, match=r"state\.npz"):
        run(tmp_path, 4, EngineSettings())


def test_a_crash_between_checkpoint_and_line_is_mended(tmp_path: Path) -> None:
    write_small_run(tmp_path, learner="stepping", steps=3)
    run(tmp_path, 4, EngineSettings())
    whole = (tmp_path / ROUNDS).read_text()
    lines = whole.splitlines(keepends=True)
    for broken in ("".join(lines[:2]), "".join(lines[:2]) + lines[2][:9], whole + json.dumps({"round": 7})):
        (tmp_path / ROUNDS).write_text(broken)
        run(tmp_path, 4, EngineSettings())
        assert (tmp_path / ROUNDS).read_text() == whole


@pytest.mark.parametrize(("quorum", "deadline"), [(0, 1.0), (5, 1.0), (-1, 1.0), (2, 0.0), (2, float("nan"))])
def test_quorum_and_deadline_must_make_sense(tmp_path: Path, quorum: int, deadline: float) -> None:
    agreement = write_small_run(tmp_path)
    grid = InProcessGrid(fc.ClientApp(), 4, lambda store: {})
    with pytest.raises(ConfigError, match="nothing was run"):
        run_rounds(grid, agreement, deadline_s=deadline, quorum=quorum)


def test_more_nodes_than_participants_are_refused(tmp_path: Path) -> None:
    write_small_run(tmp_path, stores=4)
    with pytest.raises(ProtocolError, match="5 nodes joined a plan for 4 stores"):
        run(tmp_path, 5, EngineSettings(quorum=4))


def test_a_missing_node_is_waited_for_until_the_deadline(tmp_path: Path) -> None:
    write_small_run(tmp_path, stores=4)
    started = time.monotonic()
    with pytest.raises(RoundFailed, match="3 of 4 stores answered, 4 needed"):
        run(tmp_path, 3, EngineSettings(quorum=4, deadline_s=0.3))
    assert time.monotonic() - started < 2
    run(tmp_path, 3, EngineSettings(quorum=3, deadline_s=0.3))


CHILD = """
import time
from pathlib import Path
import small_run
from small_run import Stepping
from fedcart.simulation.engines import EngineSettings, run

contribute = Stepping.contribute
def slowly(self, *arguments):
    contribute(self, *arguments)
    time.sleep(0.01)
Stepping.contribute = slowly
print("ready", flush=True)
run(Path(__import__("sys").argv[1]), 4, EngineSettings())
print("done", flush=True)
"""


def child(directory: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", CHILD, str(directory)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def run_with_kills(directory: Path, kills: int, seed: int) -> int:
    """Run in child processes, kill -9 some of them at random moments; returns how many died in mid-run."""
    moments = random.Random(seed)
    died = 0
    while True:
        process = child(directory)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        if died < kills:
            time.sleep(moments.uniform(0.0, 0.5))
            process.send_signal(signal.SIGKILL)
        rest = process.stdout.read()
        process.wait()
        if "done" in rest:
            return died
        died += 1


def test_killed_in_the_middle_and_run_again_it_ends_on_the_same_bits(tmp_path: Path) -> None:
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    for directory in (calm, killed):
        directory.mkdir()
        write_small_run(directory, learner="stepping", steps=16)
    run(calm, 4, EngineSettings())
    assert run_with_kills(killed, kills=1, seed=1) == 1
    assert final_hash(killed) == final_hash(calm)
    assert [line["round"] for line in read_lines(killed)] == list(range(16))
    local = Path("records") / "local"
    for name in ("factor.0.npy", "factor.1.npy", "factor.stamps.npy"):
        assert (killed / local / name).read_bytes() == (calm / local / name).read_bytes()


@pytest.mark.slow
def test_killed_many_times_it_ends_on_the_same_bits(tmp_path: Path) -> None:
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    for directory in (calm, killed):
        directory.mkdir()
        write_small_run(directory, learner="stepping", steps=60)
    run(calm, 4, EngineSettings())
    assert run_with_kills(killed, kills=25, seed=2) >= 5
    assert final_hash(killed) == final_hash(calm)
