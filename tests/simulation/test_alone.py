"""Each store alone at its best: its regularization is chosen without a test item, kept where it must be, and said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest

from fedcart.shared.learners.base import Learner
from fedcart.shared.plan import build_learner
from fedcart.simulation import Config, alone, simulate
from fedcart.simulation.alone import by_store, settings_alone, with_regularization
from fedcart.simulation.config import DataConfig, EvaluateConfig, LearnerConfig, OutputConfig, StoresConfig
from fedcart.simulation.evaluate import Ranking
from fedcart.simulation.progress import Silent
from fedcart.simulation.run import Prepared, plan_trainings, prepare
from fedcart.simulation.split import Split
from fedcart.simulation.workspace import Workspace

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "schema" / "run.schema.json"
PEOPLE, ITEMS, EACH = 40, 20, 6
LAST = EACH - 1


def sales() -> pd.DataFrame:
    generator = np.random.default_rng(4)
    rows = []
    for person in range(PEOPLE):
        likes = np.where(np.arange(ITEMS) % 2 == person % 2, 9, 1) / (5 * ITEMS)
        for when, item in enumerate(generator.choice(ITEMS, EACH, replace=False, p=likes)):
            rows.append((f"person {person:02}", f"item {item:02}", when))
    return pd.DataFrame(rows, columns=["customer", "item", "time"])


def config(folder: Path, learner: str = "gram", rows: pd.DataFrame | None = None, **settings: Any) -> Config:
    path = folder / "sales.csv"
    (sales() if rows is None else rows).to_csv(path, index=False)
    return Config(
        data=DataConfig(name=str(path)),
        stores=StoresConfig(count=4),
        learner=LearnerConfig(name=learner, settings=settings),
        evaluate=EvaluateConfig(baselines=("random",)),
        output=OutputConfig(dir=folder / "run"),
    )


class Asked:
    """Trains nothing: the best of `best` store's customers have rank 0 when the regularization is `wanted`."""

    def __init__(self, stores: Prepared, best: dict[float, list[float]]) -> None:
        self.stores, self.best = stores, best
        self.splits: list[Split] = []

    def __call__(self, learner: Learner, split: Split) -> Ranking:
        self.splits.append(split)
        rank = np.asarray(self.best[learner.regularization])  # type: ignore[attr-defined]
        ranks = rank[self.stores.partition.store_of[split.held_out.owner]]
        customers = split.train.customers
        return Ranking(np.full(customers, np.nan), ranks, ranks, np.full((customers, 10), -1, np.int32))


def choose(config: Config, best: dict[float, list[float]], name: str = "gram") -> tuple[dict[str, Any], Asked]:
    prepared = prepare(config)
    asked = Asked(prepared, best)
    learner = build_learner(name, {"regularization": 30.0} if name in alone.GRID else {})
    return settings_alone(config, name, learner, prepared.split, prepared.partition, asked), asked


def test_the_best_mean_over_stores_on_validation_is_taken(tmp_path: Path) -> None:
    """NDCG@10 is 1 at rank 0 and 0 at rank 50."""
    best = {3.0: [0, 50, 50, 50], 10.0: [0, 0, 50, 50], 30.0: [50.0] * 4}
    found, asked = choose(config(tmp_path), best)
    assert found["regularization"] == 10
    assert [(one["regularization"], one["macro ndcg@10"]) for one in found["tried"]] == [(10, 0.5), (30, 0)]
    assert len(asked.splits) == 2


def test_no_test_item_is_in_what_the_choice_sees(tmp_path: Path) -> None:
    whole = config(tmp_path)
    outer = prepare(whole).split
    _, asked = choose(whole, {3.0: [1.0] * 4, 10.0: [1.0] * 4, 30.0: [1.0] * 4})

    def pairs(split: Split) -> set[int]:
        return set((split.train.row_of_pair() * ITEMS + split.train.items).tolist())

    tested = set((outer.held_out.owner * ITEMS + outer.held_out.items).tolist())
    for inner in asked.splits:
        chosen = set((inner.held_out.owner * ITEMS + inner.held_out.items).tolist())
        assert chosen
        assert chosen <= pairs(outer) - pairs(inner)
        assert not tested & (chosen | pairs(inner))


