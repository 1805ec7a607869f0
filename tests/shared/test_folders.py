"""A folder comes whole or not at all; a new one is never put over another."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from fedcart.shared import folders
from fedcart.shared.errors import ConfigError, InputError
from fedcart.shared.folders import new_folder, placed


def filled(place: Path, text: str) -> None:
    (place / "file").write_text(text)


def test_a_new_folder_appears_when_it_is_full_and_with_its_parents(tmp_path: Path) -> None:
    place = tmp_path / "a" / "b"
    with new_folder(place, "hint") as part:
        filled(part, "new")
        assert not place.exists()
    assert (place / "file").read_text() == "new"
    assert place.stat().st_mode & 0o777 == 0o700
    assert os.listdir(place.parent) == ["b"]


@pytest.mark.parametrize("make", [lambda place: new_folder(place, "hint"), placed], ids=["new_folder", "placed"])
def test_what_fails_leaves_nothing(tmp_path: Path, make: object) -> None:
    def broken() -> None:
        with make(tmp_path / "a") as part:  # type: ignore[operator]
            filled(part, "half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert os.listdir(tmp_path) == []


def test_a_new_folder_is_never_put_over_another(tmp_path: Path) -> None:
    place = tmp_path / "a"
    place.mkdir()
    with new_folder(place, "hint") as part:  # an empty one may be there
        filled(part, "first")
    with pytest.raises(ConfigError, match="is not empty; nothing was made") as refused, new_folder(place, "the hint"):
        pytest.fail("the block was entered")
    assert refused.value.hint == "the hint"
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigError, match="is not empty"), new_folder(file, "hint"):
        pytest.fail("the block was entered")

    def overtaken() -> None:
        with new_folder(tmp_path / "b", "hint") as part:
            filled(part, "late")
            (tmp_path / "b").mkdir()
            filled(tmp_path / "b", "meanwhile")

    with pytest.raises(ConfigError, match="is not empty"):
        overtaken()
    assert (place / "file").read_text() == "first"
    assert (tmp_path / "b" / "file").read_text() == "meanwhile"
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "file"]


def test_placed_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with placed(tmp_path / "a") as part:
            filled(part, text)
    assert (tmp_path / "a" / "file").read_text() == "new"
    assert os.listdir(tmp_path) == ["a"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for make in (new_folder(tmp_path / "file" / "a", "hint"), placed(tmp_path / "none" / "a")):
        with pytest.raises(InputError, match="cannot create"), make:
            pytest.fail("the block was entered")


def test_a_disk_that_may_not_keep_a_new_folder_is_not_said_to_have_made_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        if path == tmp_path:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(folders, "sync_directory", refuse)
    with (
        pytest.raises(InputError, match="it was made, and"),
        new_folder(tmp_path / "a", "") as part,
    ):
        filled(part, "new")
    assert (tmp_path / "a" / "file").read_text() == "new"
    assert os.listdir(tmp_path) == ["a"]
