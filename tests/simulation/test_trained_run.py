"""`simulate` with local steps under an epsilon, from a CSV file to run.json: table, ledgers and plan say the same."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `neural` is not installed")

from fedcart.shared.errors import ConfigError
from fedcart.shared.ledger.verify import verify
from fedcart.simulation import Config, simulate
from fedcart.simulation.config import (
    DataConfig,
    EvaluateConfig,
    LearnerConfig,
    OutputConfig,
    PrivacyConfig,
    StoresConfig,
)

STORES, STEPS, ROUNDS = 3, 4, 2


def configuration(folder: Path, learner: str, trust: str = "local") -> Config:
    """60 customers who each have 6 of 30 items."""
    rng = np.random.default_rng(0)
    rows = [f"c{c},i{i}" for c in range(60) for i in rng.choice(30, 6, replace=False)]
    (folder / "sales.csv").write_text("\n".join(["customer,item", *rows]) + "\n")
    settings = {"local_steps": STEPS, "server_optimizer": "average", "embedding_dim": 4, "round_count": ROUNDS}
    if learner == "mf":
        settings["popularity_share"] = 0.0  # every release here is a trained one
    return Config(
        data=DataConfig(name=str(folder / "sales.csv"), columns={"customer": "customer", "item": "item"}),
        stores=StoresConfig(count=STORES, by="random"),
        learner=LearnerConfig(name=learner, settings=settings),
        privacy=PrivacyConfig(epsilon=4.0, trust=trust),
        evaluate=EvaluateConfig(baselines=(), alone=False, pooled=False),
        output=OutputConfig(dir=folder / "run"),
    )


@pytest.mark.parametrize("learner", ["mf", "ncf"])
def test_table_ledgers_and_plan_say_the_same(tmp_path, learner):
    run = simulate(configuration(tmp_path, learner)).document
    assert run["status"] == "complete"
    privacy = run["privacy"]
    (row,) = privacy["releases"]
    assert (row["name"], row["kind"], row["rounds"], row["clip_norm"]) == ("parameters", "trained", ROUNDS, 1.0)
    assert row["bytes"] == 8 * row["words"] * ROUNDS == run["cost"]["upload_bytes_per_store"]
    assert 0.98 * 4 <= row["epsilon"] <= privacy["epsilon"] == 4.0
    names = [(r, f"gradient.{t}") for r, t in itertools.product(range(ROUNDS), range(STEPS))]
    for store in range(STORES):
        path = tmp_path / "run" / "ledger" / f"store-{store:04d}.jsonl"
        assert verify(path).word == "consistent, unanchored"
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        charges = [line["body"] for line in lines if line["kind"] == "charge"]
        assert [(c["round"], c["release"]) for c in charges] == names
        assert float(charges[-1]["epsilon_after"]) == pytest.approx(row["epsilon"], abs=1e-6)
        assert {c["honest"] for c in charges} == {1}


def test_trust_auto_and_distributed_say_what_to_do(tmp_path):
    for trust in ("auto", "distributed"):
        with pytest.raises(ConfigError, match="each store adds only a share") as refused:
            simulate(configuration(tmp_path, "mf", trust))
        assert "trust local" in refused.value.hint
