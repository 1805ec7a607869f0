"""`fedcart data`: names, facts and tables on standard output, everything else on standard error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from fedcart.shared.errors import DataError
from fedcart.simulation.cli_data import data
from fedcart.simulation.datasets import NAMES, TableOptions, load
from fedcart.simulation.datasets.originals import ORIGINALS


def run(*arguments: str, data_dir: str | None = None) -> str:
    result = CliRunner(env={"FEDCART_DATA": data_dir}).invoke(data, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_list_says_which_sets_are_here(tmp_path: Path) -> None:
    for name in ("ml-1m", "ml-100k"):
        (tmp_path / name).mkdir()
    (tmp_path / "ml-1m" / "movies.dat").write_text("1::Toy Story (1995)::Comedy")
    (tmp_path / "ml-100k" / ".ml-100k.zip.part").write_text("half of it")
    rows = {row["name"]: row for row in json.loads(run("list", "--json", "--data-dir", str(tmp_path)))}
    assert set(rows) >= set(NAMES)
    assert [name for name, row in rows.items() if row["here"]] == ["marketplace", "ml-1m"]
    assert {name for name, row in rows.items() if row["fetch"]} == set(ORIGINALS)


@pytest.mark.parametrize("file", ["u.data", "u.data.gz", "ml-100k.zip"])
def test_ml_100k_is_here_in_each_form_that_its_reader_takes(tmp_path: Path, file: str) -> None:
    (tmp_path / "ml-100k").mkdir()
    (tmp_path / "ml-100k" / file).write_text("196\t242\t3\t881250949")
    rows = {row["name"]: row["here"] for row in json.loads(run("list", "--json", "--data-dir", str(tmp_path)))}
    assert rows["ml-100k"]


@pytest.mark.parametrize("name", NAMES)
def test_describe_prints_the_licence(name: str) -> None:
    facts = json.loads(run("describe", name, "--json"))
    assert facts["licence"] in run("describe", name)


def test_describe_refuses_an_unknown_name() -> None:
    with pytest.raises(DataError, match="no data set 'jdat'"):
        run("describe", "jdat")


def test_fetch_refuses_a_set_without_a_checked_address(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'online-retail' cannot be fetched: https://archive"):
        run("fetch", "online-retail", "--data-dir", str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_fetch_says_that_a_set_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(
        "fedcart.simulation.datasets.fetch.fetch", lambda one, folder, progress: bool(asked.append(one.file))
    )
    files = json.loads(run("fetch", "jdata", "--json", "--data-dir", str(tmp_path)))["files"]
    assert asked == ["buy.txt", "cart.txt", "collect.txt"]
    assert [row["downloaded"] for row in files] == [False, False, False]


def test_fetch_without_a_directory_says_how_to_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedcart.simulation.datasets.directory._beside_the_repository", lambda: None)
    with pytest.raises(DataError, match="no data directory is known") as caught:
        run("fetch", "ml-1m")
    assert "--data-dir" in str(caught.value.hint)


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_a_made_marketplace_reads_back_as_a_table(tmp_path: Path, file_format: str) -> None:
    pytest.importorskip("fedcart.simulation.datasets.marketplace")
    out = tmp_path / "market"
    make = ("make", "marketplace", "--size", "small", "--seed", "1", "--out", str(out), "--format", file_format)
    facts = json.loads(run(*make, "--json"))
    made = load("marketplace", size="small", seed=1)
    assert sorted(path.name for path in out.iterdir()) == [f"interactions.{file_format}", f"items.{file_format}"]
    assert (facts["customers"], facts["items"]) == (made.customers, len(made.catalogue))
    options = TableOptions(items=Path(facts["files"]["items"]), max_bad_rows=1.0)
    table = load(facts["files"]["interactions"], options=options)
    assert table.catalogue.ids == made.catalogue.ids
    assert table.reading.rows == len(made.interactions)
    assert set(table.reading.dropped) <= {"duplicate"}


def test_make_writes_a_row_a_page_view_when_asked(tmp_path: Path) -> None:
    make = ("make", "marketplace", "--size", "small", "--events", "full", "--out", str(tmp_path), "--json")
    assert json.loads(run(*make))["interactions"] == len(load("marketplace", size="small", events="full").interactions)
    table = pd.read_parquet(tmp_path / "interactions.parquet", columns=["behaviour", "value"])
    assert table.value[table.behaviour == "view"].eq(1).all()


def test_make_refuses_a_folder_it_cannot_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fedcart.simulation.datasets.export import export

    table = tmp_path / "t.csv"
    pd.DataFrame({"customer": [1], "item": [2]}).to_csv(table, index=False)
    with pytest.raises(DataError, match="cannot be written"):
        export(load(str(table)), table / "below a file", "csv")


def test_the_commands_load_without_heavy_packages() -> None:
    code = "import sys, fedcart.simulation.cli_data\n"
    code += "print([m for m in ('pandas', 'torch', 'flwr', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
