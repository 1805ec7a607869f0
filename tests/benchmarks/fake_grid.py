"""A Flower grid in one process, for the benchmarks of secure aggregation: it calls each store and reads the clock.

Both sides of the comparison ride on it, so both pay for Flower's messages and records, and neither for a transport.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable

import fedcart.shared.flower_compat as fc

Answer = Callable[[fc.Message, int], fc.Message]
"""(message as it arrived, node) -> the store's reply."""


class FakeGrid:
    """Nodes 1, 2, …; from flow number `missing_from` on, those in `gone` are dead.

    Attributes:
      seconds: node -> message type -> processor seconds of its answers.
      carried: processor seconds of the grid itself, which are nobody's.
    """

    def __init__(self, answer: Answer, gone: set[int], missing_from: int) -> None:
        self._answer, self._gone, self._missing_from = answer, gone, missing_from
        self._flow = 0
        self._waiting: dict[str, fc.Message] = {}
        self.seconds: dict[int, dict[str, float]] = {}
        self.carried = 0.0

    def send_and_receive(self, messages: Iterable[fc.Message], *, timeout: float | None = None) -> list[fc.Message]:
        """As Flower's workflow asks: everybody's replies at once."""
        return list(self.pull_messages(self.push_messages(messages)))

    def push_messages(self, messages: Iterable[fc.Message]) -> list[str]:
        """One flow. Stores answer when their replies are pulled."""
        begun = time.process_time()
        found = []
        for message in messages:
            found.append(f"{self._flow}.{message.metadata.dst_node_id}")
            fc.set_message_id(message, found[-1])
            self._waiting[found[-1]] = message
        self._flow += 1
        self.carried += time.process_time() - begun
        return found

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[fc.Message]:
        """Each reply is made here, so that no more than one need be in memory."""
        for message_id in message_ids:
            yield self._reply(message_id, self._waiting.pop(message_id))

    def _reply(self, message_id: str, message: fc.Message) -> fc.Message:
        node = message.metadata.dst_node_id
        begun = time.process_time()
        if node in self._gone and self._flow > self._missing_from:
            reply = fc.Message(fc.Error(fc.UNAVAILABLE, "gone"), reply_to=message)
            reply.metadata.__dict__["_src_node_id"] = node
            self.carried += time.process_time() - begun
            return reply
        arrived = copy.deepcopy(message)
        middle = time.process_time()
        reply = self._answer(arrived, node)
        ended = time.process_time()
        reply.metadata.__dict__["_src_node_id"] = node
        kinds = self.seconds.setdefault(node, {})
        kinds[message.metadata.message_type] = kinds.get(message.metadata.message_type, 0.0) + ended - middle
        self.carried += middle - begun + time.process_time() - ended
        return reply
