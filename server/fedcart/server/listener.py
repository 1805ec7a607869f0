"""The one door to the internet: TLS, an allow-list of calls, and refusals before a body is read.

Inside is Flower's whole SuperLink, whose Control API has no authentication. What is not listed here is 404, whatever
Flower adds to its app. A caller who is no member is refused by its header alone, before any of its bytes are parsed.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedcart.shared.errors import FedcartError, InputError, ProtocolError
from fedcart.shared.flower_compat.fleet import REPLY_DOMAIN, SIGNATURE_HEADER, WAIT_HEADER, reply_bytes_to_sign
from fedcart.shared.flower_compat.link import (
    FLEET,
    FLEET_CALLS,
    KEY_HEADER,
    SIGNED_HEADER,
    TIME_HEADER,
    Application,
    Claim,
    holds_key,
    read_claim,
)
from fedcart.shared.flower_compat.pushed import Pushed
from fedcart.shared.identity import verify

HEALTH = "/health"
SMALL_BODY = 1 << 20
"""Most bytes of a call's body, but for an object's."""
OBJECT_BODY = 6 << 20
"""Most bytes of a push-object call: Flower cuts arrays into chunks of 5 MiB."""
UNPROVEN_BODY = 1 << 16
"""Most bytes that are read of a caller who names a member's key, before Flower checks that it is theirs."""
START_S = 30.0
PULL, PUSH_OBJECT = FLEET + "pull-messages", FLEET + "push-object"
LONGEST_HOLD_S = 20.0
"""A pull is held no longer, whatever it asks for."""
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True)
class Door:
    """A call of our own beside the fleet's.

    Attributes:
      answer: (headers, body) -> (status, body); runs in a thread.
      most: largest body, bytes.
    """

    answer: Callable[[Mapping[str, str], bytes], tuple[int, bytes]]
    most: int = SMALL_BODY


@dataclass
class Members:
    """Who may call: node key (PEM) -> Ed25519 public key that signs its replies; None = nobody signs (a simulation)."""

    keys: dict[bytes, bytes | None] = field(default_factory=dict)


class Guard:
    """An ASGI application in front of the SuperLink's."""

    def __init__(
        self,
        inner: Application,
        members: Members,
        doors: Mapping[str, Door] | None = None,
        hold: Callable[[bytes, float], Awaitable[None]] | None = None,
        pushed: Pushed | None = None,
    ) -> None:
        """
        Args:
          doors: our own POST calls, by path.
          hold: (node key, seconds) -> returns when there is a message for it, or then; None holds no pull.
          pushed: bounds what each member may have pushed that nobody took yet; None bounds nothing.
        """
        self._inner, self._members, self._doors, self._hold = inner, members, dict(doors or {}), hold
        self._pushed, self._turns = pushed, dict[bytes, asyncio.Lock]()
        self._most = {FLEET + call: SMALL_BODY for call in FLEET_CALLS} | {PUSH_OBJECT: OBJECT_BODY}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        path, method = scope["path"], scope["method"]
        if path == HEALTH and method in ("GET", "HEAD"):
            await answer(send, 200, b"")
            return
        door = self._doors.get(path)
        most = door.most if door is not None else self._most.get(path)
        if most is None or method != "POST":
            await answer(send, 404, b"")
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = _length_refusal(headers, most)
        if refusal is not None:
            await answer(send, refusal, b"")
        elif door is not None:
            status, made = await asyncio.to_thread(door.answer, headers, await _read(receive, most))
            await answer(send, status, made)
        else:
            await self._fleet(scope, receive, send, headers)

    async def _fleet(self, scope: Scope, receive: Receive, send: Send, headers: Mapping[str, str]) -> None:
        """A fleet call of a member; a large one only of one who proves it."""
        key, path = _member(headers, self._members), scope["path"]
        proven = int(headers["content-length"]) <= UNPROVEN_BODY
        if key is None or not (proven or await asyncio.to_thread(_proves, headers, key)):
            await answer(send, 401, b"")
        elif path == FLEET + "push-messages":
            await self._pass_reply(scope, receive, send, headers, key)
        elif path == PUSH_OBJECT and not self._has_room(key, length=int(headers["content-length"])):
            await answer(send, 429, b"")
        else:
            if self._hold is not None and path == PULL and (seconds := _seconds(headers)) > 0:
                await self._hold(key, seconds)
            await self._inner(scope, receive, send)

    async def _pass_reply(
        self, scope: Scope, receive: Receive, send: Send, headers: Mapping[str, str], key: bytes
    ) -> None:
        """A reply is its caller's own and, where stores sign, signed by its identity; else Flower never sees it."""
        body = await _read(receive, SMALL_BODY)
        try:
            objects = check_reply(headers, body, self._members.keys[key]).objects
        except (ProtocolError, KeyError):  # no key: removed while its body came
            await answer(send, 403, b"")
            return
        handed = False

        async def again() -> MutableMapping[str, Any]:
            nonlocal handed
            if handed:
                return await receive()
            handed = True
            return {"type": "http.request", "body": body, "more_body": False}

        async with self._turns.setdefault(key, asyncio.Lock()):  # or what two of a member's replies add is not seen
            if not self._has_room(key, objects):
                await answer(send, 429, b"")
                return
            try:
                await self._inner(scope, again, send)
            finally:
                if self._pushed is not None:
                    self._pushed.note(key, objects)

    def _has_room(self, key: bytes, objects: frozenset[str] = frozenset(), length: int = 0) -> bool:
        """Whether a member may push this too; 429 = come again when the coordinator has taken what is here."""
        return self._pushed is None or self._pushed.has_room(key, objects, length)


