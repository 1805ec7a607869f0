"""Secure sums through both apps: the plain run's bits, whoever drops out when; fails closed, repeats, resumes."""

from __future__ import annotations

import functools
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fedcart.client.gate import release
from fedcart.client.ledger_files import ledger_path
from fedcart.server.checkpoint import read_lines
from fedcart.server.returns import EARLY_TRIES
from fedcart.shared.errors import PrivacyRefused, RoundFailed
from fedcart.shared.flower_compat import SimulationRuntime
from fedcart.shared.privacy.accounting import run_rho
from fedcart.shared.secagg.pins import Pins
from fedcart.shared.secagg.replay import AuditedRound, verify_transcript
from fedcart.shared.secagg.requests import Train
from fedcart.shared.secagg.transcript import Transcript
from fedcart.simulation.engines import ray
from fedcart.simulation.engines.faults import Fault, FaultHook, coin_drops
from secure_run import SecureRun
from small_run import final_hash

TESTS = Path(__file__).parents[1]
LEARNERS = ("popularity", "gram", "als", "mf")


def audited(secure: SecureRun) -> list[tuple[AuditedRound, ...]]:
    """Every archived epoch, verified."""
    paths = sorted(secure.archive.glob("epoch-*.json"))
    return [verify_transcript(Transcript.parse(path.read_bytes()), secure.pins()) for path in paths]


def both(directory: Path, learner: str, stores: int, attempts: int = 1) -> tuple[SecureRun, SecureRun]:
    return tuple(  # type: ignore[return-value]
        SecureRun(directory / name, stores, learner, masked, attempts)
        for name, masked in (("plain", False), ("masked", True))
    )


@pytest.mark.parametrize("stores", [3, 5, 8])
@pytest.mark.parametrize("learner", LEARNERS)
def test_the_masked_run_ends_on_the_plain_runs_bits(tmp_path: Path, learner: str, stores: int) -> None:
    plain, masked = both(tmp_path, learner, stores)
    plain.run()
    masked.run()
    assert final_hash(masked.directory) == final_hash(plain.directory)
    assert {line["aggregation"] for line in read_lines(plain.directory)} == {"plain"}
    assert {line["aggregation"] for line in read_lines(masked.directory)} == {"SA1"}
    assert Pins.parse((masked.archive / "pins.json").read_bytes()) == masked.pins()
    (rounds,) = audited(masked)
    assert [(one.release, one.opened) for one in rounds] == [(i, True) for i in range(len(masked.agreement.rounds))]


def test_small_plans_travel_in_32_bits_and_large_ones_in_64(tmp_path: Path) -> None:
    assert SecureRun(tmp_path / "small", 5, "popularity").pins().bits == 32
    assert SecureRun(tmp_path / "large", 5, "gram").pins().bits == 64


@pytest.mark.parametrize("mode", ["copy", "wire"])
def test_every_mode_of_the_engine_ends_on_the_same_bits(tmp_path: Path, mode: str) -> None:
    plain, masked = both(tmp_path, "als", 5)
    plain.run()
    masked.run(mode=mode, threads=3)
    assert final_hash(masked.directory) == final_hash(plain.directory)


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("stores", [5, 8])
def test_drops_before_the_upload_leave_the_plain_runs_bits_without_those_stores(
    tmp_path: Path, learner: str, stores: int
) -> None:
    plain, masked = both(tmp_path, learner, stores, attempts=3)
    hook = few(coin_drops(0.2, 1))
    plain.run(hook)
    masked.run(hook)
    assert final_hash(masked.directory) == final_hash(plain.directory)
    assert [x["stores"] for x in read_lines(masked.directory)] == [x["stores"] for x in read_lines(plain.directory)]


def few(hook: FaultHook, most: int = 1) -> FaultHook:
    """At most `most` stores a round: the cohorts here forgive one missing upload, three missing words of eight."""

    def limited(store: int, round_index: int, attempt: int) -> Fault | None:
        earlier = sum(hook(other, round_index, attempt) is not None for other in range(store))
        return None if earlier >= most else hook(store, round_index, attempt)

    return limited


@pytest.mark.parametrize("flow", ["confirm", "unmask"])
@pytest.mark.parametrize("learner", LEARNERS)
def test_drops_after_the_upload_change_nothing(tmp_path: Path, learner: str, flow: str) -> None:
    plain, masked = both(tmp_path, learner, 8)
    plain.run()
    masked.run(few(coin_drops(0.2, 3, flows=(flow,)), 3))  # type: ignore[arg-type]
    assert final_hash(masked.directory) == final_hash(plain.directory)
    assert all(line["stores"] == 8 for line in read_lines(masked.directory))


