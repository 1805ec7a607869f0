"""A table of the user's own as a data set: the rows that `shared.tables` keeps, over a given or derived item list."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fedcart.shared.errors import DataError
from fedcart.shared.interactions import Interactions
from fedcart.shared.tables.cancellations import without_cancelled
from fedcart.shared.tables.items import derived, read_items
from fedcart.shared.tables.options import TableOptions
from fedcart.shared.tables.rows import CANCELLED, CODES, read_rows
from fedcart.shared.tables.source import shown
from fedcart.simulation.datasets.dataset import Dataset, Reading, home_stores


def read(source: str, options: TableOptions, *, now: int | None = None) -> Dataset:
    """A path (CSV, Parquet) or database URL as a Dataset; `named` is False.

    Args:
      now: seconds since 1970; later events are in the future. None = the clock's.
    """
    where = shown(source)
    given = read_items(options.items, options) if options.items is not None else None
    rows = read_rows(source, options, known=None if given is None else given.index.keys(), now=now)
    catalogue = given or derived(rows.items)
    cancelled = rows.behaviour == CODES[CANCELLED]
    events = Interactions.build(
        rows.customer,
        pd.Index(catalogue.ids).get_indexer(pd.Index(rows.items))[rows.item],
        behaviour=np.where(cancelled, 0, rows.behaviour),
        time=rows.time,
        value=rows.value,
        basket=rows.basket,
        store=rows.store,
    )
    events, more, seen = without_cancelled(events, cancelled, len(catalogue))
    if not len(events):
        raise DataError(f"{where}: no purchase is left after cancellations")
    return Dataset(
        name=where,
        interactions=events,
        customers=len(rows.customers),
        catalogue=catalogue,
        store_names=rows.stores,
        reading=Reading(rows.read, len(events), {**rows.dropped, **more}, seen),
        homes=home_stores(events, len(rows.customers)) if rows.stores else None,
        named=False,
    )
