"""What every reader returns: cleaned interactions, the catalogue, and a count of what was dropped and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import Interactions


@dataclass(frozen=True)
class Reading:
    """What a reader saw: rows in the source, rows kept, rows dropped by rule (rule -> count)."""

    rows: int
    kept: int
    dropped: Mapping[str, int] = field(default_factory=dict)


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
    opted_out: npt.NDArray[np.bool_] | None = None
