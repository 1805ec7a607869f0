"""Both ends of secure aggregation before hostile bytes, one message at a time; what `secagg.py` and its tests drive.

An input is a control byte and a message. The control byte says which step the message is for and whether the harness
signs it: random bytes carry no good signature, and nothing behind that check would ever be reached.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from fedcart.shared.errors import ProtocolError
from fedcart.shared.flower_compat import Array, ArrayRecord, RecordDict, pack_array
from fedcart.shared.identity import SIGNATURE_BYTES
from fedcart.shared.secagg import messages, requests
from fedcart.shared.secagg.aggregator import Aggregator
from fedcart.shared.secagg.collection import RoundSum
from fedcart.shared.secagg.masks import words
from fedcart.shared.secagg.participant import Participant
from fedcart.shared.secagg.pins import Pins
from fedcart.shared.secagg.wire import sign, spell
from fedcart.shared.secagg_wire import MASKED, VECTOR, read_upload, write_query
from secagg_kit import COORDINATOR, MODEL, Coalition, identity, make_pins

SIGNED = 0x80
"""In the control byte: the message comes without a signature, and the harness adds one."""
STORES, LENGTH, VICTIM = 4, 5, 1
KEYS, BOXES, DELIVERY, TRAIN, CONFIRM, UNMASK = range(6)
REQUESTS = (
    requests.KeysRequest,
    requests.BoxesRequest,
    requests.Delivery,
    requests.Train,
    requests.ConfirmRequest,
    requests.UnmaskRequest,
)
REPLIES = {
    KEYS: messages.Keys,
    BOXES: messages.Boxes,
    TRAIN: messages.TrainWord,
    CONFIRM: messages.ConfirmWord,
    UNMASK: messages.Unmask,
}


def make_store(pins: Pins, index: int, *rest: Any) -> Participant:
    """A store that draws the same secrets every time, so that yesterday's messages still fit."""
    numbers = itertools.count()

    def draw(size: int) -> bytes:
        return hashlib.shake_256(b"fuzz %d %d" % (index, next(numbers))).digest(size)

    return Participant(pins, index, *rest, draw)


def coalition() -> Coalition:
    """Before its first message."""
    return Coalition(make_pins(STORES, rounds=2, length=LENGTH), make_store)


class Coordinator:
    """An aggregator and its round, step by step."""

    def __init__(self, check_vectors: bool = False) -> None:
        made = coalition()
        self._epoch = Aggregator(made.pins, identity(COORDINATOR), made.own, check_vectors=check_vectors)
        self._begun: RoundSum | None = None

    @classmethod
    def before(cls, step: int, check_vectors: bool = False) -> Coordinator:
        """One that has asked for a step, and has every reply but store 0's last one (of an upload: none)."""
        made = cls(check_vectors)
        for earlier in range(step + 1):
            made.ask(earlier, 0)
            for store, raw in honest()[1][earlier].items():
                if earlier != DELIVERY and (earlier, store) != (step, 0) and (earlier < step or step != TRAIN):
                    made.take(earlier, raw)
        return made

    @property
    def begun(self) -> RoundSum:
        """Its round."""
        assert self._begun is not None
        return self._begun

    def ask(self, step: int, store: int) -> bytes:
        """What it asks of a store."""
        if step == DELIVERY:
            return self._epoch.delivery(store)
        if step < TRAIN:
            return (self._epoch.keys_request, self._epoch.boxes_request)[step]()
        self._begun = self._begun or self._epoch.begin(0, 0, MODEL)
        return (self._begun.train_request, self._begun.confirm_request, self._begun.unmask_request)[step - TRAIN]()

    def take(self, step: int, raw: bytes) -> None:
        """A store's reply."""
        if self._begun is None:
            (self._epoch.add_keys, self._epoch.add_boxes)[step](raw)
        elif step == TRAIN:
            self._begun.add(words(LENGTH, 32), raw)
        else:
            (self._begun.add_confirm if step == CONFIRM else self._begun.add_unmask)(raw)


def answer(store: Participant, step: int, raw: bytes) -> bytes:
    """A store's reply; of an upload the word."""
    if step == DELIVERY:
        store.deliver(raw)
        return b""
    if step == TRAIN:
        return store.train(raw, MODEL, lambda _: words(LENGTH, 32)).word
    steps = {KEYS: store.keys, BOXES: store.boxes, CONFIRM: store.confirm, UNMASK: store.unmask}
    return steps[step](raw)


@cache
def honest() -> tuple[list[bytes], list[dict[int, bytes]]]:
    """An honest epoch of one round: the request of each step as the victim gets it, and every store's reply."""
    made, coordinator = coalition(), Coordinator()
    requested, replied = [], []
    for step in range(len(REQUESTS)):
        asked = {i: coordinator.ask(step, i) for i in made.stores}
        requested.append(asked[VICTIM])
        replied.append({i: answer(store, step, asked[i]) for i, store in made.stores.items()})
        for raw in replied[-1].values() if step != DELIVERY else ():
            coordinator.take(step, raw)
    return requested, replied


