"""From what visits showed to the table of events: views, favourites, carts, purchases and returns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fedcart.shared.interactions import BEHAVIOURS, DAY, Interactions, concatenate
from fedcart.simulation.datasets.dataset import Dataset, Reading
from fedcart.simulation.datasets.marketplace import vocabulary as words
from fedcart.simulation.datasets.marketplace.visits import Shown, Visits, look_around, plan_visits, shop
from fedcart.simulation.datasets.marketplace.world import World

START = 1_735_689_600
"""2025-01-01 00:00 UTC, day 0."""
VIEWS_A_LOOK = 4.2
"""Mean page views of one item that is looked at, on one day. An assumption: no data set at hand has views."""
LOOKS = 0.5
"""Share of shown items that are looked at. An assumption."""
RETURNED = 0.01
CARTED, CART_KEPT = 0.30, 0.55
SAVED, SAVED_KEPT = 0.14, 0.385
EVENTS = ("daily", "full")
"""How views are told: one row a person, item and day, or one row a page view."""
LOOKING = 199
"""Seconds from the first to the last page view of an item on one day, at most; a basket is paid later than that."""


def make_events(world: World, events: str = "daily") -> Dataset:
    """The data set of one world; `events` is one of EVENTS."""
    rng = world.rng("visits")
    buying = plan_visits(rng, world, world.people.baskets, buying=True)
    bought = _distinct_purchases(shop(rng, world, buying))
    looking = plan_visits(rng, world, world.people.browse, buying=False)
    looked = look_around(rng, world, looking)
    purchase = _purchases(rng, world, buying, bought)
    returned = rng.random(len(purchase)) < RETURNED
    views = _once_a_day(
        concatenate([_views(rng, world, buying, bought), _views(rng, world, looking, looked)]), len(world.goods)
    )
    others = [*_intents(rng, buying, bought, looking, looked), purchase.select(~returned)]
    if events == "full":
        views = page_views(world.rng("page views"), views)
    rows = concatenate([views, *others])
    rows = rows.select(np.lexsort((rows.item, rows.behaviour, rows.customer, rows.time)))
    lost = int(returned.sum())
    return Dataset(
        name="marketplace",
        interactions=rows,
        customers=len(world.people),
        catalogue=world.catalogue,
        store_names=words.SHOPS,
        reading=Reading(len(rows) + 2 * lost, len(rows), {"returned": lost, "return": lost}),
        opted_out=world.people.opted_out,
    )


def _distinct_purchases(shown: Shown) -> Shown:
    """An item bought on a page and again on a strip of the same visit counts once."""
    rows = np.flatnonzero(shown.bought)
    key = shown.visit[rows].astype(np.int64) << 32 | shown.item[rows]
    bought = np.zeros(len(shown.bought), bool)
    bought[rows[np.unique(key, return_index=True)[1]]] = True
    return Shown(shown.visit, shown.item, shown.eager, bought, shown.strip)


def _at(visits: Visits, visit: npt.NDArray[np.int32], seconds: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Times `seconds` after the start of the visits, within the visit's day."""
    end = (visits.day[visit] + np.int64(1)) * 86_400 - 1
    return np.asarray(START + np.minimum(visits.second[visit] + seconds, end), np.int64)


def _purchases(rng: np.random.Generator, world: World, visits: Visits, shown: Shown) -> Interactions:
    rows = np.flatnonzero(shown.bought)
    visit, item = shown.visit[rows], shown.item[rows]
    person = visits.person[visit]
    cheap = np.where(world.goods.price[item] < 3, 0.8, 0.25)
    count = 1 + rng.poisson(cheap) + np.where(world.people.bulk[person], rng.poisson(11, len(rows)), 0)
    return Interactions.build(
        person,
        item,
        behaviour="purchase",
        time=_at(visits, visit, np.full(len(rows), 1_200)),
        value=count,
        basket=visit,
        store=visits.store[visit],
    )


def _views(rng: np.random.Generator, world: World, visits: Visits, shown: Shown) -> Interactions:
    """One row a person, item and day; value = number of page views. What was bought was looked at."""
    tempted = np.float32(LOOKS) * (1 + np.float32(0.25) * np.clip(shown.eager - 1, -2, 3))
    looked = shown.bought | (rng.random(len(shown.item), dtype=np.float32) < tempted)
    visit, item = shown.visit[looked], shown.item[looked]
    day_key = visits.person[visit].astype(np.int64) * 366 + visits.day[visit]
    pair, first, where = np.unique(day_key * len(world.goods) + item, return_index=True, return_inverse=True)
    views = np.bincount(where, rng.geometric(1 / VIEWS_A_LOOK, len(item)))
    visit = visit[first]
    return Interactions.build(
        visits.person[visit],
        item[first],
        behaviour="view",
        time=_at(visits, visit, rng.integers(0, 1_000, len(pair))),
        value=views,
        store=visits.store[visit],
    )


def _once_a_day(views: Interactions, items: int) -> Interactions:
    """Views of one person, item and day in several visits become one row: the first, with the number of all."""
    day = (views.time - START) // DAY
    key = (views.customer.astype(np.int64) * 366 + day) * items + views.item
    order = np.argsort(key, kind="stable")
    start = np.flatnonzero(np.diff(key[order], prepend=-1))
    merged = views.select(order[start])
    return replace(merged, value=np.add.reduceat(views.value[order], start))


def page_views(rng: np.random.Generator, views: Interactions) -> Interactions:
    """Each row of n page views as n rows of one: distinct, increasing seconds from its own time on, within its day.

    They lie within LOOKING seconds, or at one a second where that is too short; near midnight they begin earlier.
    """
    count = views.value.astype(np.int64)  # [views]
    row = np.repeat(np.arange(len(views)), count)  # [page views]
    stop = np.cumsum(count)
    first, last = stop - count, stop - 1
    step = 1 + np.floor(rng.random(len(row)) * np.maximum(1, LOOKING // count)[row]).astype(np.int64)
    after = np.cumsum(step)
    after -= after[first][row]
    day_ends = (views.time // DAY + 1) * DAY - 1
    begin = np.minimum(views.time, day_ends - after[last])
    return replace(views.select(row), time=begin[row] + after, value=np.ones(len(row), np.float32))


def _intents(
    rng: np.random.Generator, buying: Visits, bought: Shown, looking: Visits, looked: Shown
) -> list[Interactions]:
    """Carts and favourites: some before their purchase, the others among the most tempting items left behind."""
    rows = np.flatnonzero(bought.bought)
    left = np.flatnonzero(looked.eager > np.partition(looked.eager, -len(looked.eager) // 4)[-len(looked.eager) // 4])
    left = left[looked.strip[left] == 0]
    tables = []
    for name, share, kept in (("favourite", SAVED, SAVED_KEPT), ("cart", CARTED, CART_KEPT)):
        yes = rows[rng.random(len(rows)) < share]
        no = rng.choice(left, min(len(left), round(len(yes) * (1 - kept) / kept)), replace=False)
        for visits, shown, some in ((buying, bought, yes), (looking, looked, np.sort(no))):
            visit = shown.visit[some]
            tables.append(
                Interactions.build(
                    visits.person[visit],
                    shown.item[some],
                    behaviour=name,
                    time=_at(visits, visit, 1_000 + rng.integers(0, 199, len(some))),
                    store=visits.store[visit],
                )
            )
    return tables


assert BEHAVIOURS[3] == "purchase"
