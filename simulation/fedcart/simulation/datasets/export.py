"""Write a data set as two plain tables that people and `fedcart simulate --data PATH --items PATH` can read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fedcart.shared.errors import DataError
from fedcart.shared.interactions import BEHAVIOURS, NO_TIME
from fedcart.simulation.datasets.dataset import Dataset


def export(dataset: Dataset, folder: Path, file_format: str) -> dict[str, Path]:
    """Write interactions and items into `folder` as `parquet` or `csv`; table name -> path.

    A file gets its name only when it is whole; files of an earlier call are replaced.
    """
    tables = {"interactions": _interactions(dataset), "items": _items(dataset)}
    paths = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, frame in tables.items():
            paths[name] = folder / f"{name}.{file_format}"
            part = folder / f"{name}.{file_format}.part"
            write: Callable[..., object] = frame.to_csv if file_format == "csv" else frame.to_parquet
            try:
                write(part, index=False)
                os.replace(part, paths[name])
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {error.strerror or error}", "name another --out") from error
    return paths


def _interactions(dataset: Dataset) -> pd.DataFrame:
    events = dataset.interactions
    columns: dict[str, Any] = {
        "customer": events.customer,
        "item": np.array(dataset.catalogue.ids, object)[events.item],
        "behaviour": np.array(BEHAVIOURS, object)[events.behaviour],
        "value": events.value,
    }
    if (events.time != NO_TIME).any():
        stamps = pd.Series(pd.to_datetime(np.where(events.timed, events.time, 0), unit="s", utc=True))
        columns["time"] = stamps.where(events.timed)
    if (events.basket >= 0).any():
        columns["basket"] = events.basket
    if dataset.store_names:
        columns["store"] = np.array([*dataset.store_names, ""], object)[events.store]
    return pd.DataFrame(columns)


def _items(dataset: Dataset) -> pd.DataFrame:
    return pd.DataFrame({"id": dataset.catalogue.ids, **dataset.catalogue.columns})
