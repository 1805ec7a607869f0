"""What a store holds out of its customers before a learner sees a row, for the one round that measures.

One file beside the records: held_out.npz, customers in the records' order. Whoever opts out is taken out of it at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedcart.client.records import StoreRecords
from fedcart.shared.errors import DataError
from fedcart.shared.learners.base import Block, LocalTable
from fedcart.shared.storage import load_arrays, save_arrays

HELD_OUT = "held_out.npz"
Int64Array = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]


def write_held_out(directory: Path, indptr: Int64Array, items: Int32Array) -> None:
    """Write the new held-out items of all customers of the directory's records, CSR."""
    save_arrays(directory / HELD_OUT, {"indptr": indptr, "items": items})


def erase_held_out(directory: Path | str, customers: Collection[int]) -> None:
    """Take customers' held-out items away, durably; there may be no file."""
    path = Path(directory) / HELD_OUT
    if not path.exists():
        return
    indptr, items = _load(path)
    gone = np.zeros(len(indptr) - 1, np.bool_)
    gone[np.fromiter(customers, np.int64, len(customers))] = True
    counts = np.diff(indptr)
    kept = ~np.repeat(gone, counts)
    left = np.concatenate([[0], np.cumsum(np.where(gone, 0, counts))]).astype(np.int64)
    save_arrays(path, {"indptr": left, "items": items[kept]})


@dataclass
class MeasuredRecords:
    """The consenting customers of one store with what was held out of them; consent is that of the records."""

    records: StoreRecords
    indptr: Int64Array
    items: Int32Array

    def __post_init__(self) -> None:
        self.local: LocalTable = self.records.local

    @classmethod
    def open(cls, directory: Path | str, records: StoreRecords) -> MeasuredRecords:
        """Of the customers in `records`.

        Raises:
          DataError: nothing was held out here, or of other customers.
        """
        path = Path(directory) / HELD_OUT
        if not path.exists():
            raise DataError(f"{path}: nothing was held out at this store; nothing was measured")
        indptr, items = _load(path)
        places = records.table.places
        if len(places) != records.count or (len(places) and places[-1] >= len(indptr) - 1):
            raise DataError(f"{path}: held out of other customers than the records hold; nothing was measured")
        counts = np.diff(indptr)[places]
        own = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        taken = np.repeat(indptr[places] - own[:-1], counts) + np.arange(own[-1])
        return cls(records, own, items[taken])

    @property
    def count(self) -> int:
        """Number of customers."""
        return self.records.count

    def blocks(self, most_customers: int = 4096) -> Iterator[Block]:
        """All customers, in order."""
        return self.records.blocks(most_customers)

    def held_out(self, block: Block) -> tuple[Int64Array, Int32Array]:
        """indptr [block customers + 1] and items of the block's new held-out items."""
        bounds = self.indptr[block.start : block.start + block.histories.customers + 1]
        return bounds - bounds[0], self.items[bounds[0] : bounds[-1]]


def _load(path: Path) -> tuple[Int64Array, Int32Array]:
    found = load_arrays(path)
    if set(found) != {"indptr", "items"}:
        raise DataError(f"{path}: not a table of held-out items; nothing was measured")
    return found["indptr"].astype(np.int64), found["items"].astype(np.int32)
