"""What every reader returns: cleaned interactions, the catalogue, and a count of what was dropped and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import BEHAVIOURS, Interactions


@dataclass(frozen=True)
class Reading:
    """What a reader saw: rows in the source, rows kept, rows dropped by rule (rule -> count).

    `seen` counts what was met and dropped no row of its own (say, purchases reduced by a cancellation).
    """

    rows: int
    kept: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    seen: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class GivenSplit:
    """A split that comes with the data (the NCF files): held-out rows and candidate lists.

    Attributes:
      held_out: the test events; the data set's `interactions` do not contain them.
      candidates: int32 [customers, candidates], each row the test item first, then the published negatives;
        -1 pads a row whose published list has fewer distinct candidates.
    """

    held_out: Interactions
    candidates: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Dataset:
    """Cleaned data of a simulation: all shops' events in one table.

    Attributes:
      name: the name under which reports list it.
      interactions: events; `customer` is 0..customers - 1, `item` a position in the catalogue.
      customers: number of people (some may have no event left).
      catalogue: the public item list.
      store_names: names of the shops in `interactions.store`; empty when the source knows no shops.
      reading: what was read and dropped.
      given_split: where the source defines test data itself.
      opted_out: [customers] people who asked to be left out of learning; None when the source does not say.
      homes: int32 [customers], each one's home shop (`home_stores`), -1 = none; None where no shops are known.
      named: True for sets a rehearsal key may be used on (public data); False for a path or URL.
    """

    name: str
    interactions: Interactions
    customers: int
    catalogue: Catalogue
    store_names: tuple[str, ...]
    reading: Reading
    given_split: GivenSplit | None = None
    named: bool = True
    homes: npt.NDArray[np.int32] | None = None
    opted_out: npt.NDArray[np.bool_] | None = None


def home_stores(interactions: Interactions, customers: int) -> npt.NDArray[np.int32]:
    """[customers] the shop of each customer's first purchase (earliest time, then first row); -1 = none.

    This is the home shop a customer would declare (overlap `declared`). `interactions.store` stays the shop
    where the event happened.
    """
    homes = np.full(customers, -1, np.int32)
    bought = np.flatnonzero((interactions.behaviour == BEHAVIOURS.index("purchase")) & (interactions.store >= 0))
    late_to_early = bought[np.lexsort((bought, interactions.time[bought]))][::-1]
    homes[interactions.customer[late_to_early]] = interactions.store[late_to_early]  # the earliest is written last
    return homes
