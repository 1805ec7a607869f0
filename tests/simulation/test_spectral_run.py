"""A private run from end to end with nothing chosen: the learner, what it is told, and what stands beside it."""

from __future__ import annotations

import dataclasses

import pytest

from fedcart.simulation import Config, simulate

PEOPLE, ITEMS = 80, 12


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    place = tmp_path_factory.mktemp("spectral")
    rows = ["person,sku,when,branch"]
    for person in range(PEOPLE):
        rows += [f"p{person},s{(person * 5 + 3 * k) % ITEMS},{1000 + k},b{person % 5}" for k in range(4)]
    (place / "sales.csv").write_text("\n".join(rows) + "\n")
    config = Config.read(
        None,
        {
            "data.name": str(place / "sales.csv"),
            "data.columns": {"customer": "person", "item": "sku", "time": "when", "store": "branch"},
            "evaluate.baselines": ["content", "recent", "recent_own"],
            "evaluate.alone": False,
            "evaluate.pooled": False,
            "output.dir": place / "run",
            "privacy.epsilon": 4.0,
            "privacy.rehearsal": True,
        },
    )
    return config, simulate(config)


def test_auto_under_an_epsilon_is_spectral_with_settings_of_epsilon_and_the_bound(done):
    _, result = done
    learner = result.document["learner"]
    assert learner["name"] == "spectral"
    assert learner["hyper_parameters"]["popularity_share"] == 0.6  # 4 x 80 / 6,040: little signal
    assert result.document["settings"]["federated"]["source"] == "private"
    assert "function of ε" in result.document["settings"]["federated"]["words"]


def test_baselines_that_need_popularity_alone_say_that_theirs_was_released(done):
    _, result = done
    settings = result.document["settings"]
    for name in ("content", "centralized.recent", "centralized.recent_own"):
        assert "popularity released at the run's ε" in settings[name]["words"]
    assert result.document["metrics"]["content"]["full"]["ndcg@10"] >= 0.0


def test_popularity_and_each_sketch_are_charged_as_the_shares_say(done):
    _, result = done
    releases = {row["name"]: row for row in result.document["privacy"]["releases"]}
    assert {name: row["rounds"] for name, row in releases.items()} == {"popularity": 1, "sketch": 2}
    assert releases["sketch"]["clip_norm"] == 0.2
    assert releases["popularity"]["epsilon"] > releases["sketch"]["epsilon"]


def test_a_run_that_reads_the_order_of_own_histories_says_so_and_stands_beside_one_that_does_not(done, tmp_path):
    config, plain = done
    plan = {"name": "spectral", "settings": {"order_weight": 100.0}}
    config = dataclasses.replace(
        config,
        learner=dataclasses.replace(config.learner, **plan),
        evaluate=dataclasses.replace(config.evaluate, baselines=(), no_noise=False),
        output=dataclasses.replace(config.output, dir=tmp_path / "run"),
    )
    found, before = simulate(config).document, plain.document
    assert found["learner"]["order_of_own_history"] == "local, no ε"
    assert before["learner"]["order_of_own_history"] is None
    assert before["metrics"]["without_order"] is None
    blind = found["metrics"]["without_order"]
    assert blind["n"] == found["metrics"]["federated"]["n"]
    assert blind["full"] != found["metrics"]["federated"]["full"]
    assert "without_order" in {pair["against"] for pair in found["metrics"]["paired"]}
    assert found["privacy"]["epsilon"] == before["privacy"]["epsilon"]
    assert "order of own history unread" in (tmp_path / "run" / "report.html").read_text()


def test_each_store_also_serves_with_its_own_co_occurrences_beside_and_is_measured_so(done, tmp_path):
    config, _ = done
    config = dataclasses.replace(
        config,
        evaluate=dataclasses.replace(config.evaluate, baselines=(), no_noise=False, alone=True),
        output=dataclasses.replace(config.output, dir=tmp_path / "run"),
    )
    result = simulate(config)
    metrics, every = result.document["metrics"], result.document["metrics_all_items"]
    for block in (metrics, every):
        assert block["with_store"]["n"] == block["federated"]["n"]
        assert block["with_store"]["full"] != block["federated"]["full"]
        assert block["alone_with_store"]["full"] not in (block["local_only"]["full"], block["with_store"]["full"])
    pairs = {(pair["method"], pair["against"], pair["metric"]) for pair in metrics["paired"]}
    assert {("federated", "with_store", "ndcg@10"), ("with_store", "alone_with_store", "ndcg@10")} <= pairs
    assert ("with_store", "alone_with_store", "macro ndcg@10") in pairs
    settings = result.document["settings"]
    assert settings["with_store"]["source"] == settings["federated"]["source"]
    assert "no ε covers it" in settings["with_store"]["words"]
    assert "no ε covers it" in (result.directory / "report.html").read_text()
