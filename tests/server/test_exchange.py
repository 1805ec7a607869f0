"""One exchange against a scripted grid: who is counted, who is blamed, what is ignored."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterable

import numpy as np
import pytest

from fedcart.server.exchange import Outcome, exchange
from fedcart.shared import flower_compat as fc
from fedcart.shared.errors import ProtocolError
from fedcart.shared.privacy.release import Release
from fedcart.shared.wire import read_reply, write_reply

RELEASES = (Release(name="a", shape=(2,)), Release(name="b", shape=(1, 3)))


def totals(node: int) -> dict[str, np.ndarray]:
    """Powers of two: the sum names who is in it."""
    return {"a": np.full(2, 2.0**node), "b": np.full((1, 3), -(2.0**node))}


Script = Callable[[fc.Message, float], list[fc.Message]]


class ScriptedGrid(fc.Grid):
    """Answers by a script a node: (message, seconds since sending) -> replies now."""

    def __init__(self, scripts: dict[int, Script], refused: tuple[int, ...] = ()) -> None:
        fc.become_coordinator(1)
        self.scripts, self.refused = scripts, refused
        self.sent: dict[str, tuple[fc.Message, float]] = {}
        self.pulled: list[int] = []

    def set_run(self, run: fc.Run) -> None:
        raise NotImplementedError

    @property
    def run(self) -> fc.Run:
        raise NotImplementedError

    def create_message(self, *_: object, **__: object) -> fc.Message:
        raise NotImplementedError

    def send_and_receive(self, *_: object, **__: object) -> Iterable[fc.Message]:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return list(self.scripts)

    def push_messages(self, messages: Iterable[fc.Message]) -> Iterable[str | None]:  # type: ignore[override]
        ids: list[str | None] = []
        for message in messages:
            fc.set_message_id(message, f"m{message.metadata.dst_node_id}")
            if message.metadata.dst_node_id in self.refused:
                ids.append(None)
                continue
            self.sent[message.metadata.message_id] = message, time.monotonic()
            ids.append(message.metadata.message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[fc.Message]:
        replies = []
        for message_id in message_ids:
            message, sent = self.sent[message_id]
            self.pulled.append(message.metadata.dst_node_id)
            replies += self.scripts[message.metadata.dst_node_id](message, time.monotonic() - sent)
        return replies


def good(message: fc.Message, _: float) -> list[fc.Message]:
    return [fc.Message(write_reply(totals(message.metadata.dst_node_id)), reply_to=message)]


def silent(message: fc.Message, _: float) -> list[fc.Message]:
    return []


def after(seconds: float) -> Script:
    return lambda message, elapsed: good(message, 0) if elapsed >= seconds else []


def saying(content: fc.RecordDict) -> Script:
    return lambda message, _: [fc.Message(content, reply_to=message)]


def dead(message: fc.Message, _: float) -> list[fc.Message]:
    reply = fc.Message(fc.Error(fc.UNAVAILABLE), reply_to=message)
    reply.metadata.__dict__["_src_node_id"] = fc.SUPERLINK_NODE_ID
    return [reply]


def ask(grid: ScriptedGrid, deadline_s: float = 5.0) -> Outcome:
    return exchange(grid, list(grid.scripts), fc.RecordDict(), RELEASES, group="0.0", deadline_s=deadline_s)


def test_the_sum_is_that_of_all_stores() -> None:
    outcome = ask(ScriptedGrid(dict.fromkeys(range(2, 6), good)))
    assert outcome.totals["a"].tolist() == [60.0, 60.0]
    assert outcome.totals["b"].tolist() == [[-60.0] * 3]
    assert outcome.answered == [2, 3, 4, 5]
    assert (outcome.failures, outcome.ignored) == ({}, 0)


def test_a_dead_node_is_blamed_though_its_error_comes_from_elsewhere() -> None:
    outcome = ask(ScriptedGrid({2: good, 3: dead, 4: good}))
    assert outcome.failures == {3: "NodeUnavailable"}
    assert outcome.totals["a"][0] == 4 + 16


def test_a_silent_node_costs_the_deadline_and_no_more() -> None:
    started = time.monotonic()
    outcome = ask(ScriptedGrid({2: silent, 3: good, 4: silent}), 0.3)
    assert 0.25 < time.monotonic() - started < 0.6
    assert outcome.failures == {2: "NoReply", 4: "NoReply"}
    assert outcome.answered == [3]


def test_a_message_that_could_not_be_sent_is_a_failure_of_its_node() -> None:
    outcome = ask(ScriptedGrid({2: good, 3: good}, refused=(2,)))
    assert outcome.failures == {2: "NotSent"}
    assert outcome.totals["a"][0] == 8


def test_a_slow_node_is_waited_for_so_that_the_order_stays() -> None:
    outcome = ask(ScriptedGrid({2: after(0.1), 3: good, 4: after(0.05)}))
    assert outcome.answered == [2, 3, 4]


def test_a_node_slower_than_most_of_the_deadline_is_overtaken_and_still_counts() -> None:
    outcome = ask(ScriptedGrid({2: after(0.45), 3: good, 4: good}), 0.5)
    assert outcome.answered == [3, 4, 2]


def test_a_duplicate_is_counted_once() -> None:
    outcome = ask(ScriptedGrid({2: lambda m, e: good(m, e) * 3, 3: good}))
    assert outcome.totals["a"][0] == 12
    assert outcome.ignored == 2


def test_a_strangers_reply_is_ignored() -> None:
    def forged(message: fc.Message, elapsed: float) -> list[fc.Message]:
        (reply,) = good(message, elapsed)
        other_message, other_node = good(message, elapsed)[0], good(message, elapsed)[0]
        other_message.metadata.__dict__["_reply_to_message_id"] = "nobody's"
        other_node.metadata.__dict__["_src_node_id"] = 99
        return [other_message, other_node, reply]

    outcome = ask(ScriptedGrid({2: forged}))
    assert outcome.totals["a"][0] == 4
    assert outcome.ignored == 2


def test_a_reply_after_the_deadline_does_not_count() -> None:
    def late(message: fc.Message, elapsed: float) -> list[fc.Message]:
        time.sleep(0.15)
        return good(message, elapsed)

    outcome = ask(ScriptedGrid({2: late}), 0.1)
    assert outcome.totals["a"][0] == 0
    assert (outcome.failures, outcome.ignored) == ({2: "NoReply"}, 1)


BAD = {
    "a name missing": {"a": np.zeros(2)},
    "a name too many": {**totals(1), "customers": np.zeros(1)},
    "another shape": {"a": np.zeros(3), "b": np.zeros((1, 3))},
    "a shape that only has the right size": {"a": np.zeros(2), "b": np.zeros((3, 1))},
    "float32": {"a": np.zeros(2, np.float32), "b": np.zeros((1, 3))},
    "not a number": {"a": np.array([0, np.nan]), "b": np.zeros((1, 3))},
    "infinity": {"a": np.zeros(2), "b": np.full((1, 3), -np.inf)},
}


@pytest.mark.parametrize("sent", BAD.values(), ids=BAD.keys())
def test_a_malformed_reply_is_its_stores_failure_and_adds_nothing(sent: dict[str, np.ndarray]) -> None:
    with pytest.raises(ProtocolError, match="not added"):
        read_reply(write_reply(sent), RELEASES)
    outcome = ask(ScriptedGrid({2: saying(write_reply(sent)), 3: good}))
    assert outcome.failures == {2: "ProtocolError"}
    assert outcome.totals["a"].tolist() == [8.0, 8.0]


@pytest.mark.parametrize(
    "content",
    [
        fc.RecordDict(),
        fc.RecordDict({"totals": fc.ConfigRecord({"a": 1})}),
        fc.RecordDict({**write_reply(totals(1)), "metrics": fc.ConfigRecord({"customers": 17})}),
    ],
)
def test_a_reply_of_another_form_is_refused(content: fc.RecordDict) -> None:
    assert ask(ScriptedGrid({2: saying(content)})).failures == {2: "ProtocolError"}


def test_an_error_is_counted_by_its_class() -> None:
    def raising(message: fc.Message, _: float) -> list[fc.Message]:
        return [fc.Message(fc.Error(fc.RAISED, "DataError"), reply_to=message)]

    outcome = ask(ScriptedGrid({2: raising, 3: raising, 4: dead}))
    assert outcome.failure_classes == {"DataError": 2, "NodeUnavailable": 1}


def test_memory_holds_the_sum_and_one_reply() -> None:
    words = 1 << 20
    release = Release(name="a", shape=(words,))

    def big(message: fc.Message, _: float) -> list[fc.Message]:
        record = fc.ArrayRecord()
        record["a"] = fc.Array("float64", (words,), "fedcart.raw", bytes(8 * words))
        return [fc.Message(fc.RecordDict({"totals": record}), reply_to=message)]

    grid = ScriptedGrid(dict.fromkeys(range(2, 8), big))
    tracemalloc.start()
    try:
        outcome = exchange(grid, list(grid.scripts), fc.RecordDict(), [release], group="0.0", deadline_s=30)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(outcome.answered) == 6
    assert peak < 2.5 * 8 * words
