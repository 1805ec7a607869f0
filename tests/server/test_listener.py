"""What the internet gets from a coordinator: the fleet's calls for members, and nothing before it knows who calls."""

from __future__ import annotations

import asyncio
import base64
import datetime
import hashlib
import socket
import ssl
from collections.abc import Iterator, MutableMapping
from pathlib import Path

import httpx
import numpy as np
import pytest
from flwr.app import Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.proto.message_pb2 import ObjectTree
from flwr.proto.node_pb2 import Node

import link_kit
from fedcart.server.listener import (
    LONGEST_HOLD_S,
    OBJECT_BODY,
    SMALL_BODY,
    UNPROVEN_BODY,
    WAIT_HEADER,
    Door,
    Guard,
    Members,
    _seconds,
    server_context,
)
from fedcart.server.tls_files import AUTHORITY, SERVER, SERVER_KEY, make_authority, make_server
from fedcart.shared.errors import ConfigError, InputError
from fedcart.shared.flower_compat import ConfigRecord, pack_arrays, pushed, set_message_id
from fedcart.shared.flower_compat.fleet import (
    FleetLink,
    Refused,
    Unreachable,
    http_client,
    new_node_key,
    public_pem,
    tls_context,
)
from fedcart.shared.flower_compat.link import FLEET, FLEET_CALLS
from fedcart.shared.identity import Identity

PULL = f"{FLEET}pull-messages"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[link_kit.Served]:
    doors = {"/v1/coalition/echo": Door(lambda headers, body: (200, body[::-1]), most=100)}
    with link_kit.served(tmp_path_factory.mktemp("tls"), doors) as found:
        found.member()
        yield found


@pytest.fixture(scope="module")
def client(served: link_kit.Served) -> Iterator[httpx.Client]:
    with http_client(served.address, served.authority, 10) as found:
        yield found


def signed(served: link_kit.Served) -> dict[str, str]:
    from flwr.supercore.primitives.asymmetric import sign_message

    at = datetime.datetime.now(datetime.UTC).isoformat()
    key = served.keys[0]
    return {
        "flwr-public-key": base64.b64encode(public_pem(key)).decode(),
        "flwr-timestamp": at,
        "flwr-signature": base64.b64encode(sign_message(key, at.encode())).decode(),
        "content-type": "application/protobuf",
    }


def flowers_paths() -> list[str]:
    from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES

    return sorted(path for _, path in PROTOBUF_REQUEST_TYPES)


def test_the_list_of_flowers_calls_is_not_empty() -> None:
    listed = flowers_paths()
    assert len(listed) > 50
    assert {FLEET + call for call in FLEET_CALLS} < set(listed)
    assert "/v1/control/start-run" in listed


def test_every_other_path_is_404(served: link_kit.Served, client: httpx.Client) -> None:
    allowed = {FLEET + call for call in FLEET_CALLS}
    tricks = [
        *("/", "/docs", "/openapi.json", "/health/", "/v1/fleet", f"{PULL}/", f"/{PULL}", PULL.upper()),
        *("/v1/fleet/pull-messages/../../control/start-run", "/v1/fleet/%2e%2e/control/start-run", "/v1/control/"),
    ]
    for path in [*flowers_paths(), *tricks]:
        if path not in allowed:
            response = client.post(path, content=b"", headers=signed(served))
            assert (path, response.status_code) == (path, 404)


def test_the_fleets_calls_are_for_post_only(served: link_kit.Served, client: httpx.Client) -> None:
    for method in ("GET", "PUT", "DELETE", "OPTIONS", "HEAD", "CONNECT"):
        assert client.request(method, PULL, headers=signed(served)).status_code == 404


def test_health_answers_anybody(client: httpx.Client) -> None:
    assert client.get("/health").status_code == 200
    assert client.head("/health").status_code == 200
    assert client.post("/health").status_code == 404


def test_a_door_of_our_own_answers(client: httpx.Client) -> None:
    assert client.post("/v1/coalition/echo", content=b"abc").content == b"cba"
    assert client.post("/v1/coalition/echo", content=b"a" * 101).status_code == 413