@pytest.mark.parametrize("flow", ["keys", "boxes", "deliver"])
def test_a_store_that_misses_a_flow_of_the_epoch_is_in_the_next_which_begins_at_once(tmp_path: Path, flow: str) -> None:
    plain, masked = both(tmp_path, "mf", 5)
    plain.run(lambda store, round_index, _: Fault("drop") if (store, round_index) == (2, 0) else None)
    masked.run(
        lambda store, round_index, _: Fault("drop", flow=flow) if (store, round_index) == (2, 0) else None  # type: ignore[arg-type]
    )
    assert final_hash(masked.directory) == final_hash(plain.directory)
    assert [line["stores"] for line in read_lines(masked.directory)] == [4, 5]
    assert [[one.release for one in rounds] for rounds in audited(masked)] == [[0], [1]]


def restarts(secure: SecureRun, when: Callable[[int, int], bool]) -> FaultHook:
    """Stores lose all that they have in memory just before the first message of a round for which `when` is true."""
    done = set()

    def hook(store: int, round_index: int, attempt: int) -> None:
        if when(store, round_index) and (store, round_index, attempt) not in done:
            done.add((store, round_index, attempt))
            if store in secure.around.masks:
                secure.around.masks.pop(store).close()

    return hook


def test_a_store_that_restarts_misses_one_round_and_is_back_in_an_epoch_begun_for_it(tmp_path: Path) -> None:
    more = {"sweeps": 6}
    plain, masked = (SecureRun(tmp_path / name, 5, "als", name == "masked", more=more) for name in ("plain", "masked"))
    plain.run(lambda store, round_index, _: Fault("drop") if (store, round_index) == (2, 2) else None)
    masked.run(restarts(masked, lambda store, round_index: (store, round_index) == (2, 2)))
    assert final_hash(masked.directory) == final_hash(plain.directory)
    count = len(masked.agreement.rounds)
    assert [line["stores"] for line in read_lines(masked.directory)] == [5, 5, 4] + [5] * (count - 3)
    assert [[one.release for one in rounds] for rounds in audited(masked)] == [[0, 1, 2], list(range(3, count))]
    with masked.around(str(masked.directory), 2).open_ledger() as ledger:
        name = [round_.charges[0].name for round_ in masked.agreement.rounds]
        charged = [ledger.was_charged(masked.agreement.plan_hash, i, 0, name[i]) for i in range(count)]
    assert charged == [True, True, False] + [True] * (count - 3)


def test_a_store_whose_ledger_refuses_a_release_is_asked_for_the_next_in_the_same_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"sweeps": 4}
    plain, masked = (SecureRun(tmp_path / name, 5, "als", name == "masked", more=more) for name in ("plain", "masked"))
    plain.run(lambda store, round_index, _: Fault("drop") if (store, round_index) == (2, 2) else None)

    def refusing(agreement: Any, round_: Any, attempt: int, state: Any, customers: Any, around: Any, *more: Any) -> Any:
        if round_.index == 2 and around.masks is masked.around.masks.get(2):
            raise PrivacyRefused("no receipt came; nothing was charged or released")
        return release(agreement, round_, attempt, state, customers, around, *more)

    monkeypatch.setattr("fedcart.client.app.release", refusing)
    masked.run()
    assert final_hash(masked.directory) == final_hash(plain.directory)
    count = len(masked.agreement.rounds)
    assert [line["stores"] for line in read_lines(masked.directory)] == [5, 5, 4] + [5] * (count - 3)
    assert [[one.release for one in rounds] for rounds in audited(masked)] == [list(range(count))]


def test_a_store_that_keeps_restarting_begins_no_epoch_more_than_every_few_rounds(tmp_path: Path) -> None:
    secure = SecureRun(tmp_path, 5, "als", more={"sweeps": 10})
    secure.run(restarts(secure, lambda store, round_index: store == 2 and round_index > 0))
    begun = [rounds[0].release for rounds in audited(secure)]
    assert len(begun) > 1
    assert all(later - before >= EARLY_TRIES for before, later in itertools.pairwise(begun[1:]))
    assert min(line["stores"] for line in read_lines(secure.directory)) == 4


