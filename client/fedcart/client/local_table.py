"""Per-customer rows that never leave the store: memory-mapped, two generations, a stamp a customer.

A row is written for the rounds after the one that writes it; until a round is over everywhere, a repeated try of
it reads what the first try read. So of two generations the newer one that an *earlier* round wrote is read, and
the other is overwritten. Files, shared by all stores of a directory, rows by customer:

    local/NAME.0.npy  local/NAME.1.npy    float32 [customers, width]
    local/NAME.stamps.npy                 int32 [customers, 2], round that wrote the row + 1; 0 = never
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcart.shared.errors import ProtocolError
from fedcart.shared.storage import named_failures

Float32Array = npt.NDArray[np.float32]
Generations = tuple[Float32Array, Float32Array]
_AFTER = int(np.iinfo(np.int32).max)
"""The round after every other."""


class MappedTable:
    """One store's rows of a directory's local tables, seen from one round."""

    def __init__(
        self,
        directory: str,
        start: int,
        stop: int,
        total: int,
        round_index: int | None,
        kept: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Rows start..stop - 1 of the directory's `total` customers, or of those the rows `kept` (0 = start).

        No round = after the last one, for reading.
        """
        self._directory = directory
        self._total = total
        self._places = np.arange(start, stop) if kept is None else start + kept
        self._round = _AFTER if round_index is None else round_index
        self._open: dict[str, tuple[npt.NDArray[np.int32], Generations]] = {}
        self._written: set[str] = set()

    @property
    def places(self) -> npt.NDArray[np.int64]:
        """Rows of the directory's customers that these are, ascending."""
        return self._places

    def forget(self) -> None:
        """Make as if no round had written: before the first round of a run, whatever an earlier run left."""
        if os.path.isdir(self._directory):
            for path in sorted(Path(self._directory).glob("*.stamps.npy")):
                stamps = _mapped(path)
                stamps[self._places] = 0
                _flush(stamps)

    def erase(self) -> None:
        """Zero these rows in every table, both generations, durably: what a customer who leaves takes along."""
        if os.path.isdir(self._directory):
            for path in sorted(Path(self._directory).glob("*.npy")):
                mapped = _mapped(path)
                mapped[self._places] = 0
                _flush(mapped)

    def read(self, name: str, rows: slice, width: int) -> Float32Array:
        """[rows, width] as written by the latest earlier round; zeros where no round has written yet."""
        found = self._table(name, width, create=False)
        places = self._rows(rows)
        if found is None:
            return np.zeros((len(places), width), np.float32)
        stamps, generations = found
        newest, known = self._newest(stamps[places])
        values = np.where((newest == 0)[:, None], generations[0][places], generations[1][places])
        values[~known] = 0
        return values

    def written(self, name: str, rows: slice, width: int) -> npt.NDArray[np.bool_]:
        """[rows] whether an earlier round has written the row."""
        found = self._table(name, width, create=False)
        places = self._rows(rows)
        if found is None:
            return np.zeros(len(places), np.bool_)
        return self._newest(found[0][places])[1]

    def write(self, name: str, rows: slice, values: Float32Array) -> None:
        """Set rows for the rounds after this one; what this round reads stays as it is."""
        places = self._rows(rows)
        if self._round == _AFTER:
            raise ProtocolError(f"local table {name!r}: no round is open; nothing was written")
        if values.ndim != 2 or len(values) != len(places):
            raise ProtocolError(f"local table {name!r}: {values.shape} for {len(places)} rows")
        found = self._table(name, values.shape[1], create=True)
        assert found is not None
        stamps, generations = found
        newest, known = self._newest(stamps[places])
        target = np.where(known, 1 - newest, 0)
        for generation in (0, 1):
            chosen = np.flatnonzero(target == generation)
            here = places[chosen]
            generations[generation][here] = values[chosen]
            stamps[here, generation] = self._round + 1
            other = stamps[here, 1 - generation]
            stamps[here, 1 - generation] = np.where(other > self._round, 0, other)
        self._written.add(name)

    def flush(self) -> None:
        """Wait until the rows written are on disk, values before stamps."""
        for name in sorted(self._written):
            stamps, generations = self._open[name]
            for mapped in (*generations, stamps):
                _flush(mapped)
        self._written.clear()

    def _newest(self, stamps: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
        """[rows] the generation to read, and whether it holds anything; stamps [rows, 2]."""
        usable = np.where(stamps <= self._round, stamps, 0)
        return usable.argmax(axis=1), usable.max(axis=1) > 0

    def _rows(self, rows: slice) -> npt.NDArray[np.int64]:
        """Store rows as rows of the files."""
        if rows.step not in (None, 1):
            raise ProtocolError("local tables are read and written in runs of rows")
        return self._places[rows]

    def _table(self, name: str, width: int, *, create: bool) -> tuple[npt.NDArray[np.int32], Generations] | None:
        if not name.replace(".", "_").isidentifier():
            raise ProtocolError(f"local table {name!r}: a name is letters, digits, '_' and '.'")
        if name not in self._open:
            paths = [Path(self._directory) / f"{name}.{part}.npy" for part in ("0", "1", "stamps")]
            if not create and not paths[2].exists():
                return None
            for path, columns, dtype in zip(paths, (width, width, 2), ("<f4", "<f4", "<i4"), strict=True):
                _create(path, (self._total, columns), dtype)
            values = (_mapped(paths[0]), _mapped(paths[1]))
            self._open[name] = (_mapped(paths[2]), values)
        stamps, generations = self._open[name]
        if generations[0].shape != (self._total, width):
            raise ProtocolError(f"local table {name!r} is {generations[0].shape[1]} wide, not {width}")
        return stamps, generations


def _create(path: Path, shape: tuple[int, int], dtype: str) -> None:
    """Make a file of zeros unless another process or thread was first; it appears whole or not at all."""
    if path.exists():
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    with named_failures(path, "create"):
        path.parent.mkdir(parents=True, exist_ok=True)
        np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
        finally:
            temporary.unlink()


def _mapped(path: Path) -> Any:
    return np.load(path, mmap_mode="r+")


def _flush(mapped: npt.NDArray[Any]) -> None:
    assert isinstance(mapped, np.memmap)
    mapped.flush()
