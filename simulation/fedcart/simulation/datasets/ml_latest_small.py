"""MovieLens latest-small (9/2018): GroupLens' zip, or its unpacked ratings.csv and movies.csv."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from fedcart.shared.errors import DataError
from fedcart.shared.interactions import Interactions
from fedcart.simulation.datasets.dataset import Dataset, Reading
from fedcart.simulation.datasets.files import DAMAGED, find, find_any, reading
from fedcart.simulation.datasets.movies import movie_catalogue, positions

ARCHIVE = "ml-latest-small.zip"


def read(folder: Path) -> Dataset:
    """100,836 timed ratings (0.5..5 stars) of 610 people; the catalogue is movies.csv (9,742, `given`)."""
    ratings = find_any(folder, "ratings.csv", "ml-latest-small/ratings.csv")
    path = ratings or find(folder, ARCHIVE, "ratings.csv")
    with reading(path):
        if ratings is not None:
            events, listed = _ratings(ratings), _movies(ratings.parent / "movies.csv")
        else:
            with zipfile.ZipFile(path) as archive:
                events = _ratings(archive.open("ml-latest-small/ratings.csv"))
                listed = _movies(archive.open("ml-latest-small/movies.csv"))
    catalogue = movie_catalogue(
        listed["movieId"].astype(str).to_list(), listed["title"].to_list(), listed["genres"].to_list()
    )
    item = positions(events["movieId"].to_numpy(), catalogue)
    if (item < 0).any():
        row = int(np.flatnonzero(item < 0)[0]) + 1
        raise DataError(f"{path}: rating {row} names a movie that movies.csv lacks", DAMAGED)
    people, customer = np.unique(events["userId"].to_numpy(), return_inverse=True)
    interactions = Interactions.build(
        customer,
        item,
        behaviour="rating",
        time=events["timestamp"].to_numpy(),
        value=events["rating"].to_numpy(),
    )
    return Dataset("ml-latest-small", interactions, len(people), catalogue, (), Reading(len(item), len(item)))


def _ratings(source: Path | IO[Any]) -> pd.DataFrame:
    types = {"userId": "int64", "movieId": "int64", "rating": "float32", "timestamp": "int64"}
    return pd.read_csv(source, usecols=list(types), dtype=types)


def _movies(source: Path | IO[Any]) -> pd.DataFrame:
    return pd.read_csv(source, usecols=["movieId", "title", "genres"], encoding="utf-8", keep_default_na=False)
