"""CONFIG.toml and flags: one table a class, unknown keys refused by name, flags over the file, `auto` resolved."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import ConfigError
from fedcart.shared.interactions import Interactions
from fedcart.simulation import defaults
from fedcart.simulation.config import Config, DataConfig, LearnerConfig, PrivacyConfig, RoundsConfig, SplitConfig
from fedcart.simulation.datasets.dataset import Dataset, GivenSplit, Reading
from fedcart.simulation.provenance import TUNED_ELSEWHERE, TUNED_HERE, provenance, validation
from fedcart.simulation.run import shell_line
from fedcart.simulation.split import make_split

FILE = """
seed = 3
[data]
name = "sales.csv"
columns = {customer = "who", item = "sku"}
[stores]
count = 5
[learner]
name = "als"
embedding_dim = 16
sweeps = 4
[privacy]
epsilon = inf
"""


def read(tmp_path: Path, text: str, **overrides: Any) -> Config:
    path = tmp_path / "run.toml"
    path.write_text(text)
    return Config.read(path, {key.replace("__", "."): value for key, value in overrides.items()})


def test_a_file_becomes_a_configuration(tmp_path: Path) -> None:
    config = read(tmp_path, FILE)
    assert (config.seed, config.data.name, config.stores.count, config.learner.name) == (3, "sales.csv", 5, "als")
    assert config.learner.settings == {"embedding_dim": 16, "sweeps": 4}
    assert config.privacy.epsilon == float("inf")
    assert config.stores.by == "auto"


def test_flags_go_over_the_file_and_leave_the_rest(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        FILE,
        seed=7,
        stores__count=2,
        stores__by=None,
        learner__settings={"sweeps": 9},
        data__columns={"time": "day"},
    )
    assert (config.seed, config.stores.count, config.stores.by) == (7, 2, "auto")
    assert config.learner.settings == {"embedding_dim": 16, "sweeps": 9}
    assert config.data.columns == {"customer": "who", "item": "sku", "time": "day"}


def test_flags_need_no_file() -> None:
    assert Config.read(None, {"seed": 1, "data.name": "ml-1m"}).data.name == "ml-1m"
    assert Config.read(None, {}) == Config()


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("sead = 1", "run.toml: unknown key 'sead'", "did you mean 'seed'?"),
        ("[store]\ncount = 1", "run.toml: unknown key 'store'", "did you mean 'stores'?"),
        ("[stores]\ncoutn = 1", "run.toml: stores: unknown key 'coutn'", "did you mean 'count'?"),
        ("[stores]\ncount = 0", "run.toml: stores.count: 0 must be at least 1", None),
        ("[stores]\ncount = '8'", "run.toml: stores.count: int is needed, not '8'", None),
        ("[engine]\ndrop_rate = 0.95", "run.toml: engine.drop_rate: 0.95 must be at most 0.9", None),
        ("[engine]\nname = 'rays'", "is not one of 'in-process', 'ray'", "did you mean 'ray'?"),
        ("[privacy]\nepsilon = nan", "run.toml: privacy.epsilon: nan must be above 0", None),
        ("[privacy]\nepsilon = 0", "run.toml: privacy.epsilon: 0.0 must be above 0", None),
        ("[evaluate]\nbaselines = 'ease'", "run.toml: evaluate.baselines: a list is needed", None),
        ("[evaluate]\nshare = 0", "run.toml: evaluate.share: 0.0 must be above 0", None),
        ("[data.behaviour_weights]\npurchas = 1", "behaviour_weights: unknown 'purchas'", "did you mean 'purchase'?"),
        ("[data.behaviour_weights]\nview = -1", "behaviour_weights: view = -1.0 must be at least 0", None),
        ("[data.behaviour_weights]\nview = inf", "behaviour_weights: view = inf must be at least 0 and finite", None),
        ("data = 3", "run.toml: data: a table is needed, not 3", None),
        ("learner = 'als'", "run.toml: learner: a table is needed, not 'als'", None),
        ("schema = 2", "configuration schema 2; this version reads 1", None),
        ("seed = true", "run.toml: seed: int is needed, not True", None),
    ],
)
def test_refuses_by_file_table_and_key(tmp_path: Path, text: str, message: str, hint: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert message in caught.value.message
    assert caught.value.exit_code == 2
    assert hint is None or caught.value.hint == hint


@pytest.mark.parametrize("text", ["data = 3", "learner = 'als'"])
def test_a_flag_does_not_hide_a_table_that_is_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="a table is needed"):
        read(tmp_path, text, data__name="x", learner__name="als", learner__settings={"sweeps": 1})


def test_the_document_is_json_and_tells_configurations_apart(tmp_path: Path) -> None:
    config = read(tmp_path, FILE, output__dir=tmp_path / "out", evaluate__baselines=["ease"])
    document = json.loads(json.dumps(config.document(), allow_nan=False))
    assert document == config.document()
    assert document["privacy"]["epsilon"] == "inf"
    assert document["evaluate"]["baselines"] == ["ease"]
    assert document["output"]["dir"] == str(tmp_path / "out")
    assert read(tmp_path, FILE, seed=4).document() != config.document()


def test_results_show_no_password_of_a_database() -> None:
    url = "postgresql://ann:secret@shop/sales"
    config = Config.read(None, {"data.name": url})
    shown = json.dumps([config.shown(), shell_line(["simulate", "--data", url, f"--data={url}", "--out", "runs/x"])])
    assert "secret" not in shown
    assert "postgresql://ann:***@shop/sales" in shown
    assert shown.endswith('--out runs/x"]')
    assert config.document()["data"]["name"] == url  # what reads the data again
    assert Config().shown() == Config().document()


def dataset(name: str = "toy", own: bool = False) -> Dataset:
    rows = Interactions.build([0], [0], time=[1])
    given = GivenSplit(rows, np.zeros((1, 1), np.int32)) if own else None
    return Dataset(name, rows, 1, Catalogue(("a",), "given"), (), Reading(1, 1), given_split=given)


@pytest.mark.parametrize(
    ("name", "own", "rule", "at", "expected"),
    [
        ("toy", False, "auto", None, ("leave-one-out", None)),
        ("toy", True, "auto", None, ("ncf", None)),
        ("toy", False, "auto", "1970-01-02", ("time", 86_400)),
        ("toy", True, "auto", "1970-01-02", ("time", 86_400)),
        ("online-retail", False, "auto", None, ("time", 1_317_427_200)),
        ("online-retail", False, "leave-one-out", None, ("leave-one-out", None)),
        ("toy", False, "time", "1969-12-31", ("time", -86_400)),
    ],
)
def test_auto_is_the_sets_own_split_or_its_day(
    name: str, own: bool, rule: Any, at: str | None, expected: tuple[str, int | None]
) -> None:
    assert defaults.split_rule(dataset(name, own), SplitConfig(rule=rule, at=at)) == expected


@pytest.mark.parametrize(
    ("rule", "at", "message"),
    [
        ("time", None, "needs a first held-out day"),
        ("time", "yesterday", "'yesterday' is not a day"),
        ("time", "2011-13-01", "is not a day"),
        ("leave-one-out", "2011-10-01", "has no use for '2011-10-01'"),
    ],
)
def test_a_day_that_cannot_be_used_is_refused(rule: Any, at: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        defaults.split_rule(dataset(), SplitConfig(rule=rule, at=at))
    assert caught.value.hint


def test_settings_of_an_unknown_set_are_the_default_ones() -> None:
    assert defaults.settings("nobody knows it", "als") == defaults.settings("default", "als") != {}
    assert defaults.settings("ml-1m", "no such method") == {}


@pytest.mark.parametrize(
    ("name", "method", "source", "words"),
    [
        ("online-retail", "gram", "validation", "tuned on validation of this set"),
        ("ncf-split", "ials", "published", "published: Rendle et al. 2022, arXiv:2110.14037"),
        ("ncf-split", "itemknn", "default", "the method's defaults, not tuned"),
        ("ml-1m", "als", "other set", "chosen on another set"),
        ("ml-1m", "mf", "default", "the method's defaults, not tuned"),
        ("sales.csv", "gram", "other set", "chosen on another set"),
        ("sales.csv", "popularity", "none", "has no settings"),
    ],
)
def test_settings_say_where_they_come_from(name: str, method: str, source: str, words: str) -> None:
    found = defaults.chosen(name, method)
    assert (found.source, found.words) == (source, words)
    assert "source" not in found.settings


def test_settings_under_an_epsilon_are_tuned_on_no_set() -> None:
    assert defaults.chosen("ml-1m", "mf", private=True).source == "private"


def found_for(name: str, methods: tuple[str, ...], trained: str = "gram", at: int | None = None, **tables: Any) -> Any:
    rows = Interactions.build([0, 0], [0, 1], time=[1, 2])
    data = Dataset(name, rows, 1, Catalogue(("a", "b"), "given"), (), Reading(2, 2))
    split = make_split(rows, 1, 2, rule="leave-one-out", seed=0)
    if at is not None:
        split = dataclasses.replace(split, rule="time", at=at)
    return provenance(Config(**tables), data, split, trained, methods)


def test_what_was_tuned_under_another_split_or_draw_is_not_called_tuned() -> None:
    day = 1_317_427_200
    assert found_for("online-retail", ("same",), at=day)["same"]["source"] == "validation"
    assert found_for("online-retail", ("same",), at=day + 86_400)["same"]["source"] == "other set"
    assert found_for("online-retail", ("same",))["same"]["words"] == TUNED_ELSEWHERE
    noise = {"trained": "spectral", "privacy": PrivacyConfig(epsilon=4.0)}
    for at, words in ((day, TUNED_HERE), (None, TUNED_ELSEWHERE)):  # a part of the settings is the set's own
        found = found_for("online-retail", ("federated",), at=at, **noise)["federated"]
        assert found["words"].endswith(f"them {words}")
    day = 1_761_177_600
    assert found_for("marketplace", ("ease",), at=day)["ease"]["source"] == "validation"
    assert found_for("marketplace", ("ease",), at=day, seed=1)["ease"]["source"] == "other set"
    small = DataConfig(size="small")
    assert found_for("marketplace", ("ease",), at=day, data=small)["ease"]["source"] == "other set"
    full = DataConfig(events="full")
    assert found_for("marketplace", ("ease",), at=day, data=full)["ease"]["source"] == "other set"


@pytest.mark.parametrize(
    "line",
    [
        "query = 'select 1'", "columns = {'customer': 'who'}", "behaviours = {'buy': 'purchase'}", "behaviour = 'view'",
        "items = 'items.csv'", "encoding = 'latin-1'", "separator = ';'", "max_bad_rows = 0.5",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["ml-100k", "marketplace"])
def test_what_only_a_table_has_is_refused_for_named_sets(tmp_path: Path, name: str, line: str) -> None:
    toml = line.replace("'customer':", "customer =").replace("'buy':", "buy =")
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"[data]\nname = '{name}'\n{toml}")
    wanted = f"[data] {line} is for a file or database, and the data are '{name}'; nothing was read"
    assert caught.value.message == wanted
    assert "or name a file with --data" in str(caught.value.hint)
    assert read(tmp_path, f"[data]\nname = 'sales.csv'\n{toml}").data.name == "sales.csv"


@pytest.mark.parametrize(("key", "value"), [("events", "full"), ("size", "small")])
def test_what_only_the_marketplace_has_is_refused_for_other_data(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"[data]\nname = 'postgresql://me:secret@host/shop'\n{key} = '{value}'")
    assert caught.value.message == (
        f"[data] {key} = '{value}' is the marketplace's alone, and the data are 'postgresql://me:***@host/shop'; "
        "nothing was read"
    )
    assert caught.value.hint == f"leave {key} out, or use --data marketplace"
    assert getattr(read(tmp_path, f"[data]\n{key} = '{value}'").data, key) == value


def test_settings_tuned_without_noise_are_said_to_be_so_in_a_run_with_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = defaults._tables()
    del tables["private"]["gram"]
    monkeypatch.setattr(defaults, "_tables", lambda: tables)
    found = found_for("ml-100k", ("federated", "no_noise"), privacy=PrivacyConfig(epsilon=4.0))
    assert found["federated"]["words"] == "tuned on validation of this set; without noise"
    assert found["no_noise"]["words"] == "tuned on validation of this set"


def test_settings_given_by_hand_are_named_and_touch_the_learner_only() -> None:
    learner = LearnerConfig(name="als", settings={"sweeps": 3})
    found = found_for("ml-100k", ("federated", "same", "ials"), "als", learner=learner)
    assert found["federated"] == found["same"]
    assert found["same"] == {
        "source": "given",
        "words": "given: sweeps; the others tuned on validation of this set",
        "given": ["sweeps"],
    }
    assert found["ials"] == {"source": "validation", "words": "tuned on validation of this set", "given": []}
    assert validation("ml-100k", found) == "one training item a customer, by seeded hash; for ials"
    assert validation("ncf-split", found_for("ncf-split", ("ials", "random"))) is None


@pytest.mark.parametrize(("learner", "key"), [("als", "sweeps"), ("mf", "round_count"), ("ncf", "round_count")])
def test_rounds_are_the_learners_own_number(learner: str, key: str) -> None:
    config = Config(rounds=RoundsConfig(count=7), learner=LearnerConfig(settings={"embedding_dim": 8}))
    assert defaults.given_settings(config, learner) == {"embedding_dim": 8, key: 7}
    assert defaults.given_settings(Config(), learner) == {}


def test_rounds_that_cannot_be_chosen_are_refused() -> None:
    with pytest.raises(ConfigError, match="learner 'gram' has a fixed number of rounds; nothing was run"):
        defaults.given_settings(Config(rounds=RoundsConfig(count=7)), "gram")
    twice = Config(rounds=RoundsConfig(count=7), learner=LearnerConfig(settings={"sweeps": 8}))
    with pytest.raises(ConfigError, match=r"count 7 and .learner. sweeps 8 differ"):
        defaults.given_settings(twice, "als")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[learner]\nnam = 'als'", "run.toml: learner: unknown key 'nam'", "did you mean 'name'?"),
        ("[learner]\nname = 'als'\nsweps = 3", "run.toml: learner: unknown key 'sweps'", "did you mean 'sweeps'?"),
    ],
)
def test_a_misspelt_key_of_the_learner_is_refused_by_its_file(
    tmp_path: Path, text: str, message: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert caught.value.message.endswith(message)
    assert caught.value.hint == hint


def test_the_configuration_that_a_run_leaves_can_be_run_again(tmp_path: Path) -> None:
    config = read(tmp_path, FILE, evaluate__baselines=["ease"], privacy__bounds={"gram": {"clip_norm": 2.0}})
    left = tmp_path / "config.json"
    left.write_text(json.dumps(config.document() | {"contents": {"data": "0" * 64}}))
    assert Config.read(left, {}) == config
    left.write_text("[]")
    with pytest.raises(ConfigError, match="a table is needed"):
        Config.read(left, {})
    left.write_text("{")
    with pytest.raises(ConfigError, match=r"config\.json: "):
        Config.read(left, {})


def test_every_chosen_setting_is_one_that_its_learner_has() -> None:
    """settings.toml is data: a misspelt key would otherwise show only in the run that uses it."""
    import tomllib
    from importlib import resources

    from fedcart.shared.learners import BUILT_IN
    from fedcart.shared.plan import build_learner
    from fedcart.simulation import baselines

    tables = tomllib.loads((resources.files("fedcart.simulation") / "settings.toml").read_text(encoding="utf-8"))
    learners = [(table, name) for table in tables for name in tables[table] if name in BUILT_IN]
    assert learners
    for table, name in learners:
        if name not in ("mf", "ncf"):  # those need torch; their own tests build them
            build_learner(name, {key: value for key, value in tables[table][name].items() if key != "source"})
    others = [(table, name) for table in tables for name in tables[table] if name not in BUILT_IN]
    assert {name for _, name in others} <= set(baselines.NAMES)
    for table, name in others:
        for key in tables[table][name].keys() - {"source"}:
            baselines.setting(name, key, {})  # KeyError: it has none of that name


def test_settings_of_spectral_name_every_set_that_they_were_chosen_on() -> None:
    words = defaults.chosen("ml-100k", "spectral", private=True, epsilon=4.0).words
    assert words == "a function of ε and the bound on customers, chosen on ncf-split and online-retail"
    sources = {name: defaults.chosen(name, "spectral").source for name in ("ncf-split", "online-retail", "marketplace")}
    assert sources == {"ncf-split": "validation", "online-retail": "validation", "marketplace": "other set"}


def test_auto_is_ease_while_its_matrix_fits_and_als_above():
    assert [defaults.learner_name("auto", items) for items in (4096, 4097)] == ["gram", "als"]
    assert defaults.learner_name("popularity", 10) == "popularity"
    assert defaults.learner_name("auto", 10, epsilon=4.0) == "spectral"
