"""What the coordinator asks: every request is signed with the key that the roster pins, and none sets a parameter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from fedcart.shared.identity import SIGNATURE_BYTES
from fedcart.shared.secagg.keys import digest, ids
from fedcart.shared.secagg.messages import ConfirmWord, Keys, Row, Signed, TrainWord
from fedcart.shared.secagg.pins import HASH, Pins
from fedcart.shared.secagg.wire import Reader, table


@dataclass(frozen=True, slots=True)
class KeysRequest:
    """Asks for KEYS of a new epoch."""

    tag: bytes
    epoch: int
    signature: bytes = b""
    DOMAIN: ClassVar[str] = "fedcart/SA1/KEYS-REQUEST"

    def body(self) -> bytes:
        """What is signed."""
        return self.tag + self.epoch.to_bytes(8, "big")

    @staticmethod
    def parse(raw: bytes) -> KeysRequest:
        """Strict."""
        r = Reader(raw, "KEYS-REQUEST")
        made = KeysRequest(r.take(HASH), r.number(8), r.take(SIGNATURE_BYTES))
        r.end()
        return made


@dataclass(frozen=True, slots=True)
class BoxesRequest:
    """Asks for BOXES: everybody's KEYS."""

    tag: bytes
    keys: dict[int, Keys]
    signature: bytes = b""
    DOMAIN: ClassVar[str] = "fedcart/SA1/BOXES-REQUEST"

    def body(self) -> bytes:
        """What is signed."""
        return self.tag + table({i: keys.fields() for i, keys in self.keys.items()})

    @staticmethod
    def parse(raw: bytes, pins: Pins) -> BoxesRequest:
        """Strict."""
        r = Reader(raw, "BOXES-REQUEST")
        tag = r.take(HASH)
        keys = r.table(pins.cohort.participants, lambda i, row: Keys.read(row, pins, tag, i))
        signature = r.take(SIGNATURE_BYTES)
        r.end()
        return BoxesRequest(tag, keys, signature)


@dataclass(frozen=True, slots=True)
class Delivery:
    """The rows that the others' BOXES hold for one store; it travels before or beside the epoch's first TRAIN."""

    tag: bytes
    receiver: int
    rows: dict[int, Row]
    signature: bytes = b""
    DOMAIN: ClassVar[str] = "fedcart/SA1/DELIVERY"

    def body(self) -> bytes:
        """What is signed."""
        return self.tag + ids(self.receiver) + table({i: row.head + row.fields() for i, row in self.rows.items()})

    @staticmethod
    def parse(raw: bytes, pins: Pins) -> Delivery:
        """Strict."""
        r = Reader(raw, "DELIVERY")
        tag, receiver = r.take(HASH), r.number(2)
        rows = r.table(pins.cohort.participants, lambda i, row: Row.read(row, pins, tag, i, receiver, row.take(HASH)))
        signature = r.take(SIGNATURE_BYTES)
        r.end()
        return Delivery(tag, receiver, rows, signature)


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
    DOMAIN: ClassVar[str] = "fedcart/SA1/TRAIN-REQUEST"

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
        cohort = tuple(r.table(pins.cohort.participants, lambda i, _: i))
        signature = r.take(SIGNATURE_BYTES)
        r.end()
        return Train(tag, number, release, block, model, cohort, signature)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A ctx and signed words on it; one of the two below."""

    context: bytes
    words: tuple[Signed, ...]
    signature: bytes = b""
    DOMAIN: ClassVar[str] = ""
    WORD: ClassVar[type[Signed]] = Signed

    def body(self) -> bytes:
        """What is signed."""
        return self.context + table({w.sender: w.value + w.head + w.signature for w in self.words})

    @classmethod
    def parse(cls, raw: bytes, pins: Pins) -> Self:
        """Strict."""
        r = Reader(raw, cls.DOMAIN)
        context = r.take(HASH)
        words = r.table(
            pins.cohort.participants,
            lambda i, row: cls.WORD(i, context, row.take(HASH), row.take(HASH), row.take(SIGNATURE_BYTES)),
        )
        signature = r.take(SIGNATURE_BYTES)
        r.end()
        return cls(context, tuple(words.values()), signature)


class ConfirmRequest(Evidence):
    """Asks for CONFIRM: the TRAIN words of U3."""

    __slots__ = ()
    DOMAIN = "fedcart/SA1/CONFIRM-REQUEST"
    WORD = TrainWord


class UnmaskRequest(Evidence):
    """Asks for UNMASK: CONFIRM words of a quorum."""

    __slots__ = ()
    DOMAIN = "fedcart/SA1/UNMASK-REQUEST"
    WORD = ConfirmWord
