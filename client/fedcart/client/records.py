"""A store's customers on disk: histories written once, opened as memory maps, a slice a store.

One directory holds one store, or in simulation many: all customers one store after another, with the offsets.
Opening the ten-thousandth store costs a slice; the pages in memory are those that a round reads.
"""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedcart.client.local_table import MappedTable
from fedcart.shared.canonical import canonical_bytes
from fedcart.shared.errors import DataError
from fedcart.shared.interactions import Histories
from fedcart.shared.learners.base import Block, LocalTable
from fedcart.shared.storage import FileVersion, file_version, named_failures, replace_bytes

RECORDS = "records"
LOCAL = "local"
_ARRAYS = tuple(f.name for f in fields(Histories) if f.name != "items_total")
_ABOUT = "about.json"


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
    target, part = directory / RECORDS, directory / f".{RECORDS}.part"
    if target.exists() and _same(target, histories, offsets):
        return
    with named_failures(target, "write"):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for name in _ARRAYS:
            np.save(part / f"{name}.npy", getattr(histories, name), allow_pickle=False)
        np.save(part / "stores.npy", offsets, allow_pickle=False)
    replace_bytes(part / _ABOUT, canonical_bytes({"items_total": histories.items_total}))
    with named_failures(target, "write"):
        if target.exists():
            shutil.rmtree(target)
        part.rename(target)


def _same(records: Path, histories: Histories, offsets: npt.NDArray[np.int64]) -> bool:
    """Whether what is on disk is, bit for bit, what would be written."""
    if not (records / _ABOUT).exists():
        return False
    found, stores = _open(str(records), file_version(f"{records}/{_ABOUT}"))
    pairs = [(getattr(found, name), getattr(histories, name)) for name in _ARRAYS] + [(stores, offsets)]
    return found.items_total == histories.items_total and all(
        old.dtype == new.dtype and old.shape == new.shape and old.tobytes() == new.tobytes() for old, new in pairs
    )


@dataclass
class StoreRecords:
    """The customers of one store: the `Customers` that learners see.

    Attributes:
      histories: [store customers] training view.
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
        histories, offsets = _open(records, file_version(f"{records}/{_ABOUT}"))
        if not 0 <= store < len(offsets) - 1:
            raise DataError(f"{records}: store {store} of {len(offsets) - 1}; nothing was read")
        start, stop = int(offsets[store]), int(offsets[store + 1])
        table = MappedTable(f"{records}/{LOCAL}", start, stop, histories.customers, round_index)
        return cls(histories.slice(start, stop), table)

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
        arrays = {name: np.asarray(np.load(records / f"{name}.npy", mmap_mode="r")) for name in _ARRAYS}
        offsets = np.load(records / "stores.npy", allow_pickle=False)
    return Histories(about["items_total"], **arrays), offsets
