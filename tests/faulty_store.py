"""One store's process with one fault: `python tests/faulty_store.py DIR FLOW TIME WHAT`.

At the TIME-th question of a FLOW (keys, boxes, deliver, train, confirm, unmask) it dies by SIGKILL (kill), may write no
more bytes to any file (disk), or sends each reply from then on twice and every older one again (replay), or signs them
wrongly (forge). WHAT = clock+N or clock-N runs it whole N seconds off. Everything else is `fedcart store run`.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from flwr.supernode import node_auth_http_interceptor

from fedcart.client.masking import StoreMasks
from fedcart.shared.cli import run
from fedcart.shared.flower_compat.fleet import REPLY_DOMAIN, FleetLink, Refused
from fedcart.shared.identity import Identity


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fill_disk(directory: Path) -> None:
    """The ledger may grow by 100 bytes: less than a line."""
    [ledger] = (directory / "ledger").glob("*.jsonl")
    most = ledger.stat().st_size + 100
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def replay() -> None:
    true, sent = FleetLink.push, []

    def push(self: FleetLink, reply: Any) -> None:
        sent.append(reply)
        for again in [reply, *sent]:
            try:
                true(self, again)
            except Refused:
                if again is reply:
                    raise

    FleetLink.push = push  # type: ignore[method-assign]


def forge() -> Callable[[], None]:
    """Replies signed by nobody, from when what is returned was called."""
    true, armed = Identity.sign, []

    def sign(self: Identity, domain: str, *words: bytes) -> bytes:
        made = true(self, domain, *words)
        return bytes(64) if armed and domain == REPLY_DOMAIN else made

    Identity.sign = sign  # type: ignore[method-assign]
    return lambda: armed.append(True)


def at(flow: str, number: int, act: Callable[[], None]) -> None:
    """Act when the number-th question of a flow has come and nothing of it is done."""
    answer, train, seen = StoreMasks.answer, StoreMasks.train, []

    def count(asked: str) -> None:
        if asked == flow:
            seen.append(asked)
            if len(seen) == number:
                act()

    def answering(self: StoreMasks, asked: Any, raw: bytes) -> bytes:
        count(asked)
        return answer(self, asked, raw)

    def training(self: StoreMasks, *words: Any) -> Any:
        count("train")
        return train(self, *words)

    StoreMasks.answer, StoreMasks.train = answering, training  # type: ignore[method-assign]


def main(directory: str, flow: str, number: str, what: str) -> int:
    if what.startswith("clock"):
        true, off = time.time, int(what.removeprefix("clock"))
        time.time = lambda: true() + off
        signed = node_auth_http_interceptor.now
        node_auth_http_interceptor.now = lambda: signed() + timedelta(seconds=off)
    else:
        acts = {"kill": kill, "disk": lambda: fill_disk(Path(directory)), "replay": replay}
        at(flow, int(number), forge() if what == "forge" else acts[what])
    return run(["store", "run", "--dir", directory])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
