"""A long run while stores are killed -9 at random moments and started again: it ends, and no charge is lost.

FEDCART_SOAK_ROUNDS sets its length (docs/results/faults.md: 60), FEDCART_FAULTS a file for its figures.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from coalition_kit import until
from coalition_processes import FIVE, PLAN, Coalition, check_ledgers, tell
from fedcart.server.checkpoint import read_lines
from fedcart.shared.agreement import Agreement

ROUNDS = int(os.environ.get("FEDCART_SOAK_ROUNDS", "40"))
TRIES = max(60, ROUNDS // 2)
"""That the plan pays for. One fails when two stores are away at once: 58 in 248 rounds."""
READY = "ready for plan"
PAUSE_S = (3.0, 15.0)
"""Between two kills, evenly drawn, from when the last one killed has read its data: it is not in the sums by then."""


def ended(process: subprocess.Popen[str], seconds: float) -> bool:
    """Whether it ends within some seconds."""
    return until(lambda: process.poll() is not None, seconds)


@pytest.mark.slow
def test_stores_that_are_killed_at_random_lose_no_charge(tmp_path: Path) -> None:
    coalition, chance = Coalition(tmp_path), random.Random(7)
    plan = PLAN.replace("sweeps = 8", f"sweeps = {ROUNDS - 1}").replace("attempts = 3", f"attempts = {TRIES}")
    try:
        place = coalition.begin(plan=plan, attempts=TRIES)
        rounds = len(Agreement.open(place).rounds)
        began, kills, stops = time.monotonic(), 0, 0
        training = coalition.train(deadline=12)
        assert until(lambda: bool(read_lines(place)), 200), coalition.log("train")
        while len(read_lines(place)) < rounds:
            if not ended(training, chance.uniform(*PAUSE_S)):
                name = chance.choice(FIVE)
                coalition.kill(name)
                ready = coalition.log(name).count(READY)
                coalition.store(name)
                kills += 1
                assert until(lambda: coalition.log(name).count(READY) > ready, 120), coalition.log(name)  # noqa: B023
            elif training.returncode != 0:  # too few stores at once: it goes on from the last finished round
                stops += 1
                assert stops < 20, coalition.log("train")[-2000:]
                training = coalition.train(deadline=12)
        assert training.wait(120) == 0, coalition.log("train")[-2000:]
        lines = read_lines(place)
        assert [line["round"] for line in lines] == list(range(rounds))
        assert min(line["stores"] for line in lines) >= 4
        assert kills > 0
        assert any(line["stores"] == 4 for line in lines), "no kill was noticed: it proves nothing"
        for name in FIVE:  # one that has just been started may hold its ledger
            coalition.kill(name, signal.SIGTERM)
        check_ledgers(coalition, place)
        whole = sum(line["stores"] == 5 for line in lines)
        epochs = len(list(place.glob("transcript/epoch-*.json")))
        tell(
            f"{kills} kills, {stops} stops, {whole} of {rounds} rounds with five stores, {epochs} epochs",
            place,
            0,
            began,
        )
    finally:
        for name in list(coalition.running):
            coalition.kill(name, signal.SIGTERM)