def exchange_raw(served: link_kit.Served, request: bytes) -> bytes:
    """All that the server says to `request`, and that it ends the connection."""
    raw = socket.create_connection(("127.0.0.1", served.listener.port), timeout=10)
    with tls_context(served.authority).wrap_socket(raw, server_hostname="127.0.0.1") as connection:
        connection.sendall(request)
        said = b""
        while part := connection.recv(65536):
            said += part
    return said


@pytest.mark.parametrize(
    ("length", "status"),
    [
        (f"content-length: {10 << 30}", 413),
        (f"content-length: {SMALL_BODY + 1}", 413),
        ("transfer-encoding: chunked", 411),
        ("x-none: 1", 411),
    ],
)
def test_a_body_that_is_too_long_or_says_no_length_is_refused_before_it_is_sent(
    served: link_kit.Served, length: str, status: int
) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in signed(served).items())
    said = exchange_raw(served, f"POST {PULL} HTTP/1.1\r\nhost: x\r\n{head}{length}\r\n\r\n".encode())
    assert said.startswith(f"HTTP/1.1 {status} ".encode())  # and the connection ended: no body was waited for


def test_an_object_may_be_larger_than_another_body(served: link_kit.Served) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in signed(served).items())
    start = f"POST {FLEET}push-object HTTP/1.1\r\nhost: x\r\n{head}"
    assert exchange_raw(served, f"{start}content-length: {OBJECT_BODY + 1}\r\n\r\n".encode()).startswith(
        b"HTTP/1.1 413 "
    )


def test_a_stranger_is_refused_before_the_body_is_sent(served: link_kit.Served) -> None:
    key = base64.b64encode(public_pem(new_node_key())).decode()
    for who in (f"flwr-public-key: {key}", "flwr-public-key: ?", "x-none: 1"):
        said = exchange_raw(served, f"POST {PULL} HTTP/1.1\r\nhost: x\r\n{who}\r\ncontent-length: 9\r\n\r\n".encode())
        assert said.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("how", ["no signature", "another's", "stale", "of another time", "good"])
def test_who_names_a_members_key_must_prove_it_before_a_large_body_is_sent(served: link_kit.Served, how: str) -> None:
    from flwr.supercore.primitives.asymmetric import sign_message

    headers, key = signed(served), served.keys[0]
    old = "2024-01-01T00:00:00+00:00"
    if how == "no signature":
        del headers["flwr-signature"]
    elif how == "another's":
        other = sign_message(new_node_key(), headers["flwr-timestamp"].encode())
        headers["flwr-signature"] = base64.b64encode(other).decode()
    elif how == "stale":
        headers["flwr-timestamp"] = old
        headers["flwr-signature"] = base64.b64encode(sign_message(key, old.encode())).decode()
    elif how == "of another time":
        headers["flwr-timestamp"] = old
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    start = f"POST {FLEET}push-object HTTP/1.1\r\nhost: x\r\n{head}content-length: {UNPROVEN_BODY + 1}\r\n\r\n"
    if how == "good":  # the body is waited for: nothing is said before it came
        raw = socket.create_connection(("127.0.0.1", served.listener.port), timeout=1)
        with tls_context(served.authority).wrap_socket(raw, server_hostname="127.0.0.1") as connection:
            connection.sendall(start.encode())
            with pytest.raises(TimeoutError):
                connection.recv(1)
    else:
        assert exchange_raw(served, start.encode()).startswith(b"HTTP/1.1 401 ")


def test_a_pull_is_held_for_a_number_of_seconds_and_no_longer() -> None:
    asked = ["", "0.5", "7", "1e9", "999", ".", "-1", "\xb2", "nan"]
    held = [_seconds({WAIT_HEADER: said}) for said in asked]
    assert held == [0, 0.5, 7, 0, LONGEST_HOLD_S, 0, 0, 0, 0]


def test_naming_a_members_key_is_not_holding_it(served: link_kit.Served, client: httpx.Client) -> None:
    headers = signed(served) | {"flwr-signature": base64.b64encode(bytes(70)).decode()}
    assert client.post(PULL, content=b"", headers=headers).status_code == 401


def test_plain_http_gets_no_answer(served: link_kit.Served) -> None:
    with socket.create_connection(("127.0.0.1", served.listener.port), timeout=10) as raw:
        raw.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        try:
            said = raw.recv(1000)
        except ConnectionResetError:
            said = b""
    assert b"HTTP" not in said


