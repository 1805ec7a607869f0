"""What fedcart relies on in Flower's SuperLink and fleet calls, beside test_flower_compat.py."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import link_kit
from fedcart.shared import flower_compat as fc
from fedcart.shared.errors import ProtocolError
from fedcart.shared.flower_compat import joining
from fedcart.shared.flower_compat.fleet import Refused
from fedcart.shared.flower_compat.link import LinkGrid


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[link_kit.Served]:
    with link_kit.served(tmp_path_factory.mktemp("tls")) as found:
        yield found


@pytest.fixture
def grid(served: link_kit.Served) -> Iterator[LinkGrid]:
    found = served.link.start_run()
    yield found
    served.link.finish_run(found)
    assert served.link._state.object_store.store == {}
    assert served.link._state.num_message_ins() == 0


def content(value: float = 1.0, words: int = 5) -> fc.RecordDict:
    return fc.RecordDict({"state": fc.pack_arrays({"v": np.full(words, value)}), "c": fc.ConfigRecord({"i": 1})})


def collect(grid: LinkGrid, ids: list[str], seconds: float = 10) -> dict[str, fc.Message]:
    found: dict[str, fc.Message] = {}
    until = time.monotonic() + seconds
    while len(found) < len(ids) and time.monotonic() < until:
        for reply in grid.pull_messages([x for x in ids if x not in found]):
            found[reply.metadata.reply_to_message_id] = reply
        time.sleep(0.005)
    return found


def twice(message: fc.Message) -> fc.Message:
    record = message.content["state"]
    assert isinstance(record, fc.ArrayRecord)
    doubled = fc.unpack_array(record["v"]) * 2
    return fc.Message(fc.RecordDict({"t": fc.pack_arrays({"v": doubled})}), reply_to=message)


def test_messages_and_replies_arrive_bit_for_bit_in_chunks_too(served: link_kit.Served, grid: LinkGrid) -> None:
    key = served.member()
    with link_kit.answering(served.node(key), twice):
        [node] = [x for x in grid.get_node_ids() if x == served.link._nodes[link_kit.public_pem(key)]]
        for value, words in ((0.1, 5), (1 / 3, 1_500_000)):  # 12 MB: three chunks
            sent = content(value, words)
            ids = list(grid.push_messages([fc.Message(sent, node, "train", ttl=20)]))
            assert not sent  # let go of
            [reply] = collect(grid, ids).values()
            np.testing.assert_array_equal(fc.unpack_array(reply.content["t"]["v"]), np.full(words, value) * 2)
            assert reply.metadata.src_node_id == node


def test_a_run_is_of_the_members_it_names_whoever_else_is_online(served: link_kit.Served) -> None:
    own, other = served.member(), served.member()
    run = served.link.start_run(lambda: {link_kit.public_pem(own): "ab"})
    try:
        with link_kit.answering(served.node(own), twice), link_kit.answering(served.node(other), twice):
            [node] = run.get_node_ids()
            assert node == served.link._nodes[link_kit.public_pem(own)]
            assert run.store_of is not None
            assert [run.store_of(x) for x in (node, served.link._nodes[link_kit.public_pem(other)])] == ["ab", None]
    finally:
        served.link.finish_run(run)


def test_what_messages_share_is_stored_once(served: link_kit.Served, grid: LinkGrid) -> None:
    nodes = [served.link.add_member(link_kit.public_pem(served.member())) for _ in range(3)]
    keys = served.keys[-3:]
    online = [served.node(key) for key in keys]
    for node in online:
        node.activate(15)
    shared = content(2.0, 100_000)
    grid.push_messages([fc.Message(shared, node, "train", ttl=20) for node in nodes])
    stored = served.link._state.object_store.store
    assert sum(len(entry.content) for entry in stored.values()) < 1.1 * 800_000
    assert len(stored) == 3 + 5  # three heads; dict, two records, array, chunk
    for node in online:
        node.deactivate(node.node or 0)
        node.close()


def test_a_pull_is_held_until_there_is_a_message(served: link_kit.Served, grid: LinkGrid) -> None:
    key = served.member()
    node = served.node(key)
    number = node.activate(15)
    started = time.monotonic()
    assert node.pull(0.3) is None
    assert time.monotonic() - started >= 0.3
    sending = threading.Timer(0.2, lambda: grid.push_messages([fc.Message(content(), number, "train", ttl=20)]))
    sending.start()
    started = time.monotonic()
    assert node.pull(15) is not None
    assert time.monotonic() - started < 8
    sending.join()
    grid.push_messages([fc.Message(content(), number, "train", ttl=20)])
    started = time.monotonic()
    assert node.pull(15) is not None  # one that is there already is not waited for
    assert time.monotonic() - started < 8
    node.close()


def test_a_server_that_stops_answers_whoever_waits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    answers: list[object] = []
    with link_kit.served(tmp_path) as found:
        node = found.node(found.member())
        node.activate(15)
        waiting = threading.Thread(target=lambda: answers.append(node.pull(15)))
        waiting.start()
        time.sleep(0.3)
        started = time.monotonic()
    assert time.monotonic() - started < 8
    waiting.join(10)
    node.close()
    assert answers == [None]
    assert [record for record in caplog.records if record.name.startswith("uvicorn") and record.exc_info] == []


def test_nodes_come_in_the_order_of_their_adding(served: link_kit.Served, grid: LinkGrid) -> None:
    keys = [served.member() for _ in range(4)]
    nodes = [served.node(key) for key in keys]
    numbers = [node.activate(15) for node in reversed(nodes)]
    mine = [x for x in grid.get_node_ids() if x in numbers]
    assert mine == numbers[::-1]
    nodes[1].deactivate(numbers[2])
    assert [x for x in grid.get_node_ids() if x in numbers] == [x for x in numbers[::-1] if x != numbers[2]]
    for node in nodes:
        node.close()


def test_an_error_of_the_app_is_an_error_here(served: link_kit.Served, grid: LinkGrid) -> None:
    key = served.member()
    with link_kit.answering(served.node(key), lambda m: fc.Message(fc.Error(fc.RAISED, "DataError"), reply_to=m)):
        node = served.link.add_member(link_kit.public_pem(key))
        ids = list(grid.push_messages([fc.Message(content(), node, "train", ttl=20)]))
        [reply] = collect(grid, ids).values()
    assert fc.error_name(reply.error) == "DataError"


def test_a_node_that_is_gone_is_reported_by_the_superlink(served: link_kit.Served, grid: LinkGrid) -> None:
    key = served.member()
    node = served.node(key)
    number = node.activate(15)
    ids = list(grid.push_messages([fc.Message(content(), number, "train", ttl=20)]))
    node.deactivate(number)
    [reply] = collect(grid, ids).values()
    assert fc.error_name(reply.error) == "NodeUnavailable"
    assert reply.metadata.src_node_id == fc.SUPERLINK_NODE_ID
    assert reply.metadata.reply_to_message_id == ids[0]
    node.close()


def test_who_sends_and_waits_gets_every_reply_or_stops_in_time(served: link_kit.Served, grid: LinkGrid) -> None:
    node = served.node(served.member())
    number = node.activate(15)
    node.deactivate(number)
    message = fc.Message(content(), number, "train", ttl=20)
    [reply] = grid.send_and_receive([message], timeout=10)
    assert reply.metadata.reply_to_message_id == message.metadata.message_id
    silent = served.node(served.member())
    number, begun = silent.activate(15), time.monotonic()
    assert list(grid.send_and_receive([fc.Message(content(), number, "train", ttl=20)], timeout=0.2)) == []
    assert time.monotonic() - begun < 5
    node.close()
    silent.close()


def test_a_message_is_given_out_once_and_a_late_reply_is_none(served: link_kit.Served, grid: LinkGrid) -> None:
    key = served.member()
    node = served.node(key)
    number = node.activate(15)
    ids = list(grid.push_messages([fc.Message(content(), number, "train", ttl=0.4)]))
    asked = node.pull()
    assert asked is not None
    assert node.pull() is None
    time.sleep(0.5)
    node.push(fc.Message(fc.RecordDict({"late": fc.ConfigRecord()}), reply_to=asked))
    [reply] = collect(grid, ids, 3).values()
    assert fc.error_name(reply.error) == "MessageUnavailable"
    node.close()


def test_the_next_push_frees_messages_that_nobody_fetched_and_replies_that_came_too_late(
    served: link_kit.Served, grid: LinkGrid
) -> None:
    """Else a store that is late in each round is told to come again (429) once its share is full, for the whole run."""
    slow, silent = served.node(served.member()), served.node(served.member())
    numbers = [slow.activate(15), silent.activate(15)]

    def held() -> int:
        return sum(len(entry.content) for entry in served.link._state.object_store.store.values())

    sizes = []
    for turn in range(3):
        grid.push_messages([fc.Message(content(1.0 + turn, 50_000), number, "train", ttl=20) for number in numbers])
        asked = slow.pull()
        assert asked is not None
        slow.push(twice(asked))  # whole, and nobody waits for it any more
        sizes.append(held())
    assert sizes[0] == pytest.approx(2 * 400_000, rel=0.01)
    assert sizes[2] == pytest.approx(sizes[0], rel=0.01)
    late = twice(asked)
    grid.push_messages([])
    assert held() == 0
    slow.push(late)  # of no use to anybody, and no error either
    assert held() == 0
    for node in (slow, silent):
        node.close()


def test_a_reply_is_used_when_it_is_whole_and_can_be_pushed_again(served: link_kit.Served, grid: LinkGrid) -> None:
    key = served.member()
    node = served.node(key)
    number = node.activate(15)
    ids = list(grid.push_messages([fc.Message(content(), number, "train", ttl=20)]))
    asked = node.pull()
    assert asked is not None
    pushed = node._client.PushObject
    node._client.PushObject = lambda request: pytest.fail("stop")  # type: ignore[method-assign]
    first = twice(asked)
    with pytest.raises(pytest.fail.Exception):
        node.push(first)
    assert list(grid.pull_messages(ids)) == []
    node._client.PushObject = pushed  # type: ignore[method-assign]
    reply = twice(asked)
    reply.metadata.__dict__["_created_at"] = first.metadata.created_at
    reply.metadata.__dict__["_ttl"] = first.metadata.ttl
    node.push(reply)  # the same bytes again: a repeat is the same reply
    assert set(collect(grid, ids)) == set(ids)
    node.close()


def test_who_was_online_must_leave_before_it_comes_back(served: link_kit.Served) -> None:
    key = served.member()
    first, second = served.node(key), served.node(key)
    number = first.activate(15)
    with pytest.raises(Refused):
        second.activate(15)
    second.deactivate(number)
    assert second.activate(15) == number
    first.close()
    second.close()


def test_a_reply_may_hold_whatever_it_holds_and_the_round_reads_it(served: link_kit.Served, grid: LinkGrid) -> None:
    key = served.member()

    def nonsense(message: fc.Message) -> fc.Message:
        reply = twice(message)
        reply.content["t"] = fc.ConfigRecord({"text": "not what was asked, but a record"})
        return reply

    with link_kit.answering(served.node(key), nonsense):
        node = served.link.add_member(link_kit.public_pem(key))
        ids = list(grid.push_messages([fc.Message(content(), node, "train", ttl=20)]))
        [reply] = collect(grid, ids).values()
    assert isinstance(reply.content["t"], fc.ConfigRecord)


def test_a_message_of_a_few_bytes_that_names_arrays_without_end_is_let_go_of(
    served: link_kit.Served, grid: LinkGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a store: what its coordinator sends must not fill the memory of the shop's own process."""
    monkeypatch.setattr(joining, "MOST_BYTES", 1000)
    node = served.node(served.member())
    number = node.activate(15)
    grid.push_messages([fc.Message(content(words=200), number, "train", ttl=20)])
    with pytest.raises(ProtocolError, match="could not be read"):
        node.pull()
    assert node.pull() is None
    node.close()


def test_who_was_removed_can_be_let_in_again(served: link_kit.Served, grid: LinkGrid) -> None:
    """As a node of another number: what was sent to the old one is none of its."""
    key = served.member()
    node, public = served.node(key), link_kit.public_pem(key)
    before = node.activate(15)
    old = list(grid.push_messages([fc.Message(content(), before, "train", ttl=20)]))
    served.link.remove_member(public)
    with pytest.raises(Refused):
        node.pull()
    served.link.add_member(public)
    after = node.activate(15)
    assert after != before
    assert after in grid.get_node_ids()
    assert before not in grid.get_node_ids()
    assert node.pull() is None
    [reply] = collect(grid, old).values()
    assert fc.error_name(reply.error) == "NodeUnavailable"
    grid.push_messages([fc.Message(content(), after, "train", ttl=20)])
    assert node.pull(5) is not None
    node.close()


def test_a_claim_is_one_reply_numbered_by_its_content() -> None:
    from flwr.proto.fleet_pb2 import PushMessagesRequest

    from fedcart.shared.flower_compat.link import read_claim

    for body in (b"\xff\xff", b"", PushMessagesRequest().SerializeToString()):
        with pytest.raises(ProtocolError, match="stored"):
            read_claim(body)
