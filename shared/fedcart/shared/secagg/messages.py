"""The messages, byte for byte: fixed big-endian fields, lists with a count, one spelling for one meaning.

A parser takes what it must, refuses what is left over, and never allocates more than the message's own length:
counts are checked against the bound of the plan before anything is read. Lists of ids ascend strictly, so a
repeated id cannot be spelled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from fedcart.shared.errors import ProtocolError
from fedcart.shared.identity import SIGNATURE_BYTES
from fedcart.shared.secagg.keys import NONCE_BYTES, TAG_BYTES, digest, ids
from fedcart.shared.secagg.pins import HASH, Pins

T = TypeVar("T")


class Reader:
    """Reads fields off the front of a message."""

    def __init__(self, raw: bytes, name: str) -> None:
        self._raw, self._at, self._name = raw, 0, name

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        if self._at + size > len(self._raw):
            raise ProtocolError(f"a {self._name} message ends after {len(self._raw)} bytes; it was not used")
        self._at += size
        return self._raw[self._at - size : self._at]

    def number(self, size: int) -> int:
        """The next `size` bytes as an unsigned number."""
        return int.from_bytes(self.take(size), "big")

    def table(self, limit: int, row: Callable[[Reader], T]) -> dict[int, T]:
        """A count, then rows that each start with an id; ids ascend strictly."""
        count = self.number(2)
        if count > limit:
            raise ProtocolError(f"a {self._name} message lists {count} rows, over the {limit} of the plan; not used")
        rows: dict[int, T] = {}
        last = -1
        for _ in range(count):
            index = self.number(2)
            if index <= last:
                raise ProtocolError(f"a {self._name} message lists id {index} after {last}; it was not used")
            rows[index] = row(self)
            last = index
        return rows

    def end(self) -> None:
        """Nothing may follow."""
        if self._at != len(self._raw):
            raise ProtocolError(f"a {self._name} message goes on after its end; it was not used")


def table(rows: dict[int, bytes]) -> bytes:
    """What `Reader.table` reads."""
    return ids(len(rows)) + b"".join(ids(index) + rows[index] for index in sorted(rows))


@dataclass(frozen=True, slots=True)
class Keys:
    """KEYS, store to coordinator, once an epoch; `rounds[r]` = (round public key, H(b))."""

    tag: bytes
    sender: int
    head: bytes
    box_key: bytes
    rounds: tuple[tuple[bytes, bytes], ...]
    signature: bytes = b""
    DOMAIN = "KEYS"

    def body(self) -> bytes:
        """What is signed."""
        rounds = b"".join(key + commitment for key, commitment in self.rounds)
        return self.tag + ids(self.sender) + self.head + self.box_key + ids(len(self.rounds)) + rounds

    @staticmethod
    def parse(raw: bytes, pins: Pins) -> Keys:
        """Strict; the number of rounds must be the plan's."""
        r = Reader(raw, "KEYS")
        tag, sender, head, box = r.take(HASH), r.number(2), r.take(HASH), r.take(32)
        if (count := r.number(2)) != pins.rounds:
            raise ProtocolError(f"KEYS of store {sender} name {count} rounds, not the plan's {pins.rounds}; not used")
        rounds = tuple((r.take(32), r.take(HASH)) for _ in range(count))
        signature = r.take(SIGNATURE_BYTES)
        r.end()
        return Keys(tag, sender, head, box, rounds, signature)


@dataclass(frozen=True, slots=True)
class Boxes:
    """BOXES, store to coordinator: one sealed box for each peer, each of the one size that R rounds give."""

    tag: bytes
    sender: int
    head: bytes
    boxes: dict[int, bytes]
    signature: bytes = b""
    DOMAIN = "BOXES"

    def body(self) -> bytes:
        """What is signed."""
        return self.tag + ids(self.sender) + self.head + table(self.boxes)

    @staticmethod
    def parse(raw: bytes, pins: Pins) -> Boxes:
        """Strict."""
        r = Reader(raw, "BOXES")
        tag, sender, head = r.take(HASH), r.number(2), r.take(HASH)
        boxes = r.table(pins.cohort.participants, lambda row: row.take(box_bytes(pins)))
        signature = r.take(SIGNATURE_BYTES)
        r.end()
        return Boxes(tag, sender, head, boxes, signature)


