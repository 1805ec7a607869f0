"""Engines: the same two apps, the same bits, whichever way the messages go; faults that hit whom they should."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcart.server.checkpoint import load_checkpoint
from fedcart.server.exchange import exchange
from fedcart.shared import flower_compat as fc
from fedcart.shared.agreement import Agreement
from fedcart.shared.errors import ConfigError, FedcartError, RoundFailed
from fedcart.shared.privacy.release import Release
from fedcart.shared.wire import write_reply
from fedcart.simulation.engines import EngineSettings, run
from fedcart.simulation.engines.faults import Fault, FaultyGrid, Kind, coin_drops
from fedcart.simulation.engines.in_process import FIRST_NODE, InProcessGrid
from small_run import final_hash, write_small_run

SETTINGS = {
    "lazy": EngineSettings(),
    "copy": EngineSettings(mode="copy"),
    "wire": EngineSettings(mode="wire"),
    "lazy, three threads": EngineSettings(threads=3),
    "wire, three threads": EngineSettings(mode="wire", threads=3),
}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("expected")
    write_small_run(directory, stores=6, learner="stepping")
    run(directory, 6, EngineSettings())
    return final_hash(directory)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_mode_ends_on_the_same_bits(tmp_path: Path, expected: str, name: str) -> None:
    write_small_run(tmp_path, stores=6, learner="stepping")
    run(tmp_path, 6, SETTINGS[name])
    assert final_hash(tmp_path) == expected


@pytest.mark.parametrize(
    ("learner", "settings_of_it"), [("als", {"embedding_dim": 3, "sweeps": 3}), ("gram", {})], ids=["als", "gram"]
)
def test_a_built_in_learner_ends_on_the_same_bits_by_wire(
    tmp_path: Path, learner: str, settings_of_it: dict[str, object]
) -> None:
    hashes = set()
    for mode in ("lazy", "wire"):
        (tmp_path / mode).mkdir()
        write_small_run(tmp_path / mode, stores=5, learner=learner, **settings_of_it)  # type: ignore[arg-type]
        run(tmp_path / mode, 5, EngineSettings(mode=mode))  # type: ignore[arg-type]
        hashes.add(final_hash(tmp_path / mode))
    assert len(hashes) == 1


def test_the_order_of_the_sum_matters_to_these_bits() -> None:
    numbers = np.random.default_rng(0).random((6, 100))
    assert (sum(numbers) != sum(numbers[::-1])).any()  # type: ignore[union-attr]


@pytest.mark.slow
def test_ray_ends_on_the_same_bits_and_tells_standard_output_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for engine in ("in-process", "ray"):
        (tmp_path / engine).mkdir()
        write_small_run(tmp_path / engine, stores=5, customers_per_store=40)
        run(tmp_path / engine, 5, EngineSettings(name=engine, threads=2))  # type: ignore[arg-type]
    assert final_hash(tmp_path / "ray") == final_hash(tmp_path / "in-process")
    assert capfd.readouterr().out == ""


@pytest.mark.slow
def test_on_ray_a_failing_store_is_named_by_class_and_the_round_goes_on(tmp_path: Path) -> None:
    agreement = write_small_run(tmp_path, stores=4)
    np.save(tmp_path / "records" / "stores.npy", np.array([0, 5, 10, 15]))  # the last store is gone
    faults = {1: Fault("drop")}
    settings_ = EngineSettings(name="ray", quorum=2)
    run(tmp_path, 4, settings_, lambda store, *_: faults.get(store))
    found = load_checkpoint(tmp_path, agreement.plan_hash)
    assert found is not None
    assert found.line["failures"] == {"DataError": 1, "NodeUnavailable": 1}


def test_a_runtime_that_cannot_start_ends_the_run_instead_of_waiting_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fedcart.simulation.engines import ray

    monkeypatch.setattr(ray, "ray_backend", lambda *_: {"init_args": {"no_such_argument": 1}})
    write_small_run(tmp_path)
    with pytest.raises(FedcartError, match="simulation runtime stopped: RuntimeError"):
        run(tmp_path, 4, EngineSettings(name="ray"))


def test_without_ray_the_engine_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        run(tmp_path, 4, EngineSettings(name="ray"))
    assert caught.value.hint == "pip install 'fedcart[simulation]'"


def test_in_wire_mode_every_message_is_serialised_and_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fedcart.simulation.engines import in_process

    passed: list[int] = []

    def counted(message: fc.Message) -> tuple[bytes, dict[str, bytes]]:
        wire = fc.to_wire(message)
        passed.append(len(wire[0]) + sum(map(len, wire[1].values())))
        return wire

    monkeypatch.setattr(in_process, "to_wire", counted)
    write_small_run(tmp_path, stores=4)
    run(tmp_path, 4, EngineSettings(mode="wire"))
    assert len(passed) == 8
    assert min(passed) > 12 * 4


def test_a_store_cannot_change_what_the_others_receive(tmp_path: Path) -> None:
    for mode in ("copy", "wire"):
        app = fc.ClientApp()
        seen: list[int] = []

        @app.train()
        def train(message: fc.Message, context: fc.Context, seen: list[int] = seen) -> fc.Message:
            seen.append(message.content["c"]["x"])  # type: ignore[arg-type, index]
            message.content["c"]["x"] = 99  # type: ignore[index]
            return fc.Message(fc.RecordDict(), reply_to=message)

        fc.become_coordinator(1)
        grid = InProcessGrid(app, 3, lambda store: {}, mode)  # type: ignore[arg-type]
        content = fc.RecordDict({"c": fc.ConfigRecord({"x": 1})})
        ids = grid.push_messages([fc.Message(content, node, "train") for node in grid.get_node_ids()])
        assert len(list(grid.pull_messages(ids))) == 3
        assert seen == [1, 1, 1]


def test_lazy_runs_a_store_when_its_reply_is_asked_for() -> None:
    _, grid, ran = powers(5)
    ids = list(grid.push_messages([fc.Message(fc.RecordDict(), node, "train") for node in grid.get_node_ids()]))
    assert ran == []
    assert len(list(grid.pull_messages([ids[3]]))) == 1
    assert ran == [3]
    assert list(grid.pull_messages([ids[3]])) == []
    assert list(grid.pull_messages(["another"])) == []


def test_threads_run_ahead_by_no_more_than_their_number() -> None:
    _, grid, ran = powers(9, threads=2)
    with grid:
        ids = list(grid.push_messages([fc.Message(fc.RecordDict(), node, "train") for node in grid.get_node_ids()]))
        for position, message_id in enumerate(ids):
            assert len(list(grid.pull_messages([message_id]))) == 1
            assert len(ran) <= position + 2
    assert sorted(ran) == list(range(9))


def test_an_exception_of_the_app_becomes_an_error_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    app = fc.ClientApp()

    @app.train()
    def train(message: fc.Message, context: fc.Context) -> fc.Message:
        raise LookupError("customer 17")

    fc.become_coordinator(1)
    grid = InProcessGrid(app, 1, lambda store: {})
    with caplog.at_level(logging.CRITICAL, "fedcart.engine"):
        (reply,) = grid.pull_messages(grid.push_messages([fc.Message(fc.RecordDict(), FIRST_NODE, "train")]))
    assert reply.error == fc.Error(fc.RAISED, "LookupError")


def test_a_node_keeps_its_context_between_rounds() -> None:
    app = fc.ClientApp()

    @app.train()
    def train(message: fc.Message, context: fc.Context) -> fc.Message:
        seen = context.state.get("seen", fc.ConfigRecord({"times": 0}))
        context.state["seen"] = fc.ConfigRecord({"times": seen["times"] + 1})  # type: ignore[index, operator]
        return fc.Message(fc.RecordDict({"seen": context.state["seen"]}), reply_to=message)

    fc.become_coordinator(1)
    grid = InProcessGrid(app, 2, lambda store: {})
    for times in (1, 2, 3):
        ids = grid.push_messages([fc.Message(fc.RecordDict(), FIRST_NODE, "train")])
        (reply,) = grid.pull_messages(ids)
        assert reply.content["seen"]["times"] == times  # type: ignore[index]


def powers(stores: int, threads: int = 1) -> tuple[fc.ClientApp, InProcessGrid, list[int]]:
    """An app whose store s sends 2^s: a sum names who is in it."""
    app, ran, lock = fc.ClientApp(), list[int](), threading.Lock()

    @app.train()
    def train(message: fc.Message, context: fc.Context) -> fc.Message:
        store = context.node_config["store"]
        assert isinstance(store, int)
        with lock:
            ran.append(store)
        return fc.Message(write_reply({"x": np.full(3, 2.0**store)}), reply_to=message)

    fc.become_coordinator(1)
    return app, InProcessGrid(app, stores, lambda store: {"store": store}, threads=threads), ran


KINDS: tuple[Kind | None, ...] = (None, None, "drop", "silent", "delay", "raise", "corrupt", "duplicate", "foreign")
ANSWERS = {None, "delay", "duplicate", "foreign"}
FAILURES = {"drop": "NodeUnavailable", "silent": "NoReply", "raise": "RuntimeError", "corrupt": "ProtocolError"}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.sampled_from(KINDS), min_size=5, max_size=5), min_size=1, max_size=3), st.integers(1, 2))
def test_whatever_goes_wrong_the_sum_is_that_of_the_stores_that_answered(
    rounds: list[list[Kind | None]], threads: int
) -> None:
    def hook(store: int, round_index: int, attempt: int) -> Fault | None:
        kind = rounds[round_index][store]
        return None if kind is None else Fault(kind, seconds=0.005)

    _, inner, ran = powers(5, threads)
    with inner:
        grid = FaultyGrid(inner, hook)
        for index, kinds in enumerate(rounds):
            ran.clear()
            outcome = exchange(
                grid,
                list(grid.get_node_ids()),
                fc.RecordDict(),
                [Release(name="x", shape=(3,))],
                group=f"{index}.0",
                deadline_s=0.25 if "silent" in kinds else 5.0,
            )
            assert outcome.totals["x"].tolist() == [float(sum(1 << s for s in range(5) if kinds[s] in ANSWERS))] * 3
            assert outcome.failures == {FIRST_NODE + s: FAILURES[k] for s, k in enumerate(kinds) if k in FAILURES}
            assert not {s for s in ran if kinds[s] in ("drop", "silent", "raise")}


def test_coins_drop_at_their_rate_and_do_not_depend_on_who_else_is_there() -> None:
    hook = coin_drops(0.3, seed=5)
    fallen = [(s, r) for s in range(200) for r in range(20) if hook(s, r, 0) is not None]
    assert 0.27 < len(fallen) / 4000 < 0.33  # 4.1 standard deviations: fails once in 25,000 seeds
    assert hook(3, 1, 0) == coin_drops(0.3, seed=5)(3, 1, 0)
    assert [hook(s, 0, 0) for s in range(50)] != [hook(s, 0, 1) for s in range(50)]
    assert [hook(s, 0, 0) for s in range(50)] != [coin_drops(0.3, seed=6)(s, 0, 0) for s in range(50)]


def test_a_run_with_drops_needs_more_than_half_and_is_repeatable(tmp_path: Path) -> None:
    hashes = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_small_run(tmp_path / name, stores=9, learner="stepping", attempts=20)
        run(tmp_path / name, 9, EngineSettings(drop_rate=0.3, seed=2))
        hashes.append(final_hash(tmp_path / name))
        found = load_checkpoint(tmp_path / name, Agreement.open(tmp_path / name).plan_hash)
        assert found is not None
        assert 5 <= found.line["stores"] <= 9
    assert hashes[0] == hashes[1]
    (tmp_path / "c").mkdir()
    write_small_run(tmp_path / "c", stores=9, learner="stepping")
    with pytest.raises(RoundFailed):
        run(tmp_path / "c", 9, EngineSettings(drop_rate=0.9, seed=2))


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "rey"},
        {"mode": "fast"},
        {"threads": 0},
        {"drop_rate": 1.0},
        {"drop_rate": -0.1},
        {"drop_rate": float("nan")},
        {"deadline_s": 0.0},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="nothing was run"):
        EngineSettings(**wrong)  # type: ignore[arg-type]


def test_a_run_without_stores_is_refused(tmp_path: Path) -> None:
    write_small_run(tmp_path)
    with pytest.raises(ConfigError, match="at least one"):
        run(tmp_path, 0, EngineSettings())
