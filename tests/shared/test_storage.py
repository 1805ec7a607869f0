"""Secrets in files: whole or absent, their owner's alone, never over another file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

import pytest

from fedcart.shared import storage
from fedcart.shared.errors import ConfigError, InputError
from fedcart.shared.storage import create_private, read_private, replace_file


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_a_secret_is_its_owners_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        create_private(tmp_path / "key", b"secret", "no key was made")
    finally:
        os.umask(before)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert read_private(tmp_path / "key", 100) == b"secret"


def test_another_file_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"earlier")
    with pytest.raises(ConfigError, match="exists; no key was made") as caught:
        create_private(tmp_path / "key", b"secret", "no key was made", "keep it")
    assert caught.value.hint == "keep it"
    assert (tmp_path / "key").read_bytes() == b"earlier"


@pytest.mark.parametrize("fails", ["fchmod", "fsync"])
def test_a_part_of_a_secret_is_never_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    def fail(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage.os, fails, fail)
    with pytest.raises(InputError, match="No space left"):
        create_private(tmp_path / "key", b"secret", "no key was made")
    assert not (tmp_path / "key").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_may_use_is_not_read(tmp_path: Path, mode: int) -> None:
    create_private(tmp_path / "key", b"secret", "no key was made")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(ConfigError, match=f"mode {mode:04o}"):
        read_private(tmp_path / "key", 100)


def test_a_private_file_has_mode_0600_before_a_byte_is_in_it(tmp_path: Path) -> None:
    seen = []

    def write(file: IO[bytes]) -> None:
        seen.append(os.fstat(file.fileno()).st_mode & 0o777)
        file.write(b"secret")

    (tmp_path / ".file.part").write_bytes(b"of a crash")
    (tmp_path / ".file.part").chmod(0o666)
    replace_file(tmp_path / "file", write, private=True)
    assert seen == [0o600]
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "file").read_bytes() == b"secret"
