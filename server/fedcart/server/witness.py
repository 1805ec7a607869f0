"""The coordinator's receipts: it keeps the stores' signed ledger heads, signs all of them after a round, and sends
them back, so that what one store's ledger held is in the others' hands.

It can neither forge a head nor hide one for long: a store goes on for two rounds without a receipt, and no further.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from fedcart.server.exchange import Replies, gather
from fedcart.server.masked_sums import TRANSCRIPTS
from fedcart.shared.agreement import Agreement
from fedcart.shared.canonical import canonical_bytes, content_hash
from fedcart.shared.errors import ConfigError, DataError, ProtocolError
from fedcart.shared.flower_compat import Grid, RecordDict
from fedcart.shared.identity import Identity
from fedcart.shared.ledger.receipts import Receipt, SignedHead
from fedcart.shared.roster import KEY, ROSTER, Roster
from fedcart.shared.storage import append_line, named_failures, replace_bytes
from fedcart.shared.wire import RECEIPT_ACTION, read_head, write_receipts

log = logging.getLogger("fedcart.rounds")

RECEIPTS = "receipts.jsonl"
MOST_HEADS = 100
"""In one receipt. With more stores each gets the receipt of its group: a ledger of a thousand stores' heads a round
would be mostly that."""
MOST_OWED = 8
"""Receipts that one store is sent at once: it stops by itself when the ones of two rounds are missing."""
LONGEST_WAIT_S = 60.0
"""For stores to take a receipt: the round is over, and the next one's brings what they missed."""


