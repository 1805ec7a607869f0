"""Cells over cores: at most `jobs` at once, a failed one beside the others, Ctrl-C passed on, time left told."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fedcart.simulation.frontier.grid import Cell

POLL_SECONDS = 0.1
PATIENCE_SECONDS = 60.0
"""How long interrupted cells may take to write down where they are."""


class Process(Protocol):
    """What a schedule needs of `subprocess.Popen`."""

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        ...

    def send_signal(self, sig: int) -> None:
        """Pass a signal on."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        ...


class Listener(Protocol):
    """Told of every cell."""

    def ended(self, cell: Cell, seconds: float, reason: str | None, left: float | None) -> None:
        """A cell is complete, or failed for `reason`; `left`: seconds until all are done, None = not known yet."""
        ...

    def running(self, cells: Sequence[Cell], left: float | None) -> None:
        """These are being run; called often."""
        ...


@dataclass
class Pace:
    """How long cells take, from those that are done: of the same learner where there are any."""

    seen: dict[str | None, list[float]] = field(default_factory=dict)

    def add(self, cell: Cell, seconds: float) -> None:
        """A complete cell."""
        self.seen.setdefault(cell.learner, []).append(seconds)

    def of(self, cell: Cell) -> float | None:
        """Seconds that a cell takes; None before any is done."""
        others = [x for name, values in self.seen.items() for x in values if name is not None]
        known = self.seen.get(cell.learner) or others or self.seen.get(None)
        return sum(known) / len(known) if known else None

    def left(self, waiting: Sequence[Cell], running: Sequence[tuple[Cell, float]], jobs: int) -> float | None:
        """Seconds until all are done; `running` with the seconds each has taken. None: nothing like it is done yet, or
        the last ones take longer than such cells did."""
        each = [self.of(cell) for cell in waiting] + [self.of(cell) for cell, _ in running]
        if not self.seen or any(x is None for x in each):
            return None
        spent = [min(taken, self.of(cell) or 0.0) for cell, taken in running]
        rest = math.fsum(x or 0.0 for x in each) - math.fsum(spent)
        return rest / max(1, min(jobs, len(each))) if rest > 0 else None


def run_all(
    waiting: Sequence[Cell],
    jobs: int,
    start: Callable[[Cell], Process],
    reason: Callable[[Cell, int], str | None],
    listener: Listener,
    pace: Pace,
) -> dict[str, tuple[int, str]]:
    """Run the cells; the names of those that failed, with exit code and reason.

    Args:
      start: begins a cell's process.
      reason: why a cell whose process ended with this code is not complete; None = it is.

    Raises:
      KeyboardInterrupt: after every running cell has written down where it is.
    """
    todo, failed = list(waiting), {}
    running: dict[str, tuple[Cell, Process, float]] = {}
    try:
        while todo or running:
            while todo and len(running) < jobs:
                cell = todo.pop(0)
                running[cell.name] = (cell, start(cell), time.monotonic())
            time.sleep(POLL_SECONDS)
            now = time.monotonic()
            for cell, process, begun in list(running.values()):
                code = process.poll()
                if code is None:
                    continue
                del running[cell.name]
                why = reason(cell, code)
                if why is None:
                    pace.add(cell, now - begun)
                else:
                    failed[cell.name] = (code, why)
                left = pace.left(todo, [(c, now - t) for c, _, t in running.values()], jobs)
                listener.ended(cell, now - begun, why, left)
            busy = [(c, now - t) for c, _, t in running.values()]
            listener.running([c for c, _ in busy], pace.left(todo, busy, jobs))
    except BaseException:
        stop([process for _, process, _ in running.values()])
        raise
    return failed


def stop(processes: Sequence[Process]) -> None:
    """Interrupt all, let them write, and end those that do not; a second Ctrl-C ends them at once."""
    try:
        for process in processes:
            process.send_signal(signal.SIGINT)
        until = time.monotonic() + PATIENCE_SECONDS
        for process in processes:
            with suppress(Exception):
                process.wait(max(0.1, until - time.monotonic()))
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def why_failed(code: int, log: Path) -> str:
    """The reason in one line: the command's own error, else a traceback's last line, else the signal."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    own = [line.removeprefix("fedcart: error: ") for line in lines if line.startswith("fedcart: error: ")]
    if own:
        return own[-1]
    if code < 0:
        with suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
    if any(line.startswith("Traceback ") for line in lines):
        return lines[-1]
    return f"ended with exit code {code}"
