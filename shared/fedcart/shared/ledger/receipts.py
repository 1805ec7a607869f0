"""Heads and receipts: how other parties come to remember what a ledger held.

A store signs its head (domain "ledger-head"); the coordinator signs all heads of a round (domain "receipt") and every
store appends that receipt. A store that finds its own signature on a head it does not have was rolled back.
One key signs for one ledger: a second ledger under the same key looks like a rollback, and is meant to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedcart.shared.canonical import canonical_bytes
from fedcart.shared.errors import ProtocolError
from fedcart.shared.identity import Identity, verify
from fedcart.shared.ledger.kinds import fault_in_body

HEAD_DOMAIN, RECEIPT_DOMAIN = "ledger-head", "receipt"


@dataclass(frozen=True, slots=True)
class SignedHead:
    """One store's word on where its ledger stands; no length, which would show other runs and erasures.

    Attributes:
      public: of the store, 64 hex digits.
      head: hash of its last line, 64 hex digits.
      sig: 128 hex digits.
    """

    public: str
    head: str
    sig: str

    @classmethod
    def make(cls, identity: Identity, head: str) -> SignedHead:
        """Sign a head."""
        return cls(identity.public.hex(), head, identity.sign(HEAD_DOMAIN, bytes.fromhex(head)).hex())

    def check(self) -> None:
        """Raise ProtocolError unless `public` signed `head`."""
        verify(bytes.fromhex(self.public), HEAD_DOMAIN, bytes.fromhex(self.head), bytes.fromhex(self.sig))

    def holds(self) -> bool:
        """Whether `public` signed `head`; for telling whose word it is, never for trusting it."""
        try:
            self.check()
        except ProtocolError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Receipt:
    """The coordinator's word on all heads of a round.

    Attributes:
      round: index in the plan.
      ctx: what the round's messages were bound to, 64 hex digits.
      heads: public key of each store (hex) -> its signed head.
      coordinator: public key, 64 hex digits.
      sig: 128 hex digits.
    """

    round: int
    ctx: str
    heads: Mapping[str, SignedHead]
    coordinator: str
    sig: str

    @classmethod
    def make(cls, coordinator: Identity, *, round: int, ctx: str, heads: Mapping[str, SignedHead]) -> Receipt:
        """Sign the heads of a round."""
        unsigned = cls(round, ctx, dict(heads), coordinator.public.hex(), "")
        return cls(round, ctx, dict(heads), coordinator.public.hex(), coordinator.sign(*unsigned._signed()).hex())

    def body(self) -> dict[str, Any]:
        """As it stands in a ledger line and in a message."""
        heads = {key: {"head": held.head, "sig": held.sig} for key, held in self.heads.items()}
        return {
            "round": self.round,
            "ctx": self.ctx,
            "heads": heads,
            "coordinator": self.coordinator,
            "sig": self.sig,
        }

    @classmethod
    def parse(cls, body: Any) -> Receipt:
        """Strict. Raises ProtocolError."""
        if wrong := fault_in_body("receipt", body):
            raise ProtocolError(f"{wrong}; the receipt was not used")
        heads = {key: SignedHead(key, row["head"], row["sig"]) for key, row in body["heads"].items()}
        return cls(body["round"], body["ctx"], heads, body["coordinator"], body["sig"])

    def __post_init__(self) -> None:
        if any(key != held.public for key, held in self.heads.items()):
            raise ProtocolError("a receipt holds a head under another key than its own; the receipt was not used")

    def check(self) -> None:
        """Raise ProtocolError unless `coordinator` signed it; whether that is the pinned key is not asked here."""
        domain, message = self._signed()
        verify(bytes.fromhex(self.coordinator), domain, message, bytes.fromhex(self.sig))

    def _signed(self) -> tuple[str, bytes]:
        body = self.body()
        del body["sig"]
        return RECEIPT_DOMAIN, canonical_bytes(body)