def box_bytes(pins: Pins) -> int:
    """Bytes of a sealed box: nonce, R x (share of b, share of the round key), GCM tag."""
    return NONCE_BYTES + pins.rounds * 64 + TAG_BYTES


@dataclass(frozen=True, slots=True)
class Train:
    """TRAIN, coordinator to store: everything that ctx binds. The model travels beside it."""

    tag: bytes
    round: int
    release: int
    block: int
    model: bytes
    cohort: tuple[int, ...]
    signature: bytes = b""
    DOMAIN = "TRAIN-REQUEST"

    def body(self) -> bytes:
        """What is signed."""
        numbers = ids(self.round) + self.release.to_bytes(4, "big") + self.block.to_bytes(4, "big")
        return self.tag + numbers + self.model + table(dict.fromkeys(self.cohort, b""))

    def context(self) -> bytes:
        """ctx = H(tag, r, release, block, H(model), U2)."""
        return digest("ctx", self.body())

    @staticmethod
    def parse(raw: bytes, pins: Pins) -> Train:
        """Strict."""
        r = Reader(raw, "TRAIN")
        tag, number, release, block, model = r.take(HASH), r.number(2), r.number(4), r.number(4), r.take(HASH)
        cohort = tuple(r.table(pins.cohort.participants, lambda _: None))
        signature = r.take(SIGNATURE_BYTES)
        r.end()
        return Train(tag, number, release, block, model, cohort, signature)


@dataclass(frozen=True, slots=True)
class Signed:
    """A store's signed word on a ctx: H(y) in TRAIN, H(U3) in CONFIRM."""

    sender: int
    context: bytes
    value: bytes
    head: bytes
    signature: bytes = b""

    def body(self) -> bytes:
        """What is signed."""
        return ids(self.sender) + self.context + self.value + self.head

    @staticmethod
    def parse(raw: bytes, name: str) -> Signed:
        """Strict."""
        r = Reader(raw, name)
        made = Signed(r.number(2), r.take(HASH), r.take(HASH), r.take(HASH), r.take(SIGNATURE_BYTES))
        r.end()
        return made


@dataclass(frozen=True, slots=True)
class Evidence:
    """CONFIRM and UNMASK, coordinator to store: a ctx, and signed words on it (rows: value, head, signature)."""

    context: bytes
    words: tuple[Signed, ...]
    signature: bytes = b""

    def body(self) -> bytes:
        """What is signed."""
        return self.context + table({w.sender: w.value + w.head + w.signature for w in self.words})

    @staticmethod
    def parse(raw: bytes, pins: Pins, name: str) -> Evidence:
        """Strict."""
        r = Reader(raw, name)
        context = r.take(HASH)
        rows = r.table(
            pins.cohort.participants, lambda row: (row.take(HASH), row.take(HASH), row.take(SIGNATURE_BYTES))
        )
        signature = r.take(SIGNATURE_BYTES)
        r.end()
        return Evidence(context, tuple(Signed(i, context, *row) for i, row in rows.items()), signature)


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
    DOMAIN = "UNMASK"

    def body(self) -> bytes:
        """What is signed."""
        return ids(self.sender) + self.context + self.value + self.head + table(self.alive) + table(self.dropped)

    @staticmethod
    def parse(raw: bytes, pins: Pins) -> Unmask:
        """Strict; no id may stand in both lists."""
        r, n = Reader(raw, "UNMASK"), pins.cohort.participants
        sender, context, value, head = r.number(2), r.take(HASH), r.take(HASH), r.take(HASH)
        alive, dropped = r.table(n, lambda row: row.take(32)), r.table(n, lambda row: row.take(32))
        signature = r.take(SIGNATURE_BYTES)
        r.end()
        if both := set(alive) & set(dropped):
            raise ProtocolError(f"UNMASK of store {sender} gives both shares of store {min(both)}; it was not used")
        return Unmask(sender, context, value, head, alive, dropped, signature)
