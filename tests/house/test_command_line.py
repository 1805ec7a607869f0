"""The front door: help is quick and loads nothing heavy, its lines are the commands' own, exit codes are documented."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from fedcart.shared import errors
from fedcart.shared.cli import GROUP, SUMMARIES, run
from fedcart.shared.errors import FedcartError

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "opacus", "flwr", "pandas", "pyarrow", "matplotlib", "ray", "sqlalchemy")
POINTS = {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}
HELP_SECONDS = 0.2

LOADED = """
import sys
from fedcart.shared.cli import run
code = run(sys.argv[1:])
print("loaded:", *sorted(set(sys.modules) & set({heavy!r})), file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in POINTS)], ids=" ".join)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = LOADED.format(heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert done.stderr.splitlines()[-1] == "loaded:"


def test_help_answers_at_once() -> None:
    """Processor seconds of the best of five: on a busy machine the clock on the wall measures the others."""
    spent = []
    for _ in range(5):
        before = os.times()
        subprocess.run([sys.executable, "-m", "fedcart.shared", "--help"], capture_output=True, check=True)
        after = os.times()
        spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(spent) <= HELP_SECONDS


def test_every_installed_command_of_ours_has_its_line_in_the_help() -> None:
    ours = {name for name, point in POINTS.items() if point.value.startswith("fedcart.")}
    assert set(SUMMARIES) == ours
    assert ours


@pytest.mark.parametrize("name", sorted(SUMMARIES))
def test_the_line_in_the_help_is_the_commands_own(name: str) -> None:
    command = POINTS[name].load()
    assert isinstance(command, click.Command)
    assert (command.help or "").splitlines()[0] == SUMMARIES[name]


def commands() -> list[str]:
    """All commands and sub-commands, as typed."""
    found = []
    for name in sorted(SUMMARIES):
        command = POINTS[name].load()
        found += [name] + [f"{name} {inner}" for inner in getattr(command, "commands", {})]
    return found


@pytest.mark.parametrize("words", commands())
def test_every_commands_help_has_an_example_of_it(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*words.split(), "--help"]) == 0
    assert re.search(rf"Examples?:\s+fedcart {words}\b", capsys.readouterr().out)


def test_an_unknown_command_is_bad_usage_with_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulat"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("fedcart: error: no command 'simulat'. Did you mean 'simulate'?")


def test_no_command_is_bad_usage_and_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Commands:" in captured.err


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (errors.DataError("no rows", "give some"), 2, ["fedcart: error: no rows", "fedcart: hint: give some"]),
        (errors.PrivacyRefused("too much"), 3, ["fedcart: error: too much"]),
        (errors.RoundFailed("2 of 5 stores"), 4, ["fedcart: error: 2 of 5 stores"]),
        (errors.FedcartError("broken"), 1, ["fedcart: error: broken"]),
        (KeyboardInterrupt(), 130, ["fedcart: error: interrupted"]),
        (click.UsageError("no such option"), 2, ["fedcart: error: no such option"]),
        (click.FileError("x", "gone"), 2, ["fedcart: error: Could not open file 'x': gone"]),
    ],
)
def test_an_error_is_its_line_its_hint_and_its_exit_code(
    error: BaseException,
    code: int,
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from fedcart.shared import cli

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(cli.root, "main", fail)
    assert run(["anything"]) == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err.splitlines()) == ("", lines)


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    from fedcart.shared import cli

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli.root, "main", fail)
    with pytest.raises(ZeroDivisionError):
        run(["anything"])


def branches(kind: type[FedcartError] = FedcartError) -> list[type[FedcartError]]:
    return [kind] + [x for child in kind.__subclasses__() for x in branches(child)]


def test_every_exit_code_is_documented_with_its_errors() -> None:
    text = (ROOT / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    rows = {int(code): line for line in text.splitlines() for code in re.findall(r"^\| (\d+) \|", line)}
    assert set(rows) == {0, 130} | {kind.exit_code for kind in branches()}
    for kind in branches():
        if kind.__module__ == errors.__name__:
            assert f"`{kind.__name__}`" in rows[kind.exit_code]
