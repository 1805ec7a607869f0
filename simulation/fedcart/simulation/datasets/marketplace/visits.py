"""Visits to the shops: when people come, what they are shown, and what they put in the basket.

A buying visit is a few pages of SHOWN places. A page shows one department (the mix of the person, with drift: the
next page stays where the visit is more often than not) or the table of presents. From each page the person takes
the few items of highest utility + Gumbel noise. Then come two strips: "goes with" (complements of what was taken)
and "buy again" (what the category's interval says is used up). Visits of one person follow each other in time.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from fedcart.simulation.datasets.marketplace import choice
from fedcart.simulation.datasets.marketplace.goods import COMPLEMENTS, DAYS, Floats, Ints
from fedcart.simulation.datasets.marketplace.people import draw
from fedcart.simulation.datasets.marketplace.shops import FACINGS, MONTH_START, MONTHS, month_of
from fedcart.simulation.datasets.marketplace.world import World

SHOWN = 32
"""Places of one page."""
A_PAGE = 3.0
"""Mean items taken from a page of a buying visit."""
MEMORY = 48
"""Latest purchases of a person that can be bought again."""
GIFT_MONTHS = (0.5, 0.6, 0.5, 0.4, 0.6, 0.4, 0.3, 0.4, 0.6, 1.2, 3.7, 2.8)
STAY = 0.55
"""Session drift: the chance that the next page stays in the department of the page before."""


@dataclass(frozen=True)
class Visits:
    """Visits; arrays are [visits]: who, which of the person's visits (by time), day, second, shop, why, how many."""

    person: Ints
    ordinal: Ints
    day: Ints
    second: npt.NDArray[np.int64]
    store: Ints
    present: npt.NDArray[np.bool_]
    lines: Ints


@dataclass(frozen=True)
class Shown:
    """Rows of items that a visit showed; arrays are [rows].

    visit; item; eager: utility + noise, the wish behind a look; bought: taken; strip: 0 page, 1 goes with, 2 again.
    """

    visit: Ints
    item: Ints
    eager: Floats
    bought: npt.NDArray[np.bool_]
    strip: npt.NDArray[np.uint8]


def plan_visits(rng: np.random.Generator, world: World, counts: Ints, buying: bool) -> Visits:
    """When and where the stated number of visits of each person [people] takes place, sorted by person and time."""
    people = world.people
    person = np.repeat(np.arange(len(people), dtype=np.int32), counts)
    present = rng.random(len(person)) < people.gifting[person]
    days = np.diff(MONTH_START)
    weight = np.where(present[:, None], np.array(GIFT_MONTHS), 1.0) * days / 30.0
    left = np.clip(MONTH_START[1:] - people.join[person][:, None], 0, days) / days
    month = draw(rng, weight * left)
    begin = np.maximum(MONTH_START[month], people.join[person])
    day = begin + np.floor(rng.random(len(person)) * (MONTH_START[month + 1] - begin)).astype(np.int32)
    second = day.astype(np.int64) * 86_400 + rng.normal(14.5 * 3600, 3.5 * 3600, len(person)).clip(0, 86_000).astype(
        np.int64
    )
    order = np.lexsort((second, person))
    person, present, day, second = person[order], present[order], day[order].astype(np.int32), second[order]
    away = (people.second[person] >= 0) & (rng.random(len(person)) < 0.145)
    lines = 1 + rng.poisson(np.maximum(people.lines[person] - 1, 0.2) * rng.gamma(2.5, 1 / 2.5, len(person)))
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return Visits(
        person=person,
        ordinal=(np.arange(len(person)) - first[person]).astype(np.int32),
        day=day,
        second=second,
        store=np.where(away, people.second[person], people.store[person]).astype(np.int32),
        present=present,
        lines=(lines if buying else np.zeros(len(person))).astype(np.int32),
    )


