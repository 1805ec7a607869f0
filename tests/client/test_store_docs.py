"""docs/store.md says every command, option and key of a store, and its console block runs as it stands."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from fedcart.client import settings
from fedcart.client.cli import store
from fedcart.client.data import mapping
from fedcart.client.recommend import recommender

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/store.md").read_text(encoding="utf-8")
OURS = ("init", "check", "use", "models", "recommend", "evaluate", "status", "budget", "forget")
TABLES = (
    settings.DataSettings,
    settings.ItemSettings,
    settings.ConsentSettings,
    settings.RecommendSettings,
    settings.ServeSettings,
)


def block() -> list[str]:
    found = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    return [line.removeprefix("$ ") for part in found for line in part.splitlines()]


@pytest.mark.parametrize("name", OURS)
def test_every_command_and_option_is_documented(name: str) -> None:
    command = store.commands[name]
    assert f"store {name}" in PAGE
    options = {opt for x in command.params if isinstance(x, click.Option) for opt in x.opts}
    assert {opt for opt in options if opt not in PAGE} == set()


def test_every_key_is_documented() -> None:
    keys = {field.name for table in TABLES for field in dataclasses.fields(table)}
    assert {key for key in keys if not re.search(rf"`(\[\w+\] )?{key}`", PAGE)} == set()


def test_every_reason_and_source_is_documented() -> None:
    words = (mapping.NOT_IN_MAP, mapping.NO_GTIN, mapping.NOT_LISTED)
    words += (recommender.MODEL_SOURCE, recommender.MODEL_POPULARITY, recommender.STORE_POPULARITY)
    assert {word for word in words if f"`{word}`" not in PAGE} == set()


@pytest.mark.slow
def test_the_console_block_runs(tmp_path: Path) -> None:
    lines = block()
    assert len(lines) > 8
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for line in lines:
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
