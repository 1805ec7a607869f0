"""A coordinator that lies: it plays every honest store at once, with c colluders, and opens what it can.

It works with what real stores answered, not with a model of them: every request is authentically signed, every
refusal is the store's own, and a sum counts as opened when the arithmetic gives a vector whose words agree. Each
store's vector is `1 << store` in every word, so an opened sum names who is in it (chance agreement: 2^-96).
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from fedcart.shared.errors import ProtocolError
from fedcart.shared.secagg import field
from fedcart.shared.secagg.checks import Answers
from fedcart.shared.secagg.dealing import Secrets, announce, share_hashes
from fedcart.shared.secagg.graph import Graph
from fedcart.shared.secagg.keys import (
    commitment,
    open_box,
    pair_mask_key,
    public_key,
    seal_box,
    self_mask_key,
)
from fedcart.shared.secagg.masks import Words, add_masks, to_words
from fedcart.shared.secagg.messages import Boxes, ConfirmWord, Keys, Row, TrainWord, Unmask
from fedcart.shared.secagg.participant import Participant
from fedcart.shared.secagg.pins import Pins, survivors_hash
from fedcart.shared.secagg.requests import BoxesRequest, ConfirmRequest, Delivery, KeysRequest, Train, UnmaskRequest
from fedcart.shared.secagg.shamir import combine
from fedcart.shared.secagg.wire import Message, sign, spell
from secagg_kit import COORDINATOR, MODEL, MemoryJournal, identity

WORDS = 4
ANYTHING = b"a" * 32


class Branching(Participant):
    """A store that the search may try several continuations of. The protocol is the parent's."""

    def branch(self) -> Branching:
        """An independent copy."""
        twin: Branching = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._lock = threading.Lock()
        twin._journal = MemoryJournal(self._journal.records)  # type: ignore[attr-defined]
        twin._answers = Answers(self._answers)
        if self._secrets is not None:
            held = {r: dict(shares) for r, shares in self._secrets.held.items()}
            twin._secrets = Secrets(self._secrets.box, dict(self._secrets.rounds), held)
        if self._round is not None:
            twin._round = replace(self._round, answers=Answers(self._round.answers))
        return twin


class WithoutConfirm(Branching):
    """The first draft: shares against the TRAIN words of a survivor set, with no quorum's word on it."""

    confirms = False

    def unmask(self, raw: bytes) -> bytes:
        """`raw` is a CONFIRM request."""
        self.confirm(raw)
        assert self._secrets is not None
        return self._shares(self._secrets, self._current())


class Trusting:
    """A graph that never says that survivors are too far apart."""

    def __init__(self, graph: Graph) -> None:
        self.threshold, self.least, self.holders = graph.threshold, graph.least, graph.holders

    def gap(self, live: object, cohort: object) -> str:
        return ""


class WithoutGaps(Branching):
    """A mistake: on a ring, survivors are counted and nothing more."""

    def keys(self, raw: bytes) -> bytes:
        """Enters the epoch, and then trusts its graph."""
        answer = super().keys(raw)
        self._graph = Trusting(self._graph)
        return answer


