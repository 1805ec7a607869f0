"""A store behind a network of its own that is cut and healed: network namespaces, so root and iproute2 are needed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from coalition_kit import until
from coalition_processes import Coalition, check_ledgers, tell
from fedcart.server.checkpoint import read_lines
from fedcart.shared.agreement import Agreement

pytestmark = pytest.mark.slow

HERE, THERE, WIDTH = "10.213.77.1", "10.213.77.2", "24"


class Cable:
    """A namespace with one cable to this machine's own; the coordinator's address is at this end."""

    def __init__(self) -> None:
        self.name = f"fedcart{os.getpid()}"
        self.near, self.far = f"fca{os.getpid()}", f"fcb{os.getpid()}"
        ip("netns", "add", self.name)
        ip("link", "add", self.near, "type", "veth", "peer", "name", self.far)
        ip("link", "set", self.far, "netns", self.name)
        ip("address", "add", f"{HERE}/{WIDTH}", "dev", self.near)
        ip("link", "set", self.near, "up")
        self.inside("address", "add", f"{THERE}/{WIDTH}", "dev", self.far)
        self.inside("link", "set", "lo", "up")
        self.heal()

    def inside(self, *words: str) -> None:
        ip("-n", self.name, *words)

    def cut(self) -> None:
        """From now on packets are lost, both ways, and nobody is told."""
        self.inside("link", "set", self.far, "down")

    def heal(self) -> None:
        self.inside("link", "set", self.far, "up")

    def remove(self) -> None:
        ip("link", "del", self.near)
        ip("netns", "del", self.name)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def cable() -> Iterator[Cable]:
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need Linux, root and iproute2 (Debian: iproute2)")
    try:
        made = Cable()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this machine makes no network namespace: {' '.join(error.cmd)}: {error.stderr.strip()}")
    try:
        yield made
    finally:
        made.remove()


DEADLINE_S, LEASE_S = 8, 30


@pytest.mark.parametrize("seconds", [4, 15, 45])
def test_a_store_whose_network_is_cut_and_heals_takes_part_again(cable: Cable, tmp_path: Path, seconds: int) -> None:
    """Its process lives on with its secrets. Shorter than a deadline, longer than one, longer than its lease."""
    coalition = Coalition(tmp_path, HERE)
    try:
        place = coalition.begin()
        coalition.kill("west", signal.SIGTERM)
        coalition.store("west", "ip", "netns", "exec", cable.name)
        began = time.monotonic()
        training = coalition.train(deadline=DEADLINE_S)
        assert until(lambda: len(read_lines(place)) >= 2, 200), coalition.log("train")
        cable.cut()
        time.sleep(seconds)
        during = len(read_lines(place))
        cable.heal()
        assert training.wait(300) == 0, coalition.log("train")
        tell(f"network cut for {seconds} s, healed", place, 0, began)
        lines = read_lines(place)
        assert len(lines) == len(Agreement.open(place).rounds)
        assert [line["stores"] for line in lines[:2]] == [5, 5]
        assert {line["stores"] for line in lines} <= {4, 5}
        if seconds < DEADLINE_S:  # flows wait it out: nobody is missed
            assert {line["stores"] for line in lines} == {5}
        elif seconds > LEASE_S:
            assert any("NodeUnavailable" in line["failures"] for line in lines), "the cut was not noticed"
        else:  # a receipt was lost alone where the cut came while receipts went out, and ended within the next flow
            missed = "did not take theirs" in coalition.log("serve")
            assert missed or any(line["failures"] for line in lines), "the cut was not noticed"
        if len(lines) > during + 3:
            assert lines[-1]["stores"] == 5
        check_ledgers(coalition, place)
    finally:
        for name in list(coalition.running):
            coalition.kill(name, signal.SIGTERM)
