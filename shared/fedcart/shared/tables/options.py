"""How to read a table of the user's own: which column is what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

ROLES = ("customer", "item", "time", "behaviour", "value", "store", "basket")
"""What a column can be; `customer` and `item` are needed."""


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Column mapping and limits of a table: of `fedcart simulate --data PATH|URL`, and of a store's own.

    Attributes:
      columns: role (of ROLES) -> name of the source column. A role left out is taken from a column of that
        very name when there is one.
      items: a CSV or Parquet file with the public catalogue (column `id`, and any of title, category,
        department, brand, price, year); None derives the catalogue from the interactions and marks it so.
      max_bad_rows: share of rows, 0..1, that may be dropped as bad before the table is refused.
      behaviour: what every row means when no column says so.
      behaviours: value in the behaviour column -> behaviour (of BEHAVIOURS); empty takes values as they are.
        `cancelled` instead of a behaviour marks rows that undo a purchase.
      query: the SQL to run when the source is a database URL. `:since` in it stands for a time before which no row is
        needed (a day earlier than `since`, whatever the zone of the database).
      since: seconds since 1970; rows with an earlier time are passed over, neither kept nor bad. None = all rows.
      since_as: what `:since` is given as: text, 2024-05-17 08:30:00, or whole seconds since 1970.
      consent: column that says whether the row's customer may be learned from; None = the table does not say.
      encoding: of CSV files.
      separator: of CSV files; None = ',' (tab for .tsv).
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    items: Path | None = None
    max_bad_rows: float = 0.01
    behaviour: str = "purchase"
    behaviours: Mapping[str, str] = field(default_factory=dict)
    query: str | None = None
    since: int | None = None
    since_as: Literal["text", "seconds"] = "text"
    consent: str | None = None
    encoding: str = "utf-8"
    separator: str | None = None
