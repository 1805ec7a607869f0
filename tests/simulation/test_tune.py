"""Settings are chosen on validation, never on test: held-out rows can hold anything and the choice is the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from fedcart.shared.errors import ConfigError, DataError
from fedcart.shared.interactions import DAY
from fedcart.simulation import defaults, tune
from fedcart.simulation.config import Config, DataConfig, SplitConfig, StoresConfig
from fedcart.simulation.run import prepare
from fedcart.simulation.split import Split

PEOPLE, ITEMS, EACH = 60, 24, 6
FIRST_HELD_OUT = "2025-06-01"
AT = pd.Timestamp(FIRST_HELD_OUT).timestamp()


def sales() -> pd.DataFrame:
    """Everybody buys six items, two months apart, the last of them after `FIRST_HELD_OUT`; taste has two camps."""
    generator = np.random.default_rng(4)
    rows = []
    for person in range(PEOPLE):
        likes = np.arange(ITEMS) % 2 == person % 2
        chosen = generator.choice(ITEMS, EACH, replace=False, p=np.where(likes, 9, 1) / (5 * ITEMS))
        for place, item in enumerate(chosen):
            days_before = 50 * (EACH - 1 - place) - 3
            rows.append((f"person {person:02}", f"item {item:02}", int(AT - days_before * DAY + 60 * person)))
    return pd.DataFrame(rows, columns=["customer", "item", "time"])


def write(folder: Path, rows: pd.DataFrame, name: str = "sales.csv") -> Path:
    path = folder / name
    rows.to_csv(path, index=False)
    return path


def config(path: Path, rule: str, stores: int = 3) -> Config:
    return Config(
        data=DataConfig(name=str(path)),
        stores=StoresConfig(count=stores),
        split=SplitConfig(rule=rule, at=FIRST_HELD_OUT if rule == "time" else None),  # type: ignore[arg-type]
    )


def spoil(rows: pd.DataFrame, which: npt.NDArray[np.bool_]) -> pd.DataFrame:
    """The rows of `which` with other items that their customers do not have."""
    spoilt = rows.copy()
    everything = sorted(rows["item"].unique())
    for index in np.flatnonzero(which):
        mine = set(rows["item"][rows["customer"] == rows["customer"][index]])
        spoilt.loc[index, "item"] = next(item for item in everything if item not in mine)
    return spoilt


def latest(rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """[rows] what both rules hold out: each customer's last purchase."""
    return (rows["time"] == rows.groupby("customer")["time"].transform("max")).to_numpy(bool)


RULES = pytest.mark.parametrize("rule", ["leave-one-out", "last-basket", "time"])


def arrays(split: Split) -> list[list[float]]:
    h, out = split.train, split.held_out
    return [list(x) for x in (h.indptr, h.items, h.weights, h.behaviours, out.indptr, out.items, out.is_new)]


@RULES
def test_validation_sees_no_held_out_row(tmp_path: Path, rule: str) -> None:
    rows = sales()
    clean, _ = tune.validation_split(config(write(tmp_path, rows), rule))
    spoilt, _ = tune.validation_split(config(write(tmp_path, spoil(rows, latest(rows)), "spoilt.csv"), rule))
    assert arrays(clean) == arrays(spoilt)


@RULES
def test_the_spoiling_test_would_catch_a_validation_that_looks_at_test_items(tmp_path: Path, rule: str) -> None:
    """The outer split does hold out what was spoilt."""
    rows = sales()
    held = []
    for name, table in (("clean.csv", rows), ("spoilt.csv", spoil(rows, latest(rows)))):
        held.append(prepare(config(write(tmp_path, table, name), rule)).split.held_out)
    assert len(held[0].items) == PEOPLE
    assert (held[0].items != held[1].items).mean() > 0.9


@RULES
def test_validation_items_are_training_items_and_are_not_trained_on(tmp_path: Path, rule: str) -> None:
    whole = config(write(tmp_path, sales()), rule)
    outer, (inner, _) = prepare(whole).split, tune.validation_split(whole)

    def pairs(split: Split) -> set[int]:
        return set((split.train.row_of_pair() * ITEMS + split.train.items).tolist())

    chosen = set((inner.held_out.owner * ITEMS + inner.held_out.items).tolist())
    tested = set((outer.held_out.owner * ITEMS + outer.held_out.items).tolist())
    assert chosen
    assert chosen <= pairs(outer)
    assert not chosen & (pairs(inner) | tested)
    assert pairs(inner) <= pairs(outer)


