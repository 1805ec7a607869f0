"""A grid that loses, delays, breaks, alters, doubles and forges replies on purpose, in front of any other grid.

Which store and round fails is decided by a hook that sees their numbers only, never data.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fedcart.shared.flower_compat import (
    RAISED,
    SUPERLINK_NODE_ID,
    UNAVAILABLE,
    ArrayRecord,
    ConfigRecord,
    Error,
    Grid,
    Message,
    Run,
    set_message_id,
)
from fedcart.shared.flower_compat.grids import PullingGrid
from fedcart.shared.secagg_wire import FLOWS, Flow

Kind = Literal["drop", "silent", "delay", "raise", "corrupt", "duplicate", "foreign"]
LOST = ("drop", "silent", "raise")
"""Kinds of a message that its store never hears of."""
_FLOW_NUMBERS: dict[str, int] = {flow: number for number, flow in enumerate(FLOWS)}


@dataclass(frozen=True)
class Fault:
    """What happens to one store's part in one try of a round.

    Attributes:
      kind: `drop`: the SuperLink reports the node dead, from its own number, and the store never hears of it.
        `silent`: the same and nobody says so. `delay`: the reply can be had after `seconds`. `raise`: the app raised.
        `corrupt`: the reply lost its last bytes. `duplicate`: the reply comes twice. `foreign`: a stranger's reply
        comes with it.
      seconds: of `delay`, from sending.
      flow: that it hits. With secure aggregation a round has several: `drop`, `silent` and `raise` hit every later flow
        of the round too.
    """

    kind: Kind
    seconds: float = 0.0
    flow: Flow = "train"

    def hits(self, flow: str) -> bool:
        """Whether a message of `flow` is lost or spoilt."""
        if self.kind in LOST:
            return _FLOW_NUMBERS[self.flow] <= _FLOW_NUMBERS.get(flow, len(FLOWS))  # receipts come last
        return self.flow == flow


FaultHook = Callable[[int, int, int], Fault | None]
"""(store, round, attempt) -> what goes wrong, or None."""


def coin_drops(rate: float, seed: int, then: FaultHook | None = None, flows: Sequence[Flow] = ("train",)) -> FaultHook:
    """Drop a store from a round with probability `rate`, the same for the same (seed, store, round, attempt).

    `flows`: from which flow of the round on; of several, one by the same coin.
    """

    def hook(store: int, round_index: int, attempt: int) -> Fault | None:
        coin = np.random.default_rng((seed, round_index, attempt, store)).random()
        if coin < rate:
            return Fault("drop", flow=flows[int(coin / rate * len(flows))])
        return then(store, round_index, attempt) if then is not None else None

    return hook


class FaultyGrid(PullingGrid):
    """`inner`, with the faults that `hook` orders. A store is the position of its node in `get_node_ids`."""

    def __init__(self, inner: Grid, hook: FaultHook) -> None:
        super().__init__(inner.run)
        self._inner, self._hook = inner, hook
        self._stores = {node: store for store, node in enumerate(inner.get_node_ids())}
        self._planned: dict[str, tuple[Message, Fault, float]] = {}

    def set_run(self, run: Run) -> None:
        """Remember it, and pass it on."""
        super().set_run(run)
        self._inner.set_run(run)

    def get_node_ids(self) -> Iterable[int]:
        """The inner grid's."""
        return self._inner.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send on what is not to be lost."""
        passed: list[Message] = []
        lost: list[str] = []
        for message in messages:
            round_index, attempt, flow = (*message.metadata.group_id.split("."), "train")[:3]
            fault = self._hook(self._stores[message.metadata.dst_node_id], int(round_index), int(attempt))
            if fault is None or not fault.hits(flow):
                passed.append(message)
            elif fault.kind in LOST:
                message_id = f"lost-{message.metadata.dst_node_id}-{message.metadata.group_id}"
                set_message_id(message, message_id)
                lost.append(message_id)
                self._planned[message_id] = (message, fault, time.monotonic())
            else:
                passed.append(message)
                message_id = f"late-{message.metadata.dst_node_id}"
                self._planned[message_id] = (message, fault, time.monotonic())
        sent = list(self._inner.push_messages(passed))
        for key in [key for key in self._planned if key.startswith("late-")]:
            planned = self._planned.pop(key)
            self._planned[planned[0].metadata.message_id] = planned
        return sent + lost

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies, with their faults."""
        return [reply for message_id in message_ids for reply in self._pull(message_id)]

    def _pull(self, message_id: str) -> list[Message]:
        planned = self._planned.get(message_id)
        if planned is None:
            return list(self._inner.pull_messages([message_id]))
        message, fault, sent = planned
        if fault.kind == "silent" or (fault.kind == "delay" and time.monotonic() < sent + fault.seconds):
            return []
        if fault.kind == "drop":
            reply = Message(Error(UNAVAILABLE, "node unavailable"), reply_to=message)
            reply.metadata.__dict__["_src_node_id"] = SUPERLINK_NODE_ID
            return [reply]
        if fault.kind == "raise":
            return [Message(Error(RAISED, "RuntimeError"), reply_to=message)]
        replies = list(self._inner.pull_messages([message_id]))
        return [spoilt for reply in replies for spoilt in _spoil(reply, fault)]


def _spoil(reply: Message, fault: Fault) -> list[Message]:
    if fault.kind == "duplicate":
        return [reply, reply]
    if fault.kind == "foreign":
        stranger = Message(reply.content, reply_to=reply)
        stranger.metadata.__dict__["_reply_to_message_id"] = "nobody's"
        return [stranger, reply]
    if fault.kind == "corrupt" and reply.has_content():
        for record in reply.content.values():
            if isinstance(record, ArrayRecord):
                for packed in record.values():
                    packed.data = packed.data[:-8]
            elif isinstance(record, ConfigRecord):
                for name, value in record.items():
                    record[name] = value[:-8] if isinstance(value, bytes) else value
    return [reply]
