"""A marketplace before anybody has bought: goods, people and shelves, all from (size, seed, version).

`World.wanted` is the oracle: what a method could know at best. No learner and no report sees it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import ConfigError, did_you_mean
from fedcart.simulation.datasets.marketplace import choice
from fedcart.simulation.datasets.marketplace.goods import Floats, Goods, Ints, make_goods, public_catalogue
from fedcart.simulation.datasets.marketplace.people import People, make_people
from fedcart.simulation.datasets.marketplace.shops import MONTHS, Shelves, make_shelves

VERSION = 1
"""Raised whenever the same (size, seed) would give other data; stands in every item id."""
SIZES = {"small": (2_000, 800), "default": (24_000, 4_000), "large": (120_000, 12_000)}
"""Name -> (people, items)."""


@dataclass(frozen=True)
class World:
    """What is behind the data of one (size, seed)."""

    size: str
    seed: int
    goods: Goods
    people: People
    shelves: Shelves
    catalogue: Catalogue

    def rng(self, purpose: str) -> np.random.Generator:
        """The stream of one purpose; the same for the same (version, size, seed, purpose)."""
        return stream(self.size, self.seed, purpose)

    @property
    def whim_seed(self) -> int:
        """The seed of the private whims."""
        return self.seed * 1_000_003 + VERSION

    def wanted(self, people: Ints, first_month: int, last_month: int = MONTHS - 1) -> Floats:
        """[people, items] log of the true propensity over the stated months 0..11, -inf = not sold at their shop.

        Lasting utility + log of the department's place in the person's mix + log exposure at the main shop.
        """
        rows = np.asarray(people, np.int32)
        items = np.arange(len(self.goods), dtype=np.int32)
        person, item = np.broadcast_arrays(rows[:, None], items)
        wanted = choice.utility(self.people, self.goods, person, item, self.whim_seed)
        wanted += np.log(self.people.mix[rows])[:, self.goods.department]
        shown = np.exp(self.shelves.exposure[:, first_month : last_month + 1]).mean(axis=1)
        with np.errstate(divide="ignore"):
            wanted += np.log(shown)[self.people.store[rows]]
        return wanted


def stream(size: str, seed: int, purpose: str) -> np.random.Generator:
    """A random stream keyed by version, size, seed and purpose."""
    key = [VERSION, *size.encode(), 0, *purpose.encode()]
    return np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=tuple(key)))


@functools.lru_cache(maxsize=2)
def make_world(size: str = "default", seed: int = 0) -> World:
    """The world of a size and a seed.

    Raises:
      ConfigError: unknown size, or a negative seed.
    """
    if size not in SIZES:
        raise ConfigError(f"the marketplace has no size {size!r}; nothing was made", did_you_mean(size, SIZES))
    if seed < 0:
        raise ConfigError(f"marketplace seed {seed} is below 0; nothing was made", "give a seed of 0 or more")
    people_total, items_total = SIZES[size]
    goods = make_goods(stream(size, seed, "goods"), items_total)
    people = make_people(stream(size, seed, "people"), people_total, goods)
    shelves = make_shelves(stream(size, seed, "shelves"), goods)
    catalogue = public_catalogue(stream(size, seed, "titles"), goods, f"m{VERSION}-{size}-{seed}")
    return World(size, seed, goods, people, shelves, catalogue)
