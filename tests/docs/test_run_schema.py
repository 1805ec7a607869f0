"""docs/schema/run.schema.json says what run.json is, and refuses what it must not be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

ROOT = Path(__file__).parents[2]
FIXTURES = sorted((ROOT / "tests/simulation/fixtures").glob("run*.json"))
SCHEMA = json.loads((ROOT / "docs/schema/run.schema.json").read_text())

Json = dict[str, Any]


@pytest.fixture
def run() -> Json:
    found: Json = json.loads((ROOT / "tests/simulation/fixtures/run.json").read_text())
    return found


def test_the_schema_is_itself_valid() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_every_fixture_keeps_the_schema(path: Path) -> None:
    Draft202012Validator(SCHEMA).validate(json.loads(path.read_text()))


def test_there_are_fixtures_for_each_status_and_for_no_privacy() -> None:
    runs = [json.loads(path.read_text()) for path in FIXTURES]
    assert {run["status"] for run in runs} >= {"complete", "interrupted"}
    assert {run["privacy"]["trust"] for run in runs} >= {"distributed", "none"}


def test_every_object_is_closed() -> None:
    def open_objects(node: Any, where: str) -> list[str]:
        if isinstance(node, list):
            return [x for i, inner in enumerate(node) for x in open_objects(inner, f"{where}[{i}]")]
        if not isinstance(node, dict):
            return []
        found = [where] if "properties" in node and "type" in node and "additionalProperties" not in node else []
        return found + [x for key, inner in node.items() for x in open_objects(inner, f"{where}.{key}")]

    assert open_objects(SCHEMA, "$") == []


def _set(*path: Any, value: Any) -> Callable[[Json], None]:
    def change(run: Json) -> None:
        node: Any = run
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("metrics", "federated", "full", "ndcg@10", value=1.2),
        _set("metrics", "federated", "full", "ndcg@20", value=0.1),
        _set("metrics", "federated", "ci95", "ndcg@10", value=[0.1]),
        _set("metrics", "paired", 0, "method", value="centralized.nobody"),
        _set("metrics", "centralized", "nobody", value=None),
        _set("privacy", "epsilon", value=None),
        _set("privacy", "trust", value="none"),
        _set("privacy", "delta", value=None),
        _set("privacy", "relation", value="replace_one"),
        _set("status", value="interrupted"),
        _set("plan_hash", value="none"),
        _set("data", "catalogue", value="guessed"),
        _set("schema", value=2),
        _set("surprise", value=1),
        lambda run: run.pop("rehearsal"),
        lambda run: run["metrics"].pop("memoriser"),
        lambda run: run["privacy"].pop("uncovered"),
    ],
)
def test_refuses(change: Callable[[Json], None], run: Json) -> None:
    change(run)
    with pytest.raises(ValidationError):
        Draft202012Validator(SCHEMA).validate(run)
