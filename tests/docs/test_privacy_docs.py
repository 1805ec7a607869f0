"""threat-model.md, privacy.md and pitfalls.md name only what exists, and their numbers are those of the package."""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import io
import math
import re
import tomllib
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from fedcart.shared.policy import Approve, Coordination, DataRules, Limits, Require
from fedcart.shared.privacy.accounting import epsilon, overlap_rho
from fedcart.shared.privacy.cohort import Cohort
from fedcart.shared.privacy.conversion import gaussian_rho, zcdp_rho

ROOT = Path(__file__).parents[2]
PAGES = {name: (ROOT / "docs" / f"{name}.md").read_text() for name in ("threat-model", "privacy", "pitfalls")}
POLICY = {"trust": Coordination, "limits": Limits, "require": Require, "data": DataRules, "approve": Approve}
page = pytest.mark.parametrize("name", PAGES)


def code(text: str) -> list[str]:
    """What stands in backticks, outside blocks of code."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))


@functools.cache
def names_in(path: Path) -> frozenset[str]:
    return frozenset(node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef))


def resolve(dotted: str) -> Any:
    """The module or attribute of that name."""
    parts = dotted.split(".")
    for length in range(len(parts), 1, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise AttributeError(dotted)


def wrong_tests(text: str) -> list[str]:
    named = [found.split("::") for found in code(text) if found.startswith("tests/") and "::" in found]
    return [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).is_file() or name not in names_in(ROOT / path) or not name.startswith("test_")
    ]


def wrong_names(text: str) -> list[str]:
    wrong = []
    for dotted in (found for found in code(text) if re.fullmatch(r"fedcart(\.\w+)+", found)):
        try:
            resolve(dotted)
        except (AttributeError, ImportError):
            wrong.append(dotted)
    return wrong


def wrong_links(text: str) -> list[str]:
    return [link for link in re.findall(r"\]\(([^)#]+)\)", text) if not (ROOT / "docs" / link).exists()]


def wrong_policy_keys(text: str) -> list[str]:
    keys = [re.fullmatch(r"\[(\w+)\] (\w+)", found) for found in code(text)]
    return [
        found[0]
        for found in keys
        if found and (found[1] not in POLICY or found[2] not in {f.name for f in fields(POLICY[found[1]])})
    ]


def wrong_commands(text: str) -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    known = set(project["entry-points"]["fedcart.commands"])
    known |= {path.parent.name for path in (ROOT / "shared/fedcart/shared").glob("*/cli.py")}
    return [found for found in code(text) if found.startswith("fedcart ") and found.split()[1] not in known]


@page
def test_every_test_that_is_named_exists(name: str) -> None:
    assert wrong_tests(PAGES[name]) == []


@page
def test_every_module_function_and_constant_that_is_named_exists(name: str) -> None:
    assert wrong_names(PAGES[name]) == []


@page
def test_every_link_policy_key_and_command_exists(name: str) -> None:
    text = PAGES[name]
    assert (wrong_links(text), wrong_policy_keys(text), wrong_commands(text)) == ([], [], [])


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (wrong_tests, "`tests/client/test_gate.py::test_nobody_wrote_this`"),
        (wrong_tests, "`tests/client/test_gone.py::test_the_policy_is_asked_before_the_charge`"),
        (wrong_names, "`fedcart.shared.privacy.accounting.MOST_EPSILON`"),
        (wrong_names, "`fedcart.shared.gone`"),
        (wrong_links, "[gone](gone.md)"),
        (wrong_policy_keys, "`[limits] epsilom_total`"),
        (wrong_commands, "`fedcart refund`"),
    ],
)
def test_what_does_not_exist_is_found(check: Any, text: str) -> None:
    assert len(check(text)) == 1


def test_every_claim_in_the_tables_has_its_test_or_a_dash() -> None:
    rows = [line for line in PAGES["pitfalls"].splitlines() if line.startswith("|") and line.count("|") == 6]
    last = [row.split("|")[5].strip() for row in rows if not set(row) <= set("|- ")]
    assert len(last) > 30
    assert [cell for cell in last if cell not in ("test", "–") and not re.match(r"`tests/.*::test_", cell)] == []


def test_constants_have_the_values_of_the_table() -> None:
    rows = re.findall(r"^\| `(fedcart[\w.]+)` \| 2\^(\d+) \|", PAGES["privacy"], flags=re.M)
    assert len(rows) == 4
    assert [resolve(name) for name, _ in rows] == [2 ** int(power) for _, power in rows]


def test_the_worked_example_prints_what_the_page_shows() -> None:
    [program], [shown] = (
        re.findall(rf"```{kind}\n(.*?)```", PAGES["privacy"], flags=re.S) for kind in ("python", "text")
    )
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(program, "privacy.md", "exec"), {})
    assert printed.getvalue() == shown


def test_the_worked_examples_numbers_follow_from_the_formulas() -> None:
    """Not by the example's own calls: from the printed multiplier back to epsilon 4."""
    [shown] = re.findall(r"```text\n(.*?)```", PAGES["privacy"], flags=re.S)
    found = re.search(r"certain ([\d.]+), nobody drops ([\d.]+), one share ([\d.]+)", shown)
    assert found
    certain, everyone, share = map(float, found.groups())
    cohort = Cohort(participants=10, colluders=1, min_survivors=8)
    assert (cohort.threshold, cohort.honest) == ((10 + 1) // 2 + 1, 8 - 1)
    assert everyone == pytest.approx(certain * (10 / 7) ** 0.5, abs=1e-4)
    assert share == pytest.approx(certain / 7**0.5, abs=1e-4)
    assert epsilon_of(gaussian_rho(certain)) == pytest.approx(4.0, abs=1e-3)
    assert epsilon_of(gaussian_rho(1.157)) > 4.0


def test_the_overlap_of_epsilon_one_is_that_of_the_page() -> None:
    said = re.search(r"epsilon 1 is ([\d.]+), ([\d.]+), ([\d.]+) at 2, 3, 5 stores", PAGES["pitfalls"])
    assert said
    rho = Fraction(zcdp_rho(1.0, 1e-5))
    for stores, figure in zip((2, 3, 5), said.groups(), strict=True):
        assert float(figure) == pytest.approx(epsilon(overlap_rho(rho, stores, own_noise=False), 1e-5), abs=0.051)


def epsilon_of(rho: float) -> float:
    """The conversion written out, over orders of its own."""
    orders = [1 + math.exp(x / 100) for x in range(-500, 800)]
    return min(a * rho + math.log(1 / (a * 1e-5)) / (a - 1) + math.log(1 - 1 / a) for a in orders)
