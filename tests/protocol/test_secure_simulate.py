"""`simulate --trust distributed`: masked by default, and what run.json says of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from fedcart.shared.errors import ConfigError
from fedcart.shared.secagg.pins import Pins
from fedcart.shared.secagg.replay import verify_transcript
from fedcart.shared.secagg.transcript import Transcript
from fedcart.simulation import Config, simulate
from fedcart.simulation.simulated_stores import aggregation_of
from secure_run import SecureRun

ROOT = Path(__file__).parents[2]
IN_THE_CLEAR = "The stores' sums were added in the clear"


def sales(stores: int) -> str:
    rows = [f"p{i},sku-{(i * 5 + e * e) % 11},{1000 + e},s{i % stores}" for i in range(4 * stores) for e in range(4)]
    return "\n".join(["customer,item,time,store", *rows]) + "\n"


def document(folder: Path, name: str, stores: int = 4, **engine: Any) -> dict[str, Any]:
    """run.json of a small run under one noise for all stores."""
    table = folder / f"{stores}.csv"
    table.write_text(sales(stores))
    options = {
        "data.name": str(table),
        "learner.name": "popularity",
        "privacy.trust": "distributed",
        "privacy.epsilon": 8.0,
        "privacy.rehearsal": True,
        "evaluate.baselines": (),
        "evaluate.alone": False,
        "evaluate.pooled": False,
        "output.dir": folder / name,
        **{f"engine.{key}": value for key, value in engine.items()},
    }
    return simulate(Config.read(None, options)).document


def clear(found: dict[str, Any]) -> bool:
    return any(sentence.startswith(IN_THE_CLEAR) for sentence in found["privacy"]["uncovered"])


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("masked")
    return folder, document(folder, "run")


def test_one_noise_for_all_stores_is_masked_unless_told_otherwise(masked: tuple[Path, dict[str, Any]]) -> None:
    folder, found = masked
    jsonschema.validate(found, json.loads((ROOT / "docs/schema/run.schema.json").read_text()))
    assert found["privacy"]["aggregation"] == "SA1"
    assert not clear(found)
    assert "only totals are opened" in (folder / "run" / "report.html").read_text()


def test_the_masked_run_finds_what_the_plain_run_finds(masked: tuple[Path, dict[str, Any]]) -> None:
    folder, found = masked
    plain = document(folder, "plain", aggregation="plain")
    assert plain["privacy"]["aggregation"] == "plain"
    assert clear(plain)
    assert found["metrics"]["federated"] == plain["metrics"]["federated"]


def test_a_finished_run_keeps_a_transcript_that_an_auditor_accepts(masked: tuple[Path, dict[str, Any]]) -> None:
    folder, found = masked
    kept = folder / "run" / "ledger" / "transcript"
    pins = Pins.parse((kept / "pins.json").read_bytes())
    assert pins.plan.hex() == found["plan_hash"]
    (epoch,) = kept.glob("epoch-*.json")
    (round_,) = verify_transcript(Transcript.parse(epoch.read_bytes()), pins)
    assert round_.opened
    assert round_.survivors == (0, 1, 2, 3)
    assert not list((folder / "run").rglob("*.key"))
    assert not list((folder / "run").rglob("*.journal"))


@pytest.mark.slow
def test_200_stores_are_masked_on_a_ring_and_an_auditor_accepts_it(tmp_path: Path) -> None:
    found = document(tmp_path, "many", 200)
    assert found["privacy"]["aggregation"] == "SA1"
    assert not clear(found)
    kept = tmp_path / "many" / "ledger" / "transcript"
    pins = Pins.parse((kept / "pins.json").read_bytes())
    assert pins.reach == 43
    (round_,) = verify_transcript(Transcript.parse((kept / "epoch-0000.json").read_bytes()), pins)
    assert round_.opened
    plain = document(tmp_path, "plain", 200, aggregation="plain")
    assert found["metrics"]["federated"] == plain["metrics"]["federated"]


def test_more_stores_than_a_complete_graph_holds_mean_a_ring(tmp_path: Path) -> None:
    plan = SecureRun(tmp_path, 5).agreement.plan
    many = replace(plan, participants=200, privacy=replace(plan.privacy, colluders=20, min_survivors=160))
    assert aggregation_of(many, Config.read(None, {}).engine) == "SA1"


def test_where_no_ring_holds_a_run_is_refused_unless_it_is_told_to_add_in_the_clear(tmp_path: Path) -> None:
    plan = SecureRun(tmp_path, 5).agreement.plan
    many = replace(plan, participants=101, privacy=replace(plan.privacy, colluders=40, min_survivors=71))
    auto = Config.read(None, {}).engine
    with pytest.raises(ConfigError, match="101 stores of which 40 may collude"):
        aggregation_of(many, auto)
    assert aggregation_of(many, replace(auto, aggregation="plain")) == "plain"


def test_asked_for_by_name_it_is_refused_where_nothing_is_shared(tmp_path: Path) -> None:
    plan = replace(SecureRun(tmp_path, 5).agreement.plan, trust="local")
    with pytest.raises(ConfigError, match=r"\[engine\] aggregation SA1 with trust local; nothing was run"):
        aggregation_of(plan, replace(Config.read(None, {}).engine, aggregation="SA1"))


def test_ray_masks_as_well(tmp_path: Path) -> None:
    plan = SecureRun(tmp_path, 5).agreement.plan
    assert aggregation_of(plan, Config.read(None, {"engine.name": "ray"}).engine) == "SA1"
    plain = Config.read(None, {"engine.name": "ray", "engine.aggregation": "plain"}).engine
    assert aggregation_of(plan, plain) == "plain"
