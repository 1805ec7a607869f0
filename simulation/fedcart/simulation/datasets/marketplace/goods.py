"""The items of the marketplace: what a page shows of them, and what only the world knows.

Shown (the public catalogue): title, category, department, brand, price. Known to the world alone: the hidden style
within the department, the appeal, the complement graph, first and last day on sale, and which shops list the item.
Brands lean toward a style and some title words do, so the metadata is informative, but only in part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcart.shared.catalogue import Catalogue
from fedcart.simulation.datasets.marketplace import vocabulary as words

DAYS = 365
STYLES = len(words.STYLE_WORDS)
"""Hidden styles within each department."""
COMPLEMENTS = 4
"""Items that go with each item."""
STORES = len(words.SHOPS)

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Categories:
    """The constants of all categories in one numbering; arrays are [categories]."""

    names: tuple[str, ...]
    department: Ints
    price: Floats
    interval: Floats
    gift: Floats
    stage: Ints
    peak: Ints
    share: Floats

    @classmethod
    def all(cls) -> Categories:
        """Of vocabulary.DEPARTMENTS, in its order."""
        flat = [(d, share / len(cs), c) for d, (_, share, cs) in enumerate(words.DEPARTMENTS) for c in cs]
        return cls(
            tuple(c.name for _, _, c in flat),
            np.array([d for d, _, _ in flat], np.int32),
            np.array([c.price for _, _, c in flat], np.float32),
            np.array([c.interval for _, _, c in flat], np.float32),
            np.array([c.gift for _, _, c in flat], np.float32),
            np.array([c.stage for _, _, c in flat], np.int32),
            np.array([c.peak for _, _, c in flat], np.int32),
            np.array([s for _, s, _ in flat], np.float32),
        )


@dataclass(frozen=True)
class Goods:
    """All items; arrays are [items] unless said otherwise.

    Attributes:
      category, department: positions in `Categories` and vocabulary.DEPARTMENTS.
      brand: position in `brand_names`; own_store: the only shop of a private label, -1 for other brands.
      style: hidden, 0..STYLES - 1 within the department.
      price: in the shops' currency; dearness: log price in standard deviations within the department.
      appeal: hidden log attraction, standard deviation about 1.
      birth, death: first day on sale and the day after the last, 0..DAYS.
      listed: bool [stores, items].
      complements: int32 [items, COMPLEMENTS], the explicit graph of what goes together.
    """

    categories: Categories
    category: Ints
    department: Ints
    brand: Ints
    brand_names: tuple[str, ...]
    own_store: Ints
    style: Ints
    price: Floats
    dearness: Floats
    appeal: Floats
    birth: Ints
    death: Ints
    listed: npt.NDArray[np.bool_]
    complements: Ints

    def __len__(self) -> int:
        return len(self.category)


def make_goods(rng: np.random.Generator, items: int) -> Goods:
    """Draw the items. Every department has at least one item of each category."""
    categories = Categories.all()
    category = _spread(rng, categories.share, items)
    department = categories.department[category]
    style = _skewed(rng, items)
    brand, names, own_store, brand_level = _brands(rng, department, style)
    price, dearness = _prices(rng, categories, category, department, brand_level[brand])
    appeal = (rng.normal(0, 1, items) - 0.25 * dearness).astype(np.float32)
    birth, death = _life(rng, items)
    return Goods(
        categories=categories,
        category=category,
        department=department,
        brand=brand,
        brand_names=names,
        own_store=own_store,
        style=style,
        price=price,
        dearness=dearness,
        appeal=appeal,
        birth=birth,
        death=death,
        listed=_listings(rng, department, own_store, appeal),
        complements=_complements(rng, category, department, style, appeal),
    )


def _spread(rng: np.random.Generator, share: Floats, items: int) -> Ints:
    """One item of each category, the rest in proportion to the shares, in random order."""
    counts = 1 + rng.multinomial(items - len(share), share / share.sum(dtype=np.float64))
    return rng.permutation(np.repeat(np.arange(len(share)), counts)).astype(np.int32)


def _skewed(rng: np.random.Generator, rows: int) -> Ints:
    """Styles with mildly unequal shares."""
    share = 1 / (np.arange(STYLES) + 4.0)
    return rng.choice(STYLES, rows, p=share / share.sum()).astype(np.int32)


def _brands(rng: np.random.Generator, department: Ints, style: Ints) -> tuple[Ints, tuple[str, ...], Ints, Floats]:
    """Brand of each item, names, private shop of each item (-1 none), and each brand's price level [brands].

    A department has a dozen brands, each at home in one style: an item takes a brand of its own style half of
    the time. Each shop has one private label, in six departments; the bigger the shop, the more items.
    """
    heads = [f"{h} {t}".strip() for t in words.BRAND_TAILS for h in words.BRAND_HEADS]
    names = [heads[i] for i in rng.permutation(len(heads))]
    departments = len(words.DEPARTMENTS)
    per = 12
    home = rng.integers(0, STYLES, departments * per)
    weight = rng.lognormal(0, 0.8, departments * per)
    brand = np.zeros(len(department), np.int32)
    for d in range(departments):
        rows = np.flatnonzero(department == d)
        of_style = (
            np.where(home[d * per : (d + 1) * per] == style[rows, None], 14.0, 1.0) * weight[d * per : (d + 1) * per]
        )
        brand[rows] = d * per + _draw(rng, of_style)
    own_store = np.full(len(department), -1, np.int32)
    for store in range(STORES):
        own = rng.choice(departments, 6, replace=False)
        mine = (
            np.isin(department, own)
            & (own_store < 0)
            & (rng.random(len(department)) < 0.005 + 0.66 * words.SHOP_SHARES[store])
        )
        own_store[mine] = store
        brand[mine] = departments * per + store
    level = np.concatenate([rng.normal(0, 0.5, departments * per), np.full(STORES, -0.5)]).astype(np.float32)
    labels = names[: departments * per] + [f"{shop} Own" for shop in words.SHOPS]
    return brand, tuple(labels), own_store, level


def _draw(rng: np.random.Generator, weights: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """One column of each row, in proportion to the row's weights [rows, columns]."""
    heap = np.cumsum(weights, axis=1)
    return np.asarray((heap < rng.random((len(heap), 1)) * heap[:, -1:]).sum(axis=1))


