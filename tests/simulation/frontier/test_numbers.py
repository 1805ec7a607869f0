"""The numbers of a frontier are those of its cells' run.json, in every file it writes, and keep the schema."""

from __future__ import annotations

import copy
import csv
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from fedcart.simulation.frontier.grid import Cell, Experiment, Grid
from fedcart.simulation.frontier.own import served
from fedcart.simulation.frontier.results import Found
from fedcart.simulation.frontier.table import beside_store

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = json.loads((ROOT / "docs/schema/frontier.schema.json").read_text())
MEASURES = ("ndcg@10", "hr@10")


def cell_of(row: dict[str, Any]) -> str:
    epsilon = "inf" if row["epsilon"] is None else f"{row['epsilon']:g}"
    return f"{row['learner']}-eps{epsilon}-{row['trust']}-seed0"


def test_the_schema_is_itself_valid() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_every_sitting_keeps_the_schema(made: Any) -> None:
    for sitting in made.sittings:
        Draft202012Validator(SCHEMA).validate(sitting.document)


def first(document: dict[str, Any], table: str) -> dict[str, Any]:
    found: dict[str, Any] = document[table][0]
    return found


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(surprise=1),
        lambda d: d.update(status="done"),
        lambda d: d["privacy"].update(settings_choice="accounted"),
        lambda d: first(d, "table").update(epsilon=0),
        lambda d: first(d, "table").update({"ndcg@10": 1.5}),
        lambda d: first(d, "table").pop("ci95"),
        lambda d: first(d, "table")["paired"][0].update(verdict=2),
        lambda d: first(d, "table").pop("with_store"),
        lambda d: first(d, "table")["with_store"].pop("ci95"),
        lambda d: first(d, "table")["with_store"]["paired"][0].update(against="alone"),
        lambda d: first(d, "coalition_buys").update(alone=1.0),
        lambda d: first(d, "cells").update(status="skipped"),
    ],
)
def test_refuses(change: Callable[[dict[str, Any]], None], made: Any) -> None:
    document = copy.deepcopy(made.document)
    change(document)
    with pytest.raises(ValidationError):
        Draft202012Validator(SCHEMA).validate(document)


def test_it_is_said_how_stores_were_made(made: Any) -> None:
    (data,) = made.document["data"]
    assert data["stores_by"] == made.run("baselines-seed0")["data"]["stores_by"] == "column"


def test_the_table_is_what_the_cells_say(made: Any) -> None:
    assert len(made.document["table"]) == 6
    for row in made.document["table"]:
        block = made.run(cell_of(row))["metrics"]["federated"]
        assert {name: row[name] for name in MEASURES} == {name: block["full"][name] for name in MEASURES}
        assert row["ci95"] == block["ci95"]["ndcg@10"]
        assert (row["least"], row["greatest"]) == (row["ndcg@10"], row["ndcg@10"])


def test_baselines_run_once_and_those_under_epsilon_in_the_floors_cells(made: Any) -> None:
    for row in made.document["baselines"]:
        cell = "baselines-seed0" if row["epsilon"] is None else f"popularity-eps{row['epsilon']:g}-{row['trust']}-seed0"
        reference, (table, _, name) = made.run(cell)["metrics"], row["method"].rpartition(".")
        assert row["ndcg@10"] == (reference[table] if table else reference)[name]["full"]["ndcg@10"]
    for cell in made.document["cells"]:
        metrics = made.run(cell["cell"])["metrics"]
        assert metrics["no_noise"] is None
        measured = {name for name, block in metrics["centralized"].items() if block}
        if cell["learner"] is None:
            assert measured == {"popularity", "recent", "recent_own", "ease", "ials"}
        elif (cell["learner"], cell["epsilon"]) == ("popularity", 4.0):
            assert measured == {"recent", "recent_own"}
        else:
            assert (metrics["content"], measured) == (None, set())


def test_private_runs_promise_what_the_grid_says(made: Any) -> None:
    for cell in made.document["cells"]:
        run = made.run(cell["cell"])
        assert run["privacy"]["epsilon"] == cell["epsilon"]
        assert run["privacy"]["trust"] == cell["trust"]
        assert (run["metrics"]["local_only"] is not None) == (cell["trust"] == "none" and cell["learner"] is not None)
        assert (run["metrics"]["alone_with_store"] is None) == (run["metrics"]["local_only"] is None)
        assert run["metrics"]["with_store"] is not None


