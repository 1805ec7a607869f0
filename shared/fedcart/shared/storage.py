"""Files that are either whole or absent: temporary file, fsync, rename, fsync of the directory.

A crash at any moment leaves the earlier file or the new one, never a part. Arrays travel as npz without pickle.
"""

from __future__ import annotations

import fcntl
import os
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from fedcart.shared.errors import ConfigError, FedcartError, InputError

Array = npt.NDArray[Any]
FileVersion = tuple[int, int, int]


@contextmanager
def named_failures(path: Path, what: str) -> Iterator[None]:
    """Turn an operating system's refusal (no space, no permission, no such folder) into one line.

    Raises:
      InputError: naming the path and the system's reason.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path}: cannot {what}: {reason}") from error


@contextmanager
def held_alone(path: Path, refusal: FedcartError) -> Iterator[None]:
    """Hold a lock file (made where it is missing, mode 0600); the system lets go of it with the process.

    Raises:
      InputError: it cannot be opened.
      FedcartError: `refusal`, where another process or object holds it.
    """
    with named_failures(path, "open"):
        held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise refusal from None
        yield
    finally:
        os.close(held)


def file_version(path: str) -> FileVersion:
    """Inode, size and time of a file: changes when `replace_file` changes it. A key for what is read once."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror}") from error
    return found.st_ino, found.st_size, found.st_mtime_ns


def replace_file(path: Path, write: Callable[[IO[bytes]], None], *, private: bool = False) -> None:
    """Let `write` fill a temporary file, then put it durably in the place of `path`. One writer at a time.

    With `private` only its owner may use it, before a byte is in it.
    """
    temporary = path.with_name(f".{path.name}.part")  # one name: what a crash leaves is overwritten
    with named_failures(path, "write"):
        try:
            with temporary.open("wb") as file:
                if private:
                    os.fchmod(file.fileno(), 0o600)
                write(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(path.parent)


def replace_bytes(path: Path, data: bytes, *, private: bool = False) -> None:
    """Put `data` durably in the place of `path`; `private`: mode 0600."""
    replace_file(path, lambda file: _write_all(file, data), private=private)


def create_private(path: Path, data: bytes, undone: str, hint: str | None = None) -> None:
    """Write a secret into a new file of mode 0600, durably: whole or not at all, and never over another file.

    Args:
      undone: what did not happen where `path` exists, for its message.

    Raises:
      ConfigError: `path` exists.
      InputError: it cannot be written.
    """
    with named_failures(path, "create"):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise ConfigError(f"{path} exists; {undone}", hint) from None
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), 0o600)  # whatever the umask says
                _write_all(file, data)
                file.flush()
                os.fsync(file.fileno())
            sync_directory(path.parent)
        except OSError:
            path.unlink(missing_ok=True)
            raise


def read_private(path: Path, most: int) -> bytes:
    """At most `most` bytes of a key's file that only its owner may use.

    Raises:
      ConfigError: others may read or write it.
      InputError: it cannot be read.
    """
    with named_failures(path, "read"), path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise ConfigError(f"{path} has mode {mode:04o}, which others may use; the key was not used", "chmod 600 it")
        return file.read(most)


def append_line(path: Path, text: str) -> None:
    """Add one line to the end of `path` and wait until it is on disk."""
    with named_failures(path, "append"), path.open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")
        file.flush()
        os.fsync(file.fileno())


def save_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write named arrays as npz, durably; names may contain '/'."""
    held: dict[str, Any] = dict(arrays)
    replace_file(path, lambda file: np.savez(file, **held))


def load_arrays(path: Path) -> dict[str, Array]:
    """Read what `save_arrays` wrote. Raises InputError when the file is damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a readable array file ({type(error).__name__})") from error


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_all(file: IO[bytes], data: bytes) -> None:
    file.write(data)