@pytest.mark.slow
def test_in_300_rounds_with_restarts_at_random_flows_no_charge_is_lost(tmp_path: Path) -> None:
    """Each upload in a transcript has a charge of its own in its store's ledger, and no ledger is over its plan."""
    secure, chance, restarted = SecureRun(tmp_path, 5, "als", attempts=60, more={"sweeps": 299}), Random(7), []

    def hook(store: int, round_index: int, _: int) -> None:
        if chance.random() < 0.005 and store in secure.around.masks:  # asked for each store's part in each flow
            restarted.append((store, round_index))
            secure.around.masks.pop(store).close()

    secure.run(hook)
    rounds, plan = secure.agreement.rounds, secure.agreement.plan
    assert [line["round"] for line in read_lines(tmp_path)] == list(range(300))
    assert len(restarted) >= 20
    uploads: Counter[tuple[int, int]] = Counter()
    for path in secure.archive.glob("epoch-*.json"):
        transcript = Transcript.parse(path.read_bytes())
        verify_transcript(transcript, secure.pins())
        for one in transcript.rounds:
            uploads.update((store, Train.parse(one.train, secure.pins()).release) for store in one.uploads)
    for store in range(5):
        with secure.around(str(tmp_path), store).open_ledger() as ledger:
            lines = map(json.loads, ledger_path(tmp_path / "results", store).read_bytes().splitlines())
            paid = Counter(line["body"]["round"] for line in lines if line["kind"] == "charge")
            assert ledger.plan_rho(secure.agreement.plan_hash) <= run_rho(rounds, plan.honest, plan.attempts)
        assert {i: n for (who, i), n in uploads.items() if who == store and n > paid[i]} == {}


def test_for_a_store_that_always_refuses_one_epoch_is_begun_and_no_more(tmp_path: Path) -> None:
    secure = SecureRun(tmp_path, 5, "als", more={"sweeps": 10})
    secure.run(lambda store, *_: Fault("raise") if store == 2 else None)
    assert [rounds[0].release for rounds in audited(secure)] == [0, 1]
    assert {line["stores"] for line in read_lines(secure.directory)} == {4}


@pytest.mark.parametrize("kind", ["silent", "raise", "corrupt", "duplicate", "foreign", "delay"])
@pytest.mark.parametrize("flow", ["keys", "boxes", "train", "confirm", "unmask"])
def test_whatever_goes_wrong_at_one_store_the_total_is_exact(tmp_path: Path, kind: str, flow: str) -> None:
    plain, masked = both(tmp_path, "popularity", 5)
    missing = kind in ("silent", "raise", "corrupt") and flow in ("keys", "boxes", "train")
    plain.run(lambda store, *_: Fault("drop") if store == 1 and missing else None)
    fault = Fault(kind, seconds=0.01, flow=flow)  # type: ignore[arg-type]
    masked.run(lambda store, *_: fault if store == 1 else None, deadline_s=0.6 if kind == "silent" else 60.0)
    assert final_hash(masked.directory) == final_hash(plain.directory)


@pytest.mark.parametrize("flow", ["keys", "boxes", "train", "confirm", "unmask"])
def test_below_the_floor_the_round_fails_and_nothing_is_opened(tmp_path: Path, flow: str) -> None:
    secure = SecureRun(tmp_path, 5)
    with pytest.raises(RoundFailed, match="the state is that of the round before"):
        secure.run(lambda store, *_: Fault("drop", flow=flow) if store < 2 else None)  # type: ignore[arg-type]
    assert read_lines(tmp_path) == []
    assert not any(one.opened for rounds in audited(secure) for one in rounds)


def test_a_quorum_above_the_plans_floor_is_kept(tmp_path: Path) -> None:
    secure = SecureRun(tmp_path, 5)
    with pytest.raises(RoundFailed, match="4 stores uploaded, 5 needed"):
        secure.run(lambda store, *_: Fault("drop") if store == 0 else None, quorum=5)
    assert not any(one.opened for rounds in audited(secure) for one in rounds)


@pytest.mark.parametrize("flow", ["train", "confirm", "unmask"])
def test_a_failed_round_is_repeated_under_another_number_with_its_own_charge(tmp_path: Path, flow: str) -> None:
    secure = SecureRun(tmp_path, 5, "gram", attempts=2)

    def hook(store: int, round_index: int, attempt: int) -> Fault | None:
        return Fault("drop", flow=flow) if store < 2 and (round_index, attempt) == (1, 0) else None  # type: ignore[arg-type]

    secure.run(hook)
    epochs = audited(secure)
    assert [line["attempt"] for line in read_lines(tmp_path)] == [0, 1]
    (rounds,) = epochs
    assert [(one.round, one.release, one.opened) for one in rounds] == [(0, 0, True), (1, 1, False), (2, 1, True)]
    charges = [
        (line["body"]["round"], line["body"]["attempt"])
        for line in map(json.loads, ledger_path(tmp_path / "results", 4).read_bytes().splitlines())
        if line["kind"] == "charge"
    ]
    assert {(1, 0), (1, 1)} <= set(charges)


