"""What store commands print under --json keeps docs/schema/store.schema.json, and the schema can refuse."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from fedcart.client.data.view import open_view
from fedcart.client.recommend.models import current_name
from plan_kit import command
from store_kit import Shop, make_model

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schema/store.schema.json").read_text())
LINES: dict[str, tuple[Any, ...]] = {
    "recommend": ("a", "--because"),
    "evaluate": (),
    "models": (),
    "use": ("{model}",),
    "status": (),
    "budget": (),
    "forget": ("b", "--yes"),
}


def validate(name: str, document: Any) -> None:
    Draft202012Validator({**SCHEMA, "$ref": f"#/$defs/{name}"}).validate(document)


def told(*words: Any) -> Any:
    code, out, err = command("store", *words, "--json")
    assert code == 0, err
    return json.loads(out)


def test_every_command_keeps_its_schema(tmp_path: Path) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    validate("init", told("init", tmp_path / "first"))
    rows = [f"{who},{item},{at}" for at, who in enumerate("abcd" * 3) for item in ("xyz"[at % 3], "xyz"[at // 4])]
    shop = Shop.make(tmp_path, "\n".join(["customer,item,time", *dict.fromkeys(rows)]) + "\n")
    validate("status", told("status", "--dir", shop.directory))
    validate("check", told("check", shop.directory))
    view = open_view(shop.folder)
    told("use", make_model(tmp_path / "run", view.catalogue, view.histories), "--dir", shop.directory)
    for name, more in LINES.items():
        words = [str(word).format(model=current_name(shop.folder)) for word in more]
        validate(name, told(name, *words, "--dir", shop.directory))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("budget", {"schema": 1}),
        ("recommend", {"schema": 1, "model": "m", "source": "guess", "items": []}),
        ("forget", {"schema": 1, "forgotten": True, "still_held": "", "customer": "4711"}),
        ("models", {"schema": 2, "models": []}),
    ],
)
def test_refuses(name: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        validate(name, wrong)


def test_the_front_object_loads_only_when_it_is_asked_for() -> None:
    code = "import sys, fedcart.client; print(*sorted({'pandas', 'flwr', 'numpy', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
    code = "import sys; from fedcart.client import Store; print(*sorted({'flwr', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
    code = "from fedcart.client import Store, StoreProcess; print(Store.__name__, StoreProcess.__name__)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["Store", "StoreProcess"]
