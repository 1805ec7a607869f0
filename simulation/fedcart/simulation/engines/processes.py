"""Child processes that end with this one: stopped by id whatever happens, and by themselves when this one is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

STOP_S = 10.0
"""Seconds that a process has to stop when told to; then it is killed."""


class Children:
    """Processes of one run. Leave the block, and none of them is left."""

    def __init__(self) -> None:
        self.context: SpawnContext = multiprocessing.get_context("spawn")
        self.running: dict[str, SpawnProcess] = {}

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(list(self.running))

    def start(self, name: str, work: Callable[..., None], *arguments: Any) -> SpawnProcess:
        """Run `work(stop, *arguments)` in a new process; `stop` is an event that is set when it is to end."""
        process = self.context.Process(target=_child, args=(work, arguments), name=f"fedcart {name}", daemon=True)
        process.start()
        self.running[name] = process
        return process

    def stop(self, names: list[str]) -> None:
        """Tell these to stop, all at once, wait, and kill whatever is left."""
        processes = [self.running[name] for name in names]
        for process in processes:
            if process.is_alive():
                process.terminate()
        for process in processes:
            process.join(STOP_S)
            if process.is_alive():
                process.kill()
                process.join()
        for name in names:
            del self.running[name]


def _child(work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Set up the process: Ctrl-C is the parent's affair, SIGTERM says stop, and the parent's death ends it."""
    stop = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work(stop, *arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads of a server or a node that still hang must not hold the run


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(4)
