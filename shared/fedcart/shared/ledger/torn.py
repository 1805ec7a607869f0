"""A torn last line: what a crash in the middle of an append leaves, and how it is kept.

Only the end of a file can be torn: what follows the last line feed, or a last line with NUL bytes in it (a page that
never reached the medium). Canonical JSON has no NUL byte, so no finished line is mistaken for a torn one.

The bytes move to NAME.torn-SEQ-HASH before they leave the ledger. So a crash in between leaves them in one of the two
places, and every such file that no later recovery line names is charged at the next opening.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from fedcart.shared.ledger.disk import Disk, put


@dataclass(frozen=True, slots=True)
class Tail:
    """A torn tail that was put aside.

    Attributes:
      seq: of the line that was being written.
      hash: SHA-256 of the bytes.
      size: how many bytes.
    """

    seq: int
    hash: str
    size: int


def split(raw: bytes) -> tuple[list[bytes], bytes]:
    """The finished lines, without line feeds, and the torn tail (empty when there is none)."""
    *lines, tail = raw.split(b"\n")
    if not tail and lines and b"\0" in lines[-1]:
        tail = lines.pop() + b"\n"
    return lines, tail


def keep(disk: Disk, path: Path, seq: int, tail: bytes) -> None:
    """Put a torn tail aside, durably, under its place and hash."""
    put(disk, path.with_name(f"{path.name}.torn-{seq}-{hashlib.sha256(tail).hexdigest()}"), tail)


def kept(path: Path) -> list[Tail]:
    """Every torn tail put aside beside the ledger at `path`, in order."""
    form = re.compile(re.escape(path.name) + r"\.torn-([0-9]{1,15})-([0-9a-f]{64})")
    found = [(match, file) for file in path.parent.iterdir() if (match := form.fullmatch(file.name))]
    return sorted(
        (Tail(int(match[1]), match[2], file.stat().st_size) for match, file in found),
        key=lambda tail: (tail.seq, tail.hash),
    )
