"""UCI Online Retail: a year of a gift shop's invoice lines, dealt to 11 shops by country and customer.

Clean rule, in this order: customer known, no cancellation, quantity > 0, price > 0, StockCode starts with five
digits (else it is postage, a fee, a correction). Then each cancellation line (invoice 'C...', same rule for
customer and code) undoes its purchase: see `cancellations.undo`. Repeated lines stay: they are units of one
invoice. Times are the shop's clock, read as UTC.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import DataError
from fedcart.shared.interactions import Interactions
from fedcart.shared.tables.cancellations import Undone, undo
from fedcart.simulation.datasets.dataset import Dataset, Reading, home_stores
from fedcart.simulation.datasets.files import DAMAGED, find, reading

UK_CUTS = (40, 65, 82, 93, 100)
"""Upper ends, in per cent, of the shares of UK customers of shops UK-1..UK-5."""
COUNTRIES: Mapping[str, tuple[str, ...]] = {
    "FR-BENELUX": ("France", "Belgium", "Netherlands"),
    "DACH": ("Germany", "Austria", "Switzerland"),
    "IE-CI": ("EIRE", "Channel Islands"),
    "SOUTH": ("Spain", "Portugal", "Italy", "Greece", "Malta", "Cyprus"),
    "NORDIC": ("Norway", "Sweden", "Denmark", "Finland", "Iceland"),
    "ROW": (),
}
"""Shops outside the United Kingdom; every other country is ROW."""
SHOPS = ("UK-1", "UK-2", "UK-3", "UK-4", "UK-5", *COUNTRIES)
_TYPES = {
    "InvoiceNo": "str",
    "StockCode": "str",
    "Description": "str",
    "Quantity": "float64",
    "InvoiceDate": "str",
    "UnitPrice": "float64",
    "CustomerID": "float64",
    "Country": "str",
}


def read(folder: Path) -> Dataset:
    """Purchases by invoice (basket) in 11 shops; title and price are `derived` from the lines themselves."""
    lines = _lines(find(folder, "online_retail.csv.gz", "online_retail.csv"))
    cancelled = lines["InvoiceNo"].str.startswith("C").to_numpy(bool)
    product = lines["StockCode"].str.match(r"\d{5}").to_numpy(bool)
    known = lines["CustomerID"].notna().to_numpy(bool)
    rules: dict[str, npt.NDArray[np.bool_]] = {
        "no customer": ~known,
        "cancellation": cancelled,
        "quantity not positive": ~(lines["Quantity"].to_numpy() > 0),
        "price not positive": ~(lines["UnitPrice"].to_numpy() > 0),
        "not a product code": ~product,
    }
    kept, dropped = np.ones(len(lines), bool), {}
    for rule, bad in rules.items():
        dropped[rule] = int((kept & bad).sum())
        kept &= ~bad
    bought = lines[kept]
    people, customer = np.unique(bought["CustomerID"].to_numpy(np.int64), return_inverse=True)
    codes = pd.Index(np.unique(bought["StockCode"].to_numpy(object)))
    catalogue = _catalogue(bought, codes)
    item = codes.get_indexer(pd.Index(bought["StockCode"])).astype(np.int64)
    undone = _undone(bought, lines[cancelled & known & product], customer * len(codes) + item, people, codes)
    left = undone.quantity > 0
    dropped["undone by a cancellation"] = int((~left).sum())
    interactions = Interactions.build(
        customer,
        item,
        time=bought["time"].to_numpy(),
        value=undone.quantity,
        basket=bought["InvoiceNo"].astype(np.int64).to_numpy(),
        store=shop_of(bought["CustomerID"].to_numpy(np.int64), bought["Country"].to_numpy(object)),
    ).select(left)
    seen = {
        "purchases reduced by a cancellation": undone.reduced,
        "cancellations without purchase": undone.unmatched,
    }
    return Dataset(
        name="online-retail",
        interactions=interactions,
        customers=len(people),
        catalogue=catalogue,
        store_names=SHOPS,
        reading=Reading(len(lines), len(interactions), dropped, seen),
        homes=home_stores(interactions, len(people)),
    )


def shop_of(customer: npt.NDArray[np.int64], country: npt.NDArray[np.object_]) -> npt.NDArray[np.int32]:
    """[rows] index in SHOPS: UK customers by a hash of their number, others by country.

    SHA-256 of the decimal customer number, as an integer, mod 100, against UK_CUTS.
    """
    people, person = np.unique(customer, return_inverse=True)
    shares = [int(hashlib.sha256(str(number).encode()).hexdigest(), 16) % 100 for number in people.tolist()]
    uk_shop = np.searchsorted(np.array(UK_CUTS), np.array(shares), side="right")[person]
    shop_of_country = {name: SHOPS.index(shop) for shop, group in COUNTRIES.items() for name in group}
    places, place = np.unique(country, return_inverse=True)
    abroad = np.array([shop_of_country.get(name, SHOPS.index("ROW")) for name in places])[place]
    return np.where(country == "United Kingdom", uk_shop, abroad).astype(np.int32)


def _lines(path: Path) -> pd.DataFrame:
    """All lines, with `time` in seconds since 1970."""
    with reading(path):
        lines = pd.read_csv(path, usecols=list(_TYPES), dtype=_TYPES, encoding="utf-8")
        stamps = pd.to_datetime(lines["InvoiceDate"], format="%Y-%m-%d %H:%M:%S")
        lines["time"] = stamps.astype("datetime64[s]").astype("int64")
    if lines.empty:
        raise DataError(f"{path}: no row was found", DAMAGED)
    return lines


def _catalogue(bought: pd.DataFrame, codes: pd.Index) -> Catalogue:
    """Title = the code's most common description (among equals the first by spelling), price = its median."""
    counts = bought.groupby(["StockCode", "Description"], sort=True).size().rename("lines").reset_index()
    common = counts.sort_values("lines", ascending=False, kind="stable").drop_duplicates("StockCode")
    title = common.set_index("StockCode")["Description"].str.strip().reindex(codes).fillna("")
    price = bought.groupby("StockCode")["UnitPrice"].median().reindex(codes)
    columns = {"title": title.to_numpy(object), "price": price.to_numpy(np.float64)}
    return Catalogue(tuple(codes), "derived", columns)


def _undone(
    bought: pd.DataFrame,
    cancelling: pd.DataFrame,
    key: npt.NDArray[np.int64],
    people: npt.NDArray[np.int64],
    codes: pd.Index,
) -> Undone:
    """The purchases less the cancellations; `key` [purchases] is customer x items + item."""
    item = codes.get_indexer(pd.Index(cancelling["StockCode"])).astype(np.int64)
    customer = pd.Index(people).get_indexer(pd.Index(cancelling["CustomerID"].astype(np.int64))).astype(np.int64)
    never_bought = (item < 0) | (customer < 0)
    return undo(
        key,
        bought["time"].to_numpy(),
        bought["Quantity"].to_numpy(np.float64),
        np.where(never_bought, -1, customer * len(codes) + item),
        cancelling["time"].to_numpy(),
        -cancelling["Quantity"].to_numpy(np.float64),
    )
