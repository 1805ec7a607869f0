"""`simulate --epsilon`: where noise comes from, what is charged, what a run that stopped repeats, what is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from fedcart.client.ledger_files import ledger_path
from fedcart.shared.errors import ConfigError
from fedcart.shared.ledger.verify import verify
from fedcart.simulation import Config, simulate
from fedcart.simulation.methods import Trainings
from fedcart.simulation.promise import customers_bound

ROOT = Path(__file__).resolve().parents[2]
PEOPLE, STORES = 60, 5


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 people, 9 items; every person shops at one of five branches."""
    rows = ["person,sku,when,branch"]
    for person in range(PEOPLE):
        rows += [f"p{person},s{(person * 5 + 2 * k + person // 7) % 9},{1000 + k},b{person % STORES}" for k in range(4)]
    path = tmp_path_factory.mktemp("table") / "sales.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def config(table: Path, out: Path, **privacy: Any) -> Config:
    columns = {"customer": "person", "item": "sku", "time": "when", "store": "branch"}
    return Config.read(
        None,
        {
            "data.name": str(table),
            "data.columns": columns,
            "learner.name": privacy.pop("learner", "popularity"),
            "learner.settings": privacy.pop("settings", None),
            "evaluate.baselines": ["popularity"],
            "evaluate.alone": False,
            "evaluate.pooled": False,
            "output.dir": out,
            "privacy.epsilon": 4.0,
            **{f"privacy.{key}": value for key, value in privacy.items()},
        },
    )


def lines(directory: Path, store: int = 0) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ledger_path(directory, store).read_bytes().splitlines()]


def sent(directory: Path) -> list[str]:
    """Hashes of what each store sent."""
    return [line["body"]["hash"] for s in range(STORES) for line in lines(directory, s) if line["kind"] == "release"]


def test_a_run_says_what_it_promises_and_leaves_ledgers_that_verify(table, tmp_path):
    document = simulate(config(table, tmp_path / "run")).document
    jsonschema.validate(document, json.loads((ROOT / "docs/schema/run.schema.json").read_text()))
    privacy = document["privacy"]
    assert (privacy["epsilon"], privacy["trust"], privacy["colluders"], privacy["min_survivors"]) == (
        4.0, "distributed", 1, 4,
    )  # fmt: skip
    assert privacy["delta"] == 1e-3
    assert 3.92 <= privacy["releases"][0]["epsilon"] <= 4.0
    assert privacy["noise_multiplier"] == pytest.approx(privacy["noise_effective"] * np.sqrt(5 / 3))
    assert document["metrics"]["no_noise"] is not None
    for store in range(STORES):
        verdict = verify(ledger_path(tmp_path / "run", store))
        assert verdict.findings == ()
        assert [line["kind"] for line in lines(tmp_path / "run", store)][:3] == ["genesis", "policy", "plan"]
    assert not (tmp_path / "run" / "work").exists()  # keys and customers' rows are gone


def test_data_of_ones_own_get_noise_that_no_seed_repeats(table, tmp_path):
    first, second = (simulate(config(table, tmp_path / name)) for name in "ab")
    assert not first.document["rehearsal"]
    assert not lines(first.directory)[0]["body"]["rehearsal"]
    assert not set(sent(first.directory)) & set(sent(second.directory))


def test_a_rehearsal_repeats_its_noise_and_says_so(table, tmp_path):
    first, second = (simulate(config(table, tmp_path / name, rehearsal=True)) for name in "ab")
    assert first.document["rehearsal"]
    assert lines(first.directory)[0]["body"]["rehearsal"]
    assert sent(first.directory) == sent(second.directory)
    assert len(set(sent(first.directory))) == STORES  # no two stores draw the same
    assert any("rehears" in line.lower() for line in first.document["privacy"]["uncovered"])


def test_named_sets_are_rehearsed(tmp_path):
    given = {
        "data.name": "marketplace", "data.size": "small", "learner.name": "popularity", "privacy.epsilon": 4.0,
        "evaluate.baselines": ["popularity"], "evaluate.alone": False, "evaluate.pooled": False, "stores.count": 3,
        "output.dir": tmp_path / "run",
    }  # fmt: skip
    assert simulate(Config.read(None, given)).document["rehearsal"]


