"""What real processes cost: seconds and processor time of a round by secure aggregation, memory of each process.

    python tests/benchmarks/deployment.py rounds            three stores of `store demo`, spectral, epsilon 4
    python tests/benchmarks/deployment.py vectors --mb 200  one plain round of float32 vectors, three nodes

The first drives the commands that docs/coalition.md shows. Processes are stopped by id. Linux only (/proc).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

NAMES = ("north", "south", "west")
HALVES = ("x", "y")
"""Two releases: one alone is over the limit of a release."""


def memory_mb(pid: int) -> dict[str, int]:
    """Resident memory now and at its peak, MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) // 1024 for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return {"now": found["VmRSS"], "peak": found["VmHWM"]}


def processor_s(pid: int) -> float:
    """User and system seconds so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rounds() -> None:
    """A demo coalition from new to train."""
    from fedcart.server.coalition.folder import CoalitionFolder

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])

    def fedcart(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "fedcart.shared", *words]
        return subprocess.Popen(command, cwd=place, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    with tempfile.TemporaryDirectory(prefix="fedcart-") as folder:
        place, started = Path(folder), []
        fedcart("data", "make", "marketplace", "--size", "small", "--format", "csv", "--out", "market").communicate()
        fedcart("coalition", "new", "demo", "--catalogue", "market/items.csv", "--port", port).communicate()
        fedcart("coalition", "invite", "demo", *NAMES).communicate()
        try:
            started.append(fedcart("coalition", "serve", "demo"))
            while not (place / "demo" / "control").exists():
                time.sleep(0.1)
            started.append(fedcart("store", "demo", *(f"{name}.invite" for name in NAMES)))
            members = CoalitionFolder.open(place / "demo")
            while len(members.joined()) < len(NAMES):
                time.sleep(0.1)
            time.sleep(10)
            demo = started[1].pid
            stores = [int(x) for x in Path(f"/proc/{demo}/task/{demo}/children").read_text().split()]
            people = {"coordinator": started[0].pid, **dict(zip(NAMES, stores, strict=True))}
            print("idle, before a plan, MB", {name: memory_mb(pid)["now"] for name, pid in people.items()})
            spent = {name: processor_s(pid) for name, pid in people.items()}
            time.sleep(10)
            idle = {name: (processor_s(pid) - spent[name]) / 10 for name, pid in people.items()}
            print("idle, share of a core", {name: round(value, 4) for name, value in idle.items()})
            fedcart("coalition", "plan", "demo", "--epsilon", "4").communicate()
            time.sleep(25)
            print("ready, before the first round, MB", {name: memory_mb(pid)["now"] for name, pid in people.items()})
            spent = {name: processor_s(pid) for name, pid in people.items()}
            said, _ = fedcart("coalition", "train", "demo", "--json").communicate()
            spent = {name: processor_s(pid) - spent[name] for name, pid in people.items()}
            told = json.loads(said)["rounds"]
            print("seconds a round", [round(line["seconds"], 2) for line in told], "on", os.getloadavg()[0], "load")
            print("processor seconds a round", {name: round(s / len(told), 2) for name, s in spent.items()})
            time.sleep(5)
            print("after the run, MB", {name: memory_mb(pid) for name, pid in people.items()})
        finally:
            for process in reversed(started):
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=60)


def vectors(megabytes: int, nodes: int = 3) -> None:
    """One plain round: a state of so many MB out to each node, as many back, added up as they come."""
    from fedcart.server.exchange import exchange
    from fedcart.server.listener import Guard, Listener, Members, server_context
    from fedcart.server.tls_files import AUTHORITY, SERVER, SERVER_KEY, make_authority, make_server
    from fedcart.shared.flower_compat.fleet import new_node_key, public_pem
    from fedcart.shared.flower_compat.link import Link
    from fedcart.shared.learners.base import State
    from fedcart.shared.privacy.release import Release
    from fedcart.shared.wire import write_instruction

    words = megabytes * 1_000_000 // 8
    with tempfile.TemporaryDirectory(prefix="fedcart-") as folder:
        place = Path(folder)
        make_authority(place, "bench")
        make_server(place, ["127.0.0.1"])
        link, keys = Link(), [new_node_key() for _ in range(nodes)]
        for key in keys:
            link.add_member(public_pem(key))
        members = Members(dict.fromkeys(map(public_pem, keys)))
        context = server_context(place / SERVER, place / SERVER_KEY)
        listener = Listener(Guard(link.app, members, hold=link.wait_for_message), "127.0.0.1", 0, context)
        listener.start()
        spawn = multiprocessing.get_context("spawn")
        stop = spawn.Event()
        authority = (place / AUTHORITY).read_bytes()
        made = [
            spawn.Process(target=answer, args=(listener.port, authority, _pem(key), words, stop), daemon=True)
            for key in keys
        ]
        for process in made:
            process.start()
        grid = link.start_run()
        while len(list(grid.get_node_ids())) < nodes:
            time.sleep(0.1)
        before = memory_mb(os.getpid())["now"]
        state = State({"v": np.random.default_rng(0).random(2 * words, np.float32)})
        started, spent = time.monotonic(), time.process_time()
        content = write_instruction("0" * 64, 0, state)
        releases = tuple(Release(name=name, shape=(words // 2,)) for name in HALVES)
        outcome = exchange(grid, list(grid.get_node_ids()), content, releases, group="0.0", deadline_s=600)
        found = memory_mb(os.getpid())
        print("answered", len(outcome.answered), outcome.failures)
        print(f"{time.monotonic() - started:.1f} s, coordinator's processor {time.process_time() - spent:.1f} s")
        peak = found["peak"] - before
        print(f"coordinator: {before} MB before, peak {peak} MB more = {peak / megabytes:.1f} vectors; bar {4 + nodes}")
        stop.set()
        for process in made:
            process.join(20)
            process.kill()
        listener.stop()


def answer(port: int, authority: bytes, pem: bytes, words: int, stop: Any) -> None:
    """A node that sends a vector for each message."""
    from cryptography.hazmat.primitives import serialization

    from fedcart.client.uplink import StoreNode
    from fedcart.shared.flower_compat import ClientApp, Context, Message
    from fedcart.shared.flower_compat.fleet import FleetLink
    from fedcart.shared.wire import write_reply

    key: Any = serialization.load_pem_private_key(pem, None)
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        draw = np.random.default_rng(port)
        return Message(write_reply({name: draw.random(words // 2) for name in HALVES}), reply_to=message)

    node = StoreNode(lambda: FleetLink(f"127.0.0.1:{port}", authority, key), app, {}, hold_s=1)
    local = threading.Event()
    threading.Thread(target=lambda: (stop.wait(), local.set()), daemon=True).start()
    node.run(local)


def _pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["rounds", "vectors"])
    parser.add_argument("--mb", type=int, default=200)
    chosen = parser.parse_args()
    if chosen.what == "rounds":
        rounds()
    else:
        vectors(chosen.mb)
