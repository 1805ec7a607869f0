"""A coalition of real participants and a real aggregator in one process, for the tests of secure aggregation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedcart.shared.identity import Identity
from fedcart.shared.privacy.cohort import Cohort
from fedcart.shared.secagg.aggregator import Aggregator
from fedcart.shared.secagg.collection import RoundSum
from fedcart.shared.secagg.journal import Past, Record, past, refuse_gone_by
from fedcart.shared.secagg.masks import Bits, Integers, Words, to_words
from fedcart.shared.secagg.participant import Participant, Upload
from fedcart.shared.secagg.pins import Pins

MODEL = bytes(range(32))
COORDINATOR = 60000
"""Seeds the coordinator's key."""


def identity(index: int) -> Identity:
    """The same key for the same index."""
    private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"identity %d" % index).digest())
    return Identity(private.public_key().public_bytes_raw(), private)


class MemoryJournal:
    """Records that survive a restart of the object that wrote them; may fail at the n-th write."""

    def __init__(self, records: Sequence[bytes] = (), fail_at: int | None = None) -> None:
        self.records, self.fail_at = list(records), fail_at

    def past(self, run: bytes) -> Past:
        return past(self.records, run)

    def remember(self, record: bytes) -> None:
        if len(self.records) == self.fail_at:
            raise OSError("no space")
        new = Record.parse(record)
        refuse_gone_by(new, self.past(new.run))
        self.records.append(record)

    def head(self) -> bytes:
        return hashlib.sha256(b"".join(self.records)).digest()

    def kinds(self) -> list[str]:
        return [Record.parse(raw).kind for raw in self.records]


def make_pins(
    n: int, c: int = 1, m: int | None = None, *, rounds: int = 1, length: int = 3, bits: Bits = 32, reach: int = 0
) -> Pins:
    """Pins of a run of n stores; m is the least that the rules allow unless given; `reach` makes it a ring."""
    cohort = Cohort(participants=n, colluders=c, min_survivors=m or (n + c) // 2 + 1)
    return Pins(
        run=b"r" * 32,
        roster=b"o" * 32,
        plan=b"p" * 32,
        cohort=cohort,
        rounds=rounds,
        length=length,
        bits=bits,
        identities={i: identity(i).public for i in range(n)},
        coordinator=identity(COORDINATOR).public,
        reach=reach,
    )


@dataclass
class Coalition:
    """n stores and their coordinator."""

    pins: Pins
    kind: Callable[..., Participant] = Participant
    journals: dict[int, MemoryJournal] = field(default_factory=dict)
    own: MemoryJournal = field(default_factory=MemoryJournal)
    stores: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for i in self.pins.identities:
            self.journals.setdefault(i, MemoryJournal())
            self.start(i)

    def start(self, i: int) -> Participant:
        """(Re)start a store: a new object on the same journal."""
        known = list(self.pins.identities.values())
        self.stores[i] = self.kind(self.pins, i, identity(i), self.journals[i], known)
        return self.stores[i]

    def aggregator(self) -> Aggregator:
        return Aggregator(self.pins, identity(COORDINATOR), self.own)

    def open_epoch(self, no_keys: Collection[int] = (), no_boxes: Collection[int] = ()) -> Aggregator:
        """KEYS, BOXES and delivery, with stores missing before either."""
        made = self.aggregator()
        for i, store in self.stores.items():
            if i not in no_keys:
                made.add_keys(store.keys(made.keys_request()))
        alive = [i for i in self.stores if i not in no_keys and i not in no_boxes]
        for i in alive:
            made.add_boxes(self.stores[i].boxes(made.boxes_request()))
        for i in alive:
            assert self.stores[i].deliver(made.delivery(i)) == {}
        return made

    def upload(self, i: int, begun: RoundSum, values: Any) -> Upload:
        return self.stores[i].train(begun.train_request(), begun.train.model, lambda _: self.words(values))

    def words(self, values: Any) -> Words:
        return to_words(np.asarray(values, dtype=np.int64), self.pins.bits)

    def finish(
        self,
        begun: RoundSum,
        values: dict[int, Any],
        no_upload: Collection[int] = (),
        no_confirm: Collection[int] = (),
        no_unmask: Collection[int] = (),
        order: Callable[[list[int]], list[int]] = sorted,
    ) -> Integers:
        """TRAIN, CONFIRM and UNMASK of one round, with stores missing before each."""
        uploaders = order([i for i in begun.train.cohort if i not in no_upload])
        for i in uploaders:
            upload = self.upload(i, begun, values[i])
            begun.add(upload.vector, upload.word)
        confirmers = order([i for i in uploaders if i not in no_confirm])
        request = begun.confirm_request()
        for i in confirmers:
            begun.add_confirm(self.stores[i].confirm(request))
        asked = begun.unmask_request()
        for i in order([i for i in confirmers if i not in no_unmask]):
            begun.add_unmask(self.stores[i].unmask(asked))
        return begun.total()
