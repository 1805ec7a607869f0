"""A node's calls to a SuperLink, over HTTPS to one pinned certificate authority, with the node's own key.

Flower's SuperNode ends the process on some errors, sends itself signals and runs the app that it is sent. These calls
do none of that: they raise, and what they fetch is a message for the app that is installed here.
"""

from __future__ import annotations

import datetime
import email.utils
import ipaddress
import ssl
import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, PullObjectRequest, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.interceptors.http.utils import add_headers
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufClientInterceptor, ProtobufRequestContext
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from fedcart.shared.errors import FedcartError, ProtocolError
from fedcart.shared.flower_compat import Message, RecordDict, set_message_id
from fedcart.shared.flower_compat.joining import read_objects

SIGNATURE_HEADER = "fedcart-signature"
"""Hex signature of the store's identity over the hash of a reply; see `reply_bytes_to_sign`."""
REPLY_DOMAIN = "reply"
WAIT_HEADER = "fedcart-wait"
"""Header of a pull: seconds that the coordinator may hold it until there is a message."""
Sign = Callable[[str, bytes], bytes]
"""(domain, message) -> signature, as `Identity.sign`."""
T = TypeVar("T")


class Unreachable(FedcartError):
    """No answer, or one that says to come again: try again."""


class Refused(ProtocolError):
    """The SuperLink answered no. `status` is the HTTP status."""

    def __init__(self, call: str, status: int, ahead_s: float = 0.0) -> None:
        """`ahead_s`: by how much this machine's clock is ahead of the coordinator's."""
        clock = f"; this machine's clock is {ahead_s:+.0f} s off the coordinator's" if abs(ahead_s) > 4 else ""
        super().__init__(f"the coordinator refused {call} with status {status}{clock}")
        self.call, self.status, self.ahead_s = call, status, ahead_s

    def __reduce__(self) -> Any:
        return type(self), (self.call, self.status, self.ahead_s)


def reply_bytes_to_sign(message_id: str, reply_to: str) -> bytes:
    """What a store signs of a reply: its hash, which covers all of its content, and the message that it answers."""
    return f"{message_id} {reply_to}".encode()


def tls_context(authority: bytes) -> ssl.SSLContext:
    """Trust one authority (PEM) and no other, check the host's name, TLS 1.2 at least."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=authority.decode("ascii"))
    return context


def http_client(address: str, authority: bytes, timeout_s: float) -> httpx.Client:
    """HTTPS to `address` (host:port); through the proxy that the environment names, except on this machine."""
    return httpx.Client(
        base_url=f"https://{address}",
        verify=tls_context(authority),
        timeout=timeout_s,
        follow_redirects=False,
        trust_env=not is_loopback(address),
    )


def is_loopback(address: str) -> bool:
    """Whether host:port is this machine."""
    host = address.rsplit(":", 1)[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class FleetLink:
    """One node's calls. Every call raises Unreachable or Refused; none retries. Calls of two threads may overlap.

    Attributes:
      node: its number at the SuperLink, from `activate`; None before.
    """

    def __init__(
        self,
        address: str,
        authority: bytes,
        key: ec.EllipticCurvePrivateKey,
        sign: Sign | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        """Connect at the first call.

        Args:
          address: host:port.
          authority: PEM certificate that the server's must be signed by.
          key: the node's P-384 key.
          sign: the store's identity; signs every reply. None = replies carry no signature (a simulation).
        """
        self._added = _Added(sign)
        interceptors: list[ProtobufClientInterceptor] = [NodeAuthHttpInterceptor(key, key.public_key()), self._added]
        self._client = FleetHttpClient(f"https://{address}", interceptors=interceptors)
        self._client._client.close()  # its own would trust every authority of the machine and follow redirects
        self._client._client = http_client(address, authority, timeout_s)
        self._public = public_pem(key)
        self.node: int | None = None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def activate(self, lease_s: float) -> int:
        """Come online; the SuperLink holds the node alive for twice `lease_s` without a heartbeat."""
        request = ActivateNodeRequest(public_key=self._public, heartbeat_interval=lease_s)
        self.node = int(_call("activate-node", self._client.ActivateNode, request).node_id)
        return self.node

    def deactivate(self, node: int) -> None:
        """Go offline, as node `node`."""
        _call("deactivate-node", self._client.DeactivateNode, DeactivateNodeRequest(node_id=node))

    def heartbeat(self, lease_s: float) -> None:
        """Say that the node lives."""
        request = SendNodeHeartbeatRequest(node=self._node(), heartbeat_interval=lease_s)
        if not _call("send-node-heartbeat", self._client.SendNodeHeartbeat, request).success:
            raise Refused("send-node-heartbeat", 404)

    def pull(self, wait_s: float = 0.0) -> Message | None:
        """The next message with all of its content, or None. A message is given out once.

        Args:
          wait_s: seconds that the coordinator may hold the answer until there is a message.

        Raises:
          ProtocolError: it could not be read; it was let go of.
        """
        node, self._added.wait_s = self._node(), wait_s
        response = _call("pull-messages", self._client.PullMessages, PullMessagesRequest(node=node))
        if not response.messages_list:
            return None
        try:
            head, tree = message_from_proto(response.messages_list[0]), response.message_object_trees[0]
        except Exception as error:  # as many as there are ways to write a bad one
            raise ProtocolError(f"a message could not be read ({type(error).__name__}); it was not used") from None
        run_id, contents = head.metadata.run_id, {}
        if len(tree.children) != 1:
            raise ProtocolError("a message came without content; it was not used")
        root = tree.children[0]  # the message's own object would say the head again
        for object_id in dict.fromkeys(part.object_id for part in iterate_object_tree(root)):
            request = PullObjectRequest(node=node, run_id=run_id, object_id=object_id)
            found = _call("pull-object", self._client.PullObject, request)
            if not found.object_available:
                raise ProtocolError("a message came without all of its objects; it was not used")
            contents[object_id] = found.object_content
        done = ConfirmMessageReceivedRequest(node=node, run_id=run_id, message_object_id=tree.object_id)
        _call("confirm-message-received", self._client.ConfirmMessageReceived, done)
        try:
            inflated = read_objects(root.object_id, contents)
        except Exception as error:
            raise ProtocolError(f"a message could not be read ({type(error).__name__}); it was not used") from None
        if not isinstance(inflated, RecordDict):
            raise ProtocolError("what came is no message's content; it was not used")
        head.content = inflated
        return head

    def push(self, reply: Message) -> None:
        """Send a reply, whole. Sending the same reply again is harmless."""
        with no_object_id_recompute():  # a vector is hashed once
            self._push(reply)

    def _push(self, reply: Message) -> None:
        node, run_id = self._node(), reply.metadata.run_id
        set_message_id(reply, reply.object_id)
        request = PushMessagesRequest(
            node=node,
            messages_list=[message_to_proto(remove_content_from_message(reply))],
            message_object_trees=[get_object_tree(reply)],
        )
        response = _call("push-messages", self._client.PushMessages, request)
        wanted = set(response.objects_to_push)
        for object_id, part in get_all_nested_objects(reply).items():
            if object_id not in wanted:
                continue
            pushed = PushObjectRequest(
                node=node,
                run_id=run_id,
                object_id=object_id,
                object_content=part.deflate(),
                session_id=response.session_id,
            )
            if not _call("push-object", self._client.PushObject, pushed).stored:
                raise Refused("push-object", 409)

    def _node(self) -> Node:
        if self.node is None:
            raise FedcartError("the node is not active; nothing was sent")
        return Node(node_id=self.node)


def new_node_key() -> ec.EllipticCurvePrivateKey:
    """A key of the kind that Flower's node authentication uses."""
    return ec.generate_private_key(ec.SECP384R1())


