"""`from fedcart.simulation import frontier` is the function, also once a module of the package has been loaded."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from fedcart.shared.errors import ConfigError
from fedcart.simulation.cli_frontier import frontier as command
from fedcart.simulation.frontier.experiment import packaged, read
from fedcart.simulation.frontier.grid import Grid

ROOT = Path(__file__).resolve().parents[3]
CODE = """
{first}
from fedcart.simulation import frontier
try:
    frontier(out="{out}", learners=("alz",))
except Exception as error:
    print(type(error).__name__, error.message)
"""


@pytest.mark.parametrize("first", ["", "import fedcart.simulation.frontier.grid"])
def test_frontier_can_be_called(first: str, tmp_path: Path) -> None:
    code = CODE.format(first=first, out=tmp_path / "out")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "ConfigError [grid] learners: unknown 'alz'"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("path", packaged(), ids=lambda path: path.stem)
def test_every_experiment_reads(path: Path) -> None:
    experiment = read(path, {}, {})
    assert experiment.title
    assert experiment.cells()


def test_an_experiment_is_found_by_its_name_and_options_go_on_top() -> None:
    assert packaged()
    experiment = read(Path("ncf-split"), {"stores.count": 5}, {"seeds": [7]})
    assert experiment.base.stores.count == 5
    assert {cell.seed for cell in experiment.cells()} == {7}
    with pytest.raises(ConfigError, match="no such file"):
        read(Path("ncf-spilt.toml"), {}, {})


def test_the_page_of_the_manual_names_every_option_key_file_and_experiment(made: Any) -> None:
    text = (ROOT / "docs/frontier.md").read_text()
    options = {name for option in command.params for name in option.opts if name.startswith("--")}
    keys = {f.name for f in fields(Grid)}
    files = {path.name for path in made.directory.iterdir() if path.is_file() and not path.name.startswith(".")}
    names = {path.stem for path in packaged()}
    missing = [word for word in sorted(options | files | names) if f"`{word}" not in text]
    assert missing == []
    assert [key for key in sorted(keys) if f"\n{key} = " not in text] == []
