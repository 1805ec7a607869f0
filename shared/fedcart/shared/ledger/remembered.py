"""What this process has verified of its ledgers, so that the next opening looks only at what was appended since.

The file is read and hashed whole all the same: bytes that are not the ones that were verified, and everything is
verified again. Nothing is remembered of a ledger that stopped, or that another process wrote the last line of.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedcart.shared.ledger.chain import Chain

MOST_LEDGERS = 4096
"""The least recently used is forgotten: a process has one ledger, a simulation as many as it has stores."""
Version = tuple[int, ...]


@dataclass(slots=True)
class Verified:
    """The lines that were admitted, and their bytes.

    Attributes:
      size: how many bytes.
      version: of the file when its lock was given back; None while it is open.
    """

    chain: Chain = field(default_factory=lambda: Chain(every_signature=False))
    size: int = 0
    version: Version | None = None
    _hash: Any = field(default_factory=hashlib.sha256, repr=False)

    def add(self, data: bytes) -> None:
        """The bytes of lines that the chain has admitted."""
        self._hash.update(data)
        self.size += len(data)

    def begins(self, raw: bytes) -> bool:
        """Whether `raw` begins with these very bytes."""
        return len(raw) >= self.size and hashlib.sha256(raw[: self.size]).digest() == self._hash.digest()


class Remembered:
    """By path. One holder at a time: what is recalled is forgotten here until it is kept again."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._kept: OrderedDict[Path, Verified] = OrderedDict()

    def recall(self, path: Path, raw: bytes) -> Verified:
        """What was verified of the file with these bytes; nothing when they begin otherwise."""
        with self._guard:
            found = self._kept.pop(path.absolute(), None)
        return found if found is not None and found.begins(raw) else Verified()

    def keep(self, path: Path, verified: Verified) -> None:
        """Until the next opening."""
        with self._guard:
            self._kept[path.absolute()] = verified
            while len(self._kept) > MOST_LEDGERS:
                self._kept.popitem(last=False)
