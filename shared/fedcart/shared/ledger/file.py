"""The file under a ledger: one writer, whole lines, and a stop as soon as anything about it is uncertain.

Knows bytes and the medium, not what a line means. After an error nothing more is written through the same object.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NoReturn

from fedcart.shared.errors import ConfigError, InputError, PrivacyRefused
from fedcart.shared.ledger import torn
from fedcart.shared.ledger.disk import Disk, put, read_all, sync_directory, write_all

UNFINISHED = "an earlier write did not end"


class LedgerFile:
    """An open file, locked for the life of the object, in the process that opened it."""

    def __init__(self, path: Path, disk: Disk) -> None:
        """Use `create` or `open`."""
        self.path = path
        self._disk, self._process = disk, os.getpid()
        self._descriptor, self._end = -1, 0
        self._stopped: str | None = "it is not open"

    @classmethod
    def create(cls, path: Path, disk: Disk) -> LedgerFile:
        """A new, empty, locked file.

        Raises:
          ConfigError: `path` exists.
          InputError: it cannot be made.
          PrivacyRefused: a ledger of this name stopped for good.
        """
        self = cls(path, disk)
        self._refuse_marker()
        try:
            self._descriptor = disk.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            raise ConfigError(f"{path} exists; no ledger was made", "open it: a store has one ledger") from None
        except OSError as error:
            raise InputError(f"{path}: cannot create a ledger: {error.strerror}") from error
        self._lock()
        self._stopped = None
        return self

    @classmethod
    def open(cls, path: Path, disk: Disk) -> LedgerFile:
        """An existing file, locked; `settle` it before anything is written.

        Raises:
          InputError: it cannot be opened.
          PrivacyRefused: it is in use, or stopped for good.
        """
        self = cls(path, disk)
        try:
            self._descriptor = disk.open(path, os.O_RDWR)
        except OSError as error:
            raise InputError(f"{path}: cannot open the ledger: {error.strerror}; nothing was released") from error
        self._lock()
        try:
            self._refuse_marker()
        except BaseException:
            self.close()
            raise
        return self

    def read(self) -> bytes:
        """All of it."""
        return read_all(self._disk, self._descriptor)

    def settle(self, last: bytes, end: int) -> None:
        """Write the last whole line, which ends at `end`, once more, then fsync file and name.

        After a failed fsync the page cache holds what the medium lacks and calls it clean. The lines before the last
        were synced before it was written.
        """
        write_all(self._disk, self._descriptor, last, end - len(last))
        self.sync_name()
        self._disk.fsync(self._descriptor)
        self._end, self._stopped = end, None

    def trust(self, end: int) -> None:
        """In place of `settle`: this process itself had the last line, which ends at `end`, fsynced, and nobody has
        touched the file since."""
        self._end, self._stopped = end, None

    def on(self, disk: Disk) -> bool:
        """Whether its calls go through this very object."""
        return self._disk is disk

    @property
    def version(self) -> tuple[int, ...]:
        """Of the open file."""
        return self._disk.version(self._descriptor)

    @property
    def usable(self) -> bool:
        """Whether nothing is uncertain about it, in the process that opened it."""
        return self._stopped is None and os.getpid() == self._process

    def cut(self, seq: int, tail: bytes) -> None:
        """Put a torn tail aside, then take it off."""
        torn.keep(self._disk, self.path, seq, tail)
        self._disk.truncate(self._descriptor, self._end)
        self._disk.fsync(self._descriptor)

    def sync_name(self) -> None:
        """Make the file's name durable."""
        sync_directory(self._disk, self.path.parent)

    def begin(self) -> None:
        """From here until `append` is through, or `withdraw`, the file counts as stopped, whatever is raised. After
        `refuse_unusable`."""
        self._stopped = UNFINISHED

    def withdraw(self) -> None:
        """Nothing was changed after `begin`."""
        self._stopped = None

    def append(self, data: bytes, what: str) -> None:
        """Write and fsync a line.

        Raises:
          PrivacyRefused: it is not certain that the line is on the medium.
        """
        try:
            write_all(self._disk, self._descriptor, data, self._end)
        except OSError as error:
            raise PrivacyRefused(
                f"{self.path}: cannot write a {what} line: {error.strerror}; nothing was released",
                "free space, then open the ledger again: what was half written is charged",
            ) from error
        try:
            self._disk.fsync(self._descriptor)
        except OSError as error:
            self.stop(f"an fsync failed ({error.strerror}), so its last line may not be on the medium")
        self._end += len(data)
        self._stopped = None

    def stop(self, reason: str) -> NoReturn:
        """Stop for good: this object, and by a file beside the ledger every later one."""
        self._stopped = reason
        with contextlib.suppress(OSError):  # without a marker, `settle` still rewrites the last line first
            put(self._disk, self._marker, f"{reason}\n".encode())
        raise self._refusal(reason)

    def close(self) -> None:
        """Give the lock back."""
        self._stopped = self._stopped or "it is closed"
        if self._descriptor >= 0:
            self._disk.close(self._descriptor)
            self._descriptor = -1

    def discard(self) -> None:
        """Take a new file away again, unless a line was finished: without one nothing can have been charged."""
        self.close()
        if self._end == 0:
            self.path.unlink(missing_ok=True)

    def refuse_unusable(self) -> None:
        """Raise PrivacyRefused when stopped, closed, carried over a fork, or changed by somebody else."""
        if os.getpid() != self._process:
            raise PrivacyRefused("a ledger was carried over a fork; nothing was released", "open it in one process")
        if self._stopped is not None:
            raise self._refusal(self._stopped)
        if not self._disk.is_at(self._descriptor, self.path) or self._disk.size(self._descriptor) != self._end:
            self._stopped = "its file was changed, moved or replaced while it was open"
            raise self._refusal(self._stopped)

    def _lock(self) -> None:
        try:
            self._disk.lock(self._descriptor)
        except OSError as error:
            self.close()
            why = "is in use by another process or object" if isinstance(error, BlockingIOError) else "cannot be locked"
            raise PrivacyRefused(
                f"{self.path} {why}; nothing was released", "one store runs once: end the other run first"
            ) from None

    @property
    def _marker(self) -> Path:
        return self.path.with_name(f"{self.path.name}.stopped")

    def _refuse_marker(self) -> None:
        if self._marker.exists():
            raise self._refusal(self._marker.read_text(errors="replace").strip()[:500])

    def _refusal(self, reason: str) -> PrivacyRefused:
        return PrivacyRefused(
            f"{self.path} stopped: {reason}; nothing was released", "see docs/ledger.md, After a stop"
        )
