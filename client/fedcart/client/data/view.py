"""What was read, seen through the coalition's item list: events and histories by customer number.

Rows of items that are not in the list stay in the folder and are not seen. Cancellations undo their purchase here.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedcart.client.data.kept import Kept, load_kept
from fedcart.client.data.mapping import Mapped, catalogue_of, map_items
from fedcart.client.data.tables import store_extra
from fedcart.client.store_folder import StoreFolder
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import DataError
from fedcart.shared.interactions import Histories, Interactions, build_histories


@dataclass(frozen=True, kw_only=True)
class View:
    """A store's data over one catalogue.

    Attributes:
      events: mapped events, less cancellations; `customer` is the customer number.
      cancelled: cancellations, purchases they undid, and the like -> how many.
      weights: weight of one event of each behaviour.
    """

    kept: Kept
    catalogue: Catalogue
    mapped: Mapped
    events: Interactions
    cancelled: Mapping[str, int]
    weights: tuple[float, ...]

    @property
    def customers(self) -> int:
        """Customer numbers given out, forgotten ones among them."""
        return len(self.kept.customers)

    @property
    def as_of(self) -> int | None:
        """What ages are relative to where no plan says it: the second after the latest event; None without times."""
        return None if self.kept.mark is None else self.kept.mark + 1

    @functools.cached_property
    def histories(self) -> Histories:
        """[customers] of everybody, whoever consents: for their own recommendations only."""
        return self.histories_as_of(self.as_of)

    def histories_as_of(self, as_of: int | None) -> Histories:
        """The same before a plan's time, with ages relative to it."""
        events = self.events if as_of is None else self.events.select(~self.events.timed | (self.events.time < as_of))
        return build_histories(events, self.customers, len(self.catalogue), as_of=as_of, behaviour_weights=self.weights)

    @functools.cached_property
    def learned_from(self) -> npt.NDArray[np.int64]:
        """Numbers of the customers that have a history here and may be learned from."""
        return np.flatnonzero(self.kept.consent & (self.histories.counts > 0))

    def number_of(self, customer: str) -> int | None:
        """A customer's number; None for an id that was never read, or was forgotten."""
        return self.kept.index.get(customer.strip())


def open_view(folder: StoreFolder, catalogue: Catalogue | None = None) -> View:
    """What the folder holds, over `catalogue`; None = the store's own choice, else the items that were read.

    Raises:
      DataError: nothing was read yet, or no item is in the catalogue.
    """
    kept = load_kept(folder.data)
    if kept is None:
        raise DataError(f"{folder.directory}: no data were read yet", f"fedcart store check {folder.directory}")
    return make_view(folder, kept, catalogue)


def make_view(folder: StoreFolder, kept: Kept, catalogue: Catalogue | None = None) -> View:
    """`kept` over a catalogue, as in `open_view`."""
    settings = folder.settings()
    listed = catalogue or catalogue_of(folder, settings)
    if not len(kept):
        raise DataError(f"{folder.directory}: not one row is left of what was read")
    with store_extra():
        from fedcart.shared.tables.cancellations import without_cancelled
        from fedcart.shared.tables.items import derived
        from fedcart.shared.tables.rows import CANCELLED, CODES
    if listed is None:
        listed = derived(kept.items)
        mapped = Mapped(np.arange(len(kept.items)) if listed.ids == kept.items else _places(kept, listed), {})
    else:
        mapped = map_items(kept.items, listed, settings)
    rows = kept.rows
    item = mapped.position[rows["item"]]
    seen = item >= 0
    if not seen.any():
        reasons = ", ".join(f"{count} {reason}" for reason, count in mapped.reasons.items())
        raise DataError(
            f"{folder.directory}: none of the store's {len(kept.items)} items is in the catalogue ({reasons})",
            "see [items] in store.toml: match, map, catalogue",
        )
    cancelled = rows["behaviour"][seen] == CODES[CANCELLED]
    events = Interactions.build(
        rows["customer"][seen],
        item[seen],
        behaviour=np.where(cancelled, 0, rows["behaviour"][seen]),
        time=rows["time"][seen],
        value=rows["value"][seen],
        basket=rows["basket"][seen],
    )
    events, counts, more = without_cancelled(events, cancelled, len(listed))
    return View(
        kept=kept,
        catalogue=listed,
        mapped=mapped,
        events=events,
        cancelled={**counts, **more},
        weights=settings.data.weights,
    )


def _places(kept: Kept, catalogue: Catalogue) -> npt.NDArray[np.int64]:
    return np.array([catalogue.index[item] for item in kept.items], np.int64)
