"""Every run under an epsilon leaves ledgers that both commands accept, at the epsilon that run.json says."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from fedcart.shared.cli import run
from shared.audit.audit_cases import Audit


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chance = random.Random(1)
    rows = ["customer,item,time"]
    for customer in range(60):
        rows += [f"c{customer},i{i},{1_700_000_000 + customer * 100 + i * 86_400}" for i in chance.sample(range(30), 6)]
    path = tmp_path_factory.mktemp("data") / "x.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize(("trust", "rehearsal"), [("distributed", False), ("local", True)])
def test_a_run_under_epsilon_is_accepted_and_costs_what_it_says(
    table: Path, tmp_path: Path, request: pytest.FixtureRequest, trust: str, rehearsal: bool
) -> None:
    out = tmp_path / "run"
    words = ["simulate", "--data", str(table), "--epsilon", "4", "--learner", "popularity", "--stores", "3"]
    words += ["--trust", trust, "--baselines", "none", "--no-alone", "--no-pooled", "--out", str(out)]
    assert run([*words, *(["--rehearsal"] if rehearsal else [])]) == 0
    audit: Audit = request.getfixturevalue("audit")  # after the run: it puts `audit` in place of the installed commands
    verdicts = audit("verify", out, "--json")
    assert verdicts.code == 0
    assert verdicts.document["rehearsal"] is rehearsal
    assert len(verdicts.document["ledgers"]) == 3
    (fingerprint,) = verdicts.document["fingerprints"]
    anchored = audit("verify", out, "--roster-fingerprint", fingerprint, "--json")
    assert {one["verdict"] for one in anchored.document["ledgers"]} == {"ok"}
    budget = audit("budget", out, "--json")
    assert budget.code == 0
    promised = json.loads((out / "run.json").read_text())["privacy"]
    for spent in [*(store["spent"] for store in budget.document["stores"]), budget.document["coalition"]]:
        (lifetime,) = spent["lifetime"]
        assert float(lifetime["delta"]) == promised["delta"]
        assert 0.98 * 4 <= lifetime["epsilon"]["ours"] <= 4 * (1 + 1e-9)
        assert lifetime["epsilon"]["google"] == pytest.approx(promised["epsilon"], rel=1e-3)
    assert budget.document["coalition"]["releases"] == (1 if trust == "distributed" else 0)
    assert budget.document["coalition"]["missing"] == []
