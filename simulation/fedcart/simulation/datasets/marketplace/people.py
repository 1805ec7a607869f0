"""The people of the marketplace: where they shop, their stage of life, department mix, styles, prices, brands, pace.

Life stages are skewed and differ by shop; department mix and styles lean on the stage and on the shop. A person's
style is another one in each department (people follow a hidden tribe only part of the time), so taste is many
small groups and no short vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcart.simulation.datasets.marketplace import vocabulary as words
from fedcart.simulation.datasets.marketplace.goods import STORES, STYLES, Floats, Goods, Ints

TRIBES = 60
HABIT = 1.2
MIX = 1.3
"""Concentration of a person's department mix: the lower, the fewer departments."""
STAGE_SHARES = (0.08, 0.17, 0.24, 0.22, 0.17, 0.12)


@dataclass(frozen=True)
class People:
    """All people; arrays are [people] unless said otherwise.

    Attributes:
      store: the main shop; second: another shop for 6 % of the people, else -1.
      stage: position in STAGES.
      mix: float32 [people, departments], rows sum to 1.
      habit: float32 [people, categories], a lasting bonus of each category.
      style, style2: int32 [people, departments], first and second favourite style within each department.
      loyal: int32 [people, departments], the favourite brand of each department; loyalty: its bonus, 0 for half.
      target, price_sense: the dearness a person looks for, and how sharply.
      baskets: number of buying visits (0 = has only looked so far); lines: mean items of a basket.
      browse: number of visits without buying.
      gifting: share of visits that are for a present; bulk: buys for resale or an office.
      join: first day with this marketplace.
      opted_out: asked to be left out of learning.
    """

    store: Ints
    second: Ints
    stage: Ints
    mix: Floats
    habit: Floats
    style: Ints
    style2: Ints
    loyal: Ints
    loyalty: Floats
    target: Floats
    price_sense: Floats
    baskets: Ints
    lines: Floats
    browse: Ints
    gifting: Floats
    bulk: npt.NDArray[np.bool_]
    join: Ints
    opted_out: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.store)


def make_people(rng: np.random.Generator, people: int, goods: Goods) -> People:
    """Draw the people of a marketplace that sells `goods`."""
    departments = len(words.DEPARTMENTS)
    shares = np.array(words.SHOP_SHARES)
    store = rng.choice(STORES, people, p=shares / shares.sum()).astype(np.int32)
    stage_at = rng.dirichlet(12 * np.array(STAGE_SHARES), STORES)
    stage = draw(rng, stage_at[store])
    tribe_at = rng.dirichlet(np.full(TRIBES, 8.0), (STORES, len(words.STAGES)))
    tribe = draw(rng, tribe_at[store, stage] + 0.01)
    style_of = rng.integers(0, STYLES, (2, TRIBES, departments))
    style, style2 = (
        np.where(
            rng.random((people, departments)) < follow,
            table[tribe],
            rng.integers(0, STYLES, (people, departments)),
        )
        for table, follow in zip(style_of, (0.75, 0.5), strict=True)
    )
    bulk = rng.random(people) < 0.02
    baskets, lines = _pace(rng, people, bulk)
    browse = rng.poisson(rng.gamma(1.0, 1.6, people) + 0.4 * baskets).astype(np.int32) + (baskets == 0)
    return People(
        store=store,
        second=_second_shop(rng, store, shares, baskets + browse),
        stage=stage,
        mix=_mix(rng, store, stage),
        habit=rng.normal(0, HABIT, (people, len(goods.categories.names))).astype(np.float32),
        style=style.astype(np.int32),
        style2=style2.astype(np.int32),
        loyal=_loyal(rng, goods, style.astype(np.int32)),
        loyalty=np.where(rng.random(people) < 0.5, 0, rng.gamma(3, 0.5, people)).astype(np.float32),
        target=(np.array([-0.7, 0.0, 0.3, -0.2, 0.1, 0.3])[stage] + rng.normal(0, 0.7, people)).astype(np.float32),
        price_sense=rng.gamma(2, 0.2, people).astype(np.float32),
        baskets=baskets,
        lines=lines,
        browse=browse,
        gifting=rng.beta(1.0, 4.5, people).astype(np.float32),
        bulk=bulk,
        join=np.where(rng.random(people) < 0.65, 0, rng.integers(0, 330, people)).astype(np.int32),
        opted_out=rng.random(people) < 0.03,
    )


def draw(rng: np.random.Generator, weights: npt.NDArray[Any]) -> Ints:
    """One column of each row, in proportion to the row's weights [rows, columns]."""
    heap = np.cumsum(weights, axis=1)
    return np.asarray((heap < rng.random((len(heap), 1)) * heap[:, -1:]).sum(axis=1), np.int32)


def _second_shop(rng: np.random.Generator, store: Ints, shares: npt.NDArray[np.float64], visits: Ints) -> Ints:
    """Another shop for those of the people who come often that 6 % of all are seen in two; -1 for the rest."""
    other = rng.choice(STORES, len(store), p=shares / shares.sum())
    other = np.where(other == store, (store + 1) % STORES, other)
    often = visits >= 6
    return np.where(often & (rng.random(len(store)) < 0.075 / often.mean()), other, -1).astype(np.int32)


def _mix(rng: np.random.Generator, store: Ints, stage: Ints) -> Floats:
    """Department mixes: Dirichlet about catalogue share x shop (Dirichlet) x stage of life."""
    base = np.array([share for _, share, _ in words.DEPARTMENTS])
    shop = rng.dirichlet(70 * base, STORES) / base
    life = rng.lognormal(0, 0.5, (len(words.STAGES), len(base)))
    alpha = base * (0.35 + 0.65 * shop[store]) * life[stage]
    alpha = MIX * alpha / alpha.sum(axis=1, keepdims=True)
    mix = rng.standard_gamma(alpha.astype(np.float32), dtype=np.float32) + np.float32(1e-4)
    return np.asarray(mix / mix.sum(axis=1, keepdims=True), np.float32)


def _loyal(rng: np.random.Generator, goods: Goods, style: Ints) -> Ints:
    """A favourite brand of each department: the brand of a random item there, of the own style if one was met."""
    people, departments = style.shape
    loyal = np.zeros((people, departments), np.int32)
    for d in range(departments):
        rows = np.flatnonzero(goods.department == d)
        tries = rows[rng.integers(0, len(rows), (people, 4))]
        first = np.argmax(goods.style[tries] == style[:, d, None], axis=1)
        loyal[:, d] = goods.brand[tries[np.arange(people), first]]
    return loyal


def _pace(rng: np.random.Generator, people: int, bulk: npt.NDArray[np.bool_]) -> tuple[Ints, Floats]:
    """Buying visits and items a visit. A quarter has only looked so far; of the rest a third came once."""
    once = rng.random(people) < 0.34
    more = 2 + np.floor(rng.gamma(1.0, 1.8, people))
    baskets = np.where(once, 1, np.minimum(more, 60))
    lines = np.clip(rng.lognormal(np.log(7.3), 0.64, people), 1, 40)
    lines = np.where(once, np.where(rng.random(people) < 0.18, 1.2, lines * 1.3), lines) * np.where(
        baskets > 8, 0.75, 1
    )
    looks = rng.random(people) < 0.37
    baskets = np.where(looks & ~bulk, 0, baskets)
    lines = np.where(bulk, np.minimum(lines * 1.8, 60), lines)
    return baskets.astype(np.int32), lines.astype(np.float32)