def test_own_co_occurrences_are_measured_in_each_cell_and_alone_in_the_one_without_noise(made: Any) -> None:
    seen = set()
    for row in made.document["table"]:
        own, metrics = row["with_store"], made.run(cell_of(row))["metrics"]
        block, bare = metrics["with_store"], made.run(f"{row['learner']}-epsinf-none-seed0")["metrics"]
        assert {name: own[name] for name in MEASURES} == {name: block["full"][name] for name in MEASURES}
        assert own["ci95"] == block["ci95"]["ndcg@10"] != row["ci95"]
        alone = bare["alone_with_store"]
        assert own["alone_with_store"] == (None if row["epsilon"] else alone["full"]["ndcg@10"])
        like = {"epsilon": row["epsilon"], "trust": row["trust"]}
        for one in own["paired"]:
            rank = "full" if one["metric"] == "ndcg@10" else "sampled"
            floor = next(r for r in made.document["table"] if (like | {"learner": "popularity"}).items() <= r.items())
            content = next(r for r in made.document["baselines"] if (like | {"method": "content"}).items() <= r.items())
            other = {
                "together": metrics["federated"][rank]["ndcg@10"],
                "alone_with_store": alone[rank]["ndcg@10"],
                "private popularity": floor[one["metric"]],
                "content": content[one["metric"]],
            }[one["against"]]
            assert one["difference"] == pytest.approx(own[one["metric"]] - other, abs=1e-12)
            assert one["low"] <= one["difference"] <= one["high"]
            seen.add((row["learner"], row["epsilon"] is None, one["against"], one["metric"]))
    full = {"together", "alone_with_store", "content"}
    for learner, bare, against in itertools.product(("popularity", "gram"), (True, False), full):
        assert {(learner, bare, against, metric) for metric in ("ndcg@10", "sampled ndcg@10")} <= seen
    assert {row[:2] for row in seen if row[2] == "private popularity"} == {("gram", False)}


def test_a_row_of_which_one_cell_did_not_measure_own_co_occurrences_has_none(tmp_path: Path) -> None:
    block = {"sampled": None, "full": {"ndcg@10": 0.1, "hr@10": 0.1}, "ci95": None}
    grid = Grid(learners=("popularity",), epsilons=(math.inf,), seeds=(0, 1))
    experiment = Experiment(grid=grid)
    old = Found(Cell(learner="popularity"), {"metrics": {"federated": block}}, tmp_path)
    new = Found(Cell(learner="popularity", seed=1), {"metrics": {"federated": block, "with_store": block}}, tmp_path)
    assert beside_store(experiment, {}, [new], {}) is not None
    assert beside_store(experiment, {}, [old, new], {}) is None
    assert served([{"learner": "popularity", "with_store": None}]) == []


def test_paired_differences_are_differences_of_the_table(made: Any) -> None:
    table, simple = made.document["table"], made.document["baselines"]
    seen: set[Any] = set()
    for row in table:
        for one in row["paired"]:
            like = [r for r in simple if (r["epsilon"], r["trust"]) == (row["epsilon"], row["trust"])]
            other = next((r for r in like if r["method"].rpartition(".")[2] == one["against"]), {})
            if one["against"] == "alone":
                bare = made.run(f"{row['learner']}-epsinf-none-seed0")["metrics"]["local_only"]
                bare = bare["full" if one["metric"] == "ndcg@10" else "sampled"]["ndcg@10"]
                assert one["difference"] == pytest.approx(row[one["metric"]] - bare, abs=1e-12)
                seen.add("alone")
                continue
            if one["against"] == "private popularity":
                wanted = {"learner": "popularity", "epsilon": row["epsilon"], "trust": row["trust"]}
                other = next(r for r in table if wanted.items() <= {k: r[k] for k in wanted}.items())
            assert one["difference"] == pytest.approx(row[one["metric"]] - other[one["metric"]], abs=1e-12)
            assert one["low"] <= one["difference"] <= one["high"]
            seen |= {(one["against"], one["verdict"]), one["metric"]}
    assert ("content", -1) in seen, "content beats popularity on this table, so the sign is tested both ways"
    assert {("content", 1), "alone", "ndcg@10", "sampled ndcg@10"} <= seen


def test_csv_and_latex_hold_the_same_numbers(made: Any) -> None:
    with (made.directory / "frontier.csv").open() as file:
        rows = list(csv.DictReader(file))
    document = made.document
    both = [value for r in document["table"] for value in (r["ndcg@10"], r["with_store"]["ndcg@10"])]
    assert [float(row["ndcg@10"]) for row in rows] == [r["ndcg@10"] for r in document["baselines"]] + both
    for row in rows:
        own = row["method"].endswith(" + own")
        assert bool(row["minus_alone_with_store"]) == bool(row["minus_together"]) == own
        assert bool(row["alone_with_store"]) == (own and row["epsilon"] == "inf")
    assert {row["epsilon"] for row in rows} == {"4.0", "inf"}
    with (made.directory / "cells.csv").open() as file:
        cells = {row["cell"]: row for row in csv.DictReader(file)}
    assert set(cells) == {row["cell"] for row in document["cells"] if row["learner"]}
    assert all(
        float(row["ndcg@10"]) == made.run(name)["metrics"]["federated"]["full"]["ndcg@10"]
        for name, row in cells.items()
    )
    tex = (made.directory / "frontier.tex").read_text()
    for row in document["table"]:
        assert f"{row['ndcg@10']:.4f}".removeprefix("0") in tex
        assert f"{row['with_store']['ndcg@10']:.4f}".removeprefix("0") in tex
    assert tex.count(r"\toprule") == tex.count(r"\bottomrule") == 1
    assert "settings choice not accounted" in tex
    assert "own co-occurrences beside the model, local, covered by no epsilon" in tex


def test_standard_output_is_the_table_and_the_sentence(made: Any) -> None:
    out = made.sittings[-1].out
    assert all(f"{row['ndcg@10']:.4f}" in out for row in made.document["table"])
    assert "sales.csv, 5 stores, 120 customers, trust distributed." in out
