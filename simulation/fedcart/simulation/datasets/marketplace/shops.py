"""What the shops show: a shelf of facings for every shop, month and department.

Exposure is not taste: a shop gives an item more facings when it is generally loved, in season, on promotion that
month, or simply when this shop likes to push it. Views and purchases can only come from what was shown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedcart.simulation.datasets.marketplace import vocabulary as words
from fedcart.simulation.datasets.marketplace.goods import STORES, Floats, Goods, Ints

MONTHS = 12
PUSH = 0.24
"""How much shops differ in what they push, standard deviation of log facings."""
SHOWN_APPEAL = 0.62
FACINGS = 2048
"""Places of one department's shelf."""
MONTH_START = np.array([0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365])


@dataclass(frozen=True)
class Shelves:
    """What is shown where and when.

    Attributes:
      items: int32 [stores, months, departments, FACINGS], the item on each place; -1 = the place is empty.
      exposure: float32 [stores, months, items], log of the weight that gave the places; -inf = not on sale there.
      promoted: bool [stores, months, items], on offer.
      gift: int32 [stores, months, FACINGS], the shop's table of presents, from all departments.
    """

    items: Ints
    exposure: Floats
    promoted: npt.NDArray[np.bool_]
    gift: Ints


def month_of(day: npt.NDArray[np.integer]) -> npt.NDArray[np.intp]:
    """The month 0..11 of days 0..364."""
    return np.searchsorted(MONTH_START, day, side="right") - 1


def season(goods: Goods, month: int) -> Floats:
    """[items] log factor of demand in a month 0..11: the category's own high season."""
    peak = goods.categories.peak[goods.category]
    away = np.abs(month + 1 - peak)
    near = np.maximum(0, 3 - np.minimum(away, 12 - away))
    return np.where(peak > 0, 0.3 * near - 0.25, 0).astype(np.float32)


def make_shelves(rng: np.random.Generator, goods: Goods) -> Shelves:
    """Fill all shelves, month by month; an item is shown while on sale for at least ten days of the month."""
    items = len(goods)
    departments = len(words.DEPARTMENTS)
    push = rng.normal(0, PUSH, (STORES, items))
    gift = goods.categories.gift[goods.category]
    exposure = np.full((STORES, MONTHS, items), -np.inf, np.float32)
    promoted = rng.random((STORES, MONTHS, items)) < 0.25
    shelf = np.zeros((STORES, MONTHS, departments, FACINGS), np.int32)
    presents = np.zeros((STORES, MONTHS, FACINGS), np.int32)
    by_department = [np.flatnonzero(goods.department == d) for d in range(departments)]
    for month in range(MONTHS):
        begin, end = MONTH_START[month], MONTH_START[month + 1]
        alive = np.minimum(goods.death, end) - np.maximum(goods.birth, begin) >= 10
        for store in range(STORES):
            weight = SHOWN_APPEAL * goods.appeal + push[store] + season(goods, month) + 0.5 * promoted[store, month]
            on = goods.listed[store] & alive
            exposure[store, month, on] = weight[on]
            for d, rows in enumerate(by_department):
                shelf[store, month, d] = _places(rows, exposure[store, month, rows])
            tempting = exposure[store, month] + np.log(gift + 1e-3) * 1.5
            presents[store, month] = _places(np.arange(items), tempting)
    return Shelves(shelf, exposure, promoted, presents)


def _places(rows: npt.NDArray[np.intp], log_weight: Floats) -> Ints:
    """FACINGS places shared out in proportion to the weights; all empty (-1) where nothing is on sale."""
    if not np.isfinite(log_weight).any():
        return np.full(FACINGS, -1, np.int32)
    heap = np.cumsum(np.exp(log_weight.astype(np.float64) - log_weight.max()))
    at = np.searchsorted(heap, (np.arange(FACINGS) + 0.5) / FACINGS * heap[-1])
    return np.asarray(rows[np.minimum(at, len(rows) - 1)], np.int32)
