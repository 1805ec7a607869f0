"""A store's node against a SuperLink on this machine: it answers, it comes back, it says no more than it must."""

from __future__ import annotations

import contextlib
import email.utils
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.proto.fleet_pb2 import PullMessagesResponse
from flwr.proto.message_pb2 import Message as ProtoMessage

import link_kit
from fedcart.client.uplink import StoreNode, create_node_key, load_node_key
from fedcart.client.uplink import node as node_module
from fedcart.server.listener import Guard, Listener, server_context
from fedcart.server.tls_files import SERVER, SERVER_KEY, make_server
from fedcart.shared import flower_compat as fc
from fedcart.shared.errors import ConfigError, DataError
from fedcart.shared.flower_compat import fleet
from fedcart.shared.flower_compat.link import Link, LinkGrid


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def served(directory: Path) -> Iterator[link_kit.Served]:
    with link_kit.served(directory) as found:
        yield found


def echo_app() -> fc.ClientApp:
    app = fc.ClientApp()

    @app.query("echo")
    def echo(message: fc.Message, context: fc.Context) -> fc.Message:
        told = {"store": context.node_config["store"], "said": message.content["c"]["said"]}
        return fc.Message(fc.RecordDict({"c": fc.ConfigRecord(told)}), reply_to=message)

    @app.query("fail")
    def fail(message: fc.Message, context: fc.Context) -> fc.Message:
        raise DataError("customer 1234 bought item 99")

    return app


@contextmanager
def running(
    served: link_kit.Served, key: ec.EllipticCurvePrivateKey, memory: Path | None = None
) -> Iterator[StoreNode]:
    node = StoreNode(lambda: served.node(key), echo_app(), {"store": 3}, memory=memory, poll_s=0.02, hold_s=0.5)
    node.start()
    try:
        yield node
    finally:
        assert node.stop(10)


