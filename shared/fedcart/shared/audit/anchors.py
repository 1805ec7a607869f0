"""What --roster-fingerprint pins: whose ledgers these are, and who may witness them.

fingerprint = SHA-256 of the canonical JSON of {"coordinator": its public key or null, "stores": {public key at
genesis: hash of the first line}}, all hexadecimal. A first line never changes, so a coalition can compute this number
when its ledgers are new, and tell it to an auditor by another way than the folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fedcart.shared.canonical import content_hash
from fedcart.shared.ledger import Receipt, torn
from fedcart.shared.ledger.lines import Fault, Line, parse_line
from fedcart.shared.ledger.verify import Anchor
from fedcart.shared.storage import named_failures

NOBODY = "0" * 64
"""In an anchor's place of the coordinator when no receipt names one: then no receipt counts."""


def first_line(path: Path) -> Line | None:
    """The genesis line of a ledger; None when its first line is none."""
    with named_failures(path, "read"):
        lines, _ = torn.split(path.read_bytes())
    try:
        line = parse_line(lines[0]) if lines else None
    except Fault:
        return None
    return line if line is not None and line.kind == "genesis" else None


def roster_fingerprint(stores: Mapping[str, str], coordinator: str | None) -> str:
    """64 hex digits.

    Args:
      stores: public key at genesis -> hash of the first line, both hex.
      coordinator: public key, hex; None when the ledgers hold no receipt.
    """
    return content_hash({"coordinator": coordinator, "stores": dict(stores)})


def fingerprints(geneses: Sequence[Line], receipts: Sequence[Receipt]) -> dict[str, str | None]:
    """Every fingerprint that these ledgers may have -> the coordinator it pins; more than one only where receipts
    name several coordinators, of which the right fingerprint singles out one."""
    stores = {line.body["public"]: line.hash for line in geneses}
    named: list[str | None] = [*sorted({receipt.coordinator for receipt in receipts})] or [None]
    return {roster_fingerprint(stores, coordinator): coordinator for coordinator in named}


def anchor_of(genesis: Line, coordinator: str | None) -> Anchor:
    """What `ledger.verify` holds a ledger against."""
    return Anchor(bytes.fromhex(genesis.body["public"]), genesis.hash, bytes.fromhex(coordinator or NOBODY))
