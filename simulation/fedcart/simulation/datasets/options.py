"""How to read a table of the user's own: which column is what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROLES = ("customer", "item", "time", "behaviour", "value", "store", "basket")
"""What a column can be; `customer` and `item` are needed."""


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Column mapping and limits of `fedcart simulate --data PATH|URL`.

    Attributes:
      columns: role (of ROLES) -> name of the source column. A role left out is taken from a column of that
        very name when there is one.
      items: a CSV or Parquet file with the public catalogue (column `id`, and any of title, category,
        department, brand, price, year); None derives the catalogue from the interactions and marks it so.
      max_bad_rows: share of rows, 0..1, that may be dropped as bad before the table is refused.
      behaviour: what every row means when no column says so.
      behaviours: value in the behaviour column -> behaviour (of BEHAVIOURS); empty takes values as they are.
        `cancelled` instead of a behaviour marks rows that undo a purchase.
      query: the SQL to run when the source is a database URL.
      encoding: of CSV files.
      separator: of CSV files; None = ',' (tab for .tsv).
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    items: Path | None = None
    max_bad_rows: float = 0.01
    behaviour: str = "purchase"
    behaviours: Mapping[str, str] = field(default_factory=dict)
    query: str | None = None
    encoding: str = "utf-8"
    separator: str | None = None
