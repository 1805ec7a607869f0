"""Reading published files: what is missing or wrong becomes one error that names it."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcart.shared.errors import DataError
from fedcart.shared.tables.failures import DAMAGED, reading

__all__ = ["DAMAGED", "find", "find_any", "read_integers", "read_lines", "reading"]


def find(folder: Path, *names: str) -> Path:
    """The first of `names` that exists in `folder`; DataError naming all when none does."""
    found = find_any(folder, *names)
    if found is not None:
        return found
    if not folder.is_dir():
        raise DataError(
            f"data set {folder.name!r} is not in {folder.parent}: there is no folder {folder}",
            _files_hint(folder.name),
        )
    raise DataError(f"{folder} has no file {' or '.join(names)}", _files_hint(folder.name))


def find_any(folder: Path, *names: str) -> Path | None:
    """The first of `names` that exists in `folder`, or None."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _files_hint(name: str) -> str:
    return f"`fedcart data describe {name}` lists its files and where they come from"


def read_integers(
    source: Path | IO[Any],
    columns: Mapping[str, int],
    *,
    separator: str = "\t",
    header: bool = False,
    path: Path | None = None,
) -> dict[str, npt.NDArray[np.int64]]:
    """Integer columns of a text file (gzip by suffix): name -> [rows] int64.

    Args:
      columns: name -> 0-based position in the line.
      path: names the file in errors when `source` is an open file.
    """
    named = path or (source if isinstance(source, Path) else Path("<open file>"))
    with reading(named):
        frame = pd.read_csv(
            source,
            sep=separator,
            header=0 if header else None,
            usecols=sorted(columns.values()),
            dtype=np.int64,
        )
    if frame.empty:
        raise DataError(f"{named}: no row was found", DAMAGED)
    order = sorted(columns, key=columns.__getitem__)
    return {name: frame.iloc[:, place].to_numpy() for place, name in enumerate(order)}


def read_lines(path: Path, encoding: str) -> list[str]:
    """All lines of a small text file (gzip by suffix), without empty ones."""
    opener: Callable[[Path, str], IO[bytes]] = gzip.open if path.suffix == ".gz" else open  # type: ignore[assignment]
    with reading(path), opener(path, "rb") as stream:
        text = stream.read().decode(encoding)
    return [line for line in text.splitlines() if line]
