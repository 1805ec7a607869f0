"""An outsider's reading of a ledger: no key, no state of ours; every finding names file, line and rule.

`verify` returns a `Verdict`; `Verdict.require()` raises. It needs no torch, flwr or opacus.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from fedcart.shared.errors import ProtocolError
from fedcart.shared.ledger import torn
from fedcart.shared.ledger.chain import Chain
from fedcart.shared.ledger.lines import Fault, Line, parse_line
from fedcart.shared.ledger.receipts import Receipt
from fedcart.shared.storage import named_failures

Word = Literal["ok", "anchored, unwitnessed", "consistent, unanchored", "not consistent"]

UNDETECTABLE = (
    "lines that the store rewrote or dropped after the last receipt that others hold",
    "noise that was charged but not added, or data that the store made up",
    "two stores that are one company, or a coordinator that is one with the only witness",
    "anything that left the store without this ledger",
)
"""What no reader of ledgers can find; printed beside every verdict."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """What the signed roster pins of a store; obtained out of band.

    Attributes:
      public: the store's Ed25519 public key at genesis, 32 bytes.
      genesis: hash of its ledger's first line, 64 hex digits.
      coordinator: public key of the only coordinator whose receipts count, 32 bytes.
    """

    public: bytes
    genesis: str
    coordinator: bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule.

    Attributes:
      line: from 1; 0 when it is the file as a whole.
      rule: one word of docs/ledger.md.
    """

    file: Path
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: line {self.line}: {self.rule}: {self.message}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a ledger shows.

    Attributes:
      word: `ok` = no finding, anchored, and every charge lies at or before a head that another party's receipt names;
        `anchored, unwitnessed` = no finding, anchored, some charge lies after the last such head;
        `consistent, unanchored` = no finding, no anchor given: it may be anybody's; `not consistent` = findings.
      findings: in order of lines.
      rehearsal: such a ledger is evidence of nothing, whatever the word.
      lines: how many finished lines.
      witnessed: lines up to and with the last head that an outside receipt names.
      lifetime_rho: of all charges and recoveries that broke no rule.
    """

    word: Word
    findings: tuple[Finding, ...]
    rehearsal: bool
    lines: int
    witnessed: int
    lifetime_rho: Fraction

    def require(self) -> None:
        """Raise ProtocolError, naming the first finding, when there is one."""
        if self.findings:
            more = f" (and {len(self.findings) - 1} more)" if len(self.findings) > 1 else ""
            raise ProtocolError(f"{self.findings[0]}{more}; the ledger is no evidence")


def verify(path: Path, *, anchor: Anchor | None = None, receipts: Iterable[Receipt] = ()) -> Verdict:
    """Check every rule of every line, then the whole against what others hold.

    Args:
      anchor: the store's entry in a roster whose fingerprint was compared out of band.
      receipts: the coordinator's receipts from *elsewhere*: other stores' ledgers, the transcript.

    Raises:
      InputError: the file cannot be read.
    """
    with named_failures(path, "read"):
        lines, tail = torn.split(path.read_bytes())
    reading = _Reading(path, anchor)
    for number, raw in enumerate(lines, 1):
        reading.take(number, raw)
    if not lines:
        reading.find(0, "genesis", "no finished line")
    if tail:
        reading.find(len(lines) + 1, "torn", f"{len(tail)} bytes of an unfinished line; the next opening charges them")
    for receipt in receipts:
        reading.compare(receipt)
    return reading.verdict(len(lines))


def receipts_of(path: Path) -> tuple[Receipt, ...]:
    """Every well-formed receipt line of a ledger, to be held against other ledgers; signatures are checked there."""
    found = []
    with named_failures(path, "read"):
        lines, _ = torn.split(path.read_bytes())
    for raw in lines:
        try:
            line = parse_line(raw)
        except Fault:
            continue
        if line.kind == "receipt":
            found.append(Receipt.parse(line.body))
    return tuple(found)


def coordinators_receipts(path: Path) -> tuple[Receipt, ...]:
    """Every well-formed line of a coordinator's receipts.jsonl; as `receipts_of`."""
    found = []
    with named_failures(path, "read"):
        raw = path.read_bytes()
    for text in raw.splitlines():
        try:
            found.append(Receipt.parse(json.loads(text)))
        except (ValueError, RecursionError, ProtocolError):
            continue
    return tuple(found)


class _Reading:
    """One pass over one file."""

    def __init__(self, path: Path, anchor: Anchor | None) -> None:
        self._path, self._anchor = path, anchor
        self._chain = Chain()
        self._findings: list[Finding] = []
        self._last_cost, self._witnessed = -1, -1

    def find(self, line: int, rule: str, message: str) -> None:
        self._findings.append(Finding(self._path, line, rule, message))

    def take(self, number: int, raw: bytes) -> None:
        try:
            line = parse_line(raw)
            self._chain.admit(line)
        except Fault as fault:
            self.find(number, fault.rule, fault.message)
            self._chain.pass_over(raw)
            return
        if line.kind in ("charge", "recovery"):
            self._last_cost = line.seq
        if self._anchor is not None:
            self._hold_against(number, line, self._anchor)

    def _hold_against(self, number: int, line: Line, anchor: Anchor) -> None:
        if line.kind == "genesis" and line.body["public"] != anchor.public.hex():
            self.find(number, "anchor", "its key is not the roster's")
        elif line.kind == "genesis" and line.hash != anchor.genesis:
            self.find(number, "anchor", "its first line is not the one that the roster pins")
        elif line.kind == "receipt" and line.body["coordinator"] != anchor.coordinator.hex():
            self.find(number, "anchor", "a receipt of another coordinator than the roster's")

    def compare(self, receipt: Receipt) -> None:
        """A store's own signature binds it, whoever carries it; only a coordinator's receipt witnesses for it."""
        own = [head for head in self._chain.own(receipt) if head.holds()]
        for head in own:
            if head.head not in self._chain.heads:
                self.find(
                    0, "witness", f"a receipt of round {receipt.round} holds a head of this store that is not here"
                )
        if self._anchor is not None and receipt.coordinator != self._anchor.coordinator.hex():
            return
        try:
            receipt.check()
        except ProtocolError:
            return
        self._witnessed = max([self._witnessed, *(self._chain.heads.get(head.head, -1) for head in own)])

    def verdict(self, lines: int) -> Verdict:
        word: Word = "ok"
        if self._findings:
            word = "not consistent"
        elif self._anchor is None:
            word = "consistent, unanchored"
        elif self._witnessed < max(0, self._last_cost):
            word = "anchored, unwitnessed"
        findings = tuple(sorted(self._findings, key=lambda found: found.line))
        rho = self._chain.spending.lifetime
        return Verdict(word, findings, self._chain.rehearsal, lines, self._witnessed + 1, rho)
