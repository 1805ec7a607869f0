"""What our grids do alike, so that each says only where its messages go and where replies come from."""

from __future__ import annotations

import time
from collections.abc import Iterable

from fedcart.shared.flower_compat import Grid, Message, RecordDict, Run

POLL_S = 0.05
"""Between looks for replies that are not there yet."""


class PullingGrid(Grid):
    """A grid of `push_messages`, `pull_messages` and `get_node_ids`; it remembers its run."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def set_run(self, run: Run) -> None:
        """Remember the run."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run that was set."""
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """A new instruction."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Send, and pull until every reply is there or `timeout` seconds are over; None = the longest time to live.

        It holds all replies at once: rounds push and pull instead.
        """
        sent = list(messages)
        longest = max((message.metadata.ttl for message in sent), default=0.0)
        until = time.monotonic() + (longest if timeout is None else timeout)
        waiting, found = set(self.push_messages(sent)), list[Message]()
        while waiting:
            arrived = list(self.pull_messages(sorted(waiting)))
            found += arrived
            waiting -= {reply.metadata.reply_to_message_id for reply in arrived}
            if not waiting or time.monotonic() >= until:
                break
            time.sleep(POLL_S)
        return found