def public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The public half, as the SuperLink lists it."""
    from flwr.supercore.primitives.asymmetric import public_key_to_bytes

    return public_key_to_bytes(key.public_key())


class _Added:
    """Adds our headers: the store's signature to a pushed reply, how long to hold it to a pull."""

    def __init__(self, sign: Sign | None) -> None:
        self._sign, self.wait_s = sign, 0.0

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        if self._sign is not None and isinstance(context.message, PushMessagesRequest):
            head = context.message.messages_list[0].metadata
            signature = self._sign(REPLY_DOMAIN, reply_bytes_to_sign(head.message_id, head.reply_to_message_id))
            add_headers(context.request, {SIGNATURE_HEADER: signature.hex()})
        if self.wait_s > 0 and isinstance(context.message, PullMessagesRequest):
            add_headers(context.request, {WAIT_HEADER: f"{self.wait_s:g}"})
        return call_next(context)


def _call(name: str, call: Callable[[Any], T], request: Any) -> T:
    """The answer, or one of our two errors; texts of the other side go nowhere."""
    began = time.time()
    try:
        return call(request)
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        if status in (429, 502, 503, 504):
            raise Unreachable(f"the coordinator is not ready for {name} (status {status})") from None
        raise Refused(name, status, clock_off_s(error.response.headers.get("date"), began)) from None
    except httpx.RequestError as error:
        raise Unreachable(f"the coordinator could not be reached for {name} ({type(error).__name__})") from None
    except ValueError as error:
        raise Unreachable(f"the answer to {name} could not be read ({type(error).__name__})") from None


def clock_off_s(date: str | None, began: float | None = None) -> float:
    """Seconds by which this machine's clock is ahead of an HTTP date; 0 when there is none.

    Args:
      began: when the answer was asked for: it may have been dated at any time since. None = now.
    """
    try:
        said = email.utils.parsedate_to_datetime(date or "")
    except ValueError:
        return 0.0
    said = said if said.tzinfo else said.replace(tzinfo=datetime.UTC)  # -0000
    dated, ended = said.timestamp(), time.time()
    began = ended if began is None else began
    return began - dated if dated < began else min(0.0, ended - dated)