def handshake(server: ssl.SSLContext, newest: ssl.TLSVersion) -> str | None:
    """Version that a client which knows nothing newer than `newest` and the server agree on, in memory."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_ciphers("ALL:@SECLEVEL=0")
    client.minimum_version = ssl.TLSVersion.TLSv1
    client.maximum_version = newest
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(down, up), server.wrap_bio(up, down, server_side=True)]
    for _ in range(6):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                return None
    return sides[0].version()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_older_than_1_2_is_refused(tmp_path: Path) -> None:
    make_authority(tmp_path, "x")
    make_server(tmp_path, ["localhost"])
    context = server_context(tmp_path / SERVER, tmp_path / SERVER_KEY)
    assert handshake(context, ssl.TLSVersion.TLSv1_1) is None
    assert handshake(context, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    assert handshake(context, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    context.minimum_version = ssl.TLSVersion.TLSv1  # the client above can: it is the listener that refuses
    context.set_ciphers("ALL:@SECLEVEL=0")
    assert handshake(context, ssl.TLSVersion.TLSv1_1) == "TLSv1.1"


def test_a_node_trusts_the_coalitions_authority_only(served: link_kit.Served, tmp_path: Path) -> None:
    make_authority(tmp_path, "another")
    with (
        http_client(served.address, (tmp_path / AUTHORITY).read_bytes(), 10) as other,
        pytest.raises(httpx.ConnectError, match="certificate"),
    ):
        other.get("/health")
    node = link_kit.FleetLink(served.address, (tmp_path / AUTHORITY).read_bytes(), served.keys[0])
    with pytest.raises(Unreachable, match="could not be reached"):
        node.activate(15)
    node.close()


def test_a_certificate_is_for_its_names(served: link_kit.Served) -> None:
    context = tls_context(served.authority)
    with (
        socket.create_connection(("127.0.0.1", served.listener.port), timeout=10) as raw,
        pytest.raises(ssl.SSLCertVerificationError, match="mismatch"),
    ):
        context.wrap_socket(raw, server_hostname="another.example")


def test_refuses_a_key_that_is_not_the_certificates(tmp_path: Path) -> None:
    make_authority(tmp_path, "x")
    make_server(tmp_path, ["localhost"])
    with pytest.raises(InputError, match="nothing was started"):
        server_context(tmp_path / SERVER, tmp_path / "authority.key")
    with pytest.raises(ConfigError, match="no key was made"):
        make_authority(tmp_path, "x")


def instruction(served: link_kit.Served, grid: object, node: int) -> Message:
    content = RecordDict({"c": ConfigRecord({"a": 1})})
    return Message(content, node, "train", ttl=30)


def test_a_reply_is_its_callers_own_and_signed_by_its_store(served: link_kit.Served, tmp_path: Path) -> None:
    """Forged source, no signature, another's signature, a signature of another reply: Flower sees none of them."""
    store, other = Identity.create(tmp_path / "a.key"), Identity.create(tmp_path / "b.key")
    key = served.member(store.public)
    stranger_key = served.member()
    grid = served.link.start_run()
    nodes = {
        name: served.node(key, sign) for name, sign in [("bare", None), ("wrong", other.sign), ("good", store.sign)]
    }
    number = nodes["good"].activate(15)
    for node in nodes.values():
        node.node = number
    forger = served.node(stranger_key)
    forger.activate(15)
    [message_id] = grid.push_messages([instruction(served, grid, number)])
    asked = nodes["good"].pull()
    assert asked is not None

    def reply() -> Message:
        return Message(RecordDict({"t": pack_arrays({})}), reply_to=asked)

    for attempt in (nodes["bare"], nodes["wrong"], forger):
        with pytest.raises(Refused) as refused:
            attempt.push(reply())
        assert refused.value.status == 403
    assert list(grid.pull_messages([message_id])) == []
    to_another = Message(RecordDict({"c": ConfigRecord({})}), number, "train", ttl=30)
    with pytest.raises(Refused) as refused:  # an instruction from a store to a store
        forger.push(to_another)
    assert refused.value.status == 403
    nodes["good"].push(reply())
    [taken] = grid.pull_messages([message_id])
    assert taken.has_content()
    served.link.finish_run(grid)
    for node in (*nodes.values(), forger):
        node.close()


