"""All ledgers of a folder, each verified by itself and against the receipts of the others; and what only shows
beside them: a marker of a store that stopped, one key twice, or another roster than the one that was told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcart.shared.audit.anchors import anchor_of, fingerprints, first_line
from fedcart.shared.audit.folder import RECEIPTS, STOPPED, Folder, find_ledgers
from fedcart.shared.canonical import canonical_bytes
from fedcart.shared.errors import ConfigError, ProtocolError
from fedcart.shared.ledger.kinds import HASH
from fedcart.shared.ledger.lines import Line
from fedcart.shared.ledger.receipts import Receipt
from fedcart.shared.ledger.verify import (
    UNDETECTABLE,
    Finding,
    Verdict,
    coordinators_receipts,
    receipts_of,
    verify,
)
from fedcart.shared.storage import named_failures

DAMAGED = "damaged"
"""How an auditor is told `not consistent`."""
SCHEMA = 1
MOST_REASON = 200
"""Bytes of a marker that are shown."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """One ledger.

    Attributes:
      genesis: its first line, None when that is no genesis.
    """

    path: Path
    genesis: Line | None
    verdict: Verdict

    @property
    def word(self) -> str:
        """ok, anchored, unwitnessed, consistent, unanchored, or damaged."""
        return DAMAGED if self.verdict.findings else self.verdict.word

    @property
    def only_torn(self) -> bool:
        """Whether nothing worse than an unfinished last line was found: what it holds can still be added up."""
        return all(finding.rule == "torn" for finding in self.verdict.findings)


@dataclass(frozen=True, slots=True)
class Inspection:
    """A folder.

    Attributes:
      aside: findings about the folder as a whole.
      fingerprints: what --roster-fingerprint may be for these ledgers.
      anchored: whether one was given, and is among them.
    """

    folder: Folder
    ledgers: tuple[Inspected, ...]
    aside: tuple[Finding, ...]
    fingerprints: tuple[str, ...]
    anchored: bool

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of them: the folder's first."""
        return self.aside + tuple(finding for one in self.ledgers for finding in one.verdict.findings)

    @property
    def rehearsals(self) -> int:
        """How many ledgers say that their noise came from a seed."""
        return sum(one.verdict.rehearsal for one in self.ledgers)

    def require(self) -> None:
        """Raise ProtocolError when there is a finding, after everything was shown."""
        refuse(self.findings, "these ledgers are no evidence")

    def document(self) -> dict[str, Any]:
        """For --json."""
        return {
            "rehearsal": self.rehearsals > 0,
            "schema": SCHEMA,
            "command": "audit verify",
            "directory": str(self.folder.directory),
            "anchored": self.anchored,
            "fingerprints": list(self.fingerprints),
            "ledgers": [
                {
                    "ledger": one.path.name,
                    "rehearsal": one.verdict.rehearsal,
                    "verdict": one.word,
                    "lines": one.verdict.lines,
                    "witnessed": one.verdict.witnessed,
                }
                for one in self.ledgers
            ],
            "findings": [finding_document(finding) for finding in self.findings],
            "stopped": [path.name for path in self.folder.stopped],
            "foreign": list(self.folder.foreign),
            "undetectable": list(UNDETECTABLE),
        }


def refuse(findings: tuple[Finding, ...], so: str) -> None:
    """Raise ProtocolError, naming the first finding, when there is one."""
    if findings:
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        raise ProtocolError(f"{findings[0]}{more}; {so}", "docs/audit.md says what each rule means")


def finding_document(finding: Finding) -> dict[str, Any]:
    """File, line, rule and message of a finding; line 0 is the file or folder as a whole."""
    return {"file": finding.file.name, "line": finding.line, "rule": finding.rule, "message": finding.message}


def inspect(directory: Path, fingerprint: str | None = None) -> Inspection:
    """Verify every ledger of a folder.

    Args:
      fingerprint: of the roster (`anchors`), obtained out of band; without it no ledger is more than consistent.

    Raises:
      InputError: no such directory, no ledgers, or one cannot be read.
      ConfigError: the fingerprint has another form.
    """
    if fingerprint is not None and not HASH(fingerprint):
        raise ConfigError(f"--roster-fingerprint {fingerprint!r:.80}: 64 lower-case hex digits are needed")
    folder = find_ledgers(directory)
    geneses = {path: first_line(path) for path in folder.ledgers}
    receipts = _receipts(folder)
    begun = [line for line in geneses.values() if line is not None]
    known = fingerprints(begun, [receipt for receipt, _ in receipts])
    aside = (*_stopped(folder), *_twice(geneses))
    anchored = fingerprint in known
    if fingerprint is not None and not anchored:
        message = "a key, a first line, the coordinator, or the number of ledgers is not the roster's"
        aside = (*aside, Finding(folder.directory, 0, "anchor", message))
    ledgers = []
    for path, genesis in geneses.items():
        elsewhere = [x for x, places in receipts if any(_other(geneses, path, place) for place in places)]
        anchor = anchor_of(genesis, known[fingerprint]) if genesis and fingerprint in known else None
        ledgers.append(Inspected(path, genesis, verify(path, anchor=anchor, receipts=elsewhere)))
    return Inspection(folder, tuple(ledgers), aside, tuple(known) if begun else (), anchored)


def _receipts(folder: Folder) -> list[tuple[Receipt, tuple[Path, ...]]]:
    """Each receipt once, with the ledgers that hold it, or the coordinator's own file."""
    held: dict[bytes, tuple[Receipt, list[Path]]] = {}
    sources = {path: receipts_of(path) for path in folder.ledgers}
    kept = folder.directory / RECEIPTS
    if kept.is_file():
        sources[kept] = coordinators_receipts(kept)
    for path, receipts in sources.items():
        for receipt in receipts:
            held.setdefault(canonical_bytes(receipt.body()), (receipt, []))[1].append(path)
    return [(receipt, tuple(paths)) for receipt, paths in held.values()]


def _other(geneses: dict[Path, Line | None], mine: Path, other: Path) -> bool:
    """Whether the receipts in `other` come from another key than that of `mine`: a copy witnesses for nobody."""
    a, b = geneses[mine], geneses.get(other)
    return mine != other and (a is None or b is None or a.body["public"] != b.body["public"])


def _stopped(folder: Folder) -> Iterator[Finding]:
    """Each marker, with the first of the store's words: the ledger beside it may lack what was spent."""
    for path in folder.stopped:
        with named_failures(path, "read"), path.open("rb") as file:
            reason = file.read(MOST_REASON).decode(errors="replace").strip()
        ledger = path.with_name(path.name.removesuffix(STOPPED))
        yield Finding(ledger, 0, "stopped", f"this store found its own ledger unusable, and wrote {reason!r}")


def _twice(geneses: dict[Path, Line | None]) -> tuple[Finding, ...]:
    first: dict[str, Path] = {}
    found = []
    for path, line in geneses.items():
        if line is not None and first.setdefault(line.body["public"], path) is not path:
            found.append(Finding(path, 1, "key", f"the key of {first[line.body['public']].name} began this one too"))
    return tuple(found)
