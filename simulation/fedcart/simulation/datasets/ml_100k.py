"""MovieLens-100K: u.data and u.item, unpacked, gzipped or in GroupLens' ml-100k.zip.

A customer may have several ratings at one time (415 of 943 at their last one): a split needs a rule for ties.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import DataError
from fedcart.shared.interactions import Interactions
from fedcart.simulation.datasets.dataset import Dataset, Reading
from fedcart.simulation.datasets.files import DAMAGED, find, find_any, read_integers, read_lines, reading
from fedcart.simulation.datasets.movies import movie_catalogue, positions

ARCHIVE = "ml-100k.zip"
GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *(
        "Fantasy",
        "Film-Noir",
        "Horror",
        "Musical",
        "Mystery",
        "Romance",
        "Sci-Fi",
        "Thriller",
        "War",
        "Western",
    ),
)
"""The 19 flags at the end of a line of u.item, in order (u.genre)."""
_RATINGS = {"user": 0, "movie": 1, "rating": 2, "time": 3}


def read(folder: Path) -> Dataset:
    """100,000 ratings (1..5 stars, timed) of 943 people; the catalogue is u.item (1,682 movies, `given`)."""
    archive = find_any(folder, ARCHIVE)
    if archive is not None and find_any(folder, "u.data", "u.data.gz") is None:
        with reading(archive), zipfile.ZipFile(archive) as members:
            data: io.BytesIO | Path = io.BytesIO(members.read("ml-100k/u.data"))
            lines = members.read("ml-100k/u.item").decode("latin-1").splitlines()
    else:
        archive = data = find(folder, "u.data", "u.data.gz", "ml-100k/u.data", ARCHIVE)
        lines = read_lines(find(folder, "u.item", "u.item.gz", "ml-100k/u.item"), "latin-1")
    events = read_integers(data, _RATINGS, path=archive)
    catalogue = _catalogue(lines, folder)
    item = positions(events["movie"], catalogue)
    if (item < 0).any():
        row = int(np.flatnonzero(item < 0)[0]) + 1
        raise DataError(f"{archive}: row {row} names a movie that u.item lacks", DAMAGED)
    people, customer = np.unique(events["user"], return_inverse=True)
    interactions = Interactions.build(customer, item, behaviour="rating", time=events["time"], value=events["rating"])
    return Dataset("ml-100k", interactions, len(people), catalogue, (), Reading(len(item), len(item)))


def _catalogue(lines: list[str], folder: Path) -> Catalogue:
    parts = pd.Series([line for line in lines if line], dtype=object).str.split("|", expand=True)
    if parts.shape[1] != 5 + len(GENRES):
        raise DataError(f"{folder}: u.item has lines of {parts.shape[1]} columns, not {5 + len(GENRES)}", DAMAGED)
    flags = (parts.iloc[:, 5:] == "1").to_numpy()  # [movies, 19]
    genres = ["|".join(name for name, on in zip(GENRES[1:], row[1:], strict=True) if on) for row in flags]
    return movie_catalogue(parts[0].to_list(), parts[1].to_list(), genres)
