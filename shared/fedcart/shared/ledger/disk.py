"""The few calls through which a ledger touches its files, so that a test can record, fail and replay each of them.

Whatever the ledger does to a file goes through one `Disk`; nothing here knows what a ledger is.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Disk:
    """The operating system's files."""

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        """A descriptor, closed on exec."""
        return os.open(path, flags | os.O_CLOEXEC, mode)

    def lock(self, descriptor: int) -> None:
        """Exclusive, for the life of the open file, at once or not at all (BlockingIOError).

        `flock`, not `lockf`: it also tells two objects of one process apart, and closing another descriptor of the
        file does not drop it.
        """
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        """Up to `size` bytes at `offset`."""
        return os.pread(descriptor, size, offset)

    def size(self, descriptor: int) -> int:
        """Bytes in the file."""
        return os.fstat(descriptor).st_size

    def version(self, descriptor: int) -> tuple[int, ...]:
        """Changes when the file is written, replaced or touched in any way."""
        found = os.fstat(descriptor)
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def is_at(self, descriptor: int, path: Path) -> bool:
        """Whether `path` still names this very file."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(path))
        except FileNotFoundError:
            return False

    def write(self, descriptor: int, data: bytes, offset: int) -> int:
        """Bytes written at `offset`; may be fewer than given."""
        return os.pwrite(descriptor, data, offset)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut the file."""
        os.ftruncate(descriptor, size)

    def fsync(self, descriptor: int) -> None:
        """Wait until the file, or the names in a directory, are on the medium."""
        os.fsync(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, in place of what had it."""
        os.replace(old, new)

    def close(self, descriptor: int) -> None:
        """Give the descriptor back; a lock ends with it."""
        os.close(descriptor)


def read_all(disk: Disk, descriptor: int) -> bytes:
    """The whole file."""
    parts, at = [], 0
    while part := disk.read(descriptor, 1 << 24, at):
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def write_all(disk: Disk, descriptor: int, data: bytes, offset: int) -> None:
    """All of `data` at `offset`, or OSError with a part of it written."""
    while data:
        written = disk.write(descriptor, data, offset)
        if written <= 0:
            raise OSError(5, "a write made no progress")
        data, offset = data[written:], offset + written


def sync_directory(disk: Disk, directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = disk.open(directory, os.O_RDONLY)
    try:
        disk.fsync(descriptor)
    finally:
        disk.close(descriptor)


def put(disk: Disk, path: Path, data: bytes) -> None:
    """Write a whole file durably under its final name; a crash leaves it whole or absent."""
    part = path.with_name(f"{path.name}.part")
    descriptor = disk.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        write_all(disk, descriptor, data, 0)
        disk.fsync(descriptor)
    finally:
        disk.close(descriptor)
    disk.rename(part, path)
    sync_directory(disk, path.parent)
