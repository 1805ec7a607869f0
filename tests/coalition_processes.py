"""Five stores and their coordinator as processes, for tests that kill, stop and mislead them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from coalition_kit import ITEMS, free_port, until, write_sales
from fedcart.client.membership.demo import Demo
from fedcart.client.store_folder import StoreFolder
from fedcart.server.checkpoint import read_lines
from fedcart.server.coalition.folder import create_coalition
from fedcart.server.coalition.planning import publish
from fedcart.shared.agreement import Agreement
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.ledger.ledger import Ledger
from fedcart.shared.ledger.verify import verify
from fedcart.shared.privacy.accounting import run_rho
from fedcart.shared.secagg.pins import Pins
from fedcart.shared.secagg.replay import verify_transcript
from fedcart.shared.secagg.requests import Train
from fedcart.shared.secagg.transcript import Transcript

FIVE = ("north", "south", "west", "east", "middle")
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
FAULTY = Path(__file__).with_name("faulty_store.py")


class Coalition:
    """Five stores and their coordinator, each a process, of which any may be killed and started again."""

    def __init__(self, place: Path, host: str = "127.0.0.1") -> None:
        write_sales(place / "sales.csv", FIVE)
        self.place = place
        self.folder = create_coalition(place / "demo", Catalogue(ITEMS, "given"), [host], free_port())
        self.paths = self.folder.invite(FIVE, place)
        self.seed = 0
        self.running: dict[str, subprocess.Popen[str]] = {}
        self.stores: dict[str, StoreFolder] = {}

    def start(self, name: str, *words: str) -> subprocess.Popen[str]:
        """`fedcart` with these words, its output in NAME.log."""
        return self.python(name, "-m", "fedcart.shared", *words)

    def python(self, name: str, *words: str) -> subprocess.Popen[str]:
        return self.command(name, sys.executable, *words)

    def command(self, name: str, *words: str) -> subprocess.Popen[str]:
        with (self.place / f"{name}.log").open("a") as log:
            self.running[name] = subprocess.Popen(
                words, cwd=self.place, text=True, stdout=log, stderr=log, start_new_session=True
            )
        return self.running[name]

    def serve(self) -> None:
        control = self.place / "demo" / "control"
        control.unlink(missing_ok=True)  # a killed server leaves it
        self.start("serve", "coalition", "serve", "demo")
        assert until(control.exists, 90)

    def store(self, name: str, *before: str) -> None:
        """Its process; `before` is a command that runs it, as `ip netns exec NAME`."""
        directory = str(self.stores[name].directory)
        self.command(name, *before, sys.executable, "-m", "fedcart.shared", "store", "run", "--dir", directory)

    def faulty_store(self, name: str, *fault: str) -> subprocess.Popen[str]:
        """FLOW, TIME, WHAT of tests/faulty_store.py."""
        return self.python(name, str(FAULTY), str(self.stores[name].directory), *fault)

    def plan(self, seed: int, epsilon: float = 1.0) -> Path:
        """Another plan for the stores that are in now."""
        text = PLAN.replace("participants = 5", f"participants = {len(self.folder.joined())}\nseed = {seed}")
        text = text.replace("epsilon = 4.0", f"epsilon = {epsilon}").replace("sweeps = 8", "sweeps = 2")
        (self.folder.directory / "plan.toml").write_text(text)
        return publish(self.folder)[1]

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        process = self.running.pop(name)
        process.send_signal(how)
        process.wait(60)

    def begin(self, epsilon_total: float = 8.0, plan: str = PLAN, attempts: int = 3) -> Path:
        """Serve, let all join, show them a plan, and start them; each policy allows `attempts`."""
        self.serve()
        made = Demo(self.paths, self.place / "stores", self.place / "sales.csv", lambda _: None).prepare()
        self.stores = {folder.directory.name: folder for folder in made}
        for folder in made:
            file = folder.directory / "policy.toml"
            text = file.read_text()
            assert "epsilon_total = 8.0" in text
            text = text.replace("epsilon_total = 8.0", f"epsilon_total = {epsilon_total}")
            file.write_text(text.replace("attempts = 3", f"attempts = {attempts}"))
        (self.folder.directory / "plan.toml").write_text(plan)
        _, place = publish(self.folder)
        for name in FIVE:
            self.store(name)
        return place

    def train(self, seconds: float = 200, deadline: float = 20) -> subprocess.Popen[str]:
        return self.start("train", "coalition", "train", "demo", "--wait", str(seconds), "--deadline", str(deadline))

    def log(self, name: str) -> str:
        return (self.place / f"{name}.log").read_text()


def check_ledgers(coalition: Coalition, place: Path) -> None:
    """Every ledger verifies, none is charged for more than the plan promised; and whoever uploaded is charged: as many
    stores for a round as stand in its sum, and each by name as often as a transcript shows its upload."""
    agreement = Agreement.open(place)
    charged = [0] * len(agreement.rounds)
    for folder in coalition.stores.values():
        with Ledger.open(folder.ledger_file, folder.identity()) as ledger:
            plan = agreement.plan
            assert ledger.plan_rho(agreement.plan_hash) <= run_rho(agreement.rounds, plan.honest, plan.attempts)
            for round_ in agreement.rounds:
                charged[round_.index] += any(
                    ledger.was_charged(agreement.plan_hash, round_.index, attempt, round_.charges[0].name)
                    for attempt in range(agreement.plan.attempts)
                )
        assert not verify(folder.ledger_file).findings  # a torn line is one until the ledger is opened again
    for line in read_lines(place):
        assert charged[line["round"]] >= line["stores"], line
    check_uploads(coalition, agreement)


def check_uploads(coalition: Coalition, agreement: Agreement) -> None:
    """Each signed upload of the transcripts has a charge of its own in its store's ledger."""
    pins = Pins.parse((agreement.directory / "transcript" / "pins.json").read_bytes())
    uploads: Counter[tuple[int, int]] = Counter()
    for path in sorted(agreement.directory.glob("transcript/epoch-*.json")):
        transcript = Transcript.parse(path.read_bytes())
        verify_transcript(transcript, pins)
        for one in transcript.rounds:
            train = Train.parse(one.train, pins)
            uploads.update((store, train.release) for store in one.uploads)
    assert uploads
    index = {key: number for number, key in pins.identities.items()}
    for folder in coalition.stores.values():
        with Ledger.open(folder.ledger_file, folder.identity()) as ledger:
            for (store, release), count in uploads.items():
                if store == index.get(folder.identity().public):
                    name = agreement.rounds[release].charges[0].name
                    tries = range(agreement.plan.attempts)
                    found = sum(ledger.was_charged(agreement.plan_hash, release, i, name) for i in tries)
                    assert found >= count, f"store {store}, round {release}: {count} uploads, {found} charges"


def tell(fault: str, place: Path, code: int, began: float) -> None:
    """A line for docs/results/faults.md, where FEDCART_FAULTS names a file."""
    if path := os.environ.get("FEDCART_FAULTS"):
        lines = read_lines(place)
        row = {
            "fault": fault,
            "exit": code,
            "rounds": f"{len(lines)} of {len(Agreement.open(place).rounds)}",
            "stores": [line["stores"] for line in lines],
            "repeats": sum(line["attempt"] for line in lines),
            "failures": [line["failures"] for line in lines if line["failures"]],
            "seconds": round(time.monotonic() - began),
        }
        with Path(path).open("a") as file:
            file.write(json.dumps(row) + "\n")
