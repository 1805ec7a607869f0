"""The public list of items: ids, their order, and public columns such as title, category, brand and price.

Public means fixed before anyone looks at interactions. A reader without a separate item list derives the
catalogue from the interactions and marks it `derived`; reports then say that epsilon does not cover it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from fedcart.shared.canonical import canonical_bytes, content_hash, decimal_string
from fedcart.shared.errors import DataError
from fedcart.shared.storage import named_failures, replace_bytes

Source = Literal["given", "derived"]

TEXT_COLUMNS = ("title", "category", "department", "brand", "vector")
"""Public text columns with a fixed meaning; several categories of one item are joined by '|', the numbers of its vector
(of a sentence embedding of its title, say, made elsewhere) by spaces."""
NUMBER_COLUMNS = ("price", "year")
"""Public number columns with a fixed meaning (price in the shop's currency); NaN = unknown."""


@dataclass(frozen=True)
class Catalogue:
    """An ordered, public list of items.

    Attributes:
      ids: [items] the items' public identifiers, unique, in catalogue order; an item's index is its position.
      source: `given` (an item list existed) or `derived` (from the interactions: not covered by epsilon).
      columns: name -> [items] array of str (dtype object) or float64; names from TEXT_COLUMNS and NUMBER_COLUMNS.
    """

    ids: tuple[str, ...]
    source: Source
    columns: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.ids:
            raise DataError("the catalogue has no items")
        if len(set(self.ids)) != len(self.ids):
            raise DataError("the catalogue lists an item twice")
        if self.source not in get_args(Source):
            raise DataError(f"the catalogue's source is {self.source!r}, not given or derived")
        for name, column in self.columns.items():
            if name not in TEXT_COLUMNS + NUMBER_COLUMNS:
                raise DataError(
                    f"the catalogue has no column {name!r}",
                    f"known: {', '.join(TEXT_COLUMNS + NUMBER_COLUMNS)}",
                )
            if column.shape != (len(self.ids),):
                raise DataError(f"catalogue column {name!r} has {column.shape} values for {len(self.ids)} items")

    def __len__(self) -> int:
        return len(self.ids)

    def text(self, name: str) -> npt.NDArray[Any] | None:
        """A text column [items] of str ('' = unknown), or None when the catalogue has none."""
        return self.columns.get(name)

    def number(self, name: str) -> npt.NDArray[np.float64] | None:
        """A number column [items] (NaN = unknown), or None when the catalogue has none."""
        return self.columns.get(name)

    @functools.cached_property
    def index(self) -> Mapping[str, int]:
        """Item id -> position."""
        return {item: position for position, item in enumerate(self.ids)}

    @functools.cached_property
    def hash(self) -> str:
        """SHA-256 over ids and public columns in catalogue order, 64 hex digits."""
        return content_hash(self.document())

    def document(self) -> dict[str, Any]:
        """The catalogue as canonical JSON can hold it; numbers are decimal strings, '' = unknown."""
        columns: dict[str, list[str]] = {}
        for name, column in self.columns.items():
            if name in NUMBER_COLUMNS:
                columns[name] = ["" if np.isnan(x) else decimal_string(float(x)) for x in column]
            else:
                columns[name] = [str(x) for x in column]
        return {"ids": list(self.ids), "source": self.source, "columns": columns}

    def save(self, path: Path) -> None:
        """Write the canonical bytes to `path`, durably."""
        replace_bytes(path, canonical_bytes(self.document()))

    @classmethod
    def load(cls, path: Path) -> Catalogue:
        """Read what `save` wrote. Raises DataError when it is not a catalogue."""
        with named_failures(path, "read"):
            raw = path.read_bytes()
        try:
            document = json.loads(raw)
            columns = {
                name: np.array([float(x) if x else np.nan for x in column], np.float64)
                if name in NUMBER_COLUMNS
                else np.array(column, object)
                for name, column in document["columns"].items()
            }
            return cls(tuple(document["ids"]), document["source"], columns)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: not a catalogue ({type(error).__name__})") from error
