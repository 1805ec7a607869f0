"""The coordinator's side of SA1, one epoch: keys and boxes pass through it, sums come out of it.

It holds no secret but what a round's shares rebuild, and never keeps a store's vector. After a restart its epoch is
over, as it is for a store: the next one begins.
"""

from __future__ import annotations

from collections.abc import Collection

from fedcart.shared.errors import ConfigError, ProtocolError, RoundFailed
from fedcart.shared.identity import Identity
from fedcart.shared.secagg.collection import RoundSum
from fedcart.shared.secagg.journal import Journal, Record
from fedcart.shared.secagg.keys import check_public
from fedcart.shared.secagg.messages import Boxes, Keys
from fedcart.shared.secagg.pins import Pins
from fedcart.shared.secagg.recovery import Offence
from fedcart.shared.secagg.requests import BoxesRequest, Delivery, KeysRequest, Train
from fedcart.shared.secagg.wire import Message, check, sign, spell


class Aggregator:
    """One epoch: R rounds over the stores that dealt their boxes.

    Every `add_*` takes one store's message and returns the store; a bad one raises ProtocolError, names the store
    and changes nothing. The same message twice counts once.

    Attributes:
      epoch: its number.
      keys, boxes: what the stores sent, checked.
      offences: what stores' own signatures prove against them.
      rounds: in the order they began.
    """

    def __init__(self, pins: Pins, identity: Identity, journal: Journal, *, check_vectors: bool = True) -> None:
        """Enter the next epoch of the run, on disk first.

        Args:
          pins, identity: the coordinator's.
          journal: its own.
          check_vectors: compare each y with the H(y) that its store signed (27 ms for 1e7 words of 32 bits). Without
            it the transport alone vouches that the vector is the one that was sent; privacy is the same.

        Raises:
          ConfigError: the roster pins another coordinator.
        """
        if identity.public != pins.coordinator:
            raise ConfigError("the roster pins another coordinator's key; no epoch was begun")
        self._pins, self._identity, self._journal = pins, identity, journal
        self._check_vectors = check_vectors
        self.epoch = journal.past(pins.run).epoch + 1
        self.tag = pins.tag(self.epoch)
        self._graph = pins.graph(self.tag)
        self.keys: dict[int, Keys] = {}
        self.boxes: dict[int, Boxes] = {}
        self.rounds: list[RoundSum] = []
        self.offences: list[Offence] = []
        self.asked: BoxesRequest | None = None
        self._dealt: frozenset[int] = frozenset()
        journal.remember(Record(kind="KEYS", run=pins.run, epoch=self.epoch).to_bytes())

    def keys_request(self) -> bytes:
        """The same for every store of the plan."""
        return spell(sign(KeysRequest(self.tag, self.epoch), self._identity))

    def add_keys(self, raw: bytes) -> int:
        """One store's KEYS."""
        keys = Keys.parse(raw, self._pins)
        self._check(keys, keys.sender, keys.tag)
        try:
            for public in (keys.box_key, *(key for key, _ in keys.rounds)):
                check_public(public)
        except ProtocolError:
            self.offences.append(Offence(keys.sender, "announced a key of small order"))
            raise ProtocolError(f"store {keys.sender} announced a key of small order; its KEYS were not used") from None
        if self._known(self.keys, keys.sender, keys, "sent two different KEYS in one epoch"):
            return keys.sender
        if self.asked is not None:
            raise ProtocolError(f"store {keys.sender} sent KEYS after they were handed round; it waits for an epoch")
        self.keys[keys.sender] = keys
        return keys.sender

    def boxes_request(self) -> bytes:
        """Everybody's KEYS, the same for every store that sent some; fixed at the first call.

        Raises:
          RoundFailed: too few stores sent KEYS.
        """
        if self.asked is None:
            self._check_count(len(self.keys), "sent KEYS")
            self.asked = sign(BoxesRequest(self.tag, dict(sorted(self.keys.items()))), self._identity)
        return spell(self.asked)

    def add_boxes(self, raw: bytes) -> int:
        """One store's BOXES: a row for every neighbour that sent KEYS."""
        boxes = Boxes.parse(raw, self._pins)
        sender = boxes.sender
        self._check(boxes, sender, boxes.tag)
        shown = self.asked.keys.keys() if self.asked is not None else set()
        if sender not in shown or set(boxes.rows) != (self._graph.holders(sender) & shown) - {sender}:
            raise ProtocolError(f"store {sender} dealt boxes for other stores than were shown to it; not used")
        if self._known(self.boxes, sender, boxes, "sent two different BOXES in one epoch"):
            return sender
        if self._dealt:
            raise ProtocolError(f"store {sender} sent BOXES after they were handed round; it waits for an epoch")
        self.boxes[sender] = boxes
        return sender

    def delivery(self, store: int) -> bytes:
        """The rows for one store that dealt boxes itself; the senders are fixed at the first call.

        Raises:
          RoundFailed: too few stores dealt boxes.
        """
        if not self._dealt:
            self._check_count(len(self.boxes), "dealt boxes")
            self._dealt = frozenset(self.boxes)
        if store not in self._dealt:
            raise ProtocolError(f"store {store} dealt no boxes in this epoch; none was handed to it")
        near = (self._graph.holders(store) & self._dealt) - {store}
        rows = {sender: self.boxes[sender].rows[store] for sender in sorted(near)}
        return spell(sign(Delivery(self.tag, store, rows), self._identity))

    def begin(
        self, round_number: int, release: int, model: bytes, *, block: int = 0, without: Collection[int] = ()
    ) -> RoundSum:
        """Fix U2 as the stores that dealt boxes, less those known to be away, and begin a round over it.

        Args:
          round_number: r, above every one before; a repeat of a failed round takes the next number.
          release: the plan's number for what is summed.
          model: H(model), 32 bytes.
          block: of rows, where a release is sent in several.
          without: stores left out.

        Raises:
          RoundFailed: too few stores remain, or too few neighbours.
        """
        last = self.rounds[-1].train.round if self.rounds else -1
        if not last < round_number < self._pins.rounds:
            raise ConfigError(f"round {round_number} lies outside {last + 1} .. {self._pins.rounds - 1}; not begun")
        cohort = tuple(sorted(self._dealt - set(without)))
        self._check_count(len(cohort), "can take part")
        if gap := self._graph.gap(cohort, cohort):
            raise RoundFailed(f"{gap}; nothing was revealed")
        train = sign(Train(self.tag, round_number, release, block, model, cohort), self._identity)
        begun = RoundSum(
            self._pins,
            self._graph,
            self._identity,
            self._journal,
            self.epoch,
            train,
            self.keys,
            self.boxes,
            self._check_vectors,
        )
        self.rounds.append(begun)
        return begun

    def _check(self, message: Message, sender: int, tag: bytes) -> None:
        if sender not in self._pins.identities:
            raise ProtocolError(f"store {sender} is not in the roster; its message was not used")
        if tag != self.tag:
            raise ProtocolError(f"store {sender} answered for another epoch, run, roster or plan; not used")
        check(message, self._pins.identities[sender])

    def _known(self, have: dict[int, Keys] | dict[int, Boxes], sender: int, message: Message, what: str) -> bool:
        if sender not in have:
            return False
        if have[sender] != message:
            self.offences.append(Offence(sender, what))
            raise ProtocolError(f"store {sender} {what}; the first stands")
        return True

    def _check_count(self, count: int, did: str) -> None:
        least = self._pins.cohort.min_survivors
        if count < least:
            raise RoundFailed(f"{count} stores {did}, {least} are needed; nothing was revealed")
