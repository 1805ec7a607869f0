"""Measure every trait of the band table from a data set alone, and print docs/marketplace.md.

    python -m fedcart.simulation.datasets.marketplace.traits > docs/marketplace.md

A trait is measured on `Dataset` only, never on the world behind it. The rows that need a trained model (what
pooling buys, content, oracle) are measured in `pooling`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fedcart.shared.interactions import BEHAVIOURS, DAY, Interactions
from fedcart.simulation.datasets.dataset import Dataset

Floats = npt.NDArray[np.float64]
RANKED = 0.6
"""The rank slope is fitted over the first 60 % of the sold items; with it online-retail has .68 and ML-1M .78."""


class AnyBand(Protocol):
    """What a line of the table needs."""

    @property
    def trait(self) -> str: ...
    @property
    def real(self) -> str: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


@dataclass(frozen=True)
class Band:
    """One line of the table: the trait, what real data showed, the least and the greatest value allowed."""

    trait: str
    real: str
    low: float
    high: float
    measure: Callable[[Tables], float]


@dataclass(frozen=True)
class Tables:
    """What several traits share. `bought`: the purchases; `pairs`: [distinct pairs, 2] of customer and item."""

    data: Dataset
    bought: Interactions
    pairs: npt.NDArray[np.int64]

    @classmethod
    def of(cls, data: Dataset) -> Tables:
        """Of a data set whose purchases have times, baskets and shops."""
        bought = data.interactions.select(data.interactions.behaviour == BEHAVIOURS.index("purchase"))
        key = np.unique(bought.customer.astype(np.int64) * len(data.catalogue) + bought.item)
        return cls(data, bought, np.stack(np.divmod(key, len(data.catalogue)), axis=1))

    @property
    def month(self) -> npt.NDArray[np.int64]:
        """[purchases] calendar month, 0 = January of the first year."""
        months = (self.bought.time.astype("datetime64[s]")).astype("datetime64[M]").astype(np.int64)
        return np.asarray(months - months.min(), np.int64)

    @property
    def by_item(self) -> Floats:
        """[sold items] distinct customers, most loved first."""
        count = np.bincount(self.pairs[:, 1])
        return np.sort(count[count > 0])[::-1].astype(np.float64)

    @property
    def by_customer(self) -> Floats:
        """[buyers] distinct items."""
        count = np.bincount(self.pairs[:, 0])
        return count[count > 0].astype(np.float64)

    @property
    def baskets(self) -> npt.NDArray[np.int64]:
        """[buyers] number of baskets."""
        key = np.unique(np.stack([self.bought.customer.astype(np.int64), self.bought.basket], axis=1), axis=0)
        count = np.bincount(key[:, 0])
        return count[count > 0]

    @property
    def store_items(self) -> Floats:
        """[stores, items] purchase lines."""
        items = len(self.data.catalogue)
        key = self.bought.store.astype(np.int64) * items + self.bought.item
        return np.bincount(key, minlength=len(self.data.store_names) * items).reshape(-1, items).astype(np.float64)


def gini(counts: Floats) -> float:
    """Gini coefficient of non-negative counts."""
    rising = np.sort(counts)
    n = len(rising)
    return float(1 + 1 / n - 2 * np.cumsum(rising).sum() / (n * rising.sum()))


def _top(t: Tables) -> float:
    return float(t.by_item[: len(t.by_item) // 5].sum() / t.by_item.sum())


def _slope(t: Tables) -> float:
    top = t.by_item[: int(RANKED * len(t.by_item))]
    return float(-np.polyfit(np.log(np.arange(1, len(top) + 1)), np.log(top), 1)[0])


def _repeats(t: Tables) -> float:
    return 1 - len(t.pairs) / len(t.bought)


def _season(t: Tables, rows: npt.NDArray[np.bool_] | None = None) -> float:
    lines = np.bincount(t.month if rows is None else t.month[rows], minlength=12)
    return float(lines.max() / lines.min())


def _weekdays(t: Tables) -> float:
    lines = np.bincount((t.bought.time // DAY + 3) % 7, minlength=7)
    return float(lines.max() / lines.min())


def _first_and_last(t: Tables) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    items = len(t.data.catalogue)
    first, last = np.full(items, 99), np.full(items, -1)
    np.minimum.at(first, t.bought.item, t.month)
    np.maximum.at(last, t.bought.item, t.month)
    return first[last >= 0], last[last >= 0]


def _seen_first_month(t: Tables) -> float:
    return float((_first_and_last(t)[0] == 0).mean())


def _births(t: Tables) -> float:
    first, _ = _first_and_last(t)
    return float(((first >= 2) & (first <= 11)).mean() / 10)


def _deaths(t: Tables) -> float:
    """A month, over the months 1..8: later last sales may only be pauses."""
    _, last = _first_and_last(t)
    return float(((last >= 0) & (last <= 8)).mean() / 9)


def _unsold_at_the_end(t: Tables) -> float:
    late = t.bought.time >= t.bought.time.max() - 70 * DAY
    return 1 - len(np.unique(t.bought.item[late])) / len(np.unique(t.bought.item))


def _log_price(t: Tables) -> Floats:
    return np.asarray(np.log(t.data.catalogue.columns["price"]))


def _price_spread(t: Tables) -> float:
    _, department = np.unique(t.data.catalogue.columns["department"], return_inverse=True)
    log = _log_price(t)
    return float(np.mean([log[department == d].std() for d in range(department.max() + 1)]))


def _price_corr(t: Tables) -> float:
    count = np.bincount(t.pairs[:, 1], minlength=len(t.data.catalogue))
    return float(np.corrcoef(_log_price(t)[count > 0], np.log(count[count > 0]))[0, 1])


def divergences(t: Tables) -> Floats:
    """[stores] Jensen-Shannon divergence, in bits, of each shop's purchase lines over items from all shops' lines."""
    lines = t.store_items
    every = lines.sum(axis=0) / lines.sum()
    mine = lines / lines.sum(axis=1, keepdims=True)

    def entropy(p: Floats) -> Floats:
        return np.asarray(-np.sum(p * np.log2(np.where(p > 0, p, 1)), axis=-1))

    return np.asarray(entropy((mine + every) / 2) - (entropy(mine) + entropy(every)) / 2)


def _in_two_stores(t: Tables) -> float:
    shops = (t.store_items > 0).sum(axis=0)
    return float((shops[shops > 0] >= 2).mean())


def _private_label_leak(t: Tables) -> float:
    """Share of the lines of the shops' own labels that were sold in another shop."""
    brand = t.data.catalogue.columns["brand"]
    own = {f"{shop} Own": s for s, shop in enumerate(t.data.store_names)}
    home = np.array([own.get(b, -1) for b in brand])[t.bought.item]
    return float((home[home >= 0] != t.bought.store[home >= 0]).mean())


