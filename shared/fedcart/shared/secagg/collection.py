"""One round at the coordinator: a cohort's masked vectors come in, their exact sum comes out or the round fails.

A vector is checked, added to the running sum and dropped: memory is the sum and the vector in hand, whatever the
number of stores. The survivor set is fixed and on disk before anybody is asked to sign it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fedcart.shared.errors import ProtocolError, RoundFailed
from fedcart.shared.identity import Identity
from fedcart.shared.secagg.graph import Graph
from fedcart.shared.secagg.journal import Journal, Record
from fedcart.shared.secagg.masks import Integers, Words, add_masks, check_words, to_integers, vector_hash, words
from fedcart.shared.secagg.messages import Boxes, ConfirmWord, Keys, Signed, TrainWord, Unmask
from fedcart.shared.secagg.pins import Pins, survivors_hash
from fedcart.shared.secagg.recovery import Offence, check_shares, remaining_masks
from fedcart.shared.secagg.requests import ConfirmRequest, Train, UnmaskRequest
from fedcart.shared.secagg.wire import check, sign, spell


class RoundSum:
    """The sum of one round. Made by `Aggregator.begin`.

    Every `add_*` takes one store's message and returns the store; a bad one raises ProtocolError, names the store
    and changes nothing.

    Attributes:
      train: what was asked of the cohort, signed.
      survivors: U3; empty until `confirm_request`.
      offences: what stores' own signatures prove against them.
    """

    def __init__(
        self,
        pins: Pins,
        graph: Graph,
        identity: Identity,
        journal: Journal,
        epoch: int,
        train: Train,
        keys: Mapping[int, Keys],
        boxes: Mapping[int, Boxes],
        check_vectors: bool,
    ) -> None:
        self._check_vectors = check_vectors
        self._pins, self._graph, self._identity, self._journal, self._epoch = pins, graph, identity, journal, epoch
        self._keys, self._boxes = keys, boxes
        self.train = train
        self.context = train.context()
        self.survivors: tuple[int, ...] = ()
        self.uploads: dict[int, TrainWord] = {}
        self.confirmations: dict[int, ConfirmWord] = {}
        self.replies: dict[int, Unmask] = {}
        self.confirmed: ConfirmRequest | None = None
        self.asked: UnmaskRequest | None = None
        self.offences: list[Offence] = []
        self._sum = words(pins.words_of(train.release), pins.bits)
        self._opened: Integers | None = None

    def train_request(self) -> bytes:
        """The same for every store of the cohort."""
        return spell(self.train)

    def add(self, vector: Words, word: bytes) -> int:
        """One store's upload; in any order, each store once."""
        signed = TrainWord.parse(word)
        self._check_word(signed, self.train.cohort)
        if signed.sender in self.uploads:
            raise ProtocolError(f"store {signed.sender} has uploaded already; the second vector was not used")
        if self.survivors:
            raise ProtocolError(f"store {signed.sender} came after the survivor set was fixed; not used")
        check_words(vector, len(self._sum), self._pins.bits)
        if self._check_vectors and vector_hash(vector) != signed.value:
            raise ProtocolError(f"store {signed.sender} sent another vector than it signed; it was not used")
        np.add(self._sum, vector, out=self._sum)
        self.uploads[signed.sender] = signed
        return signed.sender

    def confirm_request(self) -> bytes:
        """Fix U3 as the stores that have uploaded, on disk first; the same bytes for each of them.

        Raises:
          RoundFailed: they are fewer than max(t, m), or too few of them are neighbours. Nothing was revealed.
        """
        if self.confirmed is None:
            survivors, floor = tuple(sorted(self.uploads)), self._pins.cohort.min_survivors
            if len(survivors) < floor:
                raise RoundFailed(f"{len(survivors)} stores uploaded, {floor} are needed; nothing was revealed")
            if gap := self._graph.gap(survivors, self.train.cohort):
                raise RoundFailed(f"{gap}; nothing was revealed")
            self._remember("CONFIRM", survivors_hash(survivors))
            self.survivors = survivors
            evidence = tuple(self.uploads[i] for i in survivors)
            self.confirmed = sign(ConfirmRequest(self.context, evidence), self._identity)
        return spell(self.confirmed)

    def add_confirm(self, raw: bytes) -> int:
        """One survivor's word on U3."""
        word = ConfirmWord.parse(raw)
        self._check_word(word, self.survivors)
        if word.value != survivors_hash(self.survivors):
            raise ProtocolError(f"store {word.sender} signed another survivor set; it was not counted")
        self.confirmations[word.sender] = word
        return word.sender

    def unmask_request(self) -> bytes:
        """The quorum's words, for each store that gave one; the same bytes however often it is called.

        Raises:
          RoundFailed: they are fewer than Q. Nothing was revealed.
        """
        if self.asked is None:
            found, quorum = len(self.confirmations), self._pins.cohort.quorum
            if found < quorum:
                raise RoundFailed(f"{found} stores confirmed, {quorum} are needed; nothing was revealed")
            evidence = tuple(self.confirmations[i] for i in sorted(self.confirmations))
            self.asked = sign(UnmaskRequest(self.context, evidence), self._identity)
        return spell(self.asked)

    def add_unmask(self, raw: bytes) -> int:
        """One survivor's shares."""
        reply = Unmask.parse(raw, self._pins)
        if self.asked is None:
            raise ProtocolError(f"store {reply.sender} sent shares that nobody asked for; they were not used")
        self._check_sender(reply.sender, reply.context, self.survivors)
        if reply.value != survivors_hash(self.survivors):
            raise ProtocolError(f"store {reply.sender} sent shares for another survivor set; they were not used")
        check(reply, self._pins.identities[reply.sender])
        try:
            check_shares(self._graph, reply, self.train, self.survivors, self._boxes)
        except ProtocolError as error:
            self.offences.append(Offence(reply.sender, error.message))
            raise
        self.replies[reply.sender] = reply
        return reply.sender

    def total(self) -> Integers:
        """sum of x_i over U3, [d], signed integers of the plan's width; exact mod 2^bits.

        Raises:
          RoundFailed: fewer than t holders of a store's shares sent them, or they do not rebuild its secret.
        """
        if self._opened is None:
            if not self.survivors:
                raise RoundFailed("no survivor set was fixed; the sum was not opened")
            masks, offences = remaining_masks(self._graph, self.train, self.survivors, self._keys, self.replies)
            if offences:
                self.offences += offences
                named = ", ".join(str(offence.store) for offence in offences)
                raise RoundFailed(f"shares dealt by stores {named} do not rebuild their secrets; no sum was opened")
            add_masks(self._sum, masks)
            self._opened = to_integers(self._sum)
        return self._opened

    def _check_word(self, word: Signed, among: tuple[int, ...]) -> None:
        self._check_sender(word.sender, word.context, among)
        check(word, self._pins.identities[word.sender])

    def _check_sender(self, sender: int, context: bytes, among: tuple[int, ...]) -> None:
        if sender not in among:
            raise ProtocolError(f"store {sender} was not asked; its message was not used")
        if context != self.context:
            raise ProtocolError(f"store {sender} answered in another context; its message was not used")

    def _remember(self, kind: str, value: bytes) -> None:
        record = Record(
            kind=kind,
            run=self._pins.run,
            epoch=self._epoch,
            round=self.train.round,
            release=self.train.release,
            context=self.context,
            value=value,
        )
        self._journal.remember(record.to_bytes())