def show_pages(
    rng: np.random.Generator, world: World, visits: Visits, rows: npt.NDArray[np.intp], pages: Ints
) -> Shown:
    """The pages of the visits `rows`, pages[r] each; nothing bought yet."""
    visit = np.repeat(rows, pages).astype(np.int32)
    first = np.concatenate([[0], np.cumsum(pages)[:-1]])
    department = _departments(rng, world, visits, visit, np.repeat(first, pages))
    month = month_of(visits.day[visit])
    place = rng.integers(0, FACINGS, (len(visit), SHOWN), dtype=np.int16)
    store, page_month = visits.store[visit][:, None], month[:, None]
    item = world.shelves.items[store, page_month, department[:, None], place]
    present = np.flatnonzero(visits.present[visit] & (rng.random(len(visit)) < 0.5))
    item[present] = world.shelves.gift[store[present], page_month[present], place[present]]
    whose = np.repeat(visit, SHOWN)
    return offer(rng, world, visits, whose, item.ravel(), 0, 0.0)


def _departments(
    rng: np.random.Generator, world: World, visits: Visits, visit: Ints, first: npt.NDArray[np.intp]
) -> Ints:
    """[pages] the department of each page: drawn from the person's mix, or the one of the page before."""
    drawn = draw(rng, world.people.mix[visits.person[visit]])
    at = np.arange(len(visit))
    fresh = (rng.random(len(visit)) > STAY) | (at == first)
    return drawn[np.maximum.accumulate(np.where(fresh, at, 0))]


def offer(
    rng: np.random.Generator,
    world: World,
    visits: Visits,
    visit: Ints,
    item: Ints,
    strip: int,
    bonus: Floats | float,
) -> Shown:
    """Show item[r] in visit[r]; rows without an item, or with one not on sale that day there, drop out."""
    store, day = visits.store[visit], visits.day[visit]
    month = month_of(day)
    sold = np.isfinite(world.shelves.exposure[store, month, item]) & (item >= 0)
    sold &= (world.goods.birth[item] <= day) & (day < world.goods.death[item])
    extra = np.broadcast_to(np.asarray(bonus, np.float32), item.shape)[sold]
    visit, item = visit[sold], item[sold]
    person = visits.person[visit]
    wish = choice.utility(world.people, world.goods, person, item, world.whim_seed)
    wish += np.float32(0.5) * world.shelves.promoted[visits.store[visit], month[sold], item]
    # A present is for somebody else: half of the buyer's own taste, and what makes a good present.
    gift = visits.present[visit]
    wish = np.where(
        gift,
        np.float32(0.8) * wish + np.float32(3.2) * world.goods.categories.gift[world.goods.category[item]],
        wish,
    )
    wish = np.where(world.people.bulk[person], np.float32(0.5) * wish, wish)
    wish += extra + choice.gumbel(rng, item.shape)
    kind = np.full(len(item), strip, np.uint8)
    return Shown(visit, item, wish.astype(np.float32), np.zeros(len(item), bool), kind)


def take(shown: Shown, wanted: Ints) -> Shown:
    """Mark as bought, in each visit, the wanted[visit] distinct items of highest wish."""
    order = np.lexsort((-shown.eager, shown.visit))
    visit, item = shown.visit[order], shown.item[order]
    key = visit.astype(np.int64) << 32 | item
    _, first = np.unique(key, return_index=True)
    best = np.zeros(len(key), bool)
    best[first] = True  # order is by falling wish, and unique gives the first place
    running = np.cumsum(best)
    start = np.flatnonzero(np.r_[True, visit[1:] != visit[:-1]]) if len(visit) else np.zeros(0, int)
    before = np.repeat(running[start] - best[start], np.diff(np.r_[start, len(visit)]))
    bought = best & (running - before <= wanted[visit])
    return Shown(visit, item, shown.eager[order], bought, shown.strip[order])


def join(parts: list[Shown]) -> Shown:
    """All rows of the parts."""
    return Shown(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Shown)))


class Memory:
    """The latest MEMORY purchases of each person: item and day, [people, MEMORY], -1 = empty place."""

    def __init__(self, people: int) -> None:
        self.item = np.full((people, MEMORY), -1, np.int32)
        self.day = np.zeros((people, MEMORY), np.int32)
        self.count = np.zeros(people, np.int64)

    def remember(self, person: Ints, item: Ints, day: Ints) -> None:
        """Add rows sorted by person."""
        if not len(person):
            return
        start = np.flatnonzero(np.r_[True, person[1:] != person[:-1]])
        size = np.diff(np.r_[start, len(person)])
        rank = np.arange(len(person)) - np.repeat(start, size)
        place = (self.count[person] + rank) % MEMORY
        self.item[person, place] = item
        self.day[person, place] = day
        self.count[person[start]] += size


