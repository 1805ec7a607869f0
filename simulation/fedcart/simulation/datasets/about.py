"""What is known about each built-in set without reading it: source, licence, fields, cleaning, published counts."""

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
        fields="title, category, department, brand, price; customer, item, behaviour, time, value, basket, store",
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
        cleaning="156 published candidate lists contain their own test item: it is listed once, the row padded",
        counts={"training rows": 994_169, "held-out rows": 6_040, "customers": 6_040, "items": 3_883, "padded lists": 156},
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
        files=("ml-100k.zip or u.data", "u.item"),
        fields="title, category, year; customer, item, rating, time",
        counts={"rows": 100_000, "customers": 943, "items": 1_682},
    ),
}
