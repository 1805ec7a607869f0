"""What a person sees on standard error while a simulation runs: the stage, how far, and the time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

QUIET_SECONDS = 5.0


class Progress(Protocol):
    """Told of stages and of steps within them."""

    def stage(self, name: str, number: int, stages: int) -> None:
        """A stage begins."""
        ...

    def step(self, done: int, total: int, note: str = "") -> None:
        """The stage is at `done` of `total`."""
        ...

    def note(self, text: str) -> None:
        """Something to know that is no stage."""
        ...


class Silent:
    """Shows nothing."""

    def stage(self, name: str, number: int, stages: int) -> None:
        """Nothing."""

    def step(self, done: int, total: int, note: str = "") -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


class Lines:
    """A line a stage; on a terminal one line that is rewritten, elsewhere at most one every few seconds."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._name, self._begun, self._shown, self._open = "", 0.0, 0.0, False

    def stage(self, name: str, number: int, stages: int) -> None:
        """Print the stage's line."""
        self.close()
        self._name = f"[{number}/{stages}] {name}"
        self._begun = self._shown = time.monotonic()
        self._write(self._name)

    def step(self, done: int, total: int, note: str = "") -> None:
        """Show how far the stage is and how long it still takes at this speed."""
        now = time.monotonic()
        if now - self._shown < (0.1 if self._live else QUIET_SECONDS) or done <= 0:
            return
        self._shown = now
        left = (now - self._begun) * (total - done) / done
        self._write(f"{self._name}: {done}/{total}{' ' + note if note else ''}, {duration(left)} left")

    def note(self, text: str) -> None:
        """Print the text on a line of its own."""
        self.close()
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def close(self) -> None:
        """End the line of the stage."""
        if self._open:
            self._write(f"{self._name}: {duration(time.monotonic() - self._begun)}")
            if self._live:
                self._stream.write("\n")
            self._open = False

    def _write(self, text: str) -> None:
        self._stream.write(f"\r\x1b[2K{text}" if self._live else f"{text}\n")
        self._stream.flush()
        self._open = True


def duration(seconds: float) -> str:
    """Seconds as people say them: 7 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@contextmanager
def shown(progress: Progress) -> Iterator[Progress]:
    """Close the last line whatever happens."""
    try:
        yield progress
    finally:
        if isinstance(progress, Lines):
            progress.close()