def _private_label(t: Tables) -> float:
    brand = t.data.catalogue.columns["brand"]
    own = {f"{shop} Own" for shop in t.data.store_names}
    return float(np.array([b in own for b in brand])[t.bought.item].mean())


def _customer_stores(t: Tables) -> npt.NDArray[np.int64]:
    """[customers with a purchase, stores] lines."""
    stores = len(t.data.store_names)
    key = t.bought.customer.astype(np.int64) * stores + t.bought.store
    lines = np.bincount(key, minlength=t.data.customers * stores).reshape(-1, stores)
    return np.asarray(lines[lines.sum(axis=1) > 0])


def _two_shops(t: Tables) -> float:
    """Share of people seen (with any behaviour) in two shops."""
    events = t.data.interactions
    stores = len(t.data.store_names)
    pairs = np.unique(events.customer.astype(np.int64) * stores + events.store)
    shops = np.bincount(pairs // stores)
    return float((shops[shops > 0] >= 2).mean())


def _main_shop(t: Tables) -> float:
    """Of people who bought in two shops: the share of their lines at the main one."""
    lines = _customer_stores(t)
    two = lines[(lines > 0).sum(axis=1) >= 2]
    return float(two.max(axis=1).sum() / two.sum())


def _became_purchases(behaviour: str) -> Callable[[Tables], float]:
    def share(t: Tables) -> float:
        events = t.data.interactions
        some = events.select(events.behaviour == BEHAVIOURS.index(behaviour))
        items = len(t.data.catalogue)
        pairs = np.unique(some.customer.astype(np.int64) * items + some.item)
        return float(np.isin(pairs, t.pairs[:, 0] * items + t.pairs[:, 1]).mean())

    return share


def _views(t: Tables) -> float:
    events = t.data.interactions
    return float(events.value[events.behaviour == BEHAVIOURS.index("view")].sum(dtype=np.float64) / len(t.bought))


def _gift_season(t: Tables) -> float:
    """How many times stronger the season of the gift categories is than that of the rest."""
    return _season(t, _of_gifts(t)) / _season(t, ~_of_gifts(t))


def _of_gifts(t: Tables) -> npt.NDArray[np.bool_]:
    from fedcart.simulation.datasets.marketplace.goods import Categories

    categories = Categories.all()
    gifts = {name for name, gift in zip(categories.names, categories.gift, strict=True) if gift >= 0.5}
    category = t.data.catalogue.columns["category"]
    return np.array([c in gifts for c in category])[t.bought.item]


def _missing_titles(t: Tables) -> float:
    title = t.data.catalogue.columns["title"]
    return float(np.mean(title == ""))


def _returns(t: Tables) -> float:
    returned = t.data.reading.dropped["returned"]
    return returned / (returned + len(t.bought))


def _opted_out(t: Tables) -> float:
    assert t.data.opted_out is not None
    return float(t.data.opted_out.mean())


def _bulk(t: Tables) -> float:
    """Share of buyers whose lines have 5 pieces or more on average."""
    pieces = np.bincount(t.bought.customer, t.bought.value)
    lines = np.bincount(t.bought.customer)
    return float((pieces[lines > 0] / lines[lines > 0] >= 5).mean())


def _departments(t: Tables) -> float:
    return float(len(np.unique(t.data.catalogue.columns["department"])))


def _log_spread(t: Tables) -> float:
    return float(np.log(t.by_customer).std())


BANDS: tuple[Band, ...] = (
    Band("people", "-", 24_000, 24_000, lambda t: t.data.customers),
    Band("items in the catalogue", "-", 4_000, 4_000, lambda t: len(t.data.catalogue)),
    Band("purchase lines", "about 400,000 asked for", 380_000, 440_000, lambda t: len(t.bought)),
    Band("item skew: Gini over distinct pairs", ".59 / .63 / .71", 0.58, 0.72, lambda t: gini(t.by_item)),
    Band("item skew: share of the top 20 %", ".60 / .65 / .75", 0.60, 0.75, _top),
    Band("item skew: rank slope", ".69 / .79 / 1.05", 0.70, 1.05, _slope),
    Band("items a customer, median", "35 / 19 / 95", 15, 35, lambda t: float(np.median(t.by_customer))),
    Band("items a customer, sd of log", "1.22 / 1.08", 1.0, 1.25, _log_spread),
    Band("customers with fewer than 5 items", "-", 0.10, 0.30, lambda t: float((t.by_customer < 5).mean())),
    Band("customers with one basket", ".35", 0.30, 0.40, lambda t: float((t.baskets == 1).mean())),
    Band("lines that repeat an earlier pair", ".31 / .20", 0.20, 0.35, _repeats),
    Band("best month over worst month", "3.2", 2.0, 3.5, _season),
    Band("season of gift categories over that of the rest", "-", 1.5, 6.0, _gift_season),
    Band("best weekday over worst", "near flat", 1.0, 1.2, _weekdays),
    Band("items sold in the first month", ".66", 0.55, 0.75, _seen_first_month),
    Band("items first sold, a month (3rd to 12th)", "about .03", 0.02, 0.04, _births),
    Band("items last sold, a month (1st to 9th)", "-", 0.01, 0.04, _deaths),
    Band("items unsold in the last ten weeks", ".20", 0.15, 0.25, _unsold_at_the_end),
    Band("sd of log price within departments", "1.05", 0.9, 1.1, _price_spread),
    Band("corr(log price, log popularity)", "-.09", -0.2, 0.0, _price_corr),
    Band("departments", "6", 8, 12, _departments),
    Band("lines of private labels", ".29", 0.10, 0.30, _private_label),
    Band("private-label lines sold elsewhere", "0", 0.0, 0.0, _private_label_leak),
    Band("Jensen-Shannon of a shop to all, least", ".006", 0.02, 0.35, lambda t: float(divergences(t).min())),
    Band("Jensen-Shannon of a shop to all, greatest", ".33", 0.02, 0.35, lambda t: float(divergences(t).max())),
    Band("items sold in at least two shops", ".94 / .43", 0.60, 0.80, _in_two_stores),
    Band("people in two shops", ".002", 0.045, 0.065, _two_shops),
    Band("their lines at the main shop", ".78", 0.75, 0.80, _main_shop),
    Band("carts that became purchases", ".57", 0.54, 0.60, _became_purchases("cart")),
    Band("favourites that became purchases", ".43", 0.40, 0.46, _became_purchases("favourite")),
    Band("views a purchase (an assumption)", "no data", 30, 50, _views),
    Band("bulk buyers", "-", 0.01, 0.035, _bulk),
    Band("returned lines", "-", 0.008, 0.012, _returns),
    Band("missing titles", "-", 0.01, 0.03, _missing_titles),
    Band("opted out", "-", 0.025, 0.035, _opted_out),
)


def measure(data: Dataset) -> dict[str, float]:
    """Trait -> value, for every band."""
    tables = Tables.of(data)
    return {band.trait: float(band.measure(tables)) for band in BANDS}


def table(values: Mapping[str, float], bands: Sequence[AnyBand] = BANDS) -> str:
    """The Markdown table of bands and values; a missed band is marked."""
    lines = ["| trait | real, measured | band | value |", "|---|---|---|---|"]
    for band in bands:
        value = values[band.trait]
        mark = "" if band.low <= value <= band.high else " **outside**"
        lines.append(f"| {band.trait} | {band.real} | {band.low:g} to {band.high:g} | {value:.4g}{mark} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print docs/marketplace.md for the default marketplace; exit status 1 when a band is missed."""
    from fedcart.simulation.datasets.marketplace import make, make_world, pooling
    from fedcart.simulation.datasets.marketplace.page import PAGE

    data = make()
    values = measure(data)
    models = pooling.measure_models(make_world(), data)
    sys.stdout.write(PAGE.format(traits=table(values), models=table(models, pooling.MODEL_BANDS)))
    values |= models
    every: list[AnyBand] = [*BANDS, *pooling.MODEL_BANDS]
    sys.exit(any(not b.low <= values[b.trait] <= b.high for b in every))


if __name__ == "__main__":
    main()
