"""From the store's own item numbers to positions in the coalition's public list: as they are, by GTIN, by a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedcart.client.data.gtin import gtin14
from fedcart.client.data.tables import store_extra
from fedcart.client.settings import StoreSettings
from fedcart.client.store_folder import StoreFolder
from fedcart.shared.agreement import CATALOGUE
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import DataError

NOT_IN_MAP, NO_GTIN, NOT_LISTED = "not in the map", "no valid GTIN", "not in the catalogue"
"""Why an item of the store is not mapped."""


@dataclass(frozen=True)
class Mapped:
    """Where the store's items are in the catalogue.

    Attributes:
      position: int64 [own items], -1 = not mapped.
      reasons: why items are not mapped -> how many.
    """

    position: npt.NDArray[np.int64]
    reasons: Mapping[str, int]


def catalogue_of(folder: StoreFolder, settings: StoreSettings) -> Catalogue | None:
    """The public list that store.toml names, else catalogue.json in the folder; None while there is none."""
    named = settings.items.catalogue
    if named is None:
        beside = folder.directory / CATALOGUE
        return Catalogue.load(beside) if beside.exists() else None
    path = settings.beside(named)
    if path.suffix == ".json":
        return Catalogue.load(path)
    with store_extra():
        from fedcart.shared.tables.items import read_items
        from fedcart.shared.tables.options import TableOptions
    return read_items(path, TableOptions(encoding=settings.data.encoding))


def map_items(own: Sequence[str], catalogue: Catalogue, settings: StoreSettings) -> Mapped:
    """Look every own item up.

    Raises:
      DataError: the own table is no good, or the catalogue lists a GTIN twice.
    """
    items = settings.items
    table = None if items.map is None else _own_table(settings.beside(items.map), settings)
    index = _by_gtin(catalogue) if items.match == "gtin" else catalogue.index
    position, reasons = np.full(len(own), -1, np.int64), Counter[str]()
    for place, name in enumerate(own):
        wanted = name if table is None else table.get(name)
        if wanted is None:
            reasons[NOT_IN_MAP] += 1
            continue
        key = gtin14(wanted) if items.match == "gtin" else wanted
        if key is None:
            reasons[NO_GTIN] += 1
        elif key not in index:
            reasons[NOT_LISTED] += 1
        else:
            position[place] = index[key]
    return Mapped(position, dict(reasons))


def _own_table(path: Path, settings: StoreSettings) -> dict[str, str]:
    with store_extra():
        from fedcart.shared.tables.options import TableOptions
        from fedcart.shared.tables.pairs import read_map
    options = TableOptions(encoding=settings.data.encoding)
    return read_map(str(path), options, settings.items.map_own, settings.items.map_catalogue)


def _by_gtin(catalogue: Catalogue) -> dict[str, int]:
    """GTIN of 14 digits -> position; items of the list whose id is no GTIN cannot be matched."""
    found: dict[str, int] = {}
    for position, item in enumerate(catalogue.ids):
        key = gtin14(item)
        if key is None:
            continue
        if key in found:
            raise DataError(
                f"the catalogue lists GTIN {key} twice, at items {found[key] + 1} and {position + 1}; nothing was read"
            )
        found[key] = position
    if not found:
        raise DataError("no id in the catalogue is a GTIN, so none can be matched", 'match = "id" in store.toml')
    return found
