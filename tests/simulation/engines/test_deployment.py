"""Real processes on this machine: the in-process engine's bits, over TLS; and nothing is left when it is over."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deployed_faults import drop_the_last
from fedcart.server.checkpoint import load_checkpoint, read_lines
from fedcart.shared.agreement import Agreement
from fedcart.shared.errors import FedcartError, RoundFailed
from fedcart.simulation.engines import EngineSettings, deployment, run
from fedcart.simulation.engines.processes import Children
from secure_run import SecureRun
from small_run import final_hash, write_small_run

TESTS = Path(__file__).parents[2]


@pytest.fixture
def pids(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ids of the processes that a test starts."""
    found: list[int] = []
    start = Children.start

    def noted(self: Children, name: str, work: Callable[..., None], *arguments: object) -> object:
        process = start(self, name, work, *arguments)
        assert process.pid is not None
        found.append(process.pid)
        return process

    monkeypatch.setattr(Children, "start", noted)
    return found


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_two_stores_end_on_the_bits_of_the_in_process_engine(
    tmp_path: Path, pids: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fedcart.rounds")
    for engine in ("in-process", "deployment"):
        (tmp_path / engine).mkdir()
        write_small_run(tmp_path / engine, stores=2, learner="gram")
        run(tmp_path / engine, 2, EngineSettings(name=engine))  # type: ignore[arg-type]
    assert final_hash(tmp_path / "deployment") == final_hash(tmp_path / "in-process")
    assert len(pids) == 3
    assert all(map(gone, pids))
    said = [record for record in caplog.records if record.name == "fedcart.rounds"]
    lines = read_lines(tmp_path / "deployment")
    assert [record.round for record in said[-len(lines) :]] == [line["round"] for line in lines]  # type: ignore[attr-defined]
    assert {line["stores"] for line in lines} == {2}


@pytest.mark.slow  # tests/protocol/test_coalition_run.py does it in every run, by threads
def test_three_stores_open_the_same_sums_by_secure_aggregation(tmp_path: Path, pids: list[int]) -> None:
    plain = SecureRun(tmp_path / "plain", 3, masked=False)
    masked = SecureRun(tmp_path / "masked", 3)
    plain.run()
    masked.run(name="deployment")
    assert final_hash(masked.directory) == final_hash(plain.directory)
    assert {line["aggregation"] for line in read_lines(masked.directory)} == {"SA1"}
    assert len(pids) == 4
    assert all(map(gone, pids))


@pytest.mark.slow
@pytest.mark.parametrize("learner", ["gram", "als", "mf"])
def test_eight_stores_open_the_same_sums(tmp_path: Path, learner: str) -> None:
    plain, masked = (SecureRun(tmp_path / str(masks), 8, learner, masked=masks) for masks in (False, True))
    plain.run()
    masked.run(name="deployment")
    assert final_hash(masked.directory) == final_hash(plain.directory)


@pytest.mark.slow
def test_faults_reach_the_coordinators_process(tmp_path: Path) -> None:
    hashes = set()
    for engine in ("in-process", "deployment"):
        (tmp_path / engine).mkdir()
        agreement = write_small_run(tmp_path / engine, stores=4)
        run(tmp_path / engine, 4, EngineSettings(name=engine, quorum=3), drop_the_last)  # type: ignore[arg-type]
        found = load_checkpoint(tmp_path / engine, agreement.plan_hash)
        assert found is not None
        assert found.line["failures"] == {"NodeUnavailable": 1}
        hashes.add(final_hash(tmp_path / engine))
    assert len(hashes) == 1


@pytest.mark.slow
def test_what_the_coordinator_refuses_is_refused_here(tmp_path: Path, pids: list[int]) -> None:
    write_small_run(tmp_path, stores=3)
    (tmp_path / "catalogue.json").write_text("{}")
    with pytest.raises(FedcartError, match="catalogue"):
        run(tmp_path, 3, EngineSettings(name="deployment"))
    assert all(map(gone, pids))


@pytest.mark.slow
def test_a_store_that_ends_ends_the_run_with_a_reason(
    tmp_path: Path, pids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_small_run(tmp_path, stores=3)
    monkeypatch.setattr(deployment, "keep_store", os.abort)
    with pytest.raises(RoundFailed, match=r"store \d ended; 2 stores are left and 3 needed"):
        run(tmp_path, 3, EngineSettings(name="deployment", deadline_s=60))
    assert all(map(gone, pids))


def children_of(pid: int) -> list[int]:
    return [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_when_the_run_is_killed_and_it_can_go_on(tmp_path: Path, end: signal.Signals) -> None:
    """Mid-round: the children go by themselves, and the same run ends on the bits of one that was never stopped."""
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        write_small_run(tmp_path / name, stores=3, learner="als", embedding_dim=3, sweeps=8)
    run(tmp_path / "whole", 3, EngineSettings())
    code = (
        "import signal, sys; from pathlib import Path; from fedcart.simulation.engines import EngineSettings, run\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # it may be inherited as ignored
        "if __name__ == '__main__': run(Path(sys.argv[1]), 3, EngineSettings(name='deployment'))\n"
    )
    script = tmp_path / "run.py"
    script.write_text(code)
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path / "killed")], stderr=subprocess.PIPE)
    try:
        until = time.monotonic() + 120
        while len(read_lines(tmp_path / "killed")) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        family = children_of(process.pid)
        assert len(family) >= 4
    finally:
        process.send_signal(end)
        process.communicate(timeout=60)
    until = time.monotonic() + 20
    while not all(map(gone, family)) and time.monotonic() < until:
        time.sleep(0.05)
    assert all(map(gone, family))
    agreement = Agreement.open(tmp_path / "killed")
    found = load_checkpoint(tmp_path / "killed", agreement.plan_hash)
    assert found is not None
    assert found.round_index < len(agreement.rounds) - 1
    run(tmp_path / "killed", 3, EngineSettings(name="deployment"))
    assert final_hash(tmp_path / "killed") == final_hash(tmp_path / "whole")
    assert json.loads(json.dumps(read_lines(tmp_path / "killed")))[-1]["round"] == len(agreement.rounds) - 1
