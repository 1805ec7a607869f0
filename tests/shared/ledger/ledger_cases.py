"""What the ledger's tests share: keys from the operating system, a clock that is told the time, one sound ledger."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

from fedcart.shared.identity import Identity
from fedcart.shared.ledger import Charged, Ledger, Receipt
from fedcart.shared.ledger.disk import Disk

PLAN, OTHER, CTX = "1" * 64, "2" * 64, "c" * 64
SENT = "5" * 64
DELTA = 1e-6
D, VARIANCE = 1 << 20, 3 << 41  # rho = 2^40 / (2 h 3 2^41) = 1/12 at h = 1
RHO = Fraction(1, 12)
NOON = 1_800_000_000


def new_key() -> Identity:
    with tempfile.TemporaryDirectory() as directory:
        return Identity.create(Path(directory) / "key")


STORE, PEER, COORDINATOR, STRANGER = (new_key() for _ in range(4))


class Clock:
    """Seconds since 1970 that a test sets."""

    def __init__(self, at: int = NOON) -> None:
        self.at = at

    def __call__(self) -> int:
        return self.at


def create(path: Path, **changes: Any) -> Ledger:
    """A fresh ledger with one plan."""
    identity = changes.pop("identity", STORE)
    settings = {"coalition": "books", "rehearsal": False, "clock": Clock()} | changes
    ledger = Ledger.create(path, identity, **settings)
    add_plan(ledger)
    return ledger


def add_plan(ledger: Ledger, digest: str = PLAN, dearest: Fraction = RHO) -> None:
    ledger.plan(digest, epsilon="4", delta=DELTA, dearest=dearest, attempts=2)


def reopen(path: Path, identity: Identity = STORE, *, disk: Disk | None = None, clock: Clock | None = None) -> Ledger:
    return Ledger.open(path, identity, disk=disk or Disk(), clock=clock or Clock())


def charge(ledger: Ledger, number: int = 0, **changes: Any) -> Charged:
    settings = {"plan": PLAN, "round": number, "attempt": 0, "release": "factors", "D": D, "variance": VARIANCE}
    return ledger.charge(**(settings | {"honest": 1, "delta": DELTA} | changes))


def send(ledger: Ledger, number: int, **changes: Any) -> Charged:
    """Charge, spend, record: after this a store sends."""
    token = charge(ledger, number, **changes)
    token.spend()
    ledger.release(token, SENT)
    return token


def receipt_of(*ledgers: Ledger, round: int = 0, coordinator: Identity = COORDINATOR) -> Receipt:
    heads = {head.public: head for head in (ledger.signed_head() for ledger in ledgers)}
    return Receipt.make(coordinator, round=round, ctx=CTX, heads=heads)
