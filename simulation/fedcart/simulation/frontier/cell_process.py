"""A process of its own for one cell: `fedcart simulate` as typed, and an end when the frontier that began it ends.

A process a cell keeps a crash, a kill and the peak memory of one cell from all others.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

ORPHAN_SECONDS = 1.0
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""One thread each: cells share the cores, and two libraries' threads on one core make either slow."""


def start(config: Path, out: Path, log: Path) -> subprocess.Popen[bytes]:
    """Begin `fedcart simulate CONFIG --out OUT`; its standard error goes to `log`.

    It is a session of its own, so that Ctrl-C reaches the frontier, which passes it on once.
    """
    with log.open("wb") as errors:
        return subprocess.Popen(  # noqa: S603 - this interpreter and this module
            [sys.executable, "-m", __name__, str(os.getpid()), "simulate", str(config), "--out", str(out)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, **dict.fromkeys(THREADS, "1")},
            start_new_session=True,
        )


def end_with(parent: int) -> None:
    """Stop this process, as `kill -9` does, when `parent` is gone: its folder can be gone on with."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(ORPHAN_SECONDS)
        os._exit(137)

    threading.Thread(target=watch, daemon=True).start()


def main(arguments: list[str]) -> int:
    """Run the command `arguments[1:]` for the frontier of process `arguments[0]`; its exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored
    end_with(int(arguments[0]))
    sys.argv = ["fedcart", *arguments[1:]]
    from fedcart.shared.cli import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
