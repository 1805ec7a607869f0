"""A state machine over joins, uploads, replays, drops and restarts: whatever the order, a sum is exact or absent.

Each store sends `1 << store`, so a sum names who is in it. The coordinator keeps the protocol here; one that does not
is test_adversary's.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fedcart.shared.errors import ProtocolError, RoundFailed
from fedcart.shared.secagg.aggregator import Aggregator
from fedcart.shared.secagg.collection import RoundSum
from fedcart.shared.secagg.journal import Record
from fedcart.shared.secagg.requests import Train
from secagg_kit import MODEL, Coalition, make_pins

N, C, M, ROUNDS = 5, 1, 4, 3
STORES = st.integers(0, N - 1)
TAKEN: Counter[tuple[str, str]] = Counter()
"""How often each step was answered, answered again with the same bytes, or refused."""


class Rounds(RuleBasedStateMachine):
    """n = 5, t = m = 4."""

    def __init__(self) -> None:
        super().__init__()
        self.made = Coalition(make_pins(N, C, M, rounds=ROUNDS))
        self.epoch: Aggregator | None = None
        self.begun: RoundSum | None = None
        self.release = 0
        self.sent: dict[str, bytes] = {}  # what a store sent, by step and round, to be replayed
        self.masked: set[tuple[int, int, int]] = set()  # (store, epoch, round) of every vector made
        self.sums: list[tuple[int, frozenset[int]]] = []

    def reply(self, name: str, store: int, call: Any, *arguments: Any) -> Any:
        """One request; None when it was refused. The same request twice gets the same bytes."""
        try:
            answer = call(*arguments)
        except ProtocolError:
            TAKEN[name, "refused"] += 1
            return None
        key = f"{name} {store} {self.made.own.past(self.made.pins.run).epoch} {self.begun and self.begun.train.round}"
        plain = getattr(answer, "word", answer)
        TAKEN[name, "repeated" if key in self.sent else "answered"] += 1
        assert self.sent.setdefault(key, plain) == plain
        return answer

    @rule()
    def new_epoch(self) -> None:
        """The coordinator gives the epoch up, or has restarted."""
        self.epoch, self.begun = self.made.aggregator(), None
        for i in range(N):
            if self.made.stores[i]._secrets is not None:  # one object an epoch: the app makes the next
                self.made.start(i)

    @precondition(lambda self: self.epoch is not None)
    @rule(store=STORES)
    def keys(self, store: int) -> None:
        raw = self.reply("keys", store, self.made.stores[store].keys, self.epoch.keys_request())
        self.take(lambda: raw and self.epoch.add_keys(raw))

    @precondition(lambda self: self.epoch is not None and len(self.epoch.keys) >= M)
    @rule(store=STORES)
    def boxes(self, store: int) -> None:
        raw = self.reply("boxes", store, self.made.stores[store].boxes, self.epoch.boxes_request())
        self.take(lambda: raw and self.epoch.add_boxes(raw))

    @precondition(lambda self: self.epoch is not None and len(self.epoch.boxes) >= M)
    @rule(store=STORES)
    def deliver(self, store: int) -> None:
        if store in self.epoch.boxes:
            try:
                self.made.stores[store].deliver(self.epoch.delivery(store))
            except ProtocolError:
                assert store not in self.epoch._dealt or store in self.restarted()

    @rule()
    def all_join(self) -> None:
        """The likely way to a round."""
        self.new_epoch()
        enough = (True, lambda: len(self.epoch.keys) >= M, lambda: len(self.epoch.boxes) >= M)
        for step, ready in zip((self.keys, self.boxes, self.deliver), enough, strict=True):
            if ready is True or ready():
                for i in range(N):
                    step(i)

    @precondition(lambda self: self.epoch is not None and self.epoch._dealt)
    @rule(again=st.booleans(), gone=st.sets(STORES, max_size=2))
    def begin(self, again: bool, gone: set[int]) -> None:
        number = self.epoch.rounds[-1].train.round + 1 if self.epoch.rounds else 0
        if number < ROUNDS:
            if self.begun is not None and not again and self.begun._opened is not None:
                self.release += 1
            try:
                self.begun = self.epoch.begin(number, self.release, MODEL, without=gone)
            except RoundFailed:
                assert len(self.epoch._dealt - gone) < M

    @precondition(lambda self: self.begun is not None)
    @rule(store=STORES)
    def upload(self, store: int) -> None:
        made_now: list[Train] = []

        def vector(train: Train) -> Any:
            made_now.append(train)
            return self.made.words([1 << store] * 3)

        train = self.made.stores[store].train
        upload = self.reply("train", store, train, self.begun.train_request(), MODEL, vector)
        for train_seen in made_now:
            once = (store, self.epoch.epoch, train_seen.round)
            assert once not in self.masked
            self.masked.add(once)
        if upload is not None:
            self.take(lambda: self.begun.add(upload.vector, upload.word))

    @precondition(lambda self: self.begun is not None and len(self.begun.uploads) >= M)
    @rule(store=STORES)
    def confirm(self, store: int) -> None:
        raw = self.reply("confirm", store, self.made.stores[store].confirm, self.begun.confirm_request())
        self.take(lambda: raw and self.begun.add_confirm(raw))

    @precondition(lambda self: self.begun is not None and len(self.begun.confirmations) >= M)
    @rule(store=STORES)
    def unmask(self, store: int) -> None:
        raw = self.reply("unmask", store, self.made.stores[store].unmask, self.begun.unmask_request())
        self.take(lambda: raw and self.begun.add_unmask(raw))

    @precondition(lambda self: self.begun is not None)
    @rule(gone=st.sets(STORES, max_size=1))
    def all_finish(self, gone: set[int]) -> None:
        """The likely way to a sum."""
        for i in set(range(N)) - gone:
            self.upload(i)
        if len(self.begun.uploads) >= M:
            for i in range(N):
                self.confirm(i)
        if len(self.begun.confirmations) >= M:
            for i in range(N):
                self.unmask(i)
        self.total()

    @precondition(lambda self: self.begun is not None)
    @rule()
    def total(self) -> None:
        try:
            total = self.begun.total()
        except RoundFailed:
            assert len(self.begun.replies) < 4
            return
        assert len(set(total.tolist())) == 1
        inside = frozenset(i for i in range(N) if int(total[0]) >> i & 1)
        assert inside == frozenset(self.begun.survivors)
        TAKEN["a sum", "opened"] += 1
        self.sums.append((self.begun.train.round, inside))

    @rule(gone=st.sets(STORES, max_size=1))
    def a_whole_round(self, gone: set[int]) -> None:
        """Join where needed, begin, finish."""
        if self.epoch is None or not self.epoch._dealt or len(self.epoch.rounds) == ROUNDS:
            self.all_join()
        if self.epoch._dealt:
            self.begin(False, set())
        if self.begun is not None:
            self.all_finish(gone)

    @precondition(lambda self: self.begun is not None and self.begun.survivors)
    @rule()
    def ask_everybody_again(self) -> None:
        """Replays of what the round has asked so far."""
        for i in range(N):
            self.upload(i)
            self.confirm(i)
            if len(self.begun.confirmations) >= M:
                self.unmask(i)

    @rule(store=STORES, step=st.integers(-1, 3))
    def trouble(self, store: int, step: int) -> None:
        """A restart on a mended disk (-1), or the write of the next record but `step` will fail."""
        journal = self.made.journals[store]
        journal.fail_at = None if step < 0 else len(journal.records) + step
        if step < 0:
            self.made.start(store)

    def restarted(self) -> set[int]:
        return {i for i, store in self.made.stores.items() if store._secrets is None or not store._peers}

    @staticmethod
    def take(call: Any) -> None:
        """The coordinator may refuse what is late, twice or unasked; nothing changes then."""
        with contextlib.suppress(ProtocolError, RoundFailed):
            call()

    @invariant()
    def every_sum_holds_enough_stores(self) -> None:
        assert all(len(inside) >= M for _, inside in self.sums)

    @invariant()
    def no_fact_is_journalled_twice(self) -> None:
        for journal in self.made.journals.values():
            facts = [(r.kind, r.epoch, r.round) for r in map(Record.parse, journal.records)]
            assert len(facts) == len(set(facts))


Rounds.TestCase.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
TestRounds = Rounds.TestCase


@pytest.mark.slow
def test_long_runs_of_the_state_machine() -> None:
    from hypothesis.stateful import run_state_machine_as_test

    TAKEN.clear()
    run_state_machine_as_test(Rounds, settings=settings(max_examples=120, stateful_step_count=40, deadline=None))
    steps = ("keys", "boxes", "train", "confirm", "unmask")
    missing = [(step, how) for step in steps for how in ("answered", "repeated", "refused") if not TAKEN[step, how]]
    assert missing == [], f"transitions never taken; taken: {dict(TAKEN)}"
    assert TAKEN["a sum", "opened"] > 50
