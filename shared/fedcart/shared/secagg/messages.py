"""What a store sends: KEYS, BOXES, TRAIN, CONFIRM, UNMASK. Spelled as `wire` says, each with the ledger's head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from fedcart.shared.errors import ProtocolError
from fedcart.shared.identity import SIGNATURE_BYTES
from fedcart.shared.secagg.keys import NONCE_BYTES, TAG_BYTES, ids
from fedcart.shared.secagg.pins import HASH, Pins
from fedcart.shared.secagg.wire import Reader, table


@dataclass(frozen=True, slots=True)
class Keys:
    """KEYS, store to coordinator, once an epoch; `rounds[r]` = (round public key, H(b))."""

    tag: bytes
    sender: int
    head: bytes
    box_key: bytes
    rounds: tuple[tuple[bytes, bytes], ...]
    signature: bytes = b""
    DOMAIN: ClassVar[str] = "fedcart/SA1/KEYS"

    def body(self) -> bytes:
        """What is signed."""
        rounds = b"".join(key + commitment for key, commitment in self.rounds)
        return self.tag + ids(self.sender) + self.head + self.box_key + ids(len(self.rounds)) + rounds

    def fields(self) -> bytes:
        """What travels inside a list of KEYS: tag and sender stand around it."""
        return (self.body() + self.signature)[len(self.tag) + 2 :]

    @staticmethod
    def parse(raw: bytes, pins: Pins) -> Keys:
        """Strict; the number of rounds must be the plan's."""
        r = Reader(raw, "KEYS")
        made = Keys.read(r, pins, r.take(HASH), r.number(2))
        r.end()
        return made

    @staticmethod
    def read(r: Reader, pins: Pins, tag: bytes, sender: int) -> Keys:
        """What `fields` wrote."""
        head, box = r.take(HASH), r.take(32)
        if (count := r.number(2)) != pins.rounds:
            raise ProtocolError(f"KEYS of store {sender} name {count} rounds, not the plan's {pins.rounds}; not used")
        rounds = tuple((r.take(32), r.take(HASH)) for _ in range(count))
        return Keys(tag, sender, head, box, rounds, r.take(SIGNATURE_BYTES))


@dataclass(frozen=True, slots=True)
class Row:
    """What BOXES hold for one receiver: its sealed shares and H(share) of each, signed so that it stands alone.

    The content is R x (share of b, share of the round key); `hashes` has the same order and length.
    """

    tag: bytes
    sender: int
    receiver: int
    head: bytes
    box: bytes
    hashes: tuple[bytes, ...]
    signature: bytes = b""
    DOMAIN: ClassVar[str] = "fedcart/SA1/BOX"

    def body(self) -> bytes:
        """What is signed."""
        return self.tag + ids(self.sender, self.receiver) + self.head + self.box + b"".join(self.hashes)

    def fields(self) -> bytes:
        """What travels: tag, ids and head stand once in the message around it."""
        return self.box + b"".join(self.hashes) + self.signature

    @staticmethod
    def read(r: Reader, pins: Pins, tag: bytes, sender: int, receiver: int, head: bytes) -> Row:
        """What `fields` wrote."""
        box, hashes = r.take(box_bytes(pins)), tuple(r.take(HASH) for _ in range(2 * pins.rounds))
        return Row(tag, sender, receiver, head, box, hashes, r.take(SIGNATURE_BYTES))


@dataclass(frozen=True, slots=True)
class Boxes:
    """BOXES, store to coordinator: H(share) of the shares it keeps, and one row for each peer whose KEYS it holds."""

    tag: bytes
    sender: int
    head: bytes
    own: tuple[bytes, ...]
    rows: dict[int, Row]
    signature: bytes = b""
    DOMAIN: ClassVar[str] = "fedcart/SA1/BOXES"

    def hashes(self, holder: int) -> tuple[bytes, ...]:
        """H(share) of everything that `holder` got, in a row's order."""
        return self.own if holder == self.sender else self.rows[holder].hashes

    def body(self) -> bytes:
        """What is signed."""
        rows = table({i: row.fields() for i, row in self.rows.items()})
        return self.tag + ids(self.sender) + self.head + b"".join(self.own) + rows

    @staticmethod
    def parse(raw: bytes, pins: Pins) -> Boxes:
        """Strict."""
        r = Reader(raw, "BOXES")
        tag, sender, head = r.take(HASH), r.number(2), r.take(HASH)
        own = tuple(r.take(HASH) for _ in range(2 * pins.rounds))
        rows = r.table(pins.cohort.participants, lambda i, row: Row.read(row, pins, tag, sender, i, head))
        signature = r.take(SIGNATURE_BYTES)
        r.end()
        return Boxes(tag, sender, head, own, rows, signature)


def box_bytes(pins: Pins) -> int:
    """Bytes of a sealed box: nonce, R x (share of b, share of the round key), GCM tag."""
    return NONCE_BYTES + pins.rounds * 64 + TAG_BYTES


@dataclass(frozen=True, slots=True)
class Signed:
    """A store's signed word on a ctx; one of the two below."""

    sender: int
    context: bytes
    value: bytes
    head: bytes
    signature: bytes = b""
    DOMAIN: ClassVar[str] = ""

    def body(self) -> bytes:
        """What is signed."""
        return ids(self.sender) + self.context + self.value + self.head

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Strict."""
        r = Reader(raw, cls.DOMAIN)
        made = cls(r.number(2), r.take(HASH), r.take(HASH), r.take(HASH), r.take(SIGNATURE_BYTES))
        r.end()
        return made


class TrainWord(Signed):
    """TRAIN, store to coordinator, beside y: value = H(y)."""

    __slots__ = ()
    DOMAIN: ClassVar[str] = "fedcart/SA1/TRAIN"


class ConfirmWord(Signed):
    """CONFIRM, store to coordinator: value = H(U3)."""

    __slots__ = ()
    DOMAIN: ClassVar[str] = "fedcart/SA1/CONFIRM"


@dataclass(frozen=True, slots=True)
class Unmask:
    """UNMASK, store to coordinator: shares of b for U3 and of round keys for U2 without U3."""

    sender: int
    context: bytes
    value: bytes
    head: bytes
    alive: dict[int, bytes]
    dropped: dict[int, bytes]
    signature: bytes = b""
    DOMAIN: ClassVar[str] = "fedcart/SA1/UNMASK"

    def body(self) -> bytes:
        """What is signed."""
        return ids(self.sender) + self.context + self.value + self.head + table(self.alive) + table(self.dropped)

    @staticmethod
    def parse(raw: bytes, pins: Pins) -> Unmask:
        """Strict; no id may stand in both lists."""
        r, n = Reader(raw, "UNMASK"), pins.cohort.participants
        sender, context, value, head = r.number(2), r.take(HASH), r.take(HASH), r.take(HASH)
        alive, dropped = r.table(n, lambda _, row: row.take(32)), r.table(n, lambda _, row: row.take(32))
        signature = r.take(SIGNATURE_BYTES)
        r.end()
        if both := set(alive) & set(dropped):
            raise ProtocolError(f"UNMASK of store {sender} gives both shares of store {min(both)}; it was not used")
        return Unmask(sender, context, value, head, alive, dropped, signature)
