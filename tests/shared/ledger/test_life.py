"""A ledger's life in any order of events, held against plain sums: charges, refusals, crashes, keys, clocks."""

from __future__ import annotations

import shutil
import tempfile
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fedcart.shared.errors import PrivacyRefused
from fedcart.shared.ledger import Charged
from fedcart.shared.ledger.spending import DAY
from fedcart.shared.ledger.verify import receipts_of, verify
from shared.ledger.ledger_cases import (
    COORDINATOR,
    DELTA,
    NOON,
    PLAN,
    STORE,
    VARIANCE,
    Clock,
    D,
    add_plan,
    charge,
    create,
    new_key,
    receipt_of,
    reopen,
)


class Life(RuleBasedStateMachine):
    """`spent` = (time, rho) of all that was charged; `dearest` = what a torn line costs."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.path, self.key, self.clock = self.directory / "ledger.jsonl", STORE, Clock()
        self.ledger = create(self.path, clock=self.clock)
        self.spent: list[tuple[int, Fraction]] = []
        self.dearest, self.plans, self.number = Fraction(1, 12), 0, 0
        self.unspent: list[Charged] = []

    def teardown(self) -> None:
        self.ledger.close()
        verify(self.path).require()
        receipts_of(self.path)
        shutil.rmtree(self.directory)

    @rule(honest=st.integers(1, 9), scale=st.integers(1, 10**6))
    def charges(self, honest: int, scale: int) -> None:
        token = charge(self.ledger, self.number, honest=honest, variance=VARIANCE * scale)
        rho = Fraction(D * D, 2 * honest * VARIANCE * scale)
        assert token.rho == rho
        self.spent.append((self.clock.at, rho))
        self.unspent.append(token)
        self.number += 1

    @precondition(lambda self: self.unspent)
    @rule()
    def releases(self) -> None:
        token = self.unspent.pop()
        token.spend()
        self.ledger.release(token, PLAN)
        with pytest.raises(PrivacyRefused):
            token.spend()

    @precondition(lambda self: self.number)
    @rule(data=st.data())
    def charges_again(self, data: st.DataObject) -> None:
        with pytest.raises(PrivacyRefused, match="charge-twice"):
            charge(self.ledger, data.draw(st.integers(0, self.number - 1)))

    @rule(seconds=st.integers(0, 40 * DAY))
    def time_passes(self, seconds: int) -> None:
        self.clock.at += seconds

    @rule(seconds=st.integers(1, 10**6))
    def the_clock_runs_back(self, seconds: int) -> None:
        self.ledger.checkpoint()
        self.clock.at -= seconds
        with pytest.raises(PrivacyRefused, match="behind"):
            charge(self.ledger, self.number)
        self.clock.at += seconds

    @rule(num=st.integers(1, 100))
    def a_plan_comes(self, num: int) -> None:
        self.plans += 1
        add_plan(self.ledger, f"{self.plans:064x}"[::-1], Fraction(num, 99))
        self.dearest = max(self.dearest, Fraction(num, 99))

    @rule(cut=st.integers(1, 300), torn=st.booleans())
    def restarts(self, cut: int, torn: bool) -> None:
        """Perhaps after a crash in an append: the front of some line is what stands at the end."""
        self.ledger.close()
        self.unspent.clear()
        if torn:
            raw = self.path.read_bytes()
            self.path.write_bytes(raw + raw.splitlines()[-1][:cut])
            self.spent.append((self.clock.at, self.dearest))
        self.ledger = reopen(self.path, self.key, clock=self.clock)

    @rule()
    def the_key_changes(self) -> None:
        self.key = new_key()
        self.ledger.rotate(self.key)

    @rule(customers=st.integers(1, 10**4))
    def customers_are_forgotten(self, customers: int) -> None:
        self.ledger.erased(customers)

    @rule()
    def a_receipt_comes(self) -> None:
        self.ledger.witness(receipt_of(self.ledger), COORDINATOR.public)

    @invariant()
    def nothing_is_forgotten_and_nothing_made_up(self) -> None:
        exact = sum((rho for _, rho in self.spent), Fraction(0))
        assert exact <= self.ledger.lifetime_rho <= exact + Fraction(len(self.spent), 1 << 128)
        inside = sum((rho for at, rho in self.spent if at >= self.clock.at - 30 * DAY), Fraction(0))
        window = self.ledger.window_epsilon(30, DELTA, self.clock.at)
        assert self.ledger.would_spend(Fraction(0), DELTA) == self.ledger.epsilon(DELTA) >= window
        assert (window == 0) == (inside == 0)
        assert self.clock.at >= NOON


Life.TestCase.settings = settings(max_examples=15, stateful_step_count=25, deadline=None, derandomize=True)
TestLife = Life.TestCase
