"""The store's app and gate: what is checked before anything is released, and what the coordinator learns."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcart.client.app import app
from fedcart.client.records import StoreRecords
from fedcart.shared import flower_compat as fc
from fedcart.shared.agreement import Agreement
from fedcart.shared.learners.base import State
from fedcart.shared.learners.popularity import Popularity
from fedcart.shared.wire import read_instruction, read_reply, write_instruction
from small_run import write_small_run


def ask(directory: Path, content: fc.RecordDict, *, ttl: float = 60.0, age: float = 0.0, **config: Any) -> fc.Message:
    fc.become_coordinator(1)
    message = fc.Message(content, 2, "train", ttl=ttl, group_id="0.0")
    message.metadata.created_at -= age
    node = {"records": str(directory), "store": 0} | config
    return app(message, fc.Context(1, 2, node, fc.RecordDict(), {}))


def first(agreement: Agreement) -> State:
    return agreement.learner.initial_state(agreement.catalogue, 0)


def test_the_reply_is_one_array_a_release_and_nothing_else(tmp_path: Path) -> None:
    agreement = write_small_run(tmp_path)
    reply = ask(tmp_path, write_instruction(agreement.plan_hash, 0, first(agreement)))
    assert set(reply.content) == {"totals"}
    totals = read_reply(reply.content, agreement.rounds[0].releases)
    records = StoreRecords.open(tmp_path, 0)
    assert totals["popularity"].sum() == pytest.approx(np.sqrt(records.histories.counts).sum())


def test_a_store_with_nothing_replies_like_any_other(tmp_path: Path) -> None:
    agreement = write_small_run(tmp_path, stores=4)
    reply = ask(tmp_path, write_instruction(agreement.plan_hash, 0, first(agreement)), store=2)
    assert read_reply(reply.content, agreement.rounds[0].releases)["popularity"].tolist() == [0.0] * 12


def test_a_simulated_node_is_known_by_its_partition(tmp_path: Path) -> None:
    agreement = write_small_run(tmp_path)
    content = write_instruction(agreement.plan_hash, 0, first(agreement))
    message = fc.Message(content, 2, "train", ttl=60.0)
    context = fc.Context(1, 2, {"partition-id": 0}, fc.RecordDict(), {"records": str(tmp_path)})
    assert app(message, context).content == ask(tmp_path, content).content


def forged(agreement: Agreement) -> dict[str, fc.RecordDict]:
    state = first(agreement)
    good = write_instruction(agreement.plan_hash, 0, state)
    swapped = write_instruction(agreement.plan_hash, 0, State({"popularity": state.public["popularity"] + 1}))
    swapped["round"] = good["round"]
    wide = write_instruction(agreement.plan_hash, 0, state)
    wide["state"] = fc.pack_arrays({"popularity": np.zeros(12)})
    return {
        "another plan": write_instruction("0" * 64, 0, state),
        "a round after the last": write_instruction(agreement.plan_hash, 1, state),
        "a round before the first": write_instruction(agreement.plan_hash, -1, state),
        "a model that is not its hash's": swapped,
        "a float64 model": wide,
        "no model": fc.RecordDict({"round": good["round"]}),
        "no round": fc.RecordDict({"state": good["state"]}),
        "a question too many": fc.RecordDict({**good, "evaluate": fc.ConfigRecord({"x": 1})}),
        "no hash": fc.RecordDict({"state": good["state"], "round": fc.ConfigRecord({"index": 0})}),
    }


CASES = [
    "another plan",
    "a round after the last",
    "a round before the first",
    "a model that is not its hash's",
    "a float64 model",
    "no model",
    "no round",
    "a question too many",
    "no hash",
]


@pytest.mark.parametrize("case", CASES)
def test_an_instruction_that_does_not_fit_the_agreement_is_refused(tmp_path: Path, case: str) -> None:
    agreement = write_small_run(tmp_path)
    cases = forged(agreement)
    assert list(cases) == CASES
    reply = ask(tmp_path, cases[case])
    assert not reply.has_content()
    assert reply.error == fc.Error(fc.RAISED, "ProtocolError")


def test_a_round_whose_deadline_has_passed_is_not_answered(tmp_path: Path) -> None:
    agreement = write_small_run(tmp_path)
    content = write_instruction(agreement.plan_hash, 0, first(agreement))
    assert ask(tmp_path, content, ttl=5, age=6).error.reason == "ProtocolError"
    assert ask(tmp_path, content, ttl=7, age=6).has_content()


def test_the_coordinator_learns_the_class_of_an_error_and_the_store_its_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreement = write_small_run(tmp_path)

    def leak(*_: object) -> None:
        raise KeyError("customer 17 bought wine")

    monkeypatch.setattr(Popularity, "contribute", leak)
    with caplog.at_level(logging.ERROR, "fedcart.store"):
        reply = ask(tmp_path, write_instruction(agreement.plan_hash, 0, first(agreement)))
    assert reply.error == fc.Error(fc.RAISED, "KeyError")
    assert "wine" not in repr(reply)
    assert "customer 17 bought wine" in caplog.text


@pytest.mark.parametrize("node", [{"records": 3}, {"store": "0"}, {"records": "/nowhere"}])
def test_a_misconfigured_node_says_so_by_class(tmp_path: Path, node: dict[str, Any]) -> None:
    agreement = write_small_run(tmp_path)
    reply = ask(tmp_path, write_instruction(agreement.plan_hash, 0, first(agreement)), **node)
    assert reply.error.reason in ("ConfigError", "InputError")


def test_the_instruction_says_what_was_written(tmp_path: Path) -> None:
    agreement = write_small_run(tmp_path)
    state = State({"b": np.float32([1, 2]), "a": np.zeros((0, 3), np.float32)}, {"secret": np.ones(1)})
    found = read_instruction(write_instruction(agreement.plan_hash, 4, state, attempt=2))
    assert (found.plan_hash, found.index, found.attempt) == (agreement.plan_hash, 4, 2)
    assert set(found.state.public) == {"a", "b"}
    assert found.state.carried == {}
