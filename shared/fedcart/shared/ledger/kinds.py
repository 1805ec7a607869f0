"""What a ledger line may say: each kind, its fields, and what may stand in each field.

Meanings never change. A kind or a field that is not here fails verification, so a later kind needs a new version.
Numbers are JSON integers below 2^53 or decimal strings; D and variance are strings, since many readers would round.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

VERSION = 1
EVENT = "discrete_gaussian"
BUCKETS = ("1-9", "10-99", "100-999", "1000+")

Check = Callable[[Any], bool]


def _text(pattern: str) -> Check:
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def _number(low: int) -> Check:
    return lambda value: type(value) is int and low <= value < 2**53


def _date(value: Any) -> bool:
    try:
        return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _heads(value: Any) -> bool:
    return isinstance(value, dict) and all(
        HASH(key) and isinstance(row, dict) and set(row) == {"head", "sig"} and HASH(row["head"]) and SIG(row["sig"])
        for key, row in value.items()
    )


def _boolean(value: Any) -> bool:
    return isinstance(value, bool)


HASH = _text(r"[0-9a-f]{64}")
SIG = _text(r"[0-9a-f]{128}")
NAME = _text(r"[^\x00-\x1f\x7f]{1,200}")
SLUG = _text(r"[a-z][a-z0-9_-]{0,63}")
POSITIVE = _text(r"[1-9][0-9]{0,99}")  # an integer >= 1
FRACTION = _text(r"0/1|[1-9][0-9]{0,219}/[1-9][0-9]{0,219}")
DECIMAL = _text(r"(0|[1-9][0-9]{0,399})(\.[0-9]{1,400})?")
COUNT, FROM_ONE = _number(0), _number(1)

BODIES: Mapping[str, Mapping[str, Check]] = {
    "genesis": {"coalition": NAME, "public": HASH, "rehearsal": _boolean},
    "policy": {"hash": HASH},
    "plan": {"hash": HASH, "epsilon": DECIMAL, "delta": DECIMAL, "dearest": FRACTION, "attempts": COUNT},
    "charge": {
        "plan": HASH,
        "round": COUNT,
        "attempt": COUNT,
        "release": NAME,
        "event": lambda value: value == EVENT,
        "D": POSITIVE,
        "variance": POSITIVE,
        "honest": FROM_ONE,
        "rho": FRACTION,
        "delta": DECIMAL,
        "epsilon_after": DECIMAL,
        "rehearsal": _boolean,
    },
    "release": {"charge": COUNT, "hash": HASH},
    "abort": {"plan": HASH, "round": COUNT, "attempt": COUNT, "reason": SLUG},
    "receipt": {"round": COUNT, "ctx": HASH, "heads": _heads, "coordinator": HASH, "sig": SIG},
    "recovery": {"hash": HASH, "bytes": FROM_ONE, "rho": FRACTION},
    "checkpoint": {"charges": COUNT, "rho": FRACTION},
    "erasure": {"customers": lambda value: value in BUCKETS, "date": _date},
    "rotation": {"public": HASH, "proof": SIG},
}


def fault_in_body(kind: str, body: Any) -> str | None:
    """What is wrong with a body: the first missing, unknown or misspelt field; None when nothing is."""
    fields = BODIES[kind]
    if not isinstance(body, dict):
        return "the body is no object"
    if missing := sorted(set(fields) - set(body)):
        return f"{kind} has no field {missing[0]!r}"
    if unknown := sorted(set(body) - set(fields)):
        return f"{kind} has an unknown field {unknown[0]!r}"
    for name, check in fields.items():
        if not check(body[name]):
            return f"{kind} has a field {name!r} that is not of its form"
    return None


def bucket(customers: int) -> str:
    """The bucket a count falls in: all that an erasure says of how many."""
    for top, name in zip((9, 99, 999), BUCKETS, strict=False):
        if customers <= top:
            return name
    return BUCKETS[-1]