def seeds_of(genuine: dict[int, bytes]) -> list[bytes]:
    """Each step's message whole, and once more for the harness to sign."""
    whole = [bytes([step]) + raw for step, raw in genuine.items()]
    return whole + [bytes([step | SIGNED]) + raw[:-SIGNATURE_BYTES] for step, raw in genuine.items()]


class StoreEnd:
    """A store at each of its six steps; the coordinator is hostile and signs what it likes."""

    def __init__(self) -> None:
        self._at: dict[int, Participant] = {}
        self.answered = 0

    def __call__(self, data: bytes) -> None:
        """One message. A refusal is what it may come to, or an answer; anything else is a bug, and passes through."""
        step, raw = (data[0] & 7) % len(REQUESTS), data[1:]
        if data[0] & SIGNED:
            raw += identity(COORDINATOR).sign(REQUESTS[step].DOMAIN, raw)
        if step not in self._at:
            self._at[step] = self._before(step)
        try:
            answer(self._at[step], step, raw)
            self.answered += 1
        except ProtocolError:
            if not self._at[step]._over:
                return
        del self._at[step]

    def seeds(self) -> list[bytes]:
        """The genuine requests."""
        return seeds_of(dict(enumerate(honest()[0])))

    def _before(self, step: int) -> Participant:
        store: Participant = coalition().stores[VICTIM]
        for earlier in range(step):
            answer(store, earlier, honest()[0][earlier])
        return store


class CoordinatorEnd:
    """A coordinator in each of its flows, with all replies but store 0's; bits 3 and 4 say which store signs."""

    def __init__(self) -> None:
        self._at: dict[int, Coordinator] = {}
        self.answered = 0

    def __call__(self, data: bytes) -> None:
        """One message, as at the other end."""
        step, raw = list(REPLIES)[(data[0] & 7) % len(REPLIES)], data[1:]
        if data[0] & SIGNED:
            raw += identity(data[0] >> 3 & 3).sign(REPLIES[step].DOMAIN, raw)
        if step not in self._at:
            self._at[step] = Coordinator.before(step)
        try:
            self._at[step].take(step, raw)
        except ProtocolError:
            return
        self.answered += 1
        del self._at[step]

    def seeds(self) -> list[bytes]:
        """What an honest store 0 sends in each flow."""
        return seeds_of({k: honest()[1][step][0] for k, step in enumerate(REPLIES)})


class UploadEnd:
    """A coordinator before arrays of any type and shape beside a word that is right about the bytes in them.

    The control byte: bits 0 to 2 name the type, bits 3 to 7 the number of sizes, of nine bytes each.
    """

    TYPES = ("uint32", "uint64", "int64", "float32", "float64", "bool", "object", "")

    def __init__(self) -> None:
        self._begun: RoundSum | None = None
        self._format = pack_array(words(1, 32)).stype
        self.answered = 0

    def __call__(self, data: bytes) -> None:
        """One upload of store 0."""
        dims = data[0] >> 3
        sizes = [int.from_bytes(data[1 + 9 * k : 10 + 9 * k], "big", signed=True) for k in range(dims)]
        content = data[1 + 9 * dims :]
        if self._begun is None:
            self._begun = Coordinator.before(TRAIN, check_vectors=True).begun
        array = Array(self.TYPES[data[0] & 7], tuple(sizes), self._format, content)
        word = messages.TrainWord(0, self._begun.context, hashlib.sha256(content).digest(), bytes(32))
        record = RecordDict({MASKED: ArrayRecord({VECTOR: array}), **write_query(spell(sign(word, identity(0))))})
        try:
            self._begun.add(*read_upload(record))
        except ProtocolError:
            return
        self.answered += 1
        self._begun = None

    def seeds(self) -> list[bytes]:
        """An upload as it should be; then no size, two sizes, and none of a thing beside too much of another."""
        size, good = LENGTH.to_bytes(9, "big"), words(LENGTH, 32).tobytes()
        return [
            bytes([1 << 3]) + size + good,
            bytes([0 << 3]) + np.uint32(7).tobytes(),
            bytes([2 << 3]) + (1).to_bytes(9, "big") + size + good,
            bytes([2 << 3]) + (0).to_bytes(9, "big") + (2**62).to_bytes(9, "big"),
        ]


ENDS: dict[str, Callable[[], StoreEnd | CoordinatorEnd | UploadEnd]] = {
    "store": StoreEnd,
    "coordinator": CoordinatorEnd,
    "upload": UploadEnd,
}