def test_a_run_chooses_for_each_store_alone_says_so_and_leaves_the_coalition_alone(tmp_path: Path) -> None:
    done = simulate(config(tmp_path)).document
    jsonschema.validate(done, json.loads(SCHEMA.read_text(encoding="utf-8")))
    together = done["learner"]["hyper_parameters"]["regularization"]
    tried = [one["regularization"] for one in done["alone_settings"]["tried"]]
    assert tried == [float(f"{together * multiple:.3g}") for multiple in alone.GRID["gram"]]
    assert done["alone_settings"]["regularization"] in tried
    assert done["metrics"]["federated"] == done["metrics"]["centralized"]["same"]


def test_the_chosen_regularization_is_the_one_each_store_trains_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alone, "GRID", {"gram": (0.001,)})
    found = []
    for name, settings in (("chosen", {}), ("given", {"regularization": 0.3}), ("other", {"regularization": 300.0})):
        (tmp_path / name).mkdir()
        found.append(simulate(config(tmp_path / name, **settings)).document)
    assert found[0]["learner"]["hyper_parameters"]["regularization"] == 300
    assert [one["alone_settings"]["regularization"] for one in found] == [0.3, 0.3, 300]
    first, second, third = (one["metrics"]["local_only"] for one in found)
    assert first == second != third


def test_a_run_taken_up_again_keeps_what_was_chosen(tmp_path: Path) -> None:
    whole = config(tmp_path)
    prepared = prepare(whole)
    workspace = Workspace(tmp_path / "run", whole.document())
    begun = plan_trainings(whole, prepared, workspace, Silent())
    assert begun.alone_settings is None
    begun.alone()
    assert plan_trainings(whole, prepared, workspace, Silent()).alone_settings == begun.alone_settings is not None


def test_spoilt_test_items_choose_the_same_for_each_store_alone(tmp_path: Path) -> None:
    rows = sales()
    found = []
    for name in ("clean", "spoilt"):
        (tmp_path / name).mkdir()
        found.append(simulate(config(tmp_path / name, rows=rows)).document["alone_settings"])
        for index in np.flatnonzero(rows["time"] == LAST):  # held out; any other item takes its place
            mine = set(rows["item"][rows["customer"] == rows["customer"][index]])
            rows.loc[index, "item"] = next(x for x in sorted(sales()["item"].unique()) if x not in mine)
    assert found[0] == found[1]
    assert len(found[0]["tried"]) == 2


@pytest.mark.parametrize(
    ("learner", "settings", "most", "words"),
    [
        ("popularity", {}, 50, "popularity has no grid"),
        ("gram", {"regularization": 7.0}, 50, "given by the configuration"),
        ("gram", {}, 3, "more than 3 stores"),
    ],
)
def test_alone_is_as_together_where_nothing_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, learner: str, settings: Any, most: int, words: str
) -> None:
    monkeypatch.setattr(alone, "MOST_STORES", most)
    found, asked = choose(config(tmp_path, learner, **settings), {}, learner)
    assert (found["tried"], found["words"], asked.splits) == ([], f"as together: {words}", [])
    assert found["regularization"] == (30.0 if learner == "gram" else None)


def test_too_few_customers_to_validate_on_keep_what_holds_together(tmp_path: Path) -> None:
    """Four customers with two items each: one is tested, the other stays."""
    rows = sales().groupby("customer").head(2)
    found, asked = choose(config(tmp_path, rows=rows), {})
    assert (found["words"], asked.splits) == ("as together: too few customers to validate on", [])


def test_stores_are_the_partitions_and_another_regularization_is_another_learner(tmp_path: Path) -> None:
    prepared = prepare(config(tmp_path))
    sizes = [part.train.customers for part in by_store(prepared.split, prepared.partition)]
    assert sizes == np.diff(prepared.partition.offsets).tolist()
    learner = build_learner("als", {"regularization": 0.1})
    assert with_regularization(learner, 0.1) is with_regularization(learner, None) is learner
    assert with_regularization(learner, 0.3) == build_learner("als", {"regularization": 0.3})
