"""The store's side of SA1: one object an epoch, each transition once, every failure closed.

It never sends a vector before the fact is on disk, never masks twice with one round's secrets, never signs two
survivor sets in a round, and never gives away a share without a quorum's word on the very same set.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from fedcart.shared.errors import ProtocolError
from fedcart.shared.identity import Identity
from fedcart.shared.secagg.checks import (
    Answers,
    check_count,
    check_graph,
    check_order,
    check_signatures,
    check_train,
    public_of,
)
from fedcart.shared.secagg.dealing import Draw, Secrets, accept, announce, deal, mask_keys
from fedcart.shared.secagg.graph import Graph
from fedcart.shared.secagg.journal import Journal, Past, Record
from fedcart.shared.secagg.keys import digest, load
from fedcart.shared.secagg.masks import Words, add_masks, check_words, vector_hash
from fedcart.shared.secagg.messages import Boxes, ConfirmWord, Keys, TrainWord, Unmask
from fedcart.shared.secagg.pins import HASH, Pins, require_known, survivors_hash
from fedcart.shared.secagg.requests import BoxesRequest, ConfirmRequest, Delivery, KeysRequest, Train, UnmaskRequest
from fedcart.shared.secagg.wire import check, sign, spell

EPOCH_REACH = 16
"""An epoch is last + 1 .. last + 16: one huge number must not use up all that are left."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What TRAIN sends: y, [d], read-only, and the signed word on it."""

    vector: Words
    word: bytes


@dataclass(slots=True)
class _Round:
    """The open round; `answers`: name of a request -> (its hash, the answer)."""

    train: Train
    context: bytes
    word: bytes = b""
    survivors: tuple[int, ...] = ()
    upload: tuple[bytes, Upload] | None = None
    answers: Answers = field(default_factory=Answers)