class Adversary:
    """The coordinator and the colluders. Every method that asks returns whether the store answered."""

    def __init__(self, pins: Pins, colluders: Iterable[int], kind: type[Branching] = Branching) -> None:
        self.pins, self.colluders, self.kind = pins, frozenset(colluders), kind
        assert len(self.colluders) <= pins.cohort.colluders
        known = list(pins.identities.values())
        self.honest: dict[int, Any] = {
            i: kind(pins, i, identity(i), MemoryJournal(), known) for i in pins.identities if i not in self.colluders
        }
        self.everybody = tuple(sorted(pins.identities))
        self.tag = pins.tag(0)
        self.graph = pins.graph(self.tag)
        self.keys: dict[int, Keys] = {}
        self.boxes: dict[int, Boxes] = {}
        self.faked: dict[tuple[int, int], tuple[Secrets, Keys]] = {}  # (colluder, victim): other keys for each victim
        self.shares: dict[tuple[int, int, bytes], dict[int, bytes]] = defaultdict(dict)  # (round, owner, kind)
        self.uploads: list[tuple[int, Train, Words]] = []
        self.words: dict[tuple[bytes, int], TrainWord] = {}
        self.confirmed: dict[tuple[bytes, tuple[int, ...]], dict[int, ConfirmWord]] = defaultdict(dict)
        self.rounds: dict[bytes, int] = {}
        self.refused = 0

    def branch(self) -> Adversary:
        """An independent copy of the whole game."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.honest = {i: store.branch() for i, store in self.honest.items()}
        twin.shares = defaultdict(dict, {key: dict(value) for key, value in self.shares.items()})
        twin.confirmed = defaultdict(dict, {key: dict(value) for key, value in self.confirmed.items()})
        twin.uploads, twin.words, twin.rounds = list(self.uploads), dict(self.words), dict(self.rounds)
        return twin

    def ask(self, message: Message) -> bytes:
        return spell(sign(message, identity(COORDINATOR)))

    def open_epoch(self, views: dict[int, Iterable[int]] | None = None) -> None:
        """KEYS, BOXES and delivery; `views`: whose KEYS each honest store is shown (all, unless given)."""
        seen = {i: set((views or {}).get(i, self.everybody)) | {i} for i in self.honest}
        for i, store in self.honest.items():
            self.keys[i] = Keys.parse(store.keys(self.ask(KeysRequest(self.tag, 0))), self.pins)
        for i in self.honest:
            self._show_keys(i, seen[i])
        for i in self.boxes:
            near = self.graph.holders(i) - {i}
            self._show_boxes(i, [j for j in self.boxes if j in near and j in seen[i] and i in seen[j]])

    def _show_keys(self, i: int, seen: set[int]) -> None:
        shown = {j: self.keys[j] for j in seen - self.colluders}
        for k in seen & self.colluders:
            secrets = Secrets.fresh(self.pins.rounds, os.urandom)
            made = sign(announce(secrets, self.tag, k, ANYTHING), identity(k))
            self.faked[k, i] = secrets, made
            shown[k] = made
        try:
            raw = self.honest[i].boxes(self.ask(BoxesRequest(self.tag, shown)))
        except ProtocolError:
            self.refused += 1
            return
        self.boxes[i] = Boxes.parse(raw, self.pins)
        for k in seen & self.colluders & self.graph.holders(i):
            box = self.faked[k, i][0].box
            assert box is not None
            content = open_box(box, self.keys[i].box_key, self.tag, i, k, self.boxes[i].rows[k].box)
            for r in range(self.pins.rounds):
                self.shares[r, i, b"b"][k] = content[64 * r : 64 * r + 32]
                self.shares[r, i, b"key"][k] = content[64 * r + 32 : 64 * r + 64]

    def _show_boxes(self, i: int, senders: list[int]) -> None:
        rows = {j: self.boxes[j].rows[i] for j in senders}
        for k, victim in self.faked:
            if victim == i and k in self.graph.holders(i):
                rows[k] = self._faked_row(k, i)
        try:
            assert self.honest[i].deliver(self.ask(Delivery(self.tag, i, rows))) == {}
        except ProtocolError:
            self.refused += 1

    def _faked_row(self, k: int, i: int) -> Row:
        shares = [(field.draw_secret(), field.draw_secret()) for _ in range(self.pins.rounds)]
        content = b"".join(b + key for b, key in shares)
        private = self.faked[k, i][0].box
        assert private is not None
        box = seal_box(private, self.keys[i].box_key, self.tag, k, i, content)
        return sign(Row(self.tag, k, i, ANYTHING, box, share_hashes(self.tag, k, i, shares)), identity(k))

    def train(self, i: int, cohort: Iterable[int], model: bytes = MODEL, number: int = 0, release: int = 0) -> bool:
        train = Train(self.tag, number, release, 0, model, tuple(sorted(cohort)))
        values = np.full(WORDS, 1 << i, np.int64)
        try:
            upload = self.honest[i].train(self.ask(train), model, lambda _: to_words(values, 32))
        except ProtocolError:
            self.refused += 1
            return False
        context = train.context()
        self.uploads.append((i, train, upload.vector))
        self.words[context, i] = TrainWord.parse(upload.word)
        self.rounds[context] = number
        return True

    def confirm_request(self, context: bytes, survivors: Iterable[int]) -> bytes:
        """With the words that were given, and the colluders' on whatever helps; others are left to a bad signature."""
        words = []
        for j in sorted(survivors):
            if j in self.colluders:
                words.append(sign(TrainWord(j, context, ANYTHING, ANYTHING), identity(j)))
            else:
                words.append(self.words.get((context, j)) or TrainWord(j, context, ANYTHING, ANYTHING, bytes(64)))
        return self.ask(ConfirmRequest(context, tuple(words)))

    def confirm(self, i: int, context: bytes, survivors: Iterable[int]) -> bool:
        survivors = tuple(sorted(survivors))
        try:
            raw = self.honest[i].confirm(self.confirm_request(context, survivors))
        except ProtocolError:
            self.refused += 1
            return False
        self.confirmed[context, survivors][i] = ConfirmWord.parse(raw)
        return True

    def unmask(self, i: int, context: bytes, survivors: Iterable[int]) -> bool:
        """Ask for shares with every word on this set that the adversary has or can sign."""
        survivors = tuple(sorted(survivors))
        if issubclass(self.kind, WithoutConfirm):
            raw = self.confirm_request(context, survivors)
        else:
            value = survivors_hash(survivors)
            words = dict(self.confirmed[context, survivors])
            for k in self.colluders:
                words[k] = sign(ConfirmWord(k, context, value, ANYTHING), identity(k))
            raw = self.ask(UnmaskRequest(context, tuple(words[j] for j in sorted(words))))
        try:
            reply = Unmask.parse(self.honest[i].unmask(raw), self.pins)
        except ProtocolError:
            self.refused += 1
            return False
        number = self.rounds[reply.context]
        for kind, shares in ((b"b", reply.alive), (b"key", reply.dropped)):
            for owner, share in shares.items():
                self.shares[number, owner, kind][i] = share
        return True

    # --- what it knows

    def rebuilt(self, number: int, owner: int, kind: bytes) -> bytes | None:
        """A secret of an honest store, if t shares of it have come together."""
        shares, t = self.shares[number, owner, kind], self.graph.threshold
        if len(shares) < t:
            return None
        secret = combine({i + 1: share for i, share in shares.items()}, t)
        key, hashed = self.keys[owner].rounds[number]
        right = commitment(self.tag, owner, number, secret) == hashed if kind == b"b" else public_key(secret) == key
        return secret if right else None

    def opened(self) -> set[tuple[int, frozenset[int]]]:
        """(round, honest stores) of every sum of uploads that comes out in clear: all subsets are tried."""
        found = set()
        for number in {train.round for _, train, _ in self.uploads}:
            b = {i: self.rebuilt(number, i, b"b") for i in self.honest}
            keys = {i: self.rebuilt(number, i, b"key") for i in self.honest}
            rows = [
                self._peel(i, train, y, b[i], keys)  # type: ignore[arg-type]
                for i, train, y in self.uploads
                if train.round == number and b[i] is not None
            ]
            found |= {(number, ids) for ids in self._readable(rows)}
        return found

    def _peel(self, i: int, train: Train, y: Words, b: bytes, keys: dict[int, bytes | None]) -> Words:
        """One upload without the masks that are known."""
        number, context, peeled = train.round, train.context(), y.copy()
        masks = [(self_mask_key(b, context), True)]
        for j in train.cohort:
            if j == i or j not in self.graph.holders(i):
                continue
            if j in self.colluders:
                private, public = self.faked[j, i][0].rounds[number][1], self.keys[i].rounds[number][0]
            elif keys[j] is not None:
                private, public = keys[j], self.keys[i].rounds[number][0]
            elif keys[i] is not None:
                private, public = keys[i], self.keys[j].rounds[number][0]
            else:
                continue
            masks.append((pair_mask_key(private, public, context, i, j), i < j))
        add_masks(peeled, masks)
        return peeled

    def _readable(self, rows: list[Words]) -> Iterable[frozenset[int]]:
        if not rows:
            return []
        choices = np.arange(1, 1 << len(rows))[:, None] >> np.arange(len(rows)) & 1  # [subsets, rows]
        sums = (choices.astype(np.uint32) @ np.stack(rows).astype(np.uint32)).astype(np.uint32)
        clear = (sums == sums[:, :1]).all(axis=1) & (sums[:, 0] < 1 << len(self.everybody)) & (sums[:, 0] > 0)
        return [frozenset(i for i in self.everybody if value >> i & 1) for value in map(int, sums[clear, 0])]
