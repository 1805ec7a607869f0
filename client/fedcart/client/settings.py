"""store.toml: where a store's own data lie, what their columns mean, and how its items are found in the catalogue.

Nothing in it decides what may leave the store: that is policy.toml. Paths are relative to the file's own folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fedcart.shared.config import build, number, read_toml
from fedcart.shared.errors import ConfigError, did_you_mean
from fedcart.shared.interactions import BEHAVIOURS
from fedcart.shared.tables.options import ROLES

WEIGHTS: Mapping[str, float] = {"view": 0.05, "favourite": 0.3, "cart": 0.5, "purchase": 1.0, "rating": 1.0}
"""How much one event of each behaviour counts in a history, unless store.toml says otherwise."""
FROM_ENVIRONMENT = "env:"
"""A source that begins so names an environment variable, so that a password need not stand in a file."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """[data]: the table of interactions.

    Attributes:
      source: CSV or Parquet file, database URL, or env:NAME for a URL in the environment variable NAME.
      query: SQL of a database source. With `:since` in it the database is asked for new rows only.
      since: what `:since` is given as: text (2024-05-17 08:30:00, UTC) or whole seconds since 1970.
      columns: role -> column, of ROLES.
      store: the rows to take where the table is of several stores, by what its store column says.
      behaviour: what every row means when no column says so.
      behaviours: word in the behaviour column -> behaviour, or `cancelled`.
      behaviour_weights: behaviour -> weight of one event; 0 leaves it out.
      max_bad_rows: share of rows that may be dropped as bad before the table is refused.
      overlap_days: with `:since`, how long before the last reading rows are asked for again: as late as they may come.
      encoding, separator: of CSV files.
    """

    source: str
    query: str | None = None
    since: Literal["text", "seconds"] = "text"
    columns: Mapping[str, str] = field(default_factory=dict)
    store: str | None = None
    behaviour: str = "purchase"
    behaviours: Mapping[str, str] = field(default_factory=dict)
    behaviour_weights: Mapping[str, float] = field(default_factory=dict)
    max_bad_rows: float = number(0.01, at_least=0.0, at_most=1.0)
    overlap_days: int = number(2, at_least=0)
    encoding: str = "utf-8"
    separator: str | None = None

    def __post_init__(self) -> None:
        for name, weight in self.behaviour_weights.items():
            if name not in BEHAVIOURS:
                raise ConfigError(f"[data] behaviour_weights: unknown {name!r}", did_you_mean(name, BEHAVIOURS))
            if not 0 <= weight < float("inf"):
                raise ConfigError(f"[data] behaviour_weights: {name} = {weight} must be at least 0 and finite")
        for role in self.columns:
            if role not in ROLES:
                raise ConfigError(f"[data.columns]: unknown role {role!r}", did_you_mean(role, ROLES))

    @property
    def weights(self) -> tuple[float, ...]:
        """Weight of one event of each behaviour, in the order of BEHAVIOURS."""
        merged = {**WEIGHTS, **self.behaviour_weights}
        return tuple(merged[name] for name in BEHAVIOURS)


@dataclass(frozen=True, kw_only=True)
class ItemSettings:
    """[items]: the public item list, and how the store's item numbers are found in it.

    Attributes:
      catalogue: the coalition's catalogue.json, or a CSV or Parquet file with a column `id`; None = no list yet.
      match: `id` = as they are; `gtin` = both sides are GTINs (EAN, UPC) of 8, 12, 13 or 14 digits.
      map: own table of two columns, CSV or Parquet: the store's number, and the catalogue's.
      map_own, map_catalogue: its columns.
    """

    catalogue: Path | None = None
    match: Literal["id", "gtin"] = "id"
    map: Path | None = None
    map_own: str = "own"
    map_catalogue: str = "catalogue"


@dataclass(frozen=True, kw_only=True)
class ConsentSettings:
    """[consent]: a table of its own that says who may be learned from; it is read whole each time.

    Attributes:
      source: as in [data].
      query: SQL of a database source.
      customer: column of the customer's number. The column that answers is policy.toml's [data] consent_column.
    """

    source: str
    query: str | None = None
    customer: str = "customer"


@dataclass(frozen=True, kw_only=True)
class RecommendSettings:
    """[recommend]: what customers are shown.

    Attributes:
      repeats: of items that the customer bought: `rate` = as far as their category is bought again, `never`, `always`.
      assortment: a file with a column `id`, the store's own numbers of all that it sells; None = what was ever sold.
    """

    repeats: Literal["rate", "never", "always"] = "rate"
    assortment: Path | None = None


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """[serve]: what a list may be made from.

    Attributes:
      private_only: a customer's list is made from public files and their own rows alone, and no row of another customer
        moves it.
      store_cooccurrences: what the store's consenting customers have together counts beside the model; never with
        private_only.
    """

    private_only: bool = False
    store_cooccurrences: bool = True


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """A store's store.toml; `path` is the file."""

    data: DataSettings
    items: ItemSettings = field(default_factory=ItemSettings)
    consent: ConsentSettings | None = None
    recommend: RecommendSettings = field(default_factory=RecommendSettings)
    serve: ServeSettings = field(default_factory=ServeSettings)
    path: Path = Path("store.toml")

    def __post_init__(self) -> None:
        if not self.serve.private_only:
            return
        if self.recommend.repeats == "rate":
            raise ConfigError(
                f"{self.path}: [serve] private_only with [recommend] repeats = 'rate', which counts what other "
                "customers buy again; nothing was loaded",
                'set repeats = "never" or "always"',
            )
        if self.recommend.assortment is None:
            raise ConfigError(
                f"{self.path}: [serve] private_only without [recommend] assortment: what the store sells would be what "
                "its customers bought; nothing was loaded",
                "name a table of what you sell, with a column id",
            )

    @classmethod
    def load(cls, path: Path) -> StoreSettings:
        """Read store.toml.

        Raises:
          ConfigError: missing, not TOML, an unknown key or role, a number out of range.
        """
        tables = read_toml(path)
        if "path" in tables:
            raise ConfigError(f"{path}: unknown key 'path'")
        try:
            return build(cls, {**tables, "path": path}, f"{path}:")
        except ConfigError as error:
            if str(path) in error.message:
                raise
            raise ConfigError(f"{path}: {error.message}", error.hint) from None

    def place(self, source: str) -> str:
        """A source as it can be opened: a variable's content, a URL, or a path beside store.toml.

        Raises:
          ConfigError: the environment variable is not set.
        """
        if source.startswith(FROM_ENVIRONMENT):
            name = source.removeprefix(FROM_ENVIRONMENT)
            found = os.environ.get(name)
            if not found:
                raise ConfigError(f"{self.path}: the environment variable {name} is not set; nothing was read")
            return found
        return source if "://" in source else str(self.beside(Path(source)))

    def beside(self, path: Path) -> Path:
        """A path, relative to the folder of store.toml."""
        return self.path.parent / path
