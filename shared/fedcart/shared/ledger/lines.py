"""One line of a ledger: {v, seq, prev, time, kind, body, sig} in canonical bytes, hashed and signed.

prev = SHA-256 of the line before, its signature included, without the line feed; 64 zeros before the first line.
sig = Ed25519, domain "ledger", over the canonical bytes of the line without sig. So one signature binds every byte
before it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedcart.shared.canonical import canonical_bytes
from fedcart.shared.errors import ProtocolError
from fedcart.shared.identity import Identity, verify
from fedcart.shared.ledger.kinds import BODIES, HASH, SIG, VERSION, fault_in_body

DOMAIN = "ledger"
START = "0" * 64
MOST_BYTES = 1 << 20
"""Of one line: a receipt with the heads of 3,000 stores fits."""
YEAR_10000 = 253_402_300_800
"""Seconds since 1970; times lie before it."""
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
"""What `canonical_bytes` writes, for what a JSON parser that knows no floats has read; twice as quick."""
_FIELDS = {"v", "seq", "prev", "time", "kind", "body", "sig"}


class Fault(Exception):
    """A rule that a line breaks.

    Attributes:
      rule: one word of docs/ledger.md.
    """

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule, self.message = rule, message


@dataclass(frozen=True, slots=True)
class Line:
    """One well-formed line. `raw` is what stands in the file, without the line feed."""

    seq: int
    prev: str
    time: int
    kind: str
    body: Mapping[str, Any]
    sig: str
    raw: bytes

    @property
    def hash(self) -> str:
        """What the next line's prev must be, and a head."""
        return line_hash(self.raw)

    def check_signature(self, public: bytes) -> None:
        """Raise `Fault` unless the key signed this line."""
        try:
            verify(public, DOMAIN, _unsigned(self), bytes.fromhex(self.sig))
        except ProtocolError as error:
            raise Fault("signature", error.message.split(";")[0]) from error


def line_hash(raw: bytes) -> str:
    """SHA-256 of a line's bytes, 64 hex digits."""
    return hashlib.sha256(raw).hexdigest()


def make_line(identity: Identity, *, seq: int, prev: str, time: int, kind: str, body: Mapping[str, Any]) -> Line:
    """Write and sign a line."""
    fields = {"v": VERSION, "seq": seq, "prev": prev, "time": time, "kind": kind, "body": dict(body)}
    sig = identity.sign(DOMAIN, canonical_bytes(fields)).hex()
    return parse_line(canonical_bytes({**fields, "sig": sig}))


def parse_line(raw: bytes) -> Line:
    """Read one line, strictly.

    Raises:
      Fault: `canonical`, `fields`, `version`, `kind` or `body`.
    """
    if len(raw) > MOST_BYTES:
        raise Fault("canonical", f"a line of {len(raw)} bytes, over {MOST_BYTES}")
    try:
        found = json.loads(raw, parse_float=_refuse, parse_constant=_refuse)
        if _ENCODER.encode(found).encode() != raw:
            raise Fault("canonical", "not in canonical bytes")
    except (ValueError, RecursionError):
        raise Fault("canonical", "not canonical JSON") from None
    if not isinstance(found, dict) or set(found) != _FIELDS:
        raise Fault("fields", f"a line has the fields {', '.join(sorted(_FIELDS))} and no others")
    if type(found["v"]) is not int or found["v"] != VERSION:
        raise Fault("version", f"version {found['v']!r:.20} is not {VERSION}")
    kind, body = found["kind"], found["body"]
    if not isinstance(kind, str) or kind not in BODIES:
        raise Fault("kind", f"unknown kind {kind!r:.40}")
    if not all(type(found[name]) is int and 0 <= found[name] < YEAR_10000 for name in ("seq", "time")):
        raise Fault("fields", "seq and time are whole numbers from 0")
    if not HASH(found["prev"]) or not SIG(found["sig"]):
        raise Fault("fields", "prev has 64 and sig 128 hexadecimal digits")
    if wrong := fault_in_body(kind, body):
        raise Fault("body", wrong)
    return Line(found["seq"], found["prev"], found["time"], kind, body, found["sig"], raw)


def _refuse(text: str) -> None:
    raise ValueError(text)


def _unsigned(line: Line) -> bytes:
    fields = {"v": VERSION, "seq": line.seq, "prev": line.prev, "time": line.time, "kind": line.kind}
    return canonical_bytes({**fields, "body": line.body})
