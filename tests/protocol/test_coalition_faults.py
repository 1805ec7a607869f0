"""A coalition's processes, killed: the run ends or stops with a reason, no charge is lost, and a second run works."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from coalition_kit import until
from coalition_processes import FIVE, PLAN, Coalition, check_ledgers, tell
from fedcart.client.membership.coordinator import join, pin_coordinator
from fedcart.client.membership.files import MemberFiles
from fedcart.client.store_folder import create_store
from fedcart.server.checkpoint import read_lines
from fedcart.server.coalition.folder import CoalitionFolder, Member
from fedcart.server.tls_files import make_server
from fedcart.shared.agreement import Agreement
from fedcart.shared.invitation import Invitation
from fedcart.shared.ledger.verify import verify

pytestmark = pytest.mark.slow


@pytest.fixture
def coalition(tmp_path: Path) -> Iterator[Coalition]:
    made = Coalition(tmp_path)
    try:
        yield made
    finally:
        for name in list(made.running):
            made.kill(name, signal.SIGTERM)
        assert made.running == {}


def test_a_store_that_is_killed_and_comes_back_takes_part_again(coalition: Coalition) -> None:
    place = coalition.begin()
    training = coalition.train()
    assert until(lambda: len(read_lines(place)) >= 2, 200), coalition.log("train")
    coalition.kill("west")
    coalition.store("west")
    assert training.wait(240) == 0, coalition.log("train")
    lines = read_lines(place)
    assert len(lines) == len(Agreement.open(place).rounds)
    assert min(line["stores"] for line in lines) >= 4
    check_ledgers(coalition, place)


def test_a_coordinator_that_is_killed_goes_on_from_its_last_round(coalition: Coalition) -> None:
    place = coalition.begin()
    coalition.train()
    assert until(lambda: len(read_lines(place)) >= 2, 200), coalition.log("train")
    coalition.kill("serve")
    assert coalition.running.pop("train").wait(60) != 0
    before = len(read_lines(place))
    coalition.serve()
    assert coalition.train().wait(240) == 0, coalition.log("train")
    lines = read_lines(place)
    assert [line["round"] for line in lines] == list(range(len(Agreement.open(place).rounds)))
    assert len(lines) > before
    check_ledgers(coalition, place)
    assert coalition.train().wait(60) == 0  # a second time there is nothing left to do
    assert CoalitionFolder.open(coalition.folder.directory).published() == place


def test_a_store_that_is_suspended_and_let_in_again_in_the_middle_of_a_run(coalition: Coalition) -> None:
    """Its process lives on, and finds back by itself; the run has rounds with four stores, then with five."""
    place = coalition.begin(plan=PLAN.replace("sweeps = 8", "sweeps = 39"))
    began, training = time.monotonic(), coalition.train(deadline=8)

    def state(wanted: str) -> int:
        """Set by the command that an operator types; how many rounds were finished by then."""
        assert coalition.start("set", "coalition", "set", "demo", "west", wanted).wait(30) == 0
        coalition.running.pop("set")
        return len(read_lines(place))

    def stores(after: int) -> list[int]:
        return [line["stores"] for line in read_lines(place)[after:]]

    assert until(lambda: len(read_lines(place)) >= 2, 200), coalition.log("train")
    out = state("suspended")
    assert until(lambda: 4 in stores(out)), coalition.log("train")
    back = state("joined")
    assert training.wait(400) == 0, coalition.log("train")
    coalition.running.pop("train")
    tell(f"suspended after {out} rounds, let in again after {back}", place, 0, began)
    assert len(read_lines(place)) == len(Agreement.open(place).rounds)
    assert set(stores(0)) == {4, 5}
    assert stores(back)[-1] == 5, coalition.log("west")[-2000:]
    assert "refused" in coalition.log("west")
    check_ledgers(coalition, place)


# --- one coalition, a fault a run: each next run is the second run of the one before


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coalition]:
    """Five stores whose policies allow many plans; epsilon 1 each."""
    made = Coalition(tmp_path_factory.mktemp("living"))
    try:
        made.begin(epsilon_total=200.0)
        made.seed = 0
        yield made
    finally:
        for name in list(made.running):
            made.kill(name, signal.SIGTERM)


def next_run(living: Coalition) -> Path:
    living.seed += 1
    return living.plan(living.seed)


def finished(living: Coalition, place: Path, fault: str, began: float, training: object = None) -> None:
    """The run ended well: every round has four stores or more, and no ledger missed a charge."""
    process = training or living.running["train"]
    code = process.wait(300)  # type: ignore[union-attr]
    living.running.pop("train", None)
    tell(fault, place, code, began)
    assert code == 0, living.log("train")[-2000:]
    lines = read_lines(place)
    assert len(lines) == len(Agreement.open(place).rounds)
    assert min(line["stores"] for line in lines) >= 4
    check_ledgers(living, place)


KILLS = [(flow, late) for late in (0, 35) for flow in ("keys", "boxes", "deliver", "train", "confirm", "unmask")]


@pytest.mark.parametrize(("flow", "late"), KILLS)
def test_a_store_killed_before_a_flow(living: Coalition, flow: str, late: int) -> None:
    """Started again at once, or after its lease of 30 s."""
    began = time.monotonic()
    living.kill("west", signal.SIGTERM)
    west = living.faulty_store("west", flow, "1" if flow in ("keys", "boxes", "deliver") else "2", "kill")
    place = next_run(living)
    living.train(deadline=8)
    assert west.wait(200) == -signal.SIGKILL, living.log("west")[-2000:]
    living.running.pop("west")
    time.sleep(late)
    living.store("west")
    when = "after its lease" if late else "at once"
    finished(living, place, f"killed -9 before {flow.upper()}, started again {when}", began)


@pytest.mark.parametrize("what", ["disk", "replay", "forge"])
def test_a_store_whose_disk_is_full_or_whose_replies_are_replayed_or_forged(living: Coalition, what: str) -> None:
    began = time.monotonic()
    living.kill("west", signal.SIGTERM)
    living.faulty_store("west", "train", "2", what)
    place = next_run(living)
    living.train(deadline=8)
    finished(living, place, what, began)
    living.kill("west", signal.SIGTERM)
    living.store("west")


@pytest.mark.parametrize("off", ["clock+600", "clock-900"])
def test_a_store_whose_clock_is_wrong_is_left_out_and_comes_back(living: Coalition, off: str) -> None:
    """It approved the plan while its clock was right: a plan that not all approved is not run."""
    began = time.monotonic()
    place = next_run(living)
    assert until(lambda: f"ready for plan {place.name}" in living.log("west"), 90)
    living.kill("west", signal.SIGTERM)
    living.faulty_store("west", "-", "0", off)
    living.train(deadline=8)
    finished(living, place, off, began)
    assert "s off the coordinator's" in living.log("west")
    assert "clock" in living.log("west").splitlines()[-1]
    living.kill("west", signal.SIGTERM)
    living.store("west")


def test_a_store_that_stalls_and_wakes(living: Coalition) -> None:
    began = time.monotonic()
    place = next_run(living)
    training = living.train(deadline=8)
    assert until(lambda: read_lines(place), 120)
    living.running["west"].send_signal(signal.SIGSTOP)
    try:
        finished(living, place, "stalled (SIGSTOP)", began, training)
    finally:
        living.running["west"].send_signal(signal.SIGCONT)


def test_a_certificate_that_expired_stops_the_run_with_a_reason_until_it_is_renewed(living: Coalition) -> None:
    began = time.monotonic()
    place = next_run(living)
    names = living.stores
    assert until(lambda: all(f"ready for plan {place.name}" in living.log(name) for name in names), 90)
    make_server(living.folder.tls, ["127.0.0.1"], days=0)
    living.kill("serve", signal.SIGTERM)
    living.serve()
    code = living.train(deadline=5).wait(120)
    living.running.pop("train")
    tell("certificate expired", place, code, began)
    assert code == 4, living.log("train")[-2000:]
    assert "certificate has expired" in living.log("west")
    assert read_lines(place) == []
    make_server(living.folder.tls, ["127.0.0.1"])
    living.kill("serve", signal.SIGTERM)
    living.serve()
    living.train(deadline=8)
    finished(living, place, "certificate renewed", began)


MANY = 50


def test_fifty_stores_join_at_once(living: Coalition, tmp_path: Path) -> None:
    began = time.monotonic()
    paths = living.folder.invite([f"new{i}" for i in range(MANY)], tmp_path)
    stores = [MemberFiles(create_store(tmp_path / f"new{i}")[0]) for i in range(MANY)]
    for path, store in zip(paths, stores, strict=True):
        pin_coordinator(store.policy_file, Invitation.load(path).coordinator_key)
    joining = time.monotonic()
    with ThreadPoolExecutor(MANY) as together:
        list(together.map(lambda pair: join(*pair), zip(stores, map(Invitation.load, paths), strict=True)))
    assert len(living.folder.joined()) == 5 + MANY
    told = f"{MANY} stores joined at once in {time.monotonic() - joining:.1f} s, and left"

    def gone(members: list[Member]) -> list[Member]:
        return [replace(x, state="removed") if x.name.startswith("new") else x for x in members]

    living.folder.change(gone)
    assert not any(verify(store.folder.ledger_file).findings for store in stores)
    place = next_run(living)
    living.train(deadline=8)
    finished(living, place, told, began)


def test_a_member_that_is_removed_in_the_middle_of_a_run(living: Coalition) -> None:
    began = time.monotonic()
    place = next_run(living)
    training = living.train(deadline=8)
    assert until(lambda: read_lines(place), 120)
    assert living.start("set", "coalition", "set", "demo", "west", "removed").wait(30) == 0
    living.running.pop("set")
    finished(living, place, "a member removed", began, training)
    living.kill("west", signal.SIGTERM)
    place = next_run(living)
    living.train(deadline=8)
    finished(living, place, "the run after all of these, of the four that are left", began)
    assert FIVE[2] not in {member.name for member in living.folder.joined()}