def _prices(
    rng: np.random.Generator, categories: Categories, category: Ints, department: Ints, level: Floats
) -> tuple[Floats, Floats]:
    """Lognormal about the category's median, ended in .x5 or .x9; and the dearness within the department."""
    log = np.log(categories.price[category]) + 0.55 * level + rng.normal(0, 0.84, len(category))
    price = np.maximum(np.round(np.exp(log) * 10) / 10 - 0.01, 0.19).astype(np.float32)
    log = np.log(price)
    size = np.bincount(department)
    mean = np.bincount(department, log) / size
    spread = np.sqrt(np.bincount(department, (log - mean[department]) ** 2) / size) + 1e-3
    return price, ((log - mean[department]) / spread[department]).astype(np.float32)


def _life(rng: np.random.Generator, items: int) -> tuple[Ints, Ints]:
    """Days on sale: 70 % stand on the shelves on day 0, the rest comes evenly; some leave each month."""
    born = rng.random(items) < 0.30
    birth = np.where(born, rng.integers(1, DAYS - 20, items), 0)
    leave = birth + rng.exponential(DAYS / 0.30, items)
    death = np.where(leave < DAYS - 1, np.maximum(leave, birth + 21), DAYS)
    return birth.astype(np.int32), np.minimum(death, DAYS).astype(np.int32)


def _listings(rng: np.random.Generator, department: Ints, own_store: Ints, appeal: Floats) -> npt.NDArray[np.bool_]:
    """Which shop lists which item: big shops and loved items more; private labels at their shop only."""
    departments = len(words.DEPARTMENTS)
    breadth = np.array([2.4, 2.3, 2.2, 2.0, 2.0, 1.9, 1.8, 1.7])
    special = rng.normal(0, 0.3, (STORES, departments))
    logit = 2.5 * (breadth[:, None] + appeal + 0.5 * rng.normal(0, 1, len(department))) + special[:, department]
    listed = rng.random((STORES, len(department))) < 1 / (1 + np.exp(-logit))
    nowhere = ~listed.any(axis=0)
    listed[0, nowhere] = True
    own = own_store >= 0
    listed[:, own] = own_store[own] == np.arange(STORES)[:, None]
    return listed


def _complements(rng: np.random.Generator, category: Ints, department: Ints, style: Ints, appeal: Floats) -> Ints:
    """For each item, COMPLEMENTS items of another category, most of its department, half of its style.

    Drawn by trying random items and keeping the best fit, so the graph follows neither category nor style alone.
    """
    items = len(category)
    tries = 60
    other = rng.integers(0, items, (items, tries))
    fit = rng.gumbel(0, 1, (items, tries)) + 0.6 * appeal[other]
    fit += 2.5 * (department[other] == department[:, None]) + 1.0 * (style[other] == style[:, None])
    fit -= 4.0 * (category[other] == category[:, None])
    best = np.argpartition(-fit, COMPLEMENTS, axis=1)[:, :COMPLEMENTS]
    return np.take_along_axis(other, best, axis=1).astype(np.int32)


def public_catalogue(rng: np.random.Generator, goods: Goods, prefix: str) -> Catalogue:
    """The public list: ids `prefix`-00000, -00001 ...; 2 % of the titles and 1 % of the brands are missing."""
    items = len(goods)
    flat = [c for _, _, cs in words.DEPARTMENTS for c in cs]
    telling, say = rng.random(items) < 0.45, rng.random(items) < 0.75
    pick = rng.integers(0, 1 << 30, (4, items))
    titles = []
    for i in range(items):
        nouns = flat[goods.category[i]].nouns
        pool = words.STYLE_WORDS[goods.style[i]].split("|") if telling[i] else words.PLAIN_WORDS
        parts = [goods.brand_names[goods.brand[i]], pool[pick[0, i] % len(pool)] if say[i] else ""]
        parts.append(nouns[pick[1, i] % len(nouns)] + words.ENDINGS[pick[2, i] % len(words.ENDINGS)])
        titles.append(" ".join(p for p in parts if p))
    title = np.array(titles, dtype=object)
    title[rng.random(items) < 0.02] = ""
    brand = np.array([goods.brand_names[b] for b in goods.brand], dtype=object)
    brand[rng.random(items) < 0.01] = ""
    return Catalogue(
        ids=tuple(f"{prefix}-{i:05d}" for i in range(items)),
        source="given",
        columns={
            "title": title,
            "category": np.array([goods.categories.names[c] for c in goods.category], dtype=object),
            "department": np.array([words.DEPARTMENTS[d][0] for d in goods.department], dtype=object),
            "brand": brand,
            "price": np.round(goods.price.astype(np.float64), 2),
        },
    )
