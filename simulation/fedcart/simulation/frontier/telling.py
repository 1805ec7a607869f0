"""What a person sees on standard error while a frontier runs: a line a finished cell, and the time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TextIO

from fedcart.simulation.frontier.grid import Cell
from fedcart.simulation.progress import duration

QUIET_SECONDS = 30.0
"""Between lines about running cells where standard error is no terminal."""


class Telling:
    """Lines on `stream`; on a terminal the last one is rewritten once a second."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._done, self._total, self._shown, self._open = 0, 0, time.monotonic(), False

    def begin(self, total: int, done: int) -> None:
        """`done` of `total` cells were complete before."""
        self._total, self._done = total, done
        before = f", {done} of them complete already" if done else ""
        self.note(f"{total} cells{before}")

    def ended(self, cell: Cell, seconds: float, reason: str | None, left: float | None) -> None:
        """A line for the cell."""
        self._done += 1
        how = f"failed: {reason}" if reason else duration(seconds)
        rest = self._total - self._done
        self.note(f"[{self._done}/{self._total}] {cell.words}: {how}" + (f"; {told(left)}" if rest else ""))

    def running(self, cells: Sequence[Cell], left: float | None) -> None:
        """What is being run, now and then."""
        now = time.monotonic()
        if not cells or now - self._shown < (1.0 if self._live else QUIET_SECONDS):
            return
        self._shown = now
        line = f"[{self._done}/{self._total}] running {', '.join(cell.words for cell in cells)}; {told(left)}"
        self._write(f"\r\x1b[2K{line[:150]}" if self._live else f"{line}\n")
        self._open = self._live

    def note(self, text: str) -> None:
        """A line that stays."""
        self._write(("\r\x1b[2K" if self._open else "") + f"{text}\n")
        self._open, self._shown = False, time.monotonic()

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class Quiet:
    """Tells nothing."""

    def begin(self, total: int, done: int) -> None:
        """Nothing."""

    def ended(self, cell: Cell, seconds: float, reason: str | None, left: float | None) -> None:
        """Nothing."""

    def running(self, cells: Sequence[Cell], left: float | None) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


def told(left: float | None) -> str:
    """Seconds left, in words."""
    return "time left not known yet" if left is None else f"{duration(left)} left"