def until(true: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < end:
        time.sleep(0.01)
    return found


def number_of(served: link_kit.Served, key: ec.EllipticCurvePrivateKey) -> int:
    return served.link.add_member(fleet.public_pem(key))


def ask(grid: LinkGrid, node: int, flow: str, said: str = "", seconds: float = 10) -> fc.Message:
    assert until(lambda: node in grid.get_node_ids())
    content = fc.RecordDict({"c": fc.ConfigRecord({"said": said})})
    ids = list(grid.push_messages([fc.Message(content, node, f"query.{flow}", ttl=seconds)]))
    replies: list[fc.Message] = []
    assert until(lambda: bool(replies.extend(grid.pull_messages(ids)) or replies), seconds)
    return replies[0]


def test_answers_through_the_app_with_the_nodes_configuration(served: link_kit.Served) -> None:
    key, grid = served.member(), served.link.start_run()
    with running(served, key) as node:
        reply = ask(grid, number_of(served, key), "echo", "hello")
        assert reply.content["c"] == {"store": 3, "said": "hello"}
        assert until(lambda: node.state.answered == 1)
        assert node.state.online
    assert number_of(served, key) not in grid.get_node_ids()  # it said goodbye
    assert not node.state.online


def test_messages_wait_for_a_node_that_is_not_ready(served: link_kit.Served) -> None:
    """A store that has just started still reads its data: what it would answer now would be taken for a refusal."""
    key, grid = served.member(), served.link.start_run()
    node = StoreNode(lambda: served.node(key), echo_app(), None, poll_s=0.02, hold_s=0.5)
    node.start()
    number = number_of(served, key)
    assert until(lambda: number in grid.get_node_ids())
    content = fc.RecordDict({"c": fc.ConfigRecord({"said": "early"})})
    ids = list(grid.push_messages([fc.Message(content, number, "query.echo", ttl=30)]))
    time.sleep(1)
    assert list(grid.pull_messages(ids)) == []
    assert node.state.online
    node.configure({"store": 4})
    replies: list[fc.Message] = []
    assert until(lambda: bool(replies.extend(grid.pull_messages(ids)) or replies))
    assert replies[0].content["c"] == {"store": 4, "said": "early"}
    assert node.stop(10)


def test_an_error_leaves_as_its_class_and_a_flow_that_nobody_wrote_too(served: link_kit.Served) -> None:
    key, grid = served.member(), served.link.start_run()
    with running(served, key):
        for flow in ("fail", "nothing"):
            error = ask(grid, number_of(served, key), flow).error
            assert "1234" not in (error.reason or "")
            assert (error.reason or "").isidentifier()


def unexpected(*_: object) -> None:
    raise KeyError("customer 1234")


def test_an_error_that_nobody_expected_ends_the_node_and_is_in_its_log(
    served: link_kit.Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fleet.FleetLink, "pull", unexpected)
    key = served.member()
    with running(served, key) as node:
        assert until(lambda: node.state.ended)
        assert (node.state.online, node.state.trouble) == (False, "ended by KeyError")
    assert "Traceback" in caplog.text
    assert "in unexpected" in caplog.text
    another = served.member()  # this one's lease lasts for half a minute more
    alone = StoreNode(lambda: served.node(another), echo_app(), {})
    with pytest.raises(KeyError):
        alone.run(threading.Event())


@pytest.mark.parametrize("fault", ["a message without its tree", "a full disk", "a heartbeat that fails"])
def test_what_can_be_tried_again_ends_no_node(
    served: link_kit.Served,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: str,
) -> None:
    key, grid, memory = served.member(), served.link.start_run(), tmp_path / "node.json"
    with monkeypatch.context() as patch:
        if fault == "a full disk":
            memory = tmp_path / "no such folder" / "node.json"
        elif fault == "a heartbeat that fails":
            patch.setattr(node_module, "BEATS", 100)
            patch.setattr(fleet.FleetLink, "heartbeat", unexpected)
        else:
            answer = PullMessagesResponse(messages_list=[ProtoMessage()])
            patch.setattr(fleet.FleetHttpClient, "PullMessages", lambda *_: answer)
        said = {"a full disk": "back when its lease", "a heartbeat that fails": "heartbeat was not sent"}
        with running(served, key, memory) as node:
            assert until(lambda: said.get(fault, "could not be read") in caplog.text)
            patch.undo()
            assert ask(grid, number_of(served, key), "echo", "still here").content["c"]["said"] == "still here"
            assert not node.state.ended


def test_a_store_that_was_killed_is_back_at_once(served: link_kit.Served, tmp_path: Path) -> None:
    """Without its memory it would wait for its lease of 30 s to run out."""
    key, grid, memory = served.member(), served.link.start_run(), tmp_path / "node.json"
    killed = served.node(key)
    number = killed.activate(15)
    memory.write_text(f'{{"node": {number}}}')
    killed.close()  # no goodbye
    with running(served, key, memory) as node:
        assert until(lambda: node.state.online, 5)
        assert ask(grid, number, "echo", "again", 5).content["c"]["said"] == "again"


def test_without_memory_or_as_a_stranger_it_waits_and_says_why(served: link_kit.Served) -> None:
    key = served.member()
    first = served.node(key)
    first.activate(15)
    stranger = fleet.new_node_key()
    with running(served, key) as second, running(served, stranger) as other:
        assert until(lambda: "activate-node" in second.state.trouble)
        assert until(lambda: "401" in other.state.trouble)
        assert not second.state.online
        assert not other.state.online
    first.close()


def test_comes_back_after_the_coordinator_was_restarted(directory: Path) -> None:
    """A new SuperLink on the same port knows other node numbers; the node finds its own again by itself."""
    make_server(directory, ["127.0.0.1"])
    key = fleet.new_node_key()
    context = server_context(directory / SERVER, directory / SERVER_KEY)
    authority = (directory / "authority.pem").read_bytes()

    def serve(port: int) -> tuple[Link, Listener]:
        link = Link()
        link.add_member(fleet.public_pem(key))
        members = link_kit.Members({fleet.public_pem(key): None})
        listener = Listener(Guard(link.app, members), "127.0.0.1", port, context)
        listener.start()
        return link, listener

    link, listener = serve(0)
    address = f"127.0.0.1:{listener.port}"
    node = StoreNode(
        lambda: fleet.FleetLink(address, authority, key), echo_app(), {"store": 1}, poll_s=0.02, hold_s=0.5
    )
    node.start()
    try:
        grid = link.start_run()
        assert ask(grid, link.members()[0], "echo", "before").content["c"]["said"] == "before"
        listener.stop()
        assert until(lambda: not node.state.online)
        link, listener = serve(listener.port)
        grid = link.start_run()
        assert ask(grid, link.members()[0], "echo", "after", 15).content["c"]["said"] == "after"
    finally:
        assert node.stop(10)
        listener.stop()


def test_a_reply_is_sent_again_until_it_arrives(served: link_kit.Served) -> None:
    key, grid, broken = served.member(), served.link.start_run(), threading.Event()

    def connect() -> fleet.FleetLink:
        link = served.node(key)
        push, tries = link.push, iter(range(2))

        def unsteady(reply: fc.Message) -> None:
            for _ in tries:
                broken.set()
                raise fleet.Unreachable("cut")
            push(reply)

        link.push = unsteady  # type: ignore[method-assign]
        return link

    node = StoreNode(connect, echo_app(), {"store": 2}, poll_s=0.02, hold_s=0.5)
    node.start()
    assert ask(grid, number_of(served, key), "echo", "x").content["c"]["said"] == "x"
    assert broken.is_set()
    assert node.stop(10)


def test_runs_in_a_thread_of_somebody_elses_process(served: link_kit.Served) -> None:
    """No signal handler is set, whatever happens; starting twice is refused."""
    import signal

    before = [signal.getsignal(x) for x in (signal.SIGINT, signal.SIGTERM)]
    with running(served, served.member()) as node:
        assert until(lambda: node.state.online)
        with pytest.raises(Exception, match="nothing was started"):
            node.start()
    assert [signal.getsignal(x) for x in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_clock_that_is_off_is_named(served: link_kit.Served, monkeypatch: pytest.MonkeyPatch) -> None:
    import datetime as real

    from flwr.supernode import node_auth_http_interceptor as interceptor

    key = served.member()
    ahead = real.timedelta(seconds=900)
    monkeypatch.setattr(interceptor, "now", lambda: real.datetime.now(real.UTC) + ahead)
    monkeypatch.setattr(fleet, "clock_off_s", lambda date, _: 900.0 if date else 0.0)
    link = served.node(key)
    with pytest.raises(fleet.Refused, match=r"clock is \+900 s off"):
        link.activate(15)
    link.close()


def test_the_clocks_difference_is_read_from_the_answers_date() -> None:
    dates = [f"Mon, 01 Jan 2024 00:00:00 {zone}" for zone in ("GMT", "-0000")]
    assert all(fleet.clock_off_s(date) > 1e6 for date in dates)
    assert fleet.clock_off_s(None) == fleet.clock_off_s("yesterday") == 0
    asked = time.time() - 8  # a pull that was held: its answer is dated when the question came
    dated = {off: email.utils.formatdate(asked + off, usegmt=True) for off in (-20, 1, 7, 30)}
    found = {off: fleet.clock_off_s(date, asked) for off, date in dated.items()}
    assert found[1] == found[7] == 0
    assert 19 < found[-20] < 22
    assert -23 < found[30] < -20


@contextmanager
def proxy(target: int) -> Iterator[tuple[int, list[str]]]:
    """A proxy that tunnels every CONNECT to a port of this machine; yields its port and what it was asked for."""
    asked: list[str] = []
    server = socket.create_server(("127.0.0.1", 0))

    def copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):  # either end may be gone
            while data := source.recv(65536):
                sink.sendall(data)

    def one() -> None:
        client, _ = server.accept()
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        asked.append(head.split(b"\r\n")[0].decode())
        inner = socket.create_connection(("127.0.0.1", target))
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        back = threading.Thread(target=copy, args=(inner, client), daemon=True)
        back.start()
        copy(client, inner)
        with contextlib.suppress(OSError):
            inner.shutdown(socket.SHUT_RDWR)
        back.join(5)
        for end in (client, inner):
            end.close()

    thread = threading.Thread(target=one, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1], asked
    finally:
        server.close()
        thread.join(5)


def test_goes_through_the_proxy_that_the_environment_names(
    served: link_kit.Served, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy(served.listener.port) as (port, asked):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        with (
            fleet.http_client("localhost.example:443", served.authority, 5) as client,
            pytest.raises(httpx.ConnectError, match=r"mismatch"),  # the tunnel ends at another's certificate
        ):
            client.get("/health")
        with fleet.http_client(served.address, served.authority, 5) as client:  # this machine needs no proxy
            assert client.get("/health").status_code == 200
    assert asked == ["CONNECT localhost.example:443 HTTP/1.1"]


def test_a_node_key_is_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    made = create_node_key(path)
    assert fleet.public_pem(load_node_key(path)) == fleet.public_pem(made)
    with pytest.raises(ConfigError, match="no key was made"):
        create_node_key(path)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="0640"):
        load_node_key(path)
    path.chmod(0o600)
    path.write_text("nothing")
    with pytest.raises(ConfigError, match="no node key"):
        load_node_key(path)
