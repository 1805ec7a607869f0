"""Flower's SuperLink inside this process: its Fleet API, the nodes that may call it, and a grid for our ServerApp.

The coordinator's loop works on the SuperLink's own state. So the Runtime API and the Control API, which has no
authentication, are not part of the app at all. Nodes do not register: who is a member is said here.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from fedcart.shared.errors import FedcartError, ProtocolError
from fedcart.shared.flower_compat import (
    RAISED,
    SUPERLINK_NODE_ID,
    Error,
    Message,
    Run,
    become_coordinator,
    set_message_id,
)
from fedcart.shared.flower_compat.grids import PullingGrid
from fedcart.shared.flower_compat.joining import read_objects
from fedcart.shared.flower_compat.pushed import Pushed

log = logging.getLogger("fedcart.link")

FLEET_CALLS = (
    "activate-node",
    "deactivate-node",
    "send-node-heartbeat",
    "pull-messages",
    "push-messages",
    "pull-object",
    "push-object",
    "confirm-message-received",
)
"""Calls of a store's node, below /v1/fleet/. Left out: registering (members are listed by the coordinator) and fetching
a run or an app (a store runs its own app only, so a stock SuperNode gets no further than these)."""
FLEET = "/v1/fleet/"
KEY_HEADER = "flwr-public-key"
"""Header that carries a node's public key, base64 of its PEM."""
TIME_HEADER, SIGNED_HEADER = "flwr-timestamp", "flwr-signature"
"""Headers of node authentication: when, and the signature over it, base64."""
Application = Callable[..., Awaitable[None]]
"""An ASGI application."""


@dataclass(frozen=True)
class Claim:
    """Who a pushed reply says it is from.

    Attributes:
      caller: node that signed the request.
      source: node that the reply names as its source.
      message_id: hash of the whole reply, content included.
      reply_to: of the message that it answers.
      objects: numbers of all that it says it consists of.
    """

    caller: int
    source: int
    message_id: str
    reply_to: str
    objects: frozenset[str]


def read_claim(body: bytes) -> Claim:
    """Read the head of a push-messages call. Raises ProtocolError unless it holds exactly one message."""
    from flwr.proto.fleet_pb2 import PushMessagesRequest
    from flwr.supercore.inflatable.inflatable_object import iterate_object_tree

    try:
        request = PushMessagesRequest.FromString(body)
    except Exception:  # google.protobuf's DecodeError; its package has no types
        raise ProtocolError("a pushed reply is no protobuf message; it was not stored") from None
    if len(request.messages_list) != 1 or len(request.message_object_trees) != 1:
        raise ProtocolError("a call pushes one reply with one tree of objects; nothing was stored")
    head = request.messages_list[0].metadata
    if head.message_id != request.message_object_trees[0].object_id:
        raise ProtocolError("a pushed reply is not numbered by its content; it was not stored")
    objects = frozenset(part.object_id for part in iterate_object_tree(request.message_object_trees[0]))
    return Claim(request.node.node_id, head.src_node_id, head.message_id, head.reply_to_message_id, objects)


def holds_key(public_key: bytes, timestamp: str, signature: bytes) -> bool:
    """Whether the headers of a call are signed by that key and fresh: what Flower checks itself once a body is read."""
    from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_TOLERANCE
    from flwr.supercore.date import now
    from flwr.supercore.primitives.asymmetric import bytes_to_public_key, verify_signature

    try:
        age = (now() - datetime.datetime.fromisoformat(timestamp)).total_seconds()
        signed = verify_signature(bytes_to_public_key(public_key), timestamp.encode("ascii"), signature)
    except (ValueError, TypeError, UnicodeError):
        return False
    return signed and -SYSTEM_TIME_TOLERANCE < age < TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE


