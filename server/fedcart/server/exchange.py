"""One exchange with the stores: send to each, use the replies as they come, stop at the deadline.

`exchange` adds up plain totals; `gather` is the same for any message and any use of the replies. In memory are the
sum and one reply, never more. Replies are taken in the order of the nodes, so the same answers add up to the same
bits whatever engine carried them; only a node that takes more than ORDERED of the deadline is overtaken by the
others. Failures belong to the node whose message the reply names (`reply_to_message_id`): a dead node's error comes
from the SuperLink's own number. Anything else that arrives is counted and ignored.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from fedcart.shared.errors import ProtocolError
from fedcart.shared.flower_compat import Grid, Message, RecordDict, error_name
from fedcart.shared.learners.base import Array
from fedcart.shared.privacy.release import Release
from fedcart.shared.wire import read_reply, reply_bytes, total_dtype

ORDERED = 0.8
"""Share of the deadline during which replies are waited for in the order of the nodes."""
FIRST_PAUSE, LONGEST_PAUSE = 0.002, 0.25
"""Seconds between two looks for a reply: doubling from the first to the longest, or to 1 % of the deadline."""
UNREACHED = ("NodeUnavailable", "NoReply", "NotSent")
"""Failures after which a store may still hold its secrets of an epoch; after any other they may be gone."""


@dataclass
class Replies:
    """Who answered, and who did not.

    Attributes:
      answered: node ids, in the order in which they were taken.
      failures: node id -> class of its failure; 'NoReply' and 'NotSent' are the loop's own.
      ignored: replies that were duplicate, late or nobody's.
    """

    answered: list[int] = field(default_factory=list)
    failures: dict[int, str] = field(default_factory=dict)
    ignored: int = 0

    @property
    def failure_classes(self) -> dict[str, int]:
        """Class of failure -> number of stores."""
        return dict(sorted(Counter(self.failures.values()).items()))


@dataclass(kw_only=True)
class Outcome(Replies):
    """What a round came to.

    Attributes:
      totals: sums over the stores that answered, by release: int64 units modulo 2^64 with noise, float64 without.
        Not rescaled when some are missing.
      upload_bytes, download_bytes: what travelled, all stores together.
      aggregation: `SA1`: nothing but the totals was opened. `plain`: the coordinator saw each store's part.
      context: what secure aggregation bound the round's messages to, 64 hex digits; empty without.
    """

    totals: dict[str, Array]
    upload_bytes: int = 0
    download_bytes: int = 0
    aggregation: Literal["SA1", "plain"] = "plain"
    context: str = ""


Take = Callable[[int, RecordDict], None]
"""(node, content of its reply): use it, or raise ProtocolError: then it is that node's failure and changed nothing."""


def exchange(
    grid: Grid,
    nodes: Sequence[int],
    content: RecordDict,
    releases: Sequence[Release],
    *,
    group: str,
    deadline_s: float,
    heard: Take | None = None,
) -> Outcome:
    """Ask all `nodes` for `releases` and add up what they answer within `deadline_s` seconds.

    `heard` takes the ledger's head in each reply before it is added; None = heads are not looked at.
    """
    outcome = Outcome(totals={release.name: np.zeros(release.shape, total_dtype(release)) for release in releases})

    def add(node: int, reply: RecordDict) -> None:
        totals = read_reply(reply, releases)
        if heard is not None:
            heard(node, reply)
        for name, total in totals.items():
            outcome.totals[name] += total

    gather(grid, dict.fromkeys(nodes, content), add, outcome, kind="train", group=group, deadline_s=deadline_s)
    outcome.upload_bytes = len(outcome.answered) * reply_bytes(releases)
    return outcome


def gather(
    grid: Grid,
    contents: Mapping[int, RecordDict],
    take: Take,
    replies: Replies,
    *,
    kind: str,
    group: str,
    deadline_s: float,
) -> None:
    """Send each node its content as a message of type `kind`, and let `take` use what they answer in time.

    `replies` fills with who answered and who did not.
    """
    started = time.monotonic()
    messages = [Message(content, node, kind, ttl=deadline_s, group_id=group) for node, content in contents.items()]
    accepted = set(grid.push_messages(messages))
    waiting: dict[str, int] = {}
    for message, node in zip(messages, contents, strict=True):
        if message.metadata.message_id in accepted:
            waiting[message.metadata.message_id] = node
        else:
            replies.failures[node] = "NotSent"
    del messages
    _collect(grid, waiting, take, replies, started, deadline_s)
    replies.failures |= dict.fromkeys(waiting.values(), "NoReply")


def _collect(
    grid: Grid,
    waiting: dict[str, int],
    take: Take,
    replies: Replies,
    started: float,
    deadline_s: float,
) -> None:
    """Take replies until none is awaited or the deadline has passed; leaves in `waiting` who did not answer."""
    queue = deque(waiting)
    pause, longest = FIRST_PAUSE, min(LONGEST_PAUSE, deadline_s / 100)
    idle = 0
    while waiting and (elapsed := time.monotonic() - started) < deadline_s:
        message_id = queue[0]
        if message_id not in waiting:
            queue.popleft()
            continue
        _pull(grid, message_id, waiting, take, replies, started + deadline_s)
        if message_id not in waiting:
            pause, idle = FIRST_PAUSE, 0
            continue
        if elapsed >= ORDERED * deadline_s:
            queue.rotate(-1)
            idle += 1
            if idle < len(waiting):
                continue
        time.sleep(pause)
        pause, idle = min(2 * pause, longest), 0


def _pull(grid: Grid, message_id: str, waiting: dict[str, int], take: Take, replies: Replies, until: float) -> None:
    """Take what has come for one message. A function of its own, so that no reply is held while the next comes."""
    for reply in grid.pull_messages([message_id]):
        if time.monotonic() >= until or not _take(reply, waiting, take, replies):
            replies.ignored += 1


def _take(reply: Message, waiting: dict[str, int], take: Take, replies: Replies) -> bool:
    """Count a reply for its node; False when it is nobody's."""
    message_id = reply.metadata.reply_to_message_id
    node = waiting.get(message_id)
    if node is None or (reply.has_content() and reply.metadata.src_node_id != node):
        return False
    del waiting[message_id]
    if reply.has_error():
        replies.failures[node] = error_name(reply.error)
        return True
    try:
        take(node, reply.content)
    except ProtocolError:
        replies.failures[node] = ProtocolError.__name__
        return True
    replies.answered.append(node)
    return True
