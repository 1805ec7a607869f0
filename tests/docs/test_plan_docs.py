"""docs/schema/plan.schema.json and docs/plan.md say what plan.json is: every field, and nothing it must not be."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from fedcart.server.plan_file import PlanFile, PrivacyFile
from fedcart.shared.canonical import canonical_bytes
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.cost_text import HEADINGS
from plan_kit import PLAN_TOML, Desk

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs/schema/plan.schema.json").read_text())
PAGE = (ROOT / "docs/plan.md").read_text()
PLANS = {
    "popularity": 'name = "popularity"',
    "gram": 'name = "gram"\nmax_items = 3',
    "als": 'name = "als"\nembedding_dim = 3\nsweeps = 2',
    "mf": 'name = "mf"\nlocal_steps = 0\nserver_optimizer = "adam"\nembedding_dim = 3\nround_count = 2',
}
TRUSTS = {
    "distributed": ("", ""),
    "local": ('"distributed"', '"local"'),
    "none": ('"distributed"\nepsilon = 4.0', '"none"'),
}

Json = dict[str, Any]


def made(home: Path, learner: str, trust: str) -> Json:
    toml = PLAN_TOML.replace('name = "gram"\nmax_items = 3', PLANS[learner]).replace(*TRUSTS[trust])
    desk = Desk.make(home, toml)
    code, _, err = desk.plan()
    assert code == 0, err
    found: Json = json.loads((desk.plans / "plan.json").read_bytes())
    return found


@pytest.fixture
def plan(tmp_path: Path) -> Json:
    return made(tmp_path, "gram", "distributed")


def test_the_schema_is_itself_valid() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("learner", PLANS)
@pytest.mark.parametrize("trust", TRUSTS)
def test_every_plan_keeps_the_schema(tmp_path: Path, learner: str, trust: str) -> None:
    found = made(tmp_path, learner, trust)
    assert found["trust"] == trust
    Draft202012Validator(SCHEMA).validate(found)


def test_a_plan_with_local_steps_keeps_the_schema(tmp_path: Path) -> None:
    toml = PLAN_TOML.replace('name = "gram"\nmax_items = 3', 'name = "mf"\nlocal_steps = 2\nround_count = 2')
    desk = Desk.make(tmp_path, toml.replace('"distributed"', '"local"'))
    code, out, err = desk.plan("--json")
    assert code == 0, err
    Draft202012Validator(SCHEMA).validate(json.loads((desk.plans / "plan.json").read_bytes()))
    first = json.loads(out)["cost"]["rounds"][0]["releases"]
    assert (first[0]["name"], first[0]["times"], first[0]["bytes"]) == ("gradient", 2, 0)
    assert first[0]["rho"] == pytest.approx(json.loads(out)["cost"]["rounds"][0]["rho"])
    assert all(row["rho"] is None and row["bytes"] > 0 for row in first[1:])


def _set(*path: Any, value: Any) -> Callable[[Json], None]:
    def change(node: Any) -> None:
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("surprise", value=1),
        _set("version", value=2),
        _set("catalogue_hash", value="none"),
        _set("participants", value=0),
        _set("attempts", value=0),
        _set("trust", value="none"),
        _set("privacy", value=None),
        _set("privacy", "epsilon", value=4.0),
        _set("privacy", "epsilon", value="4e0"),
        _set("privacy", "delta", value="-0.1"),
        _set("privacy", "overlap", value="shared"),
        _set("privacy", "bounds", "gram", "clip_norm", value="nan"),
        _set("hyper_parameters", "shrink", value=0.5),
        _set("rounds", 0, "releases", 0, "kind", value="trained?"),
        _set("rounds", 0, "releases", 0, "surprise", value=1),
        lambda plan: plan.pop("seed"),
        lambda plan: plan["rounds"][0]["releases"][0].pop("variance"),
    ],
)
def test_refuses(change: Callable[[Json], None], plan: Json) -> None:
    change(plan)
    with pytest.raises(ValidationError):
        Draft202012Validator(SCHEMA).validate(plan)


def test_every_field_is_in_the_page() -> None:
    fields = set(SCHEMA["properties"])
    for part in ("privacy", "round", "release"):
        fields |= set(SCHEMA["$defs"][part]["properties"])
    fields |= {*PlanFile.__dataclass_fields__, *PrivacyFile.__dataclass_fields__}
    fields |= {"plan_hash", "coordinator_key", "signature", "countersignatures"}
    assert {name for name in fields if f"`{name}`" not in PAGE} == set()


def test_the_table_in_the_page_is_what_its_example_prints(tmp_path: Path) -> None:
    """The page's PLAN.toml over any 2,000 items: the cost does not depend on what the items are."""
    toml = re.search(r"```toml\n(participants.*?)```", PAGE, re.DOTALL)
    assert toml is not None
    desk = Desk.make(tmp_path, toml[1])
    catalogue = Catalogue(tuple(f"item {i}" for i in range(2000)), "given")
    (desk.home / "catalogue.json").write_bytes(canonical_bytes(catalogue.document()))
    code, out, err = desk.plan(out=False)
    assert code == 0, err
    shown = [line for line in out.splitlines() if line and not line.startswith("plan ")]
    assert [line for line in shown if line not in PAGE.splitlines()] == []
    assert HEADINGS[-1] in shown[0]