class Link:
    """The SuperLink's state and Fleet API, in memory: nodes and messages are gone when the process is.

    Attributes:
      app: Flower's fleet router behind its protobuf translation and node authentication, and nothing else.
      pushed: what members pushed and nobody has taken yet.
    """

    def __init__(self) -> None:
        from flwr.server.superlink.linkstate import LinkStateFactory
        from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME
        from flwr.supercore.object_store import ObjectStoreFactory
        from flwr.superlink.federation import NoOpFederationManager

        logging.getLogger("flwr").setLevel(logging.CRITICAL)  # it logs keys and numbers of nodes that it refuses
        factory = LinkStateFactory(FLWR_IN_MEMORY_DB_NAME, NoOpFederationManager(), ObjectStoreFactory())
        self._state: Any = factory.state()
        self.app = _fleet_app(factory)
        self.pushed = Pushed(self._state.object_store)
        self._nodes: dict[bytes, int] = {}
        self._closing = False
        self._waiting: dict[int, list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = {}

    def add_member(self, public_key: bytes) -> int:
        """Let the holder of a node key in; its node's number, another one after each removal.

        In the grid, nodes keep the order of their adding.

        Args:
          public_key: PEM of a P-384 key.
        """
        from flwr.common.constant import NOOP_ACCOUNT_NAME, NOOP_FLWR_AID

        if public_key not in self._nodes:
            # Flower keeps the key of a node that it deleted, and would never let its holder in again.
            self._state.node_public_key_to_node_id.pop(public_key, None)
            made = self._state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, public_key, 0)
            self._nodes[public_key] = int(made)
        return self._nodes[public_key]

    def remove_member(self, public_key: bytes) -> None:
        """Let it in no more; its calls are refused from now on."""
        from flwr.common.constant import NOOP_FLWR_AID

        node = self._nodes.pop(public_key, None)
        if node is None:
            return
        info = self._state.nodes[node]
        if info.online_until is None:
            info.online_until = 0.0  # Flower 1.41 compares it before it was ever set
        self._state.delete_node(NOOP_FLWR_AID, node)

    def members(self) -> list[int]:
        """The nodes, in the order of their adding."""
        return list(self._nodes.values())

    def online(self) -> int:
        """How many members' nodes hold their lease."""
        from flwr.supercore.constant import NodeStatus

        return len(self._state.get_node_info(node_ids=self.members(), statuses=[NodeStatus.ONLINE]))

    async def wait_for_message(self, public_key: bytes, seconds: float) -> None:
        """Return when there is a message for the holder of a key, or after `seconds`."""
        node = self._nodes.get(public_key)
        if node is None:
            return
        waiter = (asyncio.get_running_loop(), asyncio.Event())
        self._waiting.setdefault(node, []).append(waiter)  # before the look: a message in between wakes it
        try:
            if not self._closing and not self._has_message(node):
                await asyncio.wait_for(waiter[1].wait(), seconds)
        except TimeoutError:
            pass
        finally:
            self._waiting[node].remove(waiter)

    def close(self) -> None:
        """Hold no call any more: whoever waits is answered now."""
        self._closing = True
        for node in list(self._waiting):
            self._wake(node)

    def _has_message(self, node: int) -> bool:
        with self._state.lock:
            return any(
                message.metadata.dst_node_id == node and message.metadata.delivered_at == ""
                for message in self._state.message_ins_store.values()
            )

    def _wake(self, node: int) -> None:
        for loop, event in list(self._waiting.get(node, ())):
            loop.call_soon_threadsafe(event.set)

    def start_run(self, stores: Callable[[], Mapping[bytes, str]] | None = None) -> LinkGrid:
        """A new run, and the grid to carry it out on; messages of this process are its coordinator's from now on.

        Args:
          stores: says whose nodes take part, whenever the grid is asked: node key -> public key of the store whose
            node it is, hex; None = all members' do, and nobody says whose store is whose.
        """
        from flwr.common.constant import NOOP_FLWR_AID, Status
        from flwr.proto.task_pb2 import TaskStatus
        from flwr.supercore.constant import NOOP_FEDERATION_ID, TaskType

        run_id = int(
            self._state.create_run(None, None, None, {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP)
        )
        # Running without a claim: a claimed task has a token that runs out unless a process of Flower's renews it.
        task = self._state.task_store[self._state.run_ids[run_id].run.primary_task_id]
        task.status.CopyFrom(TaskStatus(status=Status.RUNNING, sub_status="", details=""))
        become_coordinator(run_id)

        def members() -> list[int]:
            wanted = self._nodes.keys() if stores is None else stores().keys()
            return [node for key, node in list(self._nodes.items()) if key in wanted]

        def store_of(node: int) -> str | None:
            public = {} if stores is None else stores()
            return next((public.get(key) for key, of in list(self._nodes.items()) if of == node), None)

        grid = LinkGrid(self._state, members, self._wake, self._state.get_run_info(run_ids=[run_id])[0])
        grid.store_of = None if stores is None else store_of
        return grid

    def finish_run(self, grid: LinkGrid) -> None:
        """End a run; its messages and objects go, and late replies are refused."""
        self._state.stop_run(grid.run.run_id)


def _fleet_app(factory: Any) -> Application:
    """What `flwr.superlink.main.create_app` makes, less all that no store calls."""
    from fastapi import FastAPI
    from flwr.supercore.error import http_error_translator
    from flwr.supercore.protobuf.translation import ProtobufTranslationMiddleware
    from flwr.superlink.routers.fleet.node_auth import NodeAuthMiddleware
    from flwr.superlink.routers.fleet.router import router
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware

    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        middleware=[
            Middleware(BaseHTTPMiddleware, dispatch=http_error_translator),
            Middleware(ProtobufTranslationMiddleware),
            Middleware(NodeAuthMiddleware),
        ],
    )
    app.state.linkstate_factory = factory
    app.state.enable_supernode_auth = True  # nodes do not register themselves
    app.include_router(router)
    return app