def test_sets_split_by_time_are_validated_on_the_last_days_before_the_split(tmp_path: Path) -> None:
    inner, _ = tune.validation_split(config(write(tmp_path, sales()), "time"))
    assert (inner.rule, inner.at) == ("time", AT - defaults.VALIDATION_DAYS * DAY)
    assert len(inner.held_out.items) == PEOPLE  # of purchases 50 days apart, 47 days before the split


@pytest.mark.parametrize("most", [3000, 20])
@RULES
def test_the_inner_split_draws_by_person_whatever_the_stores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str, most: int
) -> None:
    monkeypatch.setattr(tune, "MOST_MEASURED", most)
    path = write(tmp_path, sales())
    found = []
    for stores in (1, 7):
        whole = config(path, rule, stores)
        people = prepare(whole).partition.people
        out = tune.validation_split(whole)[0].held_out
        found.append((people.tolist(), dict(zip(people[out.owner].tolist(), out.items.tolist(), strict=True))))
    assert found[0][0] != found[1][0]
    assert found[0][1] == found[1][1]
    assert len(found[0][1]) == min(most, PEOPLE)


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What tune prints for a table, with a small grid: settings and their validation figure."""
    monkeypatch.setattr(
        tune,
        "GRID",
        {
            "itemknn": {"shrink": (0.0, 10.0), "neighbours": (1, 20)},
            "recent": {"half_life_days": (7.0, 1e9)},
            "als": {"embedding_dim": (4,), "regularization": (0.003, 0.1)},
        },
    )
    path = tmp_path / "sales.csv"

    def choose(rows: pd.DataFrame, *arguments: str) -> str:
        write(tmp_path, rows)
        tune.main(["--data", str(path), *arguments])
        return capsys.readouterr().out

    return choose


def test_spoilt_held_out_rows_choose_the_same_settings_with_the_same_figures(chosen: Callable[..., str]) -> None:
    rows = sales()
    found = chosen(rows)
    assert found.count("# validation NDCG@10 0.") == 3
    assert chosen(spoil(rows, latest(rows))) == found


def test_the_choice_does_depend_on_training_rows(chosen: Callable[..., str]) -> None:
    rows = sales()
    second = rows.groupby("customer").cumcount().to_numpy() == 1
    assert chosen(spoil(rows, second)) != chosen(rows)


def test_the_best_of_the_grid_is_printed_as_toml_and_a_fixed_setting_stays(
    chosen: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune, "score", lambda method, settings, *_, **__: settings["neighbours"] - settings["shrink"])
    assert "neighbours = 20" in (out := chosen(sales(), "--methods", "itemknn"))
    assert "shrink = 0.0" in out
    assert "shrink = 5.0" in chosen(sales(), "--methods", "itemknn", "--set", "shrink=5.0")


@pytest.mark.parametrize(("method", "hint"), [("itemkn", "did you mean 'itemknn'?"), ("nothing like it", "known: als")])
def test_an_unknown_method_is_refused_before_anything_is_read(method: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=f"'{method}' has no grid; nothing was read") as caught:
        tune.main(["--data", "no such table.csv", "--methods", f"als,{method}"])
    assert hint in (caught.value.hint or "")


def test_a_run_that_could_measure_one_customer_is_refused(tmp_path: Path) -> None:
    """Its NDCG would be printed with four decimals."""
    rows = sales()
    path = write(tmp_path, rows[rows["customer"] == "person 00"])
    for use in (prepare, tune.validation_split):
        with pytest.raises(DataError, match=r"1 of 1 customers can be measured.*nothing was run"):
            use(config(path, "leave-one-out", 1))


def test_a_validation_that_could_measure_one_customer_is_refused(tmp_path: Path) -> None:
    """Two customers can be tested, of whom one has a single item left in training."""
    rows = sales()
    place = rows.groupby("customer").cumcount()
    two = rows[(rows["customer"] == "person 00") | ((rows["customer"] == "person 01") & (place >= EACH - 2))]
    few = config(write(tmp_path, two), "leave-one-out", 1)
    assert len(prepare(few).split.held_out.measured) == 2
    with pytest.raises(DataError, match="1 of 2 customers"):
        tune.validation_split(few)
