"""A store's part in secure aggregation over a run: one participant an epoch, in memory, its answers by flow.

Secrets live in this object and nowhere else: after a restart the epoch is over and the coordinator begins the next.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from pathlib import Path

from fedcart.shared.agreement import Agreement
from fedcart.shared.errors import PrivacyRefused, ProtocolError
from fedcart.shared.identity import Identity
from fedcart.shared.ledger.ledger import Ledger
from fedcart.shared.roster import ROSTER, Roster, pins_of
from fedcart.shared.secagg.dealing import Draw
from fedcart.shared.secagg.journal_file import FileJournal
from fedcart.shared.secagg.masks import Words
from fedcart.shared.secagg.participant import Participant, Upload
from fedcart.shared.secagg.pins import Pins
from fedcart.shared.secagg.requests import Train
from fedcart.shared.secagg_wire import Flow
from fedcart.shared.storage import FileVersion, file_version


class StoreMasks:
    """One store's secure aggregation of one plan. Close it: it holds the lock on the store's journal.

    Attributes:
      pins: from the plan and the roster in the store's own directory.
    """

    def __init__(
        self,
        agreement: Agreement,
        index: int,
        identity: Identity,
        journal: Path,
        ledger: LedgerHead,
        *,
        known: Collection[bytes] | None = None,
        roster_root: str = "",
        draw: Draw = os.urandom,
    ) -> None:
        """Read the roster and lock the journal; enter no epoch yet.

        Args:
          index: this store's, in the roster.
          journal: path of the store's journal.
          ledger: says the head that travels in each message.
          known: public keys known out of band; None = all of the roster's (one person holds all stores' data).
          roster_root: hash that the roster must have; empty = none is pinned.

        Raises:
          InputError, DataError, ConfigError: roster or journal cannot be used, or do not fit the plan.
          PrivacyRefused: the roster is not the pinned one.
        """
        roster = Roster.load(agreement.directory / ROSTER)
        if roster_root and roster.hash != roster_root:
            raise PrivacyRefused(
                f"the roster {roster.hash[:16]}… is not the one that [trust] roster_root pins; nothing was released"
            )
        self.pins: Pins = pins_of(agreement.plan, agreement.plan_hash, agreement.rounds, roster)
        self._index, self._identity, self._draw = index, identity, draw
        self._known = list(self.pins.identities.values()) if known is None else list(known)
        self._lock = threading.Lock()
        self._participant: Participant | None = None
        self._journal = FileJournal(journal, ledger)

    def __repr__(self) -> str:
        return f"StoreMasks(store {self._index}, <secret>)"

    def answer(self, flow: Flow, raw: bytes) -> bytes:
        """The reply to a request of every flow but TRAIN; empty for a delivery.

        Raises:
          ProtocolError: it is refused, as `Participant` says.
        """
        if flow == "keys":
            return self._keys(raw)
        entered = self._entered()
        if flow == "deliver":
            entered.deliver(raw)
            return b""
        answers = {"boxes": entered.boxes, "confirm": entered.confirm, "unmask": entered.unmask}
        if flow not in answers:
            raise ProtocolError(f"flow {flow!r} is no question; it was refused")
        return answers[flow](raw)

    def train(self, raw: bytes, model: bytes, vector: Callable[[Train], Words]) -> Upload:
        """The masked words of one round. They are let go of here: over this transport nobody asks twice."""
        entered = self._entered()
        upload = entered.train(raw, model, vector)
        entered.forget_upload()
        return upload

    def close(self) -> None:
        """Erase the epoch's secrets and give the journal's lock back."""
        if self._participant is not None:
            self._participant.close()
        self._participant = None
        self._journal.close()

    def _keys(self, raw: bytes) -> bytes:
        """Enter the epoch that the request names. The one before is erased once the new one is on disk."""
        with self._lock:
            before = self._participant
            if before is not None:
                try:
                    return before.keys(raw)  # the same request again
                except ProtocolError:
                    pass  # another one: a new epoch, or one that a new participant refuses too
            fresh = Participant(self.pins, self._index, self._identity, self._journal, self._known, self._draw)
            answer = fresh.keys(raw)
            if before is not None:
                before.close()
            self._participant = fresh
            return answer

    def _entered(self) -> Participant:
        with self._lock:
            if self._participant is None:
                raise ProtocolError("no epoch was entered here since the store began; refused", "a new epoch is needed")
            return self._participant


class LedgerHead:
    """The head of a store's ledger, 32 bytes; the file is opened only when it has changed."""

    def __init__(self, path: Path, open_ledger: Callable[[], AbstractContextManager[Ledger]]) -> None:
        self._path, self._open = path, open_ledger
        self._seen: FileVersion | None = None
        self._head = b""

    def __call__(self) -> bytes:
        """Read it."""
        if (version := file_version(str(self._path))) != self._seen:
            with self._open() as ledger:
                self._seen, self._head = version, bytes.fromhex(ledger.head)
        return self._head
