"""What is known of each built-in set without reading it: source, licence, fields, cleaning, counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_GROUPLENS = "GroupLens: research use, no redistribution without permission, no commercial use"


@dataclass(frozen=True, kw_only=True)
class About:
    """A data set in words; counts are those its publisher or its README states and the tests check.

    Attributes:
      module: the reader's module, with `read(folder) -> Dataset`; '' when the set comes from elsewhere.
      files: names the reader looks for in the set's folder, alternatives joined by ' or '.
      fields: public columns and event columns the reader fills.
      cleaning: the named rules, in words.
      counts: name -> number.
    """

    title: str
    source: str
    licence: str
    module: str = ""
    files: tuple[str, ...] = ()
    fields: str = ""
    cleaning: str = "none: every row is kept"
    counts: Mapping[str, int] = field(default_factory=dict)


def about_marketplace() -> About:
    """The built-in marketplace: made, not read."""
    return About(
        title="the built-in marketplace: made-up people, shops and goods, calibrated to real sets",
        source="made on this machine from --size and --seed; no network",
        licence="Apache-2.0, as fedcart",
        fields="title, category, department, brand, price; customer, item, behaviour, time, basket, store",
    )


def _multi_behaviour(name: str, counts: Mapping[str, int]) -> About:
    return About(
        title=f"{name}: purchases, carts and favourites of a web shop, as shipped with MuLe (CIKM 2024)",
        source=f"github.com/geonwooko/MULE, data/{name}",
        licence="none stated; research release: do not redistribute",
        module="fedcart.simulation.datasets.multi_behaviour",
        files=tuple(f"{name}_{stem}.txt.gz or {stem}.txt" for stem in ("buy", "cart", "collect")),
        fields="customer, item, behaviour",
        cleaning="dropped: repeated lines of one file; the published test file is not read",
        counts=counts,
    )


BUILT_IN: Mapping[str, About] = {
    "ncf-split": About(
        title="MovieLens-1M in the leave-one-out split of NCF (He et al., WWW 2017)",
        source="github.com/hexiangnan/neural_collaborative_filtering, Data/",
        licence=_GROUPLENS,
        module="fedcart.simulation.datasets.ncf_split",
        files=(
            "ml-1m.train.pairs.DERIVED.tsv.gz or ml-1m.train.rating",
            "ml-1m.test.rating",
            "ml-1m.test.negative",
            "ml-1m.item_map.DERIVED.tsv",
            "../ml-1m/movies.dat for the whole catalogue",
        ),
        fields="title, category, year; customer, item (held-out rows: rating and time too)",
        cleaning="156 published candidate lists contain their own test item: listed once, then padded",
        counts={"training rows": 994_169, "held-out rows": 6_040, "customers": 6_040, "items": 3_883},
    ),
    "ml-1m": About(
        title="MovieLens-1M: ratings of 6,040 people",
        source="https://grouplens.org/datasets/movielens/1m/",
        licence=_GROUPLENS,
        module="fedcart.simulation.datasets.ml_1m",
        files=("ml-1m.zip or ratings.dat or ratings_implicit.parquet or pairs.DERIVED.csv.gz", "movies.dat"),
        fields="title, category, year; customer, item, rating and time where known",
        counts={"rows": 1_000_209, "customers": 6_040, "items": 3_883},
    ),
    "ml-100k": About(
        title="MovieLens-100K: ratings of 943 people",
        source="https://grouplens.org/datasets/movielens/100k/",
        licence=_GROUPLENS,
        module="fedcart.simulation.datasets.ml_100k",
        files=("ml-100k.zip or u.data or u.data.gz", "u.item or u.item.gz"),
        fields="title, category, year; customer, item, rating, time",
        counts={"rows": 100_000, "customers": 943, "items": 1_682},
    ),
    "ml-latest-small": About(
        title="MovieLens latest-small (9/2018): for development, not for reported results",
        source="https://grouplens.org/datasets/movielens/latest/",
        licence="GroupLens: may be redistributed under the same conditions, no commercial use",
        module="fedcart.simulation.datasets.ml_latest_small",
        files=("ml-latest-small.zip or ratings.csv and movies.csv",),
        fields="title, category, year; customer, item, rating, time",
        counts={"rows": 100_836, "customers": 610, "items": 9_742},
    ),
    "online-retail": About(
        title="UCI Online Retail: a gift shop's invoices, dealt to 11 shops",
        source="https://archive.ics.uci.edu/dataset/352 (Chen, Sain, Guo 2012, doi:10.1057/dbm.2012.17)",
        licence="UCI lists CC BY 4.0",
        module="fedcart.simulation.datasets.online_retail",
        files=("online_retail.csv.gz or online_retail.csv",),
        fields="title, price (GBP); customer, item, time, quantity, basket (invoice), store",
        cleaning=(
            "dropped: no customer, cancellation, quantity or price not positive, code without five digits; "
            "then a cancellation undoes the most recent earlier purchase of the same customer and item"
        ),
        counts={"rows": 541_909, "lines before cancellations": 396_337, "customers": 4_334, "items": 3_659},
    ),
    "complete-journey": About(
        title="The Complete Journey 2.0: grocery lines in the 40 largest stores, by product type",
        source="github.com/bradleyboehmke/completejourney (84.51, dunnhumby)",
        licence="the package says CC0; 84.51's own terms were not checked",
        module="fedcart.simulation.datasets.complete_journey",
        files=("transactions_sample.csv.gz", "products.csv.gz"),
        fields="title, category, department; customer, item, time, quantity, basket, store, home store",
        cleaning="dropped: product without a type, quantity not positive, store outside the 40 largest",
        counts={"rows": 75_000, "stores": 40, "customers": 1_712, "items": 2_378},
    ),
    "jdata": _multi_behaviour("jdata", {"customers": 92_131, "users incl. viewers": 93_334, "items": 24_624}),
    "tmall": _multi_behaviour("tmall", {"users incl. viewers": 41_738, "items": 11_953}),
    "taobao": _multi_behaviour("taobao", {"users incl. viewers": 15_449, "items": 11_953}),
}
