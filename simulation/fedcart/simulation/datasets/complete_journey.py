"""The Complete Journey 2.0 (84.51, dunnhumby): a sample of grocery lines in the 40 largest of 293 stores.

An item is a product type (2,378 in products.csv: public, so `given`); single products are too sparse to learn.
Rules, in this order: the product has a type; quantity > 0; the store is among the 40 with the most lines of the
file (ties: the lower store number). A household's home store is that of its first purchase in those 40 stores;
`interactions.store` is where each line happened. Times are UTC.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import DataError
from fedcart.shared.interactions import Interactions
from fedcart.simulation.datasets.dataset import Dataset, Reading, home_stores
from fedcart.simulation.datasets.files import DAMAGED, find, reading

STORES = 40
_LINES = {
    "household_id": "int64",
    "store_id": "int64",
    "basket_id": "int64",
    "product_id": "int64",
    "quantity": "float64",
    "transaction_timestamp": "str",
}
_PRODUCTS = {"product_id": "int64", "department": "str", "product_category": "str", "product_type": "str"}


def read(folder: Path) -> Dataset:
    """Purchases by basket of 1,712 households in 40 stores."""
    products = _products(find(folder, "products.csv.gz", "products.csv"))
    lines = _lines(find(folder, "transactions_sample.csv.gz", "transactions_sample.csv"))
    catalogue = _catalogue(products)
    type_of_product = products.set_index("product_id")["product_type"]
    kind = lines["product_id"].map(type_of_product)
    counts = lines["store_id"].value_counts().rename("lines").reset_index()
    largest = counts.sort_values(["lines", "store_id"], ascending=[False, True])["store_id"].to_numpy()[:STORES]
    rules = {
        "product without a type": kind.isna().to_numpy(bool),
        "quantity not positive": ~(lines["quantity"].to_numpy() > 0),
        f"store outside the {STORES} largest": ~lines["store_id"].isin(largest).to_numpy(bool),
    }
    kept, dropped = np.ones(len(lines), bool), {}
    for rule, bad in rules.items():
        dropped[rule] = int((kept & bad).sum())
        kept &= ~bad
    bought = lines[kept]
    people, customer = np.unique(bought["household_id"].to_numpy(), return_inverse=True)
    interactions = Interactions.build(
        customer,
        pd.Index(catalogue.ids).get_indexer(pd.Index(kind[kept])),
        time=bought["time"].to_numpy(),
        value=bought["quantity"].to_numpy(),
        basket=bought["basket_id"].to_numpy(),
        store=pd.Index(largest).get_indexer(pd.Index(bought["store_id"])),
    )
    return Dataset(
        name="complete-journey",
        interactions=interactions,
        customers=len(people),
        catalogue=catalogue,
        store_names=tuple(f"store {number}" for number in largest.tolist()),
        reading=Reading(len(lines), len(interactions), dropped),
        homes=home_stores(interactions, len(people)),
    )


def _lines(path: Path) -> pd.DataFrame:
    with reading(path):
        lines = pd.read_csv(path, usecols=list(_LINES), dtype=_LINES)
        stamps = pd.to_datetime(lines["transaction_timestamp"], format="%Y-%m-%d %H:%M:%S")
        lines["time"] = stamps.astype("datetime64[s]").astype("int64")
    if lines.empty:
        raise DataError(f"{path}: no row was found", DAMAGED)
    return lines


def _products(path: Path) -> pd.DataFrame:
    with reading(path):
        return pd.read_csv(path, usecols=list(_PRODUCTS), dtype=_PRODUCTS)


def _catalogue(products: pd.DataFrame) -> Catalogue:
    """One item a product type, by name; category and department are the commonest among its products."""
    typed = products[products["product_type"].notna()]
    kinds = np.unique(typed["product_type"].to_numpy(object))
    columns = {"title": kinds.copy()}
    for name, column in (("category", "product_category"), ("department", "department")):
        counts = typed.groupby(["product_type", column], sort=True).size().rename("products").reset_index()
        common = counts.sort_values("products", ascending=False, kind="stable").drop_duplicates("product_type")
        columns[name] = common.set_index("product_type")[column].reindex(kinds).fillna("").to_numpy(object)
    return Catalogue(tuple(kinds), "given", columns)
