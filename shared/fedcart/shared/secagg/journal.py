"""What must be on disk before anything is sent: epochs entered, rounds answered, survivor sets signed.

A record never holds a secret. After a restart the secrets are gone and the records remain: the epoch is over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from fedcart.shared.errors import ProtocolError
from fedcart.shared.secagg.pins import HASH

KINDS = ("KEYS", "TRAIN", "CONFIRM", "UNMASK")
RECORD_BYTES = 1 + 3 * HASH + 14
_NONE = bytes(HASH)


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One thing that will not be done a second time.

    Attributes:
      kind: of KINDS.
      run: H(plan).
      context: ctx of the round; zero for KEYS.
      value: H(y) of TRAIN, H(U3) of CONFIRM and UNMASK; zero for KEYS.
    """

    kind: str
    run: bytes
    epoch: int
    round: int = 0
    release: int = 0
    context: bytes = _NONE
    value: bytes = _NONE

    def to_bytes(self) -> bytes:
        """RECORD_BYTES of them."""
        numbers = self.epoch.to_bytes(8, "big") + self.round.to_bytes(2, "big") + self.release.to_bytes(4, "big")
        return bytes([KINDS.index(self.kind)]) + self.run + numbers + self.context + self.value

    @staticmethod
    def parse(raw: bytes) -> Record:
        """What `to_bytes` wrote.

        Raises:
          ProtocolError: another length or kind.
        """
        if len(raw) != RECORD_BYTES or raw[0] >= len(KINDS):
            raise ProtocolError("a journal record of secure aggregation is damaged; no epoch was entered")
        at = 1 + HASH
        epoch, number, release = raw[at : at + 8], raw[at + 8 : at + 10], raw[at + 10 : at + 14]
        return Record(
            kind=KINDS[raw[0]],
            run=raw[1:at],
            epoch=int.from_bytes(epoch, "big"),
            round=int.from_bytes(number, "big"),
            release=int.from_bytes(release, "big"),
            context=raw[at + 14 : at + 14 + HASH],
            value=raw[at + 14 + HASH :],
        )


@dataclass(frozen=True, slots=True)
class Past:
    """How far one run has gone: the last epoch entered, the last release answered. None so far is -1."""

    epoch: int = -1
    release: int = -1

    def after(self, record: Record) -> Past:
        """This past and one record more."""
        if record.kind == "KEYS":
            return replace(self, epoch=max(self.epoch, record.epoch))
        return replace(self, release=max(self.release, record.release))


def past(records: Iterable[bytes], run: bytes) -> Past:
    """The past of one run, from all records of a journal."""
    found = Past()
    for record in map(Record.parse, records):
        if record.run == run:
            found = found.after(record)
    return found


def refuse_gone_by(record: Record, before: Past) -> None:
    """Entering an epoch ends every earlier one, whichever object or process served it.

    Raises:
      ProtocolError: the record enters an epoch a second time, or belongs to one before the last.
    """
    if record.epoch < before.epoch + (record.kind == "KEYS"):
        raise ProtocolError(f"epoch {record.epoch} is gone by ({before.epoch} was entered); nothing was remembered")


class Journal(Protocol):
    """Where records go: the store's ledger, or a file. One writer at a time, whatever the number of processes."""

    def past(self, run: bytes) -> Past:
        """Of what has been remembered so far, by this process and all before it."""
        ...

    def remember(self, record: bytes) -> None:
        """Return only when `record` survives a crash; raise otherwise, and for what `refuse_gone_by` refuses."""
        ...

    def head(self) -> bytes:
        """32 bytes that stand for everything remembered so far; opaque here."""
        ...
