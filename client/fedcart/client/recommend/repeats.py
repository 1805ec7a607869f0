"""How often items of a category are bought again at this store, and what that allows in a list.

Of the places that a category takes in a list, bought items get at most the share that repeats have among the category's
purchases. Rates are of consenting customers only, and of the whole store where a category has few purchases.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from fedcart.client.data.view import View
from fedcart.shared.interactions import BEHAVIOURS, DAY, NO_TIME

Repeats = Literal["rate", "never", "always"]
FEWEST_PURCHASES = 50
"""Below this many purchases of a category its rate is the store's."""


@dataclass(frozen=True)
class RepeatRates:
    """Share of purchases that buy an item again.

    Attributes:
      overall: of the store.
      categories: category -> its own.
    """

    overall: float
    categories: Mapping[str, float] = field(default_factory=dict)

    def of(self, category: str) -> float:
        """The category's rate, else the store's."""
        return self.categories.get(category, self.overall)


def categories_of(view: View) -> npt.NDArray[np.object_]:
    """[items] the first category of each; '' = unknown."""
    column = view.catalogue.text("category")
    if column is None:
        return np.full(len(view.catalogue), "", object)
    return np.array([str(text).split("|")[0] for text in column], object)


def repeat_rates(view: View) -> RepeatRates:
    """A visit is a basket, else a day; without either nothing is a repeat. Several of an item in a visit are one."""
    events = view.events
    consenting = np.zeros(view.customers, np.bool_)
    consenting[view.learned_from] = True
    bought = (events.behaviour == BEHAVIOURS.index("purchase")) & consenting[events.customer]
    rows = events.select(bought & ((events.basket >= 0) | (events.time != NO_TIME)))
    if not len(rows):
        return RepeatRates(0.0)
    visit = np.where(rows.basket >= 0, rows.basket, -2 - rows.time // DAY)
    visits = np.unique(np.stack([rows.customer.astype(np.int64), rows.item.astype(np.int64), visit], axis=1), axis=0)
    first = np.append(True, (visits[1:, :2] != visits[:-1, :2]).any(axis=1))
    again, item = ~first, visits[:, 1]
    names, number = np.unique(categories_of(view).astype(str), return_inverse=True)
    total = np.bincount(number[item], minlength=len(names))
    repeated = np.bincount(number[item], weights=again, minlength=len(names))
    own = {
        str(name): float(repeated[place] / total[place])
        for place, name in enumerate(names)
        if total[place] >= FEWEST_PURCHASES
    }
    return RepeatRates(float(again.mean()), own)


def choose(
    ranked: Iterable[int],
    bought: npt.NDArray[np.bool_],
    categories: npt.NDArray[np.object_],
    rates: RepeatRates,
    repeats: Repeats,
    k: int,
) -> list[int]:
    """The first k of `ranked` (best first) that `repeats` allows.

    Args:
      bought: [items] by this customer.
    """
    chosen: list[int] = []
    places: dict[str, int] = {}
    again: dict[str, int] = {}
    for item in ranked:
        if len(chosen) == k:
            break
        category = str(categories[item])
        if bought[item] and repeats != "always":
            allowed = round(rates.of(category) * (places.get(category, 0) + 1))
            if repeats == "never" or again.get(category, 0) >= allowed:
                continue
        again[category] = again.get(category, 0) + int(bought[item])
        places[category] = places.get(category, 0) + 1
        chosen.append(item)
    return chosen
