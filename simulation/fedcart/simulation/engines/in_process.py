"""Both apps in this process: a Grid that calls the ClientApp. What a test, a laptop and `fedcart simulate` use."""

from __future__ import annotations

import copy
import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fedcart.shared.buffers import keep_freed_buffers
from fedcart.shared.errors import ConfigError
from fedcart.shared.flower_compat import (
    RAISED,
    SUPERLINK_NODE_ID,
    ClientApp,
    Context,
    Error,
    Message,
    RecordDict,
    Run,
    UserConfig,
    become_coordinator,
    from_wire,
    set_message_id,
    to_wire,
)
from fedcart.shared.flower_compat.grids import PullingGrid
from fedcart.simulation.engines import EngineSettings
from fedcart.simulation.engines.coordinator import run_coordinator
from fedcart.simulation.engines.faults import FaultHook

if TYPE_CHECKING:
    from fedcart.client.app import Around

log = logging.getLogger("fedcart.engine")
Mode = Literal["copy", "wire", "lazy"]
RUN_ID = 1
FIRST_NODE = SUPERLINK_NODE_ID + 1
"""Store s runs on node FIRST_NODE + s; SUPERLINK_NODE_ID is the coordinator's."""


def run_in_process(
    directory: Path,
    stores: int,
    settings: EngineSettings,
    faults: FaultHook | None = None,
    around: Around | None = None,
) -> None:
    """Run the two apps to completion; see `fedcart.simulation.engines.run`."""
    from fedcart.client.app import app, make_app

    def node_config(store: int) -> UserConfig:
        return {"records": str(directory), "store": store}

    keep_freed_buffers()
    become_coordinator(RUN_ID)
    store_app = app if around is None else make_app(around)
    with InProcessGrid(store_app, stores, node_config, settings.mode, settings.threads) as grid:
        run_coordinator(grid, directory, stores, settings, faults)


class InProcessGrid(PullingGrid):
    """Nodes are numbers; a node's app runs when its message is sent (`copy`, `wire`) or its reply asked for (`lazy`).

    With several threads, `lazy` runs ahead by that many stores, in the order of sending.
    """

    def __init__(
        self,
        client_app: ClientApp,
        stores: int,
        node_config: Callable[[int], UserConfig],
        mode: Mode = "lazy",
        threads: int = 1,
    ) -> None:
        if stores < 1:
            raise ConfigError(f"{stores} stores; nothing was run", "a run needs at least one")
        super().__init__(Run.create_empty(RUN_ID))
        self._app, self._stores, self._node_config = client_app, stores, node_config
        self._mode, self._threads = mode, threads
        self._numbers = itertools.count(1)
        self._contexts: dict[int, Context] = {}
        self._todo: dict[str, Message] = {}
        self._order: deque[str] = deque()
        self._running: dict[str, Future[Message]] = {}
        self._done: dict[str, Callable[[], Message]] = {}
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def __enter__(self) -> InProcessGrid:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def get_node_ids(self) -> Iterable[int]:
        """Every store's node, in the order of the stores."""
        return range(FIRST_NODE, FIRST_NODE + self._stores)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Number and keep the messages; run their nodes unless lazy. Replies of an earlier round are forgotten."""
        self._todo.clear()
        self._order.clear()
        self._running.clear()
        self._done.clear()
        ids = []
        for message in messages:
            message_id = str(next(self._numbers))
            set_message_id(message, message_id)
            self._todo[message_id] = message
            ids.append(message_id)
        self._order.extend(ids)
        if self._mode != "lazy":
            self._run_all(ids)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies, each once."""
        return [reply for message_id in message_ids for reply in self._pull(message_id)]

    def _pull(self, message_id: str) -> list[Message]:
        if message_id in self._done:
            return [self._done.pop(message_id)()]
        if self._pool is not None:
            self._run_ahead(self._pool)
            if message_id in self._running:
                return [self._running.pop(message_id).result()]
        message = self._todo.pop(message_id, None)
        return [] if message is None else [self._answer(message)]

    def _run_ahead(self, pool: ThreadPoolExecutor) -> None:
        while self._order and len(self._running) < self._threads:
            message_id = self._order.popleft()
            message = self._todo.pop(message_id, None)
            if message is not None:
                self._running[message_id] = pool.submit(self._answer, message)

    def _run_all(self, ids: list[str]) -> None:
        carry = _by_wire if self._mode == "wire" else _by_copy
        work = [carry(self._todo.pop(message_id)) for message_id in ids]
        self._order.clear()

        def answer(arrived: Callable[[], Message]) -> Callable[[], Message]:
            return carry(self._answer(arrived()))

        answers = map(answer, work) if self._pool is None else self._pool.map(answer, work)
        self._done.update(zip(ids, answers, strict=True))

    def _answer(self, message: Message) -> Message:
        """The reply of the message's node; an exception becomes an error that names its class only."""
        node = message.metadata.dst_node_id
        context = self._contexts.get(node)
        if context is None:
            config = self._node_config(node - FIRST_NODE)
            context = self._contexts[node] = Context(RUN_ID, node, config, RecordDict(), {})
        try:
            return self._app(message, context)
        except Exception as error:
            log.exception("node %d raised", node)
            return Message(Error(RAISED, type(error).__name__), reply_to=message)


def _by_copy(message: Message) -> Callable[[], Message]:
    copied = copy.deepcopy(message)
    return lambda: copied


def _by_wire(message: Message) -> Callable[[], Message]:
    wire = to_wire(message)
    return lambda: from_wire(wire)