def buy_again(
    rng: np.random.Generator, world: World, visits: Visits, rows: npt.NDArray[np.intp], memory: Memory
) -> Shown:
    """The "buy again" strip: bought for certain, when the time since the last purchase says so and it is on sale."""
    person, day = visits.person[rows], visits.day[rows]
    item, since = memory.item[person], day[:, None] - memory.day[person]
    interval = world.goods.categories.interval[world.goods.category[np.maximum(item, 0)]]
    used = np.where(interval > 0, np.minimum(since / np.maximum(interval, 1), 1.5), 0)
    chance = np.where(interval > 0, REPLENISH * used, RARELY) * ~visits.present[rows][:, None]
    at, place = np.nonzero((item >= 0) & (rng.random(item.shape) < chance))
    strip = offer(rng, world, visits, rows[at].astype(np.int32), item[at, place], 2, 0.0)
    return take(strip, visits.lines + 2)


REPLENISH = 0.3
RARELY = 0.012


def goes_with(rng: np.random.Generator, world: World, visits: Visits, visit: Ints, owned: Ints) -> Shown:
    """The "goes with" strip of owned[r] in visit[r]; each item is taken when its wish beats an outside wish."""
    item = world.goods.complements[owned].ravel()
    strip = offer(rng, world, visits, np.repeat(visit, COMPLEMENTS), item, 1, GOES_WITH)
    return Shown(strip.visit, strip.item, strip.eager, strip.eager > NO_THANKS, strip.strip)


def remembered(
    rng: np.random.Generator, visits: Visits, rows: npt.NDArray[np.intp], memory: Memory
) -> tuple[Ints, Ints]:
    """REMINDERS random earlier purchases of each visit's person: visit and item."""
    item = memory.item[visits.person[rows][:, None], rng.integers(0, MEMORY, (len(rows), REMINDERS))]
    at, place = np.nonzero(item >= 0)
    return rows[at].astype(np.int32), item[at, place]


REMINDERS = 10
GOES_WITH = 1.6
NO_THANKS = 5.6


def shop(rng: np.random.Generator, world: World, visits: Visits) -> Shown:
    """All buying visits, in the order of each person's visits."""
    memory = Memory(len(world.people))
    parts = []
    for ordinal in range(int(visits.ordinal.max(initial=-1)) + 1):
        rows = np.flatnonzero(visits.ordinal == ordinal)
        again = buy_again(rng, world, visits, rows, memory)
        fitting = goes_with(rng, world, visits, *remembered(rng, visits, rows, memory))
        again = join([again, fitting])
        rest = visits.lines - np.bincount(again.visit[again.bought], minlength=len(visits.lines))
        pages = np.maximum(1, np.ceil(rest[rows] / A_PAGE)).astype(np.int32)
        browsed = take(show_pages(rng, world, visits, rows, pages), np.maximum(rest, 0))
        with_it = goes_with(rng, world, visits, browsed.visit[browsed.bought], browsed.item[browsed.bought])
        seen = join([again, browsed, with_it])
        parts.append(seen)
        mine = np.flatnonzero(seen.bought)
        mine = mine[np.argsort(visits.person[seen.visit[mine]], kind="stable")]
        memory.remember(visits.person[seen.visit[mine]], seen.item[mine], visits.day[seen.visit[mine]])
    return join(parts)


def look_around(rng: np.random.Generator, world: World, visits: Visits) -> Shown:
    """All visits without a purchase: one or two pages each."""
    rows = np.arange(len(visits.person))
    return show_pages(rng, world, visits, rows, 1 + rng.integers(0, 2, len(rows)).astype(np.int32))


__all__ = ["DAYS", "MONTHS", "Shown", "Visits", "look_around", "plan_visits", "shop"]
