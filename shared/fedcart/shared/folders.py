"""Folders that are either whole or absent: filled beside their place under another name, then put there by a rename.

A crash of `new_folder` at any moment leaves what was there before, and at most a hidden folder `.NAME.*.part` to be
deleted. `placed` needs two renames: a crash between them leaves the old folder as `.NAME.old`, and the next `placed`
puts it back before it begins.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedcart.shared.errors import ConfigError, InputError
from fedcart.shared.storage import named_failures, sync_directory


@contextmanager
def new_folder(directory: Path, hint: str) -> Iterator[Path]:
    """An empty folder (mode 0700) that is `directory` once the block has ended well, else gone; its parents are made.

    Args:
      hint: of the refusal.

    Raises:
      ConfigError: `directory` holds something, now or when the block ends. Nothing was made.
      InputError: it cannot be made; or it was, and its parent's disk refused to keep its name: the message says which.
    """
    refused = ConfigError(f"{directory} is not empty; nothing was made", hint)
    with named_failures(directory, "create"):
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise refused
        directory.parent.mkdir(parents=True, exist_ok=True)
    with _part(directory) as part:
        yield part
        try:
            sync_directory(part)
            os.rename(part, directory)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise refused from None
            raise InputError(f"{directory}: cannot create: {error.strerror}; nothing was made") from error
        with named_failures(directory, "be sure of: it was made, and a loss of power may undo that"):
            sync_directory(directory.parent)


@contextmanager
def placed(directory: Path) -> Iterator[Path]:
    """An empty folder (mode 0700) that takes the place of `directory` once the block has ended well, else goes.

    Raises:
      InputError: it cannot be made or put there.
    """
    old = directory.with_name(f".{directory.name}.old")
    with named_failures(directory, "write"):
        if old.exists() and not directory.exists():
            os.rename(old, directory)
    with _part(directory) as part:
        yield part
        with named_failures(directory, "write"):
            shutil.rmtree(old, ignore_errors=True)
            if directory.exists():
                os.rename(directory, old)
            try:
                os.rename(part, directory)
            except OSError:
                if old.exists():
                    os.rename(old, directory)
                raise
            sync_directory(directory.parent)
            shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _part(directory: Path) -> Iterator[Path]:
    """A folder beside `directory` that is gone after the block, unless it was renamed."""
    with named_failures(directory, "create"):
        part = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", suffix=".part", dir=directory.parent))
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)