class Witness:
    """Heads of one run's ledgers, and the receipts over them."""

    def __init__(
        self,
        grid: Grid,
        agreement: Agreement,
        *,
        deadline_s: float,
        archive: Path | None = None,
        new_ledgers: bool = False,
        earlier: Path | None = None,
    ) -> None:
        """Read roster and key from the run's directory, and the receipts that were signed before.

        Args:
          archive: directory of receipts.jsonl; None = `transcript` in the run's.
          new_ledgers: the stores' ledgers began with this run, as in a simulation: `meet` has nothing to do.
          earlier: directory of this coordinator's plans, a directory each: a store is sent the newest receipt of theirs
            that names it, so that a ledger that was rolled back between two plans is found out. None = there are none.

        Raises:
          InputError, DataError, ConfigError: they cannot be used.
        """
        directory = agreement.directory
        roster = Roster.load(directory / ROSTER)
        self._identity = Identity.load(directory / KEY)
        if self._identity.public.hex() != roster.coordinator:
            raise ConfigError(f"{directory / KEY} is not the key of the roster's coordinator; nothing was run")
        self._grid, self._plan = grid, agreement.plan_hash
        self._enrolled: Callable[[int], str | None] | None = getattr(grid, "store_of", None)
        self._wait_s = min(deadline_s, LONGEST_WAIT_S)
        self._stores, self._known = roster.stores, frozenset(roster.stores)
        self._path = (archive or directory / TRANSCRIPTS) / RECEIPTS
        self._heads: dict[str, SignedHead] = {}
        self._store_of: dict[int, str] = {}
        self._node_of: dict[str, int] = {}
        self._signed: list[Receipt] = []
        self._owed: dict[str, list[Receipt]] = {}  # store -> the last receipt that it took, and the ones since
        self._new_ledgers, self._met = new_ledgers, set[int]()
        self.uploaded: set[int] = set()
        self._read()
        if earlier is not None:
            self._recall(earlier)

    def heard(self, node: int, content: RecordDict) -> None:
        """Take the head that came with a store's upload.

        Raises:
          ProtocolError: there is none, it is not signed, or not by the store of the roster that this node was.
        """
        self._keep(node, content)
        self.uploaded.add(node)

    def sign(self, round_index: int, context: str) -> None:
        """Sign what was heard so far, durably; `send` sends it.

        Args:
          context: what the round's messages were bound to, 64 hex digits.
        """
        order = [self._heads[public] for public in self._stores if public in self._heads]
        groups = -(-len(order) // MOST_HEADS)
        self._signed = [
            Receipt.make(
                self._identity, round=round_index, ctx=context, heads={x.public: x for x in order[part::groups]}
            )
            for part in range(groups)
        ]
        with named_failures(self._path.parent, "create"):
            self._path.parent.mkdir(parents=True, exist_ok=True)
        for receipt in self._signed:
            append_line(self._path, canonical_bytes(receipt.body()).decode())
            self._owe(receipt)

    def send(self, nodes: Collection[int], group: str) -> None:
        """Send each node the receipts with its store's head (those that were never heard: all of the last ones), and
        hear where its ledger stands. A node that does not answer gets them again with the next one.

        The last receipt that a store took goes with the new one: it names the head before this round, so a ledger that
        was rolled back since cannot pass for one that went on.
        """
        if not nodes:
            return
        lists = {node: self._owed.get(self._public(node), self._signed) for node in nodes}
        made = {_names(receipts): write_receipts(receipts) for receipts in lists.values()}
        contents = {node: made[_names(receipts)] for node, receipts in lists.items()}
        replies = Replies()
        gather(
            self._grid,
            contents,
            self._taken,
            replies,
            kind=f"query.{RECEIPT_ACTION}",
            group=f"{group}.{RECEIPT_ACTION}",
            deadline_s=self._wait_s,
        )
        self.uploaded.clear()
        if replies.failures:
            classes = ", ".join(f"{count} {name}" for name, count in replies.failure_classes.items())
            log.warning("receipts: %d stores did not take theirs (%s)", len(replies.failures), classes)

    def meet(self, nodes: Collection[int], round_index: int) -> None:
        """Before a round: catch up with stores that are there for the first time, once each. What earlier plans were
        charged may be unwitnessed, and a store answers no third such round."""
        new = [node for node in nodes if node not in self._met]
        if new and not self._new_ledgers:
            self.catch_up(new, round_index)

    def catch_up(self, nodes: Collection[int], round_index: int) -> None:
        """When a run begins or goes on: send the stores the last receipt again, and witness where their ledgers stand
        since. A store that does not answer is not waited for twice."""
        self._met.update(nodes)
        self.send(nodes, f"{round_index}.0")
        self.sign(round_index, context_of(self._plan, round_index, 0))
        self.send([node for node in nodes if node in self._store_of], f"{round_index}.0")

    def _public(self, node: int) -> str:
        """Key of the store whose node this is; empty while nobody said."""
        said = self._store_of.get(node)
        return said or (self._enrolled(node) if self._enrolled is not None else None) or ""

    def _owe(self, receipt: Receipt) -> None:
        for public, head in receipt.heads.items():
            owed = self._owed.setdefault(public, [])
            if owed and owed[-1].heads[public].head == head.head:
                owed.pop()  # it stood still: the new one says all that the old one said
            owed.append(receipt)
            del owed[:-MOST_OWED]

    def _taken(self, node: int, content: RecordDict) -> None:
        """A store's answer to its receipts."""
        self._keep(node, content)
        del self._owed.get(self._store_of[node], [])[:-1]

    def _keep(self, node: int, content: RecordDict) -> None:
        head = read_head(content)
        if head.public not in self._known:
            raise ProtocolError("a head is signed by a key outside the roster; the reply was not used")
        head.check()
        enrolled = head.public if self._enrolled is None else self._enrolled(node)
        if enrolled != head.public:  # heads are public, so the first to show one need not be its store
            raise ProtocolError("a node came with the head of another node's store; the reply was not used")
        before = self._node_of.get(head.public, node)
        if before != node and self._enrolled is not None and self._enrolled(before) is None:
            self._store_of.pop(before, None)  # suspended and let in again: its node has another number
            before = node
        if self._store_of.get(node, head.public) != head.public or before != node:
            raise ProtocolError("a node came with the head of another node's store; the reply was not used")
        self._store_of[node], self._node_of[head.public] = head.public, node
        self._heads[head.public] = head

    def _read(self) -> None:
        """What was signed before; a line that a crash left half-written is taken off."""
        if not self._path.exists():
            return
        raw, whole = _whole_lines(self._path)
        if whole != raw:
            replace_bytes(self._path, whole)
        found = _receipts(self._path, whole)
        for receipt in found:
            self._heads.update(receipt.heads)
            self._owe(receipt)
        self._signed = [x for x in found if (x.round, x.ctx) == (found[-1].round, found[-1].ctx)]

    def _recall(self, plans: Path) -> None:
        """Owe each store the newest receipt of other plans that names it, unless this plan's own is newer."""
        named = {public for public, owed in self._owed.items() if owed}
        missing, own = set(self._stores), _written(self._path)
        for path in sorted(set(plans.glob(f"*/{TRANSCRIPTS}/{RECEIPTS}")) - {self._path}, key=_written, reverse=True):
            if _written(path) <= own:
                missing -= named
            if not missing:
                return
            newest = {key: x for x in _receipts(path, _whole_lines(path)[1]) for key in x.heads.keys() & missing}
            for public, receipt in newest.items():
                self._owed.setdefault(public, []).append(receipt)
            missing -= newest.keys()


def _whole_lines(path: Path) -> tuple[bytes, bytes]:
    """A file, and its lines that were written to their end."""
    with named_failures(path, "read"):
        raw = path.read_bytes()
    return raw, raw[: raw.rfind(b"\n") + 1]


def _receipts(path: Path, lines: bytes) -> list[Receipt]:
    try:
        return [Receipt.parse(json.loads(line)) for line in lines.splitlines()]
    except (ValueError, ProtocolError) as error:
        raise DataError(f"{path}: not receipts; nothing was run") from error


def _written(path: Path) -> int:
    """When a file was last written, in ns; 0 where it is not."""
    return path.stat().st_mtime_ns if path.exists() else 0


def _names(receipts: Sequence[Receipt]) -> tuple[str, ...]:
    return tuple(receipt.sig for receipt in receipts)


def context_of(plan_hash: str, round_index: int, attempt: int) -> str:
    """What a receipt's ctx is where no secure aggregation bound the round's messages; 64 hex digits."""
    return content_hash({"plan": plan_hash, "round": round_index, "attempt": attempt})