def test_a_run_of_more_rounds_than_an_epoch_begins_new_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedcart.shared.roster.MOST_EPOCH_ROUNDS", 2)
    plain, masked = both(tmp_path, "als", 5)
    plain.run()
    masked.run()
    assert final_hash(masked.directory) == final_hash(plain.directory)
    assert [[one.round for one in rounds] for rounds in audited(masked)] == [[0, 1], [0]]


def test_a_run_that_stopped_goes_on_in_a_new_epoch_with_the_same_end(tmp_path: Path) -> None:
    once, twice = SecureRun(tmp_path / "once", 5, "als"), SecureRun(tmp_path / "twice", 5, "als")
    once.run()
    with pytest.raises(RoundFailed):
        twice.run(
            lambda store, round_index, _: Fault("drop", flow="unmask") if round_index == 1 and store < 2 else None
        )
    again = SecureRun(tmp_path / "twice", 5, "als")
    again.run()
    assert final_hash(twice.directory) == final_hash(once.directory)
    assert [[one.release for one in rounds] for rounds in audited(again)] == [[0, 1], [1, 2]]


CHILD = """
import sys, time
from pathlib import Path
from fedcart.client.masking import StoreMasks
from secure_run import SecureRun

answer = StoreMasks.answer
def slowly(self, *arguments):
    time.sleep(0.01)
    return answer(self, *arguments)
StoreMasks.answer = slowly
secure = SecureRun(Path(sys.argv[1]), 5, "als", more={"sweeps": 6})
print("ready", flush=True)
secure.run()
print("done", flush=True)
"""


def killed(directory: Path, after: float) -> bool:
    """Run in a child process; kill -9 it after some seconds. Whether it was still running."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    command = [sys.executable, "-c", CHILD, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
        return "done" not in process.stdout.read()


def test_killed_and_run_again_it_ends_on_the_same_bits_in_a_later_epoch(tmp_path: Path) -> None:
    more = {"sweeps": 6}
    once = SecureRun(tmp_path / "once", 5, "als", more=more)
    once.run()
    assert sum(killed(tmp_path / "twice", after) for after in (0.3, 0.6)) >= 1
    before = read_lines(tmp_path / "twice")
    again = SecureRun(tmp_path / "twice", 5, "als", more=more)
    again.run()
    assert final_hash(again.directory) == final_hash(once.directory)
    assert read_lines(tmp_path / "twice")[: len(before)] == before
    assert {line["aggregation"] for line in read_lines(again.directory)} == {"SA1"}
    last = audited(again)[-1]
    assert [one.release for one in last] == list(range(len(before), len(again.agreement.rounds)))


@pytest.mark.slow
def test_on_ray_a_stopped_masked_run_goes_on_to_the_bits_of_this_process(tmp_path: Path) -> None:
    once, twice = SecureRun(tmp_path / "once", 5, "als"), SecureRun(tmp_path / "twice", 5, "als")
    once.run()
    with pytest.raises(RoundFailed):
        twice.run(
            lambda store, round_index, _: Fault("drop", flow="unmask") if round_index == 1 and store < 2 else None,
            name="ray",
            threads=2,
        )
    again = SecureRun(tmp_path / "twice", 5, "als")
    again.run(name="ray", threads=2)
    assert final_hash(twice.directory) == final_hash(once.directory)
    assert [[one.release for one in rounds] for rounds in audited(again)] == [[0, 1], [1, 2]]


@pytest.mark.slow
def test_where_any_worker_answers_for_any_store_a_masked_run_on_ray_fails_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "SimulationRuntime", functools.partial(anywhere, ray.SimulationRuntime))
    secure = SecureRun(tmp_path, 5)
    with pytest.raises(RoundFailed):
        secure.run(name="ray", threads=2)
    assert read_lines(tmp_path) == []


def anywhere(runtime: type[SimulationRuntime], *arguments: Any, sticky: bool) -> SimulationRuntime:
    assert sticky
    return runtime(*arguments, sticky=False)
