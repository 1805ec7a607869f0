"""Readers: from files as they are published to one cleaned table of interactions.

`load(name)` is the front; a name is a folder under the data directory, `marketplace`, or whatever another
package registers under the entry point group `fedcart.datasets`. Nothing here ever writes to a data set.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from fedcart.shared.errors import DataError, did_you_mean
from fedcart.shared.tables.options import TableOptions
from fedcart.simulation.datasets.about import BUILT_IN, About, about_marketplace
from fedcart.simulation.datasets.dataset import Dataset, GivenSplit, Reading
from fedcart.simulation.datasets.directory import data_dir

__all__ = [
    "NAMES",
    "Dataset",
    "GivenSplit",
    "Reading",
    "TableOptions",
    "data_dir",
    "describe",
    "load",
    "names",
]

NAMES: tuple[str, ...] = ("marketplace", *BUILT_IN)
"""The built-in names; `names()` adds what other packages register."""
ENTRY_POINTS = "fedcart.datasets"
Reader = Callable[[Path], Dataset]
"""What an entry point must be: the data set's folder (which may be absent) -> Dataset."""


def names() -> tuple[str, ...]:
    """Built-in names, then those of other packages."""
    return NAMES + tuple(name for name in _registered() if name not in NAMES)


def describe(name: str) -> About:
    """Title, source, licence, fields, cleaning and published counts of a data set, without reading it."""
    if name == "marketplace":
        return about_marketplace()
    if name in BUILT_IN:
        return BUILT_IN[name]
    if name in _registered():
        reader = _registered()[name].load()
        summary = (reader.__doc__ or name).strip().splitlines()[0]
        source = _registered()[name].value
        return About(title=summary, source=source, licence="stated by the package that brings it")
    raise DataError(f"there is no data set {name!r}", did_you_mean(name, names()))


def load(
    name_or_path: str,
    *,
    directory: Path | None = None,
    options: TableOptions | None = None,
    size: str = "default",
    seed: int = 0,
    events: str = "daily",
) -> Dataset:
    """Read a named set, the marketplace, or a table by column mapping.

    Args:
      name_or_path: a name of `names()`; else a CSV or Parquet file; else a database URL with `options.query`.
      directory: where the named sets lie; see `data_dir`.
      options: for a file or URL only: which column is what.
      size, seed, events: for the marketplace only.
    """
    name = str(name_or_path)
    if name == "marketplace":
        marketplace = importlib.import_module("fedcart.simulation.datasets.marketplace")
        made: Dataset = marketplace.make(size, seed, events)
        return made
    if name in BUILT_IN:
        reader: Reader = importlib.import_module(BUILT_IN[name].module).read
        return reader(data_dir(directory) / name)
    if name in _registered():
        other: Reader = _registered()[name].load()
        return other(data_dir(directory) / name)
    if not _looks_like_a_table(name):
        raise DataError(f"there is no data set and no file {name!r}", did_you_mean(name, names()))
    table = importlib.import_module("fedcart.simulation.datasets.table")
    read: Dataset = table.read(name, options or TableOptions())
    return read


def _looks_like_a_table(name: str) -> bool:
    path = Path(name)
    return "://" in name or path.exists() or path.suffix != "" or len(path.parts) > 1


def _registered() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}
