"""The coordinator's secure sums: a round's total by SA1 over the stores' messages, an epoch of keys at a time.

It holds one running sum and one masked vector, whatever the number of stores, and no store's part in the clear. Too
few stores in any flow fail the round before anything is opened; the next try has another round of the protocol.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fedcart.server.exchange import UNREACHED, Outcome, Replies, Take, gather
from fedcart.server.returns import Returns
from fedcart.shared.agreement import Agreement
from fedcart.shared.canonical import model_hash
from fedcart.shared.errors import PrivacyRefused, ProtocolError, RoundFailed
from fedcart.shared.flower_compat import Grid, RecordDict
from fedcart.shared.identity import Identity
from fedcart.shared.learners.base import Round, State
from fedcart.shared.roster import KEY, ROSTER, Roster, pins_of
from fedcart.shared.secagg.aggregator import Aggregator
from fedcart.shared.secagg.collection import RoundSum
from fedcart.shared.secagg.journal_file import FileJournal
from fedcart.shared.secagg.transcript import transcript_of
from fedcart.shared.secagg_wire import (
    Flow,
    message_type,
    part,
    read_query,
    read_upload,
    write_masked_instruction,
    write_query,
)
from fedcart.shared.storage import named_failures, replace_bytes
from fedcart.shared.wire import state_bytes

log = logging.getLogger("fedcart.rounds")

JOURNAL, TRANSCRIPTS = "coordinator.journal", "transcript"
PINS = "pins.json"
Add = Callable[[bytes], int]


@dataclass
class _Epoch:
    """Keys that are good for some rounds more.

    Attributes:
      nodes: roster index -> node, of the stores whose KEYS came.
      away: roster indices that refused something: they are left out until the next epoch.
    """

    aggregator: Aggregator
    nodes: dict[int, int] = field(default_factory=dict)
    away: set[int] = field(default_factory=set)
    next_round: int = 0


@dataclass
class _Try:
    """One try of a round: how its messages are named, and what came of them."""

    group: str
    outcome: Outcome


class MaskedSums:
    """Opens the totals of one run. Close it: it holds the lock on the coordinator's journal.

    Attributes:
      archive: directory of one transcript an epoch, epoch-0000.json and so on, and of the pins to check them with.
    """

    def __init__(
        self,
        grid: Grid,
        agreement: Agreement,
        *,
        deadline_s: float,
        archive: Path | None = None,
        heard: Take | None = None,
    ) -> None:
        """Read roster and key from the run's directory; enter no epoch yet.

        Args:
          deadline_s: of each flow.
          archive: directory of the transcripts; None = `transcript` in the run's.
          heard: takes the ledger's head in each upload before it is added; None = heads are not looked at.

        Raises:
          InputError, DataError, ConfigError: they cannot be used, or do not fit the plan.
        """
        directory = agreement.directory
        roster = Roster.load(directory / ROSTER)
        self.archive = archive or directory / TRANSCRIPTS
        self._pins = pins_of(agreement.plan, agreement.plan_hash, agreement.rounds, roster)
        self._identity = Identity.load(directory / KEY)
        self._grid, self._agreement, self._deadline_s = grid, agreement, deadline_s
        self._heard = heard
        self._epoch: _Epoch | None = None
        self._returns = Returns(self._pins.identities)
        self._journal = FileJournal(directory / JOURNAL)

    def ask(self, round_: Round, state: State, attempt: int, nodes: Collection[int], least: int) -> Outcome:
        """The exact sum over the stores that uploaded, at least `least` and at least what the plan says.

        Raises:
          RoundFailed: too few stores in a flow; nothing was opened.
        """
        now = _Try(f"{round_.index}.{attempt}", Outcome(totals={}, aggregation="SA1"))
        try:
            return self._ask(now, round_, state, attempt, nodes, least)
        except RoundFailed as error:
            classes = ", ".join(f"{count} {name}" for name, count in now.outcome.failure_classes.items())
            raise RoundFailed(
                f"round {round_.index} ({round_.stage}): {error.message}{f' ({classes})' if classes else ''}; the "
                "state is that of the round before",
                "run again to go on from there",
            ) from None
        finally:
            self._save()

    def close(self) -> None:
        """Give the journal's lock back. The epoch is over."""
        self._epoch = None
        self._journal.close()

    def _ask(self, now: _Try, round_: Round, state: State, attempt: int, nodes: Collection[int], least: int) -> Outcome:
        epoch = self._ready(now, nodes)
        number, epoch.next_round = epoch.next_round, epoch.next_round + 1
        model = bytes.fromhex(model_hash(state.public))
        begun = epoch.aggregator.begin(number, round_.index, model, without=epoch.away)
        now.outcome.context = begun.context.hex()
        self._train(now, epoch, begun, round_, state, attempt)
        if len(begun.uploads) < least:
            raise RoundFailed(f"{len(begun.uploads)} stores uploaded, {least} needed; nothing was opened")
        self._query(now, epoch, "confirm", dict.fromkeys(begun.uploads, begun.confirm_request()), begun.add_confirm)
        self._query(now, epoch, "unmask", dict.fromkeys(begun.confirmations, begun.unmask_request()), begun.add_unmask)
        now.outcome.totals.update(part(round_, begun.total()))
        now.outcome.answered = [epoch.nodes[store] for store in begun.survivors]
        return now.outcome

    def _train(self, now: _Try, epoch: _Epoch, begun: RoundSum, round_: Round, state: State, attempt: int) -> None:
        def add(node: int, content: RecordDict) -> None:
            vector, word = read_upload(content)
            if self._heard is not None:
                self._heard(node, content)
            begun.add(vector, word)
            self._returns.uploaded(node)
            now.outcome.upload_bytes += vector.nbytes + len(word)

        raw = begun.train_request()
        content = write_masked_instruction(self._agreement.plan_hash, round_.index, state, attempt, raw)
        cohort = begun.train.cohort
        now.outcome.download_bytes += len(cohort) * (state_bytes(state) + len(raw))
        self._flow(now, epoch, "train", dict.fromkeys(cohort, content), add)

    # --- an epoch of keys

    def _ready(self, now: _Try, nodes: Collection[int]) -> _Epoch:
        """The epoch in hand, or the next one: where its rounds are used up, too few stores are left in it, or a store
        that is there again takes no part in it."""
        epoch, floor = self._epoch, self._pins.cohort.min_survivors
        if epoch is not None and epoch.next_round < self._pins.rounds:
            left = epoch.aggregator.boxes.keys() - epoch.away
            if len(left) >= floor:
                taking = {epoch.nodes[store] for store in left}
                back = self._returns.call(epoch.aggregator.epoch + 1, nodes, taking)
                if not back:
                    return epoch
                log.info("stores there again: %d; the next epoch of keys begins", len(back))
        self._save()
        self._epoch = None
        epoch = _Epoch(Aggregator(self._pins, self._identity, self._journal))
        entered = epoch.aggregator

        def add_keys(node: int, content: RecordDict) -> None:
            raw = read_query(content)
            now.outcome.upload_bytes += len(raw)
            epoch.nodes.setdefault(entered.add_keys(raw), node)

        request = entered.keys_request()
        now.outcome.download_bytes += len(nodes) * len(request)
        replies = self._gather(now, "keys", dict.fromkeys(nodes, write_query(request)), add_keys)
        self._returns.entered(entered.epoch, entered.keys, replies.failures)
        self._query(now, epoch, "boxes", dict.fromkeys(entered.keys, entered.boxes_request()), entered.add_boxes)
        deliveries = {store: entered.delivery(store) for store in entered.boxes}
        self._query(now, epoch, "deliver", deliveries, None)
        self._epoch = epoch
        return epoch

    def _save(self) -> None:
        """Archive the epoch in hand: all its messages so far, no vector."""
        if self._epoch is None or not self._epoch.aggregator.rounds:
            return
        entered = self._epoch.aggregator
        with named_failures(self.archive, "create"):
            self.archive.mkdir(parents=True, exist_ok=True)
        if not (self.archive / PINS).exists():
            replace_bytes(self.archive / PINS, self._pins.to_bytes())
        replace_bytes(self.archive / f"epoch-{entered.epoch:04d}.json", transcript_of(entered).to_bytes())

    # --- flows

    def _query(self, now: _Try, epoch: _Epoch, flow: Flow, requests: Mapping[int, bytes], add: Add | None) -> None:
        """Ask each store (by index) one thing; `add` takes the bytes that come back, None = they must be empty."""

        def take(_: int, content: RecordDict) -> None:
            raw = read_query(content)
            now.outcome.upload_bytes += len(raw)
            if add is not None:
                add(raw)
            elif raw:
                raise ProtocolError("a delivery was answered with something; it was not used")

        now.outcome.download_bytes += sum(map(len, requests.values()))
        made: dict[bytes, RecordDict] = {}  # one object for equal bytes
        for raw in requests.values():
            made.setdefault(raw, write_query(raw))
        self._flow(now, epoch, flow, {store: made[raw] for store, raw in requests.items()}, take)

    def _flow(self, now: _Try, epoch: _Epoch, flow: Flow, contents: Mapping[int, RecordDict], take: Take) -> None:
        """Ask stores by index; who refuses is left out until the next epoch.

        Not so one whose policy or ledger refuses a release, as when it lacks a receipt: its other secrets are kept.
        """
        replies = self._gather(now, flow, {epoch.nodes[store]: content for store, content in contents.items()}, take)
        stays = {"train": (*UNREACHED, PrivacyRefused.__name__), "deliver": ()}.get(flow, UNREACHED)
        for store, node in epoch.nodes.items():
            if node in replies.failures and replies.failures[node] not in stays:
                epoch.away.add(store)

    def _gather(self, now: _Try, flow: Flow, contents: Mapping[int, RecordDict], take: Take) -> Replies:
        replies = Replies()
        gather(
            self._grid,
            contents,
            take,
            replies,
            kind=message_type(flow),
            group=f"{now.group}.{flow}",
            deadline_s=self._deadline_s,
        )
        now.outcome.failures.update(replies.failures)
        now.outcome.ignored += replies.ignored
        return replies
