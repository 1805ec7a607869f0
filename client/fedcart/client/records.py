"""A store's customers on disk: histories written once, opened as memory maps, a slice a store.

One directory holds one store, or in simulation many: all customers one store after another, with the offsets.
Opening the ten-thousandth store costs a slice; the pages in memory are those that a round reads.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedcart.client.consent import consenting
from fedcart.client.local_table import MappedTable
from fedcart.shared.canonical import canonical_bytes
from fedcart.shared.errors import DataError
from fedcart.shared.interactions import Histories
from fedcart.shared.learners.base import Block, LocalTable
from fedcart.shared.storage import FileVersion, file_version, named_failures, replace_bytes, sync_directory

RECORDS = "records"
LOCAL = "local"
_OPTIONAL = ("parts", "visits")
"""Only there when known."""
_ARRAYS = tuple(f.name for f in fields(Histories) if f.name not in ("items_total", *_OPTIONAL))
_ABOUT = "about.json"
OLD = f".{RECORDS}.old"


def write_records(directory: Path, histories: Histories, store_offsets: npt.NDArray[np.int64]) -> None:
    """Write `directory`/records, whole or not at all.

    Records that say the same already are left alone, with the learners' tables beside them, so that a run can be
    prepared again and go on; other records are replaced, and their tables go.

    Args:
      directory: the run's (or the store's) directory.
      histories: all customers, one store's after another's.
      store_offsets: [stores + 1] first customer of each store, and the number of customers.
    """
    offsets = np.asarray(store_offsets, np.int64)
    if len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != histories.customers or (np.diff(offsets) < 0).any():
        raise DataError(f"store offsets do not divide {histories.customers} customers; nothing was written")
    target = directory / RECORDS
    if target.exists() and _same(target, histories, offsets):
        return
    part = _prepare(directory, histories, offsets)
    _put(directory, part)


def rewrite_records(directory: Path | str, histories: Histories, store_offsets: npt.NDArray[np.int64]) -> None:
    """Replace histories of the same customers and keep the learners' tables; whole or not at all."""
    directory = Path(directory)
    part = _prepare(directory, histories, store_offsets)
    with named_failures(directory / RECORDS, "write"):
        tables = sorted((directory / RECORDS / LOCAL).glob("*.npy"))
        if tables:
            (part / LOCAL).mkdir()
        for table in tables:
            os.link(table, part / LOCAL / table.name)
    _put(directory, part)


def open_records(directory: Path | str) -> tuple[Histories, npt.NDArray[np.int64]]:
    """All customers' histories, memory-mapped, and the stores' offsets, whoever consents."""
    records = f"{directory}/{RECORDS}"
    mend(Path(directory))
    return _open(records, file_version(f"{records}/{_ABOUT}"))


def _prepare(directory: Path, histories: Histories, offsets: npt.NDArray[np.int64]) -> Path:
    """The new records beside the old ones."""
    part = directory / f".{RECORDS}.part"
    with named_failures(directory / RECORDS, "write"):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for name in (*_ARRAYS, *_given(histories)):
            np.save(part / f"{name}.npy", getattr(histories, name), allow_pickle=False)
        np.save(part / "stores.npy", offsets, allow_pickle=False)
    replace_bytes(part / _ABOUT, canonical_bytes({"items_total": histories.items_total}))
    return part


def _given(histories: Histories) -> list[str]:
    return [name for name in _OPTIONAL if getattr(histories, name) is not None]


def _put(directory: Path, part: Path) -> None:
    """Two renames; a crash between them leaves the old records under another name, which `mend` undoes."""
    target, old = directory / RECORDS, directory / OLD
    with named_failures(target, "write"):
        mend(directory)
        if target.exists():
            target.rename(old)
        part.rename(target)
        sync_directory(directory)
        shutil.rmtree(old, ignore_errors=True)


def mend(directory: Path) -> None:
    """Finish or undo a replacement that a crash cut short."""
    target, old = directory / RECORDS, directory / OLD
    if old.exists():
        if target.exists():
            shutil.rmtree(old)
        else:
            old.rename(target)


def _same(records: Path, histories: Histories, offsets: npt.NDArray[np.int64]) -> bool:
    """Whether what is on disk is, bit for bit, what would be written."""
    if not (records / _ABOUT).exists():
        return False
    found, stores = _open(str(records), file_version(f"{records}/{_ABOUT}"))
    if _given(found) != _given(histories):
        return False
    names = (*_ARRAYS, *_given(histories))
    pairs = [(getattr(found, name), getattr(histories, name)) for name in names] + [(stores, offsets)]
    return found.items_total == histories.items_total and all(
        old.dtype == new.dtype and old.shape == new.shape and old.tobytes() == new.tobytes() for old, new in pairs
    )


@dataclass
class StoreRecords:
    """The consenting customers of one store: the `Customers` that learners see.

    Consent is read once, when the records are opened; nobody who opted out before then is in here, and everything
    is as if they had never been a customer.

    Attributes:
      histories: [consenting customers] training view.
      table: the store's local tables; `local` is the same, as learners see it.
    """

    histories: Histories
    table: MappedTable

    def __post_init__(self) -> None:
        self.local: LocalTable = self.table

    @classmethod
    def open(cls, directory: Path | str, store: int, round_index: int | None = None) -> StoreRecords:
        """Store number `store` of `directory`/records, as round `round_index` sees it; None = after the last round.

        Raises:
          DataError: no such records or store.
        """
        records = f"{directory}/{RECORDS}"
        histories, offsets = open_records(directory)
        if not 0 <= store < len(offsets) - 1:
            raise DataError(f"{records}: store {store} of {len(offsets) - 1}; nothing was read")
        start, stop = int(offsets[store]), int(offsets[store + 1])
        kept = consenting(directory, start, stop)
        table = MappedTable(f"{records}/{LOCAL}", start, stop, histories.customers, round_index, kept)
        own = histories.slice(start, stop)
        return cls(own if kept is None else own.take(kept), table)

    @property
    def count(self) -> int:
        """Number of customers; never leaves the store as a plain number."""
        return self.histories.customers

    def blocks(self, most_customers: int = 4096) -> Iterator[Block]:
        """All customers, in order, in blocks of at most `most_customers`."""
        for key, start in enumerate(range(0, self.count, most_customers)):
            stop = min(start + most_customers, self.count)
            yield Block(key, start, self.histories.slice(start, stop))


@functools.lru_cache(maxsize=4)
def _open(place: str, version: FileVersion) -> tuple[Histories, npt.NDArray[np.int64]]:
    records = Path(place)
    with named_failures(records, "read"):
        about = json.loads((records / _ABOUT).read_bytes())
        there = [name for name in _OPTIONAL if (records / f"{name}.npy").exists()]
        arrays = {name: np.asarray(np.load(records / f"{name}.npy", mmap_mode="r")) for name in (*_ARRAYS, *there)}
        offsets = np.load(records / "stores.npy", allow_pickle=False)
    return Histories(about["items_total"], **arrays), offsets