class LinkGrid(PullingGrid):
    """A grid on the SuperLink's own state: no HTTP and no copy of an object's bytes between it and the ServerApp.

    A message becomes visible to its node when all its objects are stored; a reply, when all of its are. A push ends
    what was pushed before: Flower would keep messages that nobody fetched, and replies that came too late, until the
    run ends.

    Attributes:
      store_of: node -> public key of the store that it was enrolled with, hex, None for no such node; None itself where
        nobody said.
    """

    store_of: Callable[[int], str | None] | None = None

    def __init__(self, state: Any, members: Callable[[], list[int]], wake: Callable[[int], None], run: Run) -> None:
        super().__init__(run)
        self._state, self._members, self._wake = state, members, wake
        self._arriving: dict[str, Message] = {}
        self._open: set[str] = set()

    def get_node_ids(self) -> Iterable[int]:
        """Members that are online, in the order of their adding."""
        online = self._state.get_nodes(self._run.run_id)
        return [node for node in self._members() if node in online]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Store messages and objects; ids of those that the SuperLink took. Replies to earlier ones are not waited for.

        The messages' content is emptied: its bytes are in the store now, and a model need not be here twice.
        """
        from flwr.supercore.inflatable.inflatable_object import no_object_id_recompute

        self._arriving.clear()
        self._forget(self._open)
        sent = list(messages)
        with no_object_id_recompute():  # content that messages share is hashed once
            taken = [message_id for message in sent if (message_id := self._push(message)) is not None]
        for message in sent:
            message.content.clear()
        self._open = set(taken)
        return taken

    def _forget(self, message_ids: Set[str]) -> None:
        """Delete messages, what came for them, and the objects of both."""
        with self._state.lock:  # a reply is stored with its objects under it
            replies = self._state.message_ins_id_to_message_res_id
            roots = {*message_ids, *(replies[number] for number in message_ids if number in replies)}
            self._state.delete_messages(message_ids)
            for root in roots:
                self._state.object_store.delete(root)

    def _push(self, message: Message) -> str | None:
        from flwr.app.message import remove_content_from_message
        from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree

        set_message_id(message, message.object_id)
        run_id, tree = self._run.run_id, get_object_tree(message)
        session = self._state.start_session(run_id)
        missing = set(self._state.preregister_object_tree(tree, session))
        for object_id, part in get_all_nested_objects(message).items():
            if object_id in missing and not self._state.store_object(run_id, session, object_id, part.deflate()):
                raise FedcartError("the SuperLink did not store an object of a message; nothing was sent")
        stored: str | None = self._state.store_message_ins(remove_content_from_message(message))
        if stored is None:
            self._state.object_store.delete(tree.object_id)
        else:
            self._wake(message.metadata.dst_node_id)
        return stored

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies that are whole, each once. What a node sent that is no message comes as its error."""
        return [reply for message_id in message_ids if (reply := self._pull(message_id)) is not None]

    def _pull(self, message_id: str) -> Message | None:
        head = self._arriving.get(message_id)
        if head is None:
            found = self._state.get_message_res({message_id}, self._run.run_id)
            if not found:
                return None
            head = self._arriving[message_id] = found[0]
        from_node = head.metadata.src_node_id != SUPERLINK_NODE_ID
        reply = self._whole(head) if from_node else head
        if reply is not None:
            del self._arriving[message_id]
            self._forget({message_id})
            self._state.object_store.delete(head.metadata.message_id)
        return reply

    def _whole(self, head: Message) -> Message | None:
        """The reply with its content; None while objects of it are on their way."""
        from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
        from flwr.supercore.object_store import NoObjectInStoreError

        root, store = head.metadata.message_id, self._state.object_store
        try:
            ids = list(dict.fromkeys(node.object_id for node in iterate_object_tree(store.get_object_tree(root))))
        except NoObjectInStoreError:
            return _unusable(head)
        contents: dict[str, bytes] = {}
        for object_id in ids:
            raw = self._state.get_object(self._run.run_id, object_id)
            if raw == b"":
                return None
            if raw is None:
                return _unusable(head)
            contents[object_id] = raw
        if head.has_error():
            return head
        store.delete(root)  # from here on the bytes are held once
        try:
            inflated = read_objects(root, contents)
            if not isinstance(inflated, Message) or not inflated.has_content():
                raise TypeError(f"a {type(inflated).__name__} where a reply with content is needed")
        except Exception as error:  # whatever a node sends must not stop the round
            log.warning("a reply could not be read (%s); it was not used", type(error).__name__)
            return _unusable(head)
        head.content = inflated.content  # the head is what the SuperLink checked
        return head


def _unusable(head: Message) -> Message:
    """The same reply as an error of its node."""
    from flwr.app.message import make_message

    return make_message(metadata=head.metadata, error=Error(RAISED, ProtocolError.__name__))