def test_local_noise_is_each_stores_own(table, tmp_path):
    shared, own = (
        simulate(config(table, tmp_path / trust, trust=trust, rehearsal=True)) for trust in ("distributed", "local")
    )
    variance = [int(lines(run.directory)[3]["body"]["variance"]) for run in (shared, own)]
    assert variance[1] == pytest.approx(3 * variance[0], rel=1e-9)  # h = 3 of 5
    assert [lines(run.directory)[3]["body"]["honest"] for run in (shared, own)] == [3, 1]
    assert own.document["privacy"]["colluders"] is None


def test_two_stores_cannot_share_a_noise(table, tmp_path):
    wanted = config(table, tmp_path / "run", rehearsal=True)
    stores = Config.read(None, {}).stores.__class__(count=2, by="random")
    two = Config(**{**wanted.__dict__, "stores": stores})
    assert simulate(two).document["privacy"]["trust"] == "local"


def test_a_run_that_stopped_goes_on_and_no_release_is_charged_twice(table, tmp_path, monkeypatch):
    settings = {"embedding_dim": 2, "sweeps": 3}
    whole = simulate(config(table, tmp_path / "whole", learner="als", settings=settings, rehearsal=True))
    measure, seen = Trainings._measure, []

    def stop(self: Trainings, index: int) -> None:
        seen.append(index)
        if index == 1:
            raise KeyboardInterrupt
        measure(self, index)

    monkeypatch.setattr(Trainings, "_measure", stop)
    again = config(table, tmp_path / "stopped", learner="als", settings=settings, rehearsal=True)
    with pytest.raises(KeyboardInterrupt):
        simulate(again)
    monkeypatch.setattr(Trainings, "_measure", measure)
    resumed = simulate(again)
    assert resumed.document["metrics"]["federated"] == whole.document["metrics"]["federated"]
    assert sorted(sent(resumed.directory)) == sorted(sent(whole.directory))
    for store in range(STORES):
        places = [
            (b["round"], b["attempt"], b["release"])
            for line in lines(resumed.directory, store)
            if line["kind"] == "charge"
            for b in (line["body"],)
        ]
        assert len(places) == len(set(places)) == 1 + 3 * 2  # popularity; in each sweep two


def test_the_bound_on_customers_is_public_or_marked(table, tmp_path):
    bound = Config.read(None, {}).privacy
    assert customers_bound(bound, "ncf-split", 6040) == (6040, False)
    assert customers_bound(bound, "sales.csv", 61) == (61, True)
    assert customers_bound(bound, "sales.csv", 12_345) == (13_000, True)
    named = Config.read(None, {"privacy.customers_bound": 100}).privacy
    assert customers_bound(named, "sales.csv", 61) == (100, False)
    with pytest.raises(ConfigError, match="more than"):
        customers_bound(named, "sales.csv", 101)
    told = simulate(config(table, tmp_path / "run")).document["privacy"]["uncovered"]
    assert "The bound on the number of customers was taken from the data." in told
    assert sum("drawn by its row number" in line for line in told) == 1  # leave-one-out
    told = simulate(config(table, tmp_path / "other", customers_bound=100)).document["privacy"]["uncovered"]
    assert "The bound on the number of customers was taken from the data." not in told


@pytest.mark.parametrize(
    ("privacy", "told"),
    [
        ({"bounds": {"popularty": {"clip_norm": 2.0}}}, "no release 'popularty'"),
        ({"bounds": {"popularity": {"clip": 2.0}}}, "unknown key 'clip'"),
        ({"bounds": {"popularity": {"clip_norm": -2.0}}}, "positive"),
        ({"trust": "local", "colluders": 2}, "have no meaning with trust local"),
        ({"colluders": 5}, "outside t"),
    ],
)
def test_refuses_terms_that_make_no_sense(table, tmp_path, privacy, told):
    with pytest.raises(ConfigError, match=told):
        simulate(config(table, tmp_path / "run", **privacy))


def test_a_larger_clip_costs_more_noise(table, tmp_path):
    plain, wide = (
        simulate(config(table, tmp_path / name, rehearsal=True, bounds=bounds)).document["privacy"]["releases"][0]
        for name, bounds in (("plain", {}), ("wide", {"popularity": {"clip_norm": 2.0}}))
    )
    assert (plain["clip_norm"], wide["clip_norm"]) == (1.0, 2.0)
    assert plain["epsilon"] == pytest.approx(wide["epsilon"])
