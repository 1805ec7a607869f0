"""What a store has read so far, in one file that is replaced whole: rows, ids, consent, and up to when.

A customer's number is for ever: new ones are added at the end, and a forgotten one leaves an empty place. Whoever was
forgotten is known again by a keyed hash alone, so that reading the source once more does not bring them back; the key
lies in the same file and leaves the store no more than the rest.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcart.shared.errors import DataError, InputError
from fedcart.shared.storage import held_alone, load_arrays, named_failures, save_arrays

FILE = "read.npz"
KEY_BYTES = HASH_BYTES = 32
COLUMNS = {"customer": np.int32, "item": np.int32, "behaviour": np.uint8, "time": np.int64, "value": np.float32}
"""Of a row, with `basket`; their types."""
_NAMES = (*COLUMNS, "basket")


@dataclass(frozen=True, kw_only=True)
class Kept:
    """All that was read and not forgotten, by the store's own ids.

    Attributes:
      settings: hash of the settings it was read under; other settings read everything again.
      customers: id of each customer number; '' = forgotten.
      consent: bool [customers] whether they may be learned from.
      items, baskets: the store's own ids.
      rows: column -> [rows]; customer, item, basket are positions (basket -1 = none), behaviour as in tables.rows.CODES
        (cancellations are rows), time in seconds or NO_TIME.
      mark: latest time of a row, seconds, None where rows have no time: for the store's own screens and
        recommendations. It decides neither what is read nor what is contributed.
      read_at: clock of the last reading, seconds; None where the source has no times.
      forgotten: keyed hashes of the ids of forgotten customers; `key` is theirs.
      told: what the last reading saw, for people.
    """

    settings: str = ""
    customers: tuple[str, ...] = ()
    consent: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    items: tuple[str, ...] = ()
    baskets: tuple[str, ...] = ()
    rows: Mapping[str, npt.NDArray[Any]] = field(default_factory=lambda: no_rows())
    mark: int | None = None
    read_at: int | None = None
    forgotten: frozenset[bytes] = frozenset()
    key: bytes = field(default_factory=lambda: secrets.token_bytes(KEY_BYTES), repr=False)
    told: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows["customer"])

    @functools.cached_property
    def index(self) -> Mapping[str, int]:
        """Id -> customer number, of those who were not forgotten."""
        return {customer: number for number, customer in enumerate(self.customers) if customer}

    def was_forgotten(self, customer: str) -> bool:
        """Whether this id asked to be forgotten."""
        return self._hash(customer) in self.forgotten

    def without(self, customer: int) -> Kept:
        """The same, where this customer never was: no row, no id; the number stays taken."""
        left = self.rows["customer"] != customer
        ids = list(self.customers)
        gone, ids[customer] = ids[customer], ""
        consent = self.consent.copy()
        consent[customer] = False
        return replace(
            self,
            rows={name: column[left] for name, column in self.rows.items()},
            customers=tuple(ids),
            consent=consent,
            forgotten=self.forgotten | {self._hash(gone)},
        )

    def _hash(self, customer: str) -> bytes:
        return hmac.digest(self.key, customer.encode(), hashlib.sha256)


def no_rows() -> dict[str, npt.NDArray[Any]]:
    """Columns without a row."""
    return {**{name: np.zeros(0, kind) for name, kind in COLUMNS.items()}, "basket": np.zeros(0, np.int64)}


def load_kept(folder: Path) -> Kept | None:
    """What `folder` holds; None before the first reading. Raises InputError when the file is damaged."""
    path = folder / FILE
    if not path.exists():
        return None
    arrays = load_arrays(path)
    try:
        about = json.loads(arrays["about"].tobytes())
        rows = {name: arrays[name] for name in _NAMES}
        hashes = arrays["forgotten"].tobytes()
        kept = Kept(
            settings=about["settings"],
            customers=tuple(about["customers"]),
            consent=arrays["consent"],
            items=tuple(about["items"]),
            baskets=tuple(about["baskets"]),
            rows=rows,
            mark=about["mark"],
            read_at=about.get("read_at"),  # not in folders of before it was kept: they are read anew
            forgotten=frozenset(hashes[i : i + HASH_BYTES] for i in range(0, len(hashes), HASH_BYTES)),
            key=arrays["key"].tobytes(),
            told=about["told"],
        )
        whole = len(kept.consent) == len(kept.customers) and len({len(column) for column in rows.values()}) == 1
        if not whole or len(kept.key) != KEY_BYTES:
            raise ValueError("columns of different lengths")
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path}: not what a store has read ({type(error).__name__}); nothing was read", "put a copy of it back"
        ) from error
    return kept


def save_kept(folder: Path, kept: Kept) -> None:
    """Put it in the place of what was there, durably; only the owner can read it."""
    about = {f.name: getattr(kept, f.name) for f in fields(kept)}
    about = {name: about[name] for name in ("settings", "customers", "items", "baskets", "mark", "read_at", "told")}
    save_arrays(
        folder / FILE,
        {
            **kept.rows,
            "consent": kept.consent,
            "forgotten": np.frombuffer(b"".join(sorted(kept.forgotten)), np.uint8),
            "key": np.frombuffer(kept.key, np.uint8),
            "about": np.frombuffer(json.dumps(about, ensure_ascii=False).encode(), np.uint8),
        },
    )


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder against other processes that would change it; it is made where it is missing (mode 0700).

    Raises:
      DataError: another process reads or forgets right now.
    """
    with named_failures(folder, "create"):
        folder.mkdir(mode=0o700, exist_ok=True)
    busy = DataError(f"{folder} is in use by another command; nothing was read or changed", "try again")
    with held_alone(folder / ".lock", busy):
        yield
