"""What the audit's tests share: a folder of two stores' ledgers after three rounds, and the command as typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from fedcart.shared.ledger import Ledger
from shared.ledger.ledger_cases import COORDINATOR, PEER, Clock, create, receipt_of, send

ROOT = Path(__file__).parents[3]
SCHEMA = Draft202012Validator(json.loads((ROOT / "docs/schema/audit.schema.json").read_text()))
MINE, THEIRS = "store-1.jsonl", "store-2.jsonl"


@dataclass(frozen=True)
class Answer:
    """Exit code, standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Standard output, which keeps the schema."""
        found: dict[str, Any] = json.loads(self.out)
        SCHEMA.validate(found)
        assert next(iter(found)) == "rehearsal"
        return found

    @property
    def rules(self) -> set[str]:
        """Of all findings."""
        return {finding["rule"] for finding in self.document["findings"]}


Audit = Callable[..., Answer]


def two_stores(folder: Path, *, rehearsal: bool = False, honest: int = 1, rounds: int = 3) -> None:
    """Every round is charged, sent and witnessed at both."""
    clock = Clock()
    folder.mkdir(parents=True, exist_ok=True)
    with (
        create(folder / MINE, clock=clock, rehearsal=rehearsal) as ours,
        create(folder / THEIRS, clock=clock, rehearsal=rehearsal, identity=PEER) as peer,
    ):
        for number in range(rounds):
            clock.at += 60
            send_both(ours, peer, number, honest)
        ours.checkpoint()


def send_both(ours: Ledger, peer: Ledger, number: int, honest: int = 1) -> None:
    for ledger in (ours, peer):
        send(ledger, number, honest=honest)
    receipt = receipt_of(ours, peer, round=number)
    for ledger in (ours, peer):
        ledger.witness(receipt, COORDINATOR.public)
