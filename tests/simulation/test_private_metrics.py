"""`[evaluate] private`: the stores measure what they hold out, in a release of the run's own epsilon."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from fedcart.client.ledger_files import ledger_path
from fedcart.shared.errors import ConfigError
from fedcart.shared.evaluation import METRICS
from fedcart.shared.ledger.verify import verify
from fedcart.simulation import Config, simulate
from fedcart.simulation.report.sentences import headline

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 people, 40 items, a few of them much liked."""
    chance, rows = random.Random(1), ["customer,item,time"]
    for person in range(200):
        liked = {min(int(chance.expovariate(0.12)), 39) for _ in range(9)}
        rows += [f"c{person},i{item},{1_700_000_000 + 1000 * k}" for k, item in enumerate(sorted(liked))]
    path = tmp_path_factory.mktemp("table") / "sales.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def config(table: Path, out: Path, **more: Any) -> Config:
    given = {
        "data.name": str(table),
        "stores.count": 4,
        "learner.name": "popularity",
        "evaluate.baselines": [],
        "evaluate.alone": False,
        "evaluate.pooled": False,
        "evaluate.no_noise": False,
        "evaluate.private": True,
        "privacy.epsilon": 4.0,
        "privacy.rehearsal": True,
        "output.dir": out,
    }
    return Config.read(None, given | more)


@pytest.mark.parametrize("trust", ["local", "distributed"])
def test_the_stores_find_what_the_oracle_finds_up_to_the_noise_they_say(table, tmp_path, trust):
    found = simulate(config(table, tmp_path / "run", **{"privacy.epsilon": 3000.0, "privacy.trust": trust})).document
    jsonschema.validate(found, json.loads((ROOT / "docs/schema/run.schema.json").read_text()))
    oracle, stores = found["metrics"]["federated"], found["metrics"]["in_stores"]
    assert (oracle["measured"], stores["measured"]) == ("oracle", "federated")
    assert abs(stores["n"] - oracle["n"]) < 6 * stores["standard_error"]["n"]
    for name in ("hr@10", "ndcg@10"):
        error = stores["standard_error"][name]
        assert 0 < error < 0.05
        assert abs(stores[name] - oracle["full"][name]) < 6 * error  # 2 in 1e9
        assert stores[name] != oracle["full"][name]
    assert f"Measured by the stores under the same ε: NDCG@10 {stores['ndcg@10']:.4f}" in headline(found).text


def test_it_is_charged_once_after_the_last_round_and_epsilon_covers_it(table, tmp_path):
    found = simulate(config(table, tmp_path / "run", **{"privacy.epsilon": 0.5})).document
    assert found["privacy"]["epsilon"] == 0.5
    rows = {row["name"]: row for row in found["privacy"]["releases"]}
    assert rows[METRICS]["rounds"] == 1
    assert rows[METRICS]["epsilon"] < rows["popularity"]["epsilon"] < 0.5
    for store in range(4):
        path = ledger_path(tmp_path / "run", store)
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        charges = [line["body"] for line in lines if line["kind"] == "charge"]
        assert [charge["release"] for charge in charges] == ["popularity", METRICS]
        assert 0.49 <= float(charges[-1]["epsilon_after"]) <= 0.500001
        assert verify(path).findings == ()
    assert found["metrics"]["in_stores"]["ndcg@10"] is None  # 200 customers, 2 % of a small budget
    assert "noise drowns" in headline(found).text
    assert "evaluation" not in json.dumps(found["metrics"]["federated"])


def test_without_epsilon_it_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ConfigError, match="private without epsilon"):
        simulate(config(tmp_path / "missing.csv", tmp_path / "run", **{"privacy.epsilon": float("inf")}))


def test_a_run_without_it_has_no_such_release(table, tmp_path):
    found = simulate(config(table, tmp_path / "run", **{"evaluate.private": False})).document
    assert found["metrics"]["in_stores"] is None
    assert [row["name"] for row in found["privacy"]["releases"]] == ["popularity"]
    assert "Measured by the stores" not in headline(found).text


def test_a_baseline_that_knows_released_popularity_stands_beside_them(table, tmp_path):
    found = simulate(config(table, tmp_path / "run", **{"evaluate.baselines": ["recent"]})).document
    assert found["metrics"]["in_stores"]["measured"] == "federated"
    assert found["metrics"]["centralized"]["recent"]["n"] > 0