class Participant:
    """One store in one epoch. Requests come as bytes, answers leave as bytes.

    A request that was answered is answered again with the same bytes while its round is open; anything else that
    comes a second time is refused. A failed write, or any error once a round has begun, erases the secrets it
    concerns. An object is used by the process that made it, by one caller at a time.
    """

    def __init__(
        self,
        pins: Pins,
        index: int,
        identity: Identity,
        journal: Journal,
        known: Collection[bytes],
        draw: Draw = os.urandom,
    ) -> None:
        """Check the roster; enter no epoch yet.

        Args:
          pins: from the signed plan and roster.
          index: this store's, in the roster.
          identity: signs; its public key is the roster's for `index`.
          journal: of this store.
          known: Ed25519 public keys that the store's policy knows out of band. All others count as colluders.
          draw: draw(k) is k secret random bytes; anything but the operating system's is for rehearsals and vectors.

        Raises:
          ProtocolError: the roster has another key for this store.
          PrivacyRefused: more than c participants are unknown.
        """
        require_known(pins, {*known, identity.public})
        if pins.identities.get(index) != identity.public:
            raise ProtocolError(f"store {index} has another key in the roster; no aggregation was entered")
        self._pins, self._index, self._identity, self._journal, self._draw = pins, index, identity, journal, draw
        self._process, self._lock = os.getpid(), threading.Lock()
        self._epoch, self._tag, self._past = -1, b"", Past()
        self._graph: Graph = pins.graph(b"")
        self._secrets: Secrets | None = None
        self._own: Keys | None = None
        self._peers: dict[int, Keys] = {}
        self._opened: frozenset[int] = frozenset()
        self._answers = Answers()
        self._round: _Round | None = None
        self._over = ""

    def __repr__(self) -> str:
        return f"Participant(store {self._index}, epoch {self._epoch}, <secret>)"

    def __reduce__(self) -> tuple[object, ...]:
        raise ProtocolError("a store's round secrets never leave its process; nothing was copied")

    # --- once an epoch

    def keys(self, raw: bytes) -> bytes:
        """KEYS: enter the epoch that the request names."""
        with self._alone():
            if (again := self._answers.again("KEYS", raw)) is not None:
                return again
            request = KeysRequest.parse(raw)
            check(request, self._pins.coordinator)
            past = self._journal.past(self._pins.run)
            if request.tag != self._pins.tag(request.epoch):
                raise ProtocolError("a KEYS request names another run, roster or plan; no epoch was entered")
            if not past.epoch < request.epoch <= past.epoch + EPOCH_REACH:
                allowed = f"{past.epoch + 1} .. {past.epoch + EPOCH_REACH}"
                raise ProtocolError(f"epoch {request.epoch} lies outside {allowed}; it was not entered")
            self._epoch, self._tag, self._past = request.epoch, request.tag, past
            self._graph = self._pins.graph(self._tag)
            with self._closing():
                self._secrets = Secrets.fresh(self._pins.rounds, self._draw)
                self._remember(Record(kind="KEYS", run=self._pins.run, epoch=self._epoch))
                self._own = sign(announce(self._secrets, self._tag, self._index, self._head()), self._identity)
                answer = spell(self._own)
            return self._answers.keep("KEYS", raw, answer)

    def boxes(self, raw: bytes) -> bytes:
        """BOXES: shares of every secret for every neighbour whose KEYS the pinned roster vouches for."""
        with self._alone():
            if (again := self._answers.again("BOXES", raw)) is not None:
                return again
            secrets, own = self._entered()
            request = BoxesRequest.parse(raw, self._pins)
            self._check_request(request.tag)
            check(request, self._pins.coordinator)
            near = self._graph.holders(self._index) - {self._index}
            peers = {i: keys for i, keys in request.keys.items() if i in near}
            if self._index in request.keys and request.keys[self._index] != own:
                raise ProtocolError("a BOXES request shows other KEYS than this store sent; no shares were dealt")
            shown = request.keys.keys() | {self._index}
            for i in shown:
                public_of(self._pins, i)
            check_count(self._pins.cohort.min_survivors, "KEYS", len(shown))
            check_count(self._graph.least, "KEYS of neighbours", len(peers) + 1)
            for i, keys in peers.items():
                check(keys, public_of(self._pins, i))
            with self._closing():
                head = self._head()
                hashes, rows = deal(secrets, self._graph.threshold, own, peers.values(), head, self._draw)
                signed = {i: sign(row, self._identity) for i, row in rows.items()}
                answer = spell(sign(Boxes(self._tag, self._index, head, hashes, signed), self._identity))
            self._peers = peers
            return self._answers.keep("BOXES", raw, answer)

    def deliver(self, raw: bytes) -> dict[int, str]:
        """Open the boxes for this store; once, then the box key is gone.

        Returns:
          sender -> why its box was not used. This store joins no cohort with such a sender.
        """
        with self._alone():
            if self._answers.again("DELIVERY", raw) is not None:
                return {}
            secrets, _ = self._entered()
            if not self._peers:
                raise ProtocolError("boxes came before this store dealt its own; none was opened")
            delivery = Delivery.parse(raw, self._pins)
            self._check_request(delivery.tag)
            check(delivery, self._pins.coordinator)
            if delivery.receiver != self._index or not set(delivery.rows) <= set(self._peers):
                raise ProtocolError("boxes are for another store or from one that sent no KEYS; none was opened")
            check_count(self._graph.least, "boxes", len(delivery.rows) + 1)
            with self._closing():
                refused = self._open(secrets, delivery)
                secrets.box = None
                self._opened = frozenset(delivery.rows) - refused.keys() | {self._index}
                check_count(self._graph.least, "opened boxes", len(self._opened))
            self._answers.keep("DELIVERY", raw, b"")
            return refused

    # --- once a round

    def train(self, raw: bytes, model: bytes, vector: Callable[[Train], Words]) -> Upload:
        """TRAIN: mask this store's vector for one cohort, model, release and block.

        Args:
          model: H(model) of the arrays that came with the request, computed here.
          vector: makes x, [d] words; called at most once a round, after every check. It raises for a release that the
            plan does not name. Masks are added in place.
        """
        with self._alone():
            if self._round and self._round.upload and self._round.upload[0] == digest("request", raw):
                return self._round.upload[1]
            secrets, _ = self._entered()
            train = Train.parse(raw, self._pins)
            self._check_request(train.tag)
            check(train, self._pins.coordinator)
            before = self._round.train if self._round else None
            check_order(train, before, self._past.release)
            check_train(self._pins, self._graph, self._index, self._opened, train, model)
            secrets.close_before(train.round)
            self._round = _Round(train, train.context())
            with self._closing(train.round):
                made = vector(train)
                check_words(made, self._pins.words_of(train.release), self._pins.bits)
                near = self._near(train.cohort) - {self._index}
                keys = {j: self._peers[j].rounds[train.round][0] for j in near}
                add_masks(made, mask_keys(secrets, self._index, train.round, self._round.context, keys))
                del secrets.rounds[train.round]
                made.setflags(write=False)
                value = vector_hash(made)
            self._remember(self._record("TRAIN", self._round, value))
            self._round.word = spell(
                sign(TrainWord(self._index, self._round.context, value, self._head()), self._identity)
            )
            upload = Upload(made, self._round.word)
            self._round.upload = digest("request", raw), upload
            return upload

    def forget_upload(self) -> None:
        """Let go of y, where the transport asks once: a second identical TRAIN is then refused, not answered."""
        with self._alone():
            if self._round is not None:
                self._round.upload = None

    def confirm(self, raw: bytes) -> bytes:
        """CONFIRM: sign the one survivor set of this round."""
        with self._alone():
            current = self._current()
            if (again := current.answers.again("CONFIRM", raw)) is not None:
                return again
            request = ConfirmRequest.parse(raw, self._pins)
            self._check_context(request.context, current)
            check(request, self._pins.coordinator)
            if current.survivors:
                raise ProtocolError("a survivor set was signed in this round already; no second one")
            survivors = tuple(word.sender for word in request.words)
            if self._index not in survivors or not set(survivors) <= set(current.train.cohort):
                raise ProtocolError("a survivor set leaves this store out or names one outside the cohort; not signed")
            check_count(self._pins.cohort.min_survivors, "survivors", len(survivors))
            check_graph(self._graph, survivors, current.train.cohort)
            check_signatures(self._pins, request.words)
            if current.word not in map(spell, request.words):
                raise ProtocolError("a survivor set shows another upload of this store than it sent; not signed")
            current.survivors = survivors
            value = survivors_hash(survivors)
            self._remember(self._record("CONFIRM", current, value))
            answer = spell(sign(ConfirmWord(self._index, current.context, value, self._head()), self._identity))
            return current.answers.keep("CONFIRM", raw, answer)

    def unmask(self, raw: bytes) -> bytes:
        """UNMASK: against a quorum's word on the set that this store signed, its shares; then forget the round."""
        with self._alone():
            secrets, _ = self._entered()
            current = self._current()
            if (again := current.answers.again("UNMASK", raw)) is not None:
                return again
            request = UnmaskRequest.parse(raw, self._pins)
            self._check_context(request.context, current)
            check(request, self._pins.coordinator)
            if not current.survivors:
                raise ProtocolError("shares are asked for before a survivor set was signed; none was given")
            value = survivors_hash(current.survivors)
            if any(word.value != value for word in request.words):
                raise ProtocolError("a word of the quorum is on another survivor set; no share was given")
            if len(request.words) < self._pins.cohort.quorum:
                found, asked = len(request.words), self._pins.cohort.quorum
                raise ProtocolError(f"{found} stores signed the survivor set, {asked} are needed; no share was given")
            check_signatures(self._pins, request.words)
            return current.answers.keep("UNMASK", raw, self._shares(secrets, current))

    def close(self) -> None:
        """Give the epoch up: erase everything. For good."""
        with self._lock:
            self._erase("the epoch was closed")

    # --- checks, each before any change

    def _check_request(self, tag: bytes) -> None:
        if tag != self._tag:
            raise ProtocolError("a request names another epoch, run, roster or plan than this store entered; refused")

    def _check_context(self, context: bytes, current: _Round) -> None:
        if context != current.context:
            raise ProtocolError("a request is on another context than this store's upload; refused")

    # --- state

    def _entered(self) -> tuple[Secrets, Keys]:
        if self._secrets is None or self._own is None:
            raise ProtocolError("no epoch was entered here, or its secrets are gone; refused", "a new epoch is needed")
        return self._secrets, self._own

    def _current(self) -> _Round:
        self._entered()
        if self._round is None or not self._round.word:
            raise ProtocolError("no upload of this store is open; refused")
        return self._round

    def _near(self, stores: Iterable[int]) -> frozenset[int]:
        """Those of `stores` that hold shares of this one: its neighbours, and itself."""
        return self._graph.holders(self._index).intersection(stores)

    def _open(self, secrets: Secrets, delivery: Delivery) -> dict[int, str]:
        if secrets.box is None:
            raise ProtocolError("the box key is erased; no box was opened")
        refused, private = {}, load(secrets.box)
        for sender, row in delivery.rows.items():
            try:
                check(row, public_of(self._pins, sender))
                accept(secrets, private, row, self._peers[sender].box_key)
            except ProtocolError as error:
                refused[sender] = error.message
        return refused

    def _shares(self, secrets: Secrets, current: _Round) -> bytes:
        """UNMASK's answer, once the quorum has been checked; nobody else may call this."""
        held = secrets.held.pop(current.train.round, None)
        if held is None:
            raise ProtocolError("the shares of this round are gone; none was given")
        value = survivors_hash(current.survivors)
        self._remember(self._record("UNMASK", current, value))
        current.upload = None
        near = self._near(current.train.cohort)
        alive = {j: held[j][0] for j in near.intersection(current.survivors)}
        dropped = {j: held[j][1] for j in near - alive.keys()}
        answer = Unmask(self._index, current.context, value, self._head(), alive, dropped)
        return spell(sign(answer, self._identity))

    def _record(self, kind: str, current: _Round, value: bytes) -> Record:
        return Record(
            kind=kind,
            run=self._pins.run,
            epoch=self._epoch,
            round=current.train.round,
            release=current.train.release,
            context=current.context,
            value=value,
        )

    def _remember(self, record: Record) -> None:
        with self._closing():
            try:
                self._journal.remember(record.to_bytes())
            except Exception as error:
                raise ProtocolError(
                    f"{record.kind} of epoch {self._epoch} could not be made durable; nothing was sent, "
                    "the epoch is given up"
                ) from error

    def _head(self) -> bytes:
        head = self._journal.head()
        if len(head) != HASH:
            raise ProtocolError(f"a ledger's head has {len(head)} bytes, not {HASH}; nothing was sent")
        return head

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if os.getpid() != self._process:
            self._erase("it was carried over a fork")
        if not self._lock.acquire(blocking=False):
            raise ProtocolError("a request came while another was being answered; refused")
        try:
            if self._over:
                raise ProtocolError(f"this store's epoch is over: {self._over}; refused", "a new epoch is needed")
            yield
        finally:
            self._lock.release()

    @contextmanager
    def _closing(self, number: int | None = None) -> Iterator[None]:
        """Erase the epoch (or the round, when it has a number) if what follows fails in any way."""
        try:
            yield
        except BaseException as error:
            if number is None or self._secrets is None:
                self._erase(f"{type(error).__name__} at a step that is taken once")
            else:
                self._secrets.close_before(number + 1)
            raise

    def _erase(self, why: str) -> None:
        if self._secrets is not None:
            self._secrets.erase()
        self._secrets, self._round, self._over = None, None, why
        self._answers.clear()