def check_reply(headers: Mapping[str, str], body: bytes, identity: bytes | None) -> Claim:
    """What a reply says of itself; refuse one in another node's name, or that the store's identity did not sign.

    Raises:
      ProtocolError: it was not stored.
    """
    claim = read_claim(body)
    if claim.source != claim.caller or not claim.reply_to:
        raise ProtocolError("a node pushed a message in another's name; it was not stored")
    if identity is None:
        return claim
    try:
        signature = bytes.fromhex(headers.get(SIGNATURE_HEADER, ""))
    except ValueError:
        signature = b""
    verify(identity, REPLY_DOMAIN, reply_bytes_to_sign(claim.message_id, claim.reply_to), signature)
    return claim


async def answer(send: Send, status: int, body: bytes) -> None:
    """A whole response. After a refusal the connection ends, so that a body which was not read is none of ours."""
    headers = [(b"content-length", str(len(body)).encode())]
    if body:
        headers.append((b"content-type", b"application/json"))
    if status >= 400:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def json_body(document: Any) -> bytes:
    """A document as a response's body."""
    return json.dumps(document).encode()


def _proves(headers: Mapping[str, str], key: bytes) -> bool:
    """Whether the caller holds the key that it names."""
    try:
        signature = base64.b64decode(headers.get(SIGNED_HEADER, ""), validate=True)
    except binascii.Error:
        return False
    return holds_key(key, headers.get(TIME_HEADER, ""), signature)


def _seconds(headers: Mapping[str, str]) -> float:
    """How long a pull may be held."""
    said = headers.get(WAIT_HEADER, "")
    return min(float(said), LONGEST_HOLD_S) if said.replace(".", "", 1).isdecimal() else 0.0


def _length_refusal(headers: Mapping[str, str], most: int) -> int | None:
    """Status for a body without a length, or of too great a one."""
    said = headers.get("content-length", "")
    if "transfer-encoding" in headers or not said.isdigit():
        return 411
    return 413 if int(said) > most else None


def _member(headers: Mapping[str, str], members: Members) -> bytes | None:
    """The caller's key, if it is a member's. That the caller holds it is Flower's node authentication to check."""
    try:
        key = base64.b64decode(headers.get(KEY_HEADER, ""), validate=True)
    except binascii.Error:
        return None
    return key if key in members.keys else None


async def _read(receive: Receive, most: int) -> bytes:
    """The body; its length was announced and is no more than `most`."""
    body = bytearray()
    while True:
        event = await receive()
        body += event.get("body", b"")
        if len(body) > most:
            raise ProtocolError("a body is longer than it said")
        if event["type"] != "http.request" or not event.get("more_body", False):
            return bytes(body)


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """The listener's TLS: 1.2 at least.

    Raises:
      InputError: certificate or key cannot be read, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"{certificate}: cannot be used for TLS: {error}; nothing was started") from None
    return context


class Listener:
    """Serves an ASGI application over TLS in a thread of its own, until it is stopped.

    Attributes:
      port: that it listens on; chosen by the system when 0 was asked for.
    """

    def __init__(self, app: Guard, host: str, port: int, context: ssl.SSLContext, most_connections: int = 512) -> None:
        """Bind; serve nothing yet.

        Raises:
          InputError: the address cannot be bound.
        """
        import uvicorn

        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise InputError(f"cannot listen on {host} port {port}: {error.strerror}; nothing was started") from None
        self.host, self.port = host, int(self._socket.getsockname()[1])
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            ws="none",
            http="h11",
            loop="asyncio",
            proxy_headers=False,
            server_header=False,
            limit_concurrency=most_connections,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=2,
            ssl_context_factory=lambda _config, _default: context,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="fedcart-listener", daemon=True)

    def start(self) -> None:
        """Serve. Raises FedcartError when it does not come up."""
        self._thread.start()
        waited = threading.Event()
        for _ in range(int(START_S / 0.01)):
            if self._server.started or not self._thread.is_alive():
                break
            waited.wait(0.01)
        if not self._server.started:
            self.stop()
            raise FedcartError("the listener did not start", "see the log above")

    def stop(self) -> None:
        """Stop serving and wait for it."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(10)
        self._socket.close()

    def _serve(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))
