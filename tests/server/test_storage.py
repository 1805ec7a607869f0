"""Files are whole or absent, and what cannot be written is said in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fedcart.shared.agreement import CATALOGUE, PLAN, Agreement
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import ConfigError, DataError, InputError
from fedcart.shared.storage import load_arrays, replace_bytes, replace_file, save_arrays
from small_run import write_small_run


def test_a_failed_write_leaves_the_earlier_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_bytes(path, b"before")

    def fail(file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match=r"file: cannot write: No space left on device"):
        replace_file(path, fail)
    assert path.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file or directory"):
        replace_bytes(tmp_path / "nowhere" / "file", b"")


def test_arrays_come_back_with_name_shape_dtype_and_bits(tmp_path: Path) -> None:
    arrays = {"public/a": np.float32([[1.5, -0.0]]), "carried/b.c": np.array(3), "empty": np.zeros((0, 4))}
    save_arrays(tmp_path / "x.npz", arrays)
    found = load_arrays(tmp_path / "x.npz")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


def test_a_catalogue_comes_back_with_its_hash(tmp_path: Path) -> None:
    columns = {"title": np.array(["tea", "ö|x"], object), "price": np.array([1.1, np.nan])}
    catalogue = Catalogue(("b", "a"), "given", columns)
    catalogue.save(tmp_path / CATALOGUE)
    assert Catalogue.load(tmp_path / CATALOGUE).hash == catalogue.hash
    assert Catalogue.load(tmp_path / CATALOGUE).ids == ("b", "a")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"ids": 3, "columns": {}}', '{"ids": ["a"], "columns": {"price": ["x"]}}']
)
def test_what_is_no_catalogue_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / CATALOGUE).write_text(text)
    with pytest.raises(DataError, match="not a catalogue"):
        Catalogue.load(tmp_path / CATALOGUE)


def test_a_run_is_opened_once_and_again_when_its_plan_changes(tmp_path: Path) -> None:
    first = write_small_run(tmp_path)
    assert Agreement.open(tmp_path) is first
    assert write_small_run(tmp_path, seed=1).plan_hash != first.plan_hash


def test_a_plan_that_lists_other_rounds_than_its_learner_makes_is_refused(tmp_path: Path) -> None:
    write_small_run(tmp_path)
    plan = json.loads((tmp_path / PLAN).read_text())
    plan["rounds"][0]["releases"][0]["shape"] = [99]
    (tmp_path / PLAN).write_text(json.dumps(plan, sort_keys=True, separators=(",", ":")))
    with pytest.raises(ConfigError, match="says other rounds"):
        Agreement.open(tmp_path)


def test_a_run_without_a_plan_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"plan\.json: cannot read"):
        Agreement.open(tmp_path)
