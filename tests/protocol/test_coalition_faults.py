"""A coalition's processes, killed: the run ends or stops with a reason, no charge is lost, and a second run works."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fedcart.client.membership.demo import Demo
from fedcart.client.store_folder import StoreFolder
from fedcart.server.checkpoint import read_lines
from fedcart.server.coalition.folder import CoalitionFolder, create_coalition
from fedcart.server.coalition.planning import publish
from fedcart.shared.agreement import Agreement
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.ledger.ledger import Ledger
from fedcart.shared.ledger.verify import verify

pytestmark = pytest.mark.slow
NAMES = ("north", "south", "west", "east", "middle")
PLAN = """
participants = 5
attempts = 3
[learner]
name = "als"
embedding_dim = 4
sweeps = 8
[privacy]
trust = "distributed"
epsilon = 4.0
customers_bound = 1000
"""


def until(true: Callable[[], object], seconds: float = 90) -> bool:
    end = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < end:
        time.sleep(0.05)
    return bool(found)


class Coalition:
    """Five stores and their coordinator, each a process, of which any may be killed and started again."""

    def __init__(self, place: Path) -> None:
        rng = np.random.default_rng(3)
        rows = ["customer,item,time,store"]
        for store in NAMES:
            for customer in range(12):
                rows += [
                    f"{store}{customer},item{item},2026-01-{1 + int(rng.integers(28)):02d},{store}"
                    for item in rng.choice(20, 5, replace=False)
                ]
        (place / "sales.csv").write_text("\n".join(rows) + "\n")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        catalogue = Catalogue(tuple(f"item{i}" for i in range(20)), "given")
        self.place = place
        self.folder = create_coalition(place / "demo", catalogue, ["127.0.0.1"], port)
        self.paths = self.folder.invite(NAMES, place)
        self.running: dict[str, subprocess.Popen[str]] = {}
        self.stores: dict[str, StoreFolder] = {}

    def start(self, name: str, *words: str) -> subprocess.Popen[str]:
        log = (self.place / f"{name}.log").open("a")
        command = [sys.executable, "-m", "fedcart.shared", *words]
        made = subprocess.Popen(command, cwd=self.place, text=True, stdout=log, stderr=log, start_new_session=True)
        self.running[name] = made
        return made

    def serve(self) -> None:
        control = self.place / "demo" / "control"
        control.unlink(missing_ok=True)  # a killed server leaves it
        self.start("serve", "coalition", "serve", "demo")
        assert until(control.exists)

    def store(self, name: str) -> None:
        self.start(name, "store", "run", "--dir", str(self.stores[name].directory))

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        process = self.running.pop(name)
        process.send_signal(how)
        process.wait(60)

    def begin(self) -> Path:
        self.serve()
        made = Demo(self.paths, self.place / "stores", self.place / "sales.csv", lambda _: None).prepare()
        self.stores = {folder.directory.name: folder for folder in made}
        (self.folder.directory / "plan.toml").write_text(PLAN)
        _, place = publish(self.folder)
        for name in NAMES:
            self.store(name)
        return place

    def train(self, seconds: float = 200) -> subprocess.Popen[str]:
        return self.start("train", "coalition", "train", "demo", "--wait", str(seconds), "--deadline", "20")

    def log(self, name: str) -> str:
        return (self.place / f"{name}.log").read_text()


@pytest.fixture
def coalition(tmp_path: Path) -> Iterator[Coalition]:
    made = Coalition(tmp_path)
    try:
        yield made
    finally:
        for name in list(made.running):
            made.kill(name, signal.SIGTERM)
        assert made.running == {}


def check_ledgers(coalition: Coalition, place: Path) -> None:
    """Every ledger verifies, is charged for every round that was opened, and for no more than the plan promised."""
    agreement = Agreement.open(place)
    for folder in coalition.stores.values():
        assert not verify(folder.ledger_file).findings
        with Ledger.open(folder.ledger_file, folder.identity()) as ledger:
            assert ledger.epsilon(1e-4) <= 4.0
            charged = {
                round_.index
                for round_ in agreement.rounds
                for attempt in range(agreement.plan.attempts)
                if ledger.was_charged(agreement.plan_hash, round_.index, attempt, round_.charges[0].name)
            }
        assert len(charged) >= 1


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