def test_a_member_fills_no_more_than_its_share_of_the_memory(
    served: link_kit.Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushed, "MOST_BYTES", 100_000)
    greedy, other, grid = served.node(served.member()), served.node(served.member()), served.link.start_run()
    numbers = [greedy.activate(15), other.activate(15), greedy.node]
    ids = list(grid.push_messages([instruction(served, grid, number or 0) for number in numbers]))

    def push(node: FleetLink, first: float) -> None:
        asked, array = node.pull(), first + np.arange(7_500.0)  # 60,000 bytes
        assert asked is not None
        node.push(Message(RecordDict({"t": pack_arrays({"x": array})}), reply_to=asked))

    push(greedy, 0.1)
    with pytest.raises(Unreachable, match="status 429"):  # so it is tried again, while the message is good
        push(greedy, 0.2)
    push(other, 0.3)  # its own share
    assert [reply.has_content() for reply in grid.pull_messages(ids)] == [True, True]
    [third] = grid.push_messages([instruction(served, grid, numbers[0])])
    push(greedy, 0.4)  # what was taken made room
    assert [reply.has_content() for reply in grid.pull_messages([third])] == [True]
    served.link.finish_run(grid)
    for node in (greedy, other):
        node.close()


def test_a_member_registers_no_more_objects_than_a_message_needs_however_often_it_sends_its_reply(
    served: link_kit.Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushed, "MOST_OBJECTS", 20)
    node, grid = served.node(served.member()), served.link.start_run()
    [_] = grid.push_messages([instruction(served, grid, node.activate(15))])
    asked = node.pull()
    assert asked is not None
    reply = Message(RecordDict({"c": ConfigRecord({})}), reply_to=asked)
    set_message_id(reply, reply.object_id)
    head = message_to_proto(remove_content_from_message(reply))

    def register(names: range) -> None:
        """Flower takes the same reply again with other objects below it."""
        below = [ObjectTree(object_id=hashlib.sha256(bytes([name])).hexdigest()) for name in names]
        tree = ObjectTree(object_id=reply.object_id, children=below)
        request = PushMessagesRequest(node=Node(node_id=node.node), messages_list=[head], message_object_trees=[tree])
        node._client.PushMessages(request)

    register(range(10))
    register(range(19))
    for names in (range(19, 20), range(10, 60)):
        with pytest.raises(httpx.HTTPStatusError, match="429"):
            register(names)
    register(range(5))  # none that is new
    served.link.finish_run(grid)
    register_again = served.link.pushed.has_room(public_pem(served.keys[-1]), frozenset(map(str, range(20))))
    assert register_again  # the run's end freed them
    node.close()


def test_who_is_removed_while_its_reply_comes_is_held_to_its_signature() -> None:
    request = PushMessagesRequest(messages_list=[{}], message_object_trees=[{"object_id": "a"}])
    request.node.node_id = request.messages_list[0].metadata.src_node_id = 3
    request.messages_list[0].metadata.message_id, request.messages_list[0].metadata.reply_to_message_id = "a", "b"
    body, statuses = request.SerializeToString(), []
    members = Members({b"key": bytes(32)})

    async def removed_meanwhile() -> dict[str, object]:
        members.keys.clear()
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(event: MutableMapping[str, object]) -> None:
        statuses.extend([event["status"]] if "status" in event else [])

    async def flower(*_: object) -> None:
        pytest.fail("an unsigned reply was passed on")

    headers = {"flwr-public-key": base64.b64encode(b"key"), "content-length": str(len(body)).encode()}
    scope = {"type": "http", "path": f"{FLEET}push-messages", "method": "POST"}
    scope["headers"] = [(name.encode(), value) for name, value in headers.items()]  # type: ignore[assignment]
    asyncio.run(Guard(flower, members)(scope, removed_meanwhile, send))
    assert statuses == [403]


def test_who_is_removed_is_refused_at_once(served: link_kit.Served) -> None:
    key = served.member()
    node = served.node(key)
    node.activate(15)
    assert node.pull() is None
    served.link.remove_member(public_pem(key))
    with pytest.raises(Refused):
        node.pull()
    del served.members.keys[public_pem(key)]
    with pytest.raises(Refused) as refused:
        node.activate(15)
    assert refused.value.status == 401
    node.close()
    never_came = served.member()
    served.link.remove_member(public_pem(never_came))
    assert served.link.members() == [x for x in served.link.members() if x]
