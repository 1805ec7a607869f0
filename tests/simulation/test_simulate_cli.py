"""`fedcart simulate` from the typed line to the files: what it prints, writes, repeats, resumes and keeps to itself."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest

from fedcart.shared import metrics
from fedcart.shared.cli import run
from fedcart.shared.errors import ConfigError
from fedcart.simulation.config import Config
from fedcart.simulation.methods import Trainings

ROOT = Path(__file__).resolve().parents[2]
CUSTOMERS, ITEMS, EVENTS = 24, 9, 5


def sales() -> str:
    """Two shops; people with telling names; one row without customer and one returned too late to be read."""
    lines = ["person,sku,when,branch"]
    for customer in range(CUSTOMERS):
        for event in range(EVENTS):
            item = (customer * 5 + event * event + customer // 7) % ITEMS
            lines.append(f"Ms Secret {customer},sku-{item},{1000 + event},{'north' if customer % 3 else 'south'}")
    lines.append(",sku-1,1000,north")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Done:
    directory: Path
    arguments: list[str]
    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads((self.directory / "run.json").read_text(encoding="utf-8"))
        return loaded


def call(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["fedcart", *arguments])
        code = run(arguments)
    return code, *capsys.readouterr()


def arguments_for(folder: Path, name: str, *more: str) -> list[str]:
    table = folder / "sales.csv"
    if not table.exists():
        table.write_text(sales())
    columns = "customer=person,item=sku,time=when,store=branch"
    return [
        *("simulate", "--data", str(table), "--columns", columns, "--learner", "popularity"),
        *("--baselines", "random", "--out", str(folder / name), *more),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("simulate")


@pytest.fixture(scope="module")
def done(folder: Path) -> Done:
    import contextlib
    import io

    arguments = arguments_for(folder, "run", "--json")
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["fedcart", *arguments])
        code = run(arguments)
    return Done(folder / "run", arguments, code, out.getvalue(), err.getvalue())


def test_standard_output_is_run_json_and_nothing_else(done: Done) -> None:
    assert done.code == 0, done.err
    assert json.loads(done.out) == done.document
    assert "[1/" in done.err


def test_run_json_obeys_its_schema_and_says_that_nothing_is_promised(done: Done) -> None:
    schema = json.loads((ROOT / "docs" / "schema" / "run.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(done.document, schema)
    privacy = done.document["privacy"]
    assert (privacy["epsilon"], privacy["trust"], privacy["aggregation"]) == (None, "none", "plain")
    assert done.document["data"]["catalogue"] == "derived"


def test_run_json_names_the_command_the_data_and_what_was_dropped(done: Done) -> None:
    document = done.document
    assert document["command"].startswith("fedcart simulate --data ")
    assert document["split"]["validation"] is None
    assert "Ages are relative to the latest time of all customers." in document["privacy"]["uncovered"]
    assert document["data"] | {"dropped": None} == {
        "name": done.arguments[2],
        "customers": CUSTOMERS,
        "items": ITEMS,
        "interactions": CUSTOMERS * EVENTS,
        "stores": 2,
        "stores_by": "column",
        "catalogue": "derived",
        "public_features": False,
        "derived_features": False,
        "dropped": None,
    }
    assert document["data"]["dropped"] == {"no customer": 1}
    assert [row["store"] for row in document["metrics"]["stores"]] == ["north", "south"]
    assert [row["customers"] for row in document["metrics"]["stores"]] == [16, 8]


def test_the_figures_can_be_computed_again_from_the_rows(done: Done) -> None:
    rows = pd.read_parquet(done.directory / "results.parquet")
    counts = rows.groupby("customer", sort=False).size()
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    blocks = done.document["metrics"]
    for name, block in (
        ("federated", blocks["federated"]),
        ("local_only", blocks["local_only"]),
        ("random", blocks["random"]),
    ):
        again = metrics.several(indptr, rows[f"{name}.new"].to_numpy(float))
        for key in ("ndcg@10", "hr@10", "recall@20", "mrr@10"):
            assert block["full"][key] == pytest.approx(again.values[key].mean(), rel=1e-12)
        sampled = metrics.single(rows[f"{name}.candidates"].to_numpy(float))
        assert block["sampled"]["ndcg@10"] == pytest.approx(sampled.values["ndcg@10"].mean(), rel=1e-12)


def test_popularity_together_is_popularity_of_pooled_data(done: Done) -> None:
    blocks = done.document["metrics"]
    assert blocks["federated"]["full"] == blocks["centralized"]["same"]["full"]
    assert blocks["federated"]["full"] != blocks["local_only"]["full"]


@pytest.mark.parametrize(("settings", "twins"), [((), True), (("--set", "sweeps=1"), False)])
def test_the_baseline_ials_keeps_its_own_settings_and_is_trained_once_where_they_are_the_learners(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    settings: tuple[str, ...],
    twins: bool,
) -> None:
    trained: list[str] = []
    real = Trainings.baseline

    def count(self: Trainings, name: str, chosen: dict[str, Any]) -> Any:
        trained.append(name)
        return real(self, name, chosen)

    monkeypatch.setattr(Trainings, "baseline", count)
    chosen = ("--learner", "als", "--baselines", "ials", "--no-alone", "--json", *settings)
    code, out, err = call(arguments_for(folder, f"twins-{twins}", *chosen), capsys)
    assert code == 0, err
    central = json.loads(out)["metrics"]["centralized"]
    assert (trained == []) == twins
    assert (central["ials"]["full"] == central["same"]["full"]) == twins


def test_no_name_of_a_person_is_in_any_file(done: Done) -> None:
    files = [path for path in done.directory.rglob("*") if path.is_file()]
    assert {"run.json", "report.html", "results.parquet", "config.json"} <= {path.name for path in files}
    for path in files:
        assert b"Secret" not in path.read_bytes(), path
    assert not (done.directory / "work").exists()


def test_the_same_line_again_reads_the_result_and_writes_nothing(
    done: Done, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.directory.rglob("*")}
    code, out, _ = call(done.arguments, capsys)
    assert (code, json.loads(out)) == (0, done.document)
    assert {path: path.stat().st_mtime_ns for path in done.directory.rglob("*")} == before


def test_another_seed_in_the_same_folder_is_refused(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call([*done.arguments, "--seed", "5"], capsys)
    assert (code, out) == (2, "")
    assert "holds a run of another configuration; nothing was run" in err
    assert "hint: choose another --out DIR" in err


def test_a_marketplace_with_every_view_is_another_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["simulate", "--size", "small", "--learner", "popularity", "--baselines", "none", "--no-alone"]
    arguments += ["--no-pooled", "--every", "0", "--json"]
    daily = [*arguments, "--out", str(folder / "daily")]
    code, out, err = call(daily, capsys)
    assert code == 0, err
    code, _, err = call([*daily, "--events", "full"], capsys)
    assert code == 2
    assert "daily holds a run of another configuration; nothing was run" in err
    code, full, err = call([*arguments, "--events", "full", "--out", str(folder / "full")], capsys)
    assert code == 0, err
    before, after = json.loads(out), json.loads(full)
    assert (before["config"]["data"]["events"], after["config"]["data"]["events"]) == ("daily", "full")
    assert after["data"]["interactions"] > 5 * before["data"]["interactions"]
    assert after["data"]["customers"] == before["data"]["customers"]


def test_an_interrupted_run_says_so_goes_on_and_ends_as_if_nothing_had_happened(
    done: Done, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = arguments_for(folder, "again", "--json")
    pressed: list[str] = []
    real = Trainings.alone

    def interrupt(self: Trainings) -> Any:
        pressed.append("Ctrl-C")
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainings, "alone", interrupt)
    code, out, err = call(arguments, capsys)
    assert (code, out, pressed) == (130, "", ["Ctrl-C"])
    assert "Traceback" not in err
    left = json.loads((folder / "again" / "run.json").read_text())
    assert left["status"] == "interrupted"
    assert left["metrics"]["federated"] == done.document["metrics"]["federated"]
    assert left["metrics"]["local_only"] is None

    monkeypatch.setattr(Trainings, "alone", real)
    monkeypatch.setattr(Trainings, "federated", interrupt)  # its stage is finished: it is not called again
    code, out, err = call(arguments, capsys)
    assert code == 0, err
    assert json.loads(out)["metrics"] == done.document["metrics"]
    assert json.loads(out)["plan_hash"] == done.document["plan_hash"]
    assert (done.document["cost"]["sittings"], json.loads(out)["cost"]["sittings"]) == (1, 2)
    assert json.loads(out)["cost"]["seconds"] > left["cost"]["seconds"]


@pytest.mark.parametrize("measured", [True, False])
def test_the_learning_curve_of_an_interrupted_training_goes_on_where_it_stopped(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, measured: bool
) -> None:
    """Ctrl-C comes after the fourth round, once its model was measured or just before."""
    training = ("--learner", "als", "--set", "embedding_dim=4", "--no-alone", "--no-pooled", "--json")
    whole = json.loads(call(arguments_for(folder, f"whole-{measured}", *training), capsys)[1])
    real = Trainings._measure

    def interrupt(self: Trainings, index: int) -> None:
        if index != 3 or measured:
            real(self, index)
        if index == 3:
            raise KeyboardInterrupt

    arguments = arguments_for(folder, f"stopped-{measured}", *training)
    monkeypatch.setattr(Trainings, "_measure", interrupt)
    assert call(arguments, capsys)[0] == 130
    left = json.loads((folder / f"stopped-{measured}" / "run.json").read_text())
    jsonschema.validate(left, json.loads((ROOT / "docs" / "schema" / "run.schema.json").read_text(encoding="utf-8")))
    assert left["progress"] == {"stage": "federated", "rounds_done": 4, "rounds_planned": 13, "message": None}

    monkeypatch.setattr(Trainings, "_measure", real)
    code, out, err = call(arguments, capsys)
    assert code == 0, err
    curve = [(point["round"], point["metric"]) for point in json.loads(out)["history"]]
    assert curve == [(point["round"], point["metric"]) for point in whole["history"]]
    assert all(metric is not None for _, metric in curve)
    assert json.loads(out)["metrics"] == whole["metrics"]


def test_the_table_on_standard_output_is_for_people(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call([x for x in done.arguments if x != "--json"], capsys)
    assert code == 0
    assert "federated" in out
    assert "no privacy guarantee" in out
    assert f"report: {done.directory / 'report.html'}" in out


def test_dim_and_rounds_reach_the_learner(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ("--learner", "als", "--dim", "3", "--rounds", "2", "--no-alone", "--no-pooled", "--every", "0", "--json")
    code, out, err = call(arguments_for(folder, "dim", *chosen), capsys)
    assert code == 0, err
    document = json.loads(out)
    found = document["learner"]["hyper_parameters"]
    assert (found["embedding_dim"], found["sweeps"]) == (3, 2)
    assert document["settings"]["federated"]["given"] == ["embedding_dim", "sweeps"]
    assert document["split"]["validation"] is None


@pytest.mark.parametrize("wrong", [("--rounds", "3"), ("--dim", "3"), ("--dim", "3", "--set", "embedding_dim=4")])
def test_dim_and_rounds_that_a_learner_has_not_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], wrong: tuple[str, ...]
) -> None:
    code, out, _ = call(arguments_for(folder, "no-dim", *wrong), capsys)
    assert (code, out) == (2, "")
    assert not (folder / "no-dim").exists()


def test_a_run_from_python_names_a_line_that_runs_it_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from fedcart.simulation import Config, simulate
    from fedcart.simulation.config import DataConfig, EvaluateConfig, LearnerConfig, OutputConfig

    arguments_for(folder, "api")
    config = Config(
        data=DataConfig(name=str(folder / "sales.csv"), columns={"customer": "person", "item": "sku"}),
        learner=LearnerConfig(name="popularity"),
        evaluate=EvaluateConfig(alone=False, pooled=False, baselines=(), every=0),
        output=OutputConfig(dir=folder / "api"),
    )
    done = simulate(config)
    assert done.document["command"] == f"fedcart simulate {folder / 'api' / 'config.json'} --out {folder / 'api'}"
    before = (folder / "api" / "run.json").read_bytes()
    code, _, err = call(done.document["command"].split()[1:], capsys)
    assert code == 0, err
    assert "already complete" in err
    assert (folder / "api" / "run.json").read_bytes() == before
    code, out, _ = call(
        ["simulate", str(folder / "api" / "config.json"), "--out", str(folder / "api2"), "--json"], capsys
    )
    assert code == 0
    assert json.loads(out)["metrics"] == done.document["metrics"]


@pytest.mark.parametrize(
    ("words", "epsilon"),
    [
        ((), 4.0),
        (("--size", "small", "--seed", "3"), 4.0),
        (("--epsilon", "inf"), float("inf")),
        (("--trust", "none"), float("inf")),
        (("--learner", "gram"), float("inf")),
        (("--data", "ml-100k"), float("inf")),
    ],
)
def test_only_a_run_that_names_nothing_gets_an_epsilon_unasked(
    words: tuple[str, ...], epsilon: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen: list[Config] = []

    def stop(config: Config, *_: object) -> None:
        chosen.append(config)
        raise ConfigError("far enough")

    monkeypatch.setattr("fedcart.simulation.run.simulate", stop)
    assert call(["simulate", *words], capsys)[0] == 2
    assert chosen[0].privacy.epsilon == epsilon


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(["simulate", "--help"], capsys)
    assert code == 0
    assert "Examples:" in out
    assert "fedcart simulate --data sales.csv" in out


def test_a_changed_file_is_not_answered_with_the_results_of_the_old_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = arguments_for(folder, "stale", "--no-alone", "--no-pooled", "--every", "0")
    table = folder / "changing.csv"
    table.write_text(sales())
    arguments[2] = str(table)
    assert call(arguments, capsys)[0] == 0
    code, _, err = call(arguments, capsys)
    assert code == 0
    assert "already complete, from 20" in err
    assert "nothing was run" in err
    table.write_text(sales().replace("sku-3", "sku-2"))
    code, out, err = call(arguments, capsys)
    assert (code, out) == (2, "")
    assert "the data file has changed since this run was begun; nothing was run" in err


def test_a_refused_run_leaves_no_directory(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, _ = call([*arguments_for(folder, "refused"), "--split", "time:1999-01-01"], capsys)
    assert code == 2
    assert not (folder / "refused").exists()


def test_missed_rounds_are_counted_in_run_json_and_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dropped = ("--stores-by", "random", "--stores", "8", "--drop-rate", "0.4", "--seed", "3", "--json")
    code, out, err = call(arguments_for(folder, "dropped", *dropped), capsys)
    assert code == 0, err
    document = json.loads(out)
    answered = [line["stores"] for line in document["history"]]
    assert min(answered) < 8
    assert document["cost"]["stores_answered"] == {"least": min(answered), "mean": sum(answered) / len(answered)}
    assert "Stores missed rounds" in (folder / "dropped" / "report.html").read_text()


def test_one_store_a_customer_is_not_said_to_send_no_rows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(arguments_for(folder, "single", "--stores-by", "customer", "--no-alone", "--json"), capsys)
    assert code == 0, err
    assert any("have a single customer" in line for line in json.loads(out)["privacy"]["uncovered"])
    assert "no rows" not in (folder / "single" / "report.html").read_text()


@pytest.mark.parametrize(
    ("promise", "code"),
    [
        (["--trust", "distributed"], 3),
        (["--trust", "local"], 3),
        (["--trust", "none", "--epsilon", "4"], 2),
        (["--epsilon", "0"], 2),
        (["--epsilon", "-1"], 2),
        (["--epsilon", "nan"], 2),
        (["--epsilon", "4", "--delta", "-1"], 2),
        (["--epsilon", "4", "--delta", "much"], 2),
    ],
)
def test_a_promise_that_nobody_could_keep_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], promise: list[str], code: int
) -> None:
    found, out, _ = call(arguments_for(folder, "promise", *promise), capsys)
    assert (found, out) == (code, "")
    assert not (folder / "promise").exists()
