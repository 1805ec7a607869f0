"""MovieLens-1M: GroupLens' archive (ml-1m.zip), its unpacked ratings.dat, or the pieces of it.

The pieces are all (user, movie) pairs in ratings.dat order, and the raw lines of users 1..2999. Rows of users
3000..6040 then have no time and an unknown rating (NaN): they are kept, since ranking needs neither.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import DataError
from fedcart.shared.interactions import NO_TIME, Interactions
from fedcart.simulation.datasets.dataset import Dataset, Reading
from fedcart.simulation.datasets.files import DAMAGED, find, find_any, read_integers, read_lines, reading
from fedcart.simulation.datasets.movies import movie_catalogue, positions

ARCHIVE = "ml-1m.zip"
HALF = "ratings_users_0001_2999.dat.gz"
Columns = dict[str, npt.NDArray[np.int64]]
_RATINGS = {"user": 0, "movie": 2, "rating": 4, "time": 6}  # 'u::m::r::t' at ':' has empty fields between


def read(folder: Path) -> Dataset:
    """All 1,000,209 ratings of 6,040 people; the catalogue is movies.dat (3,883 movies, `given`)."""
    events, value, time = _events(folder)
    catalogue = movies(folder)
    if catalogue is None:
        raise DataError(f"{folder} has no file movies.dat or {ARCHIVE}", "the item list comes from there")
    item = positions(events["movie"], catalogue)
    if (item < 0).any():
        row = int(np.flatnonzero(item < 0)[0]) + 1
        raise DataError(f"{folder}: rating {row} names a movie that movies.dat lacks", DAMAGED)
    people, customer = np.unique(events["user"], return_inverse=True)
    interactions = Interactions.build(customer, item, behaviour="rating", time=time, value=value)
    return Dataset("ml-1m", interactions, len(people), catalogue, (), Reading(len(item), len(item)))


def movies(folder: Path) -> Catalogue | None:
    """The movies of movies.dat (or of the archive), in its order; None when the folder has neither."""
    path = find_any(folder, "movies.dat", "ml-1m/movies.dat")
    if path is not None:
        lines = read_lines(path, "latin-1")
    elif (path := find_any(folder, ARCHIVE)) is not None:
        with reading(path, "movies.dat"), zipfile.ZipFile(path) as archive:
            lines = archive.read("ml-1m/movies.dat").decode("latin-1").splitlines()
    else:
        return None
    parts = pd.Series(lines, dtype=object).str.split("::", expand=True)
    if parts.shape[1] != 3 or parts.isna().to_numpy().any():
        raise DataError(f"{path}: a line is not 'id::title::genres'", DAMAGED)
    return movie_catalogue(parts[0].to_list(), parts[1].to_list(), parts[2].to_list())


def times(folder: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(user, movie, seconds) of every rating whose time the folder has; empty where it has none."""
    known = _whole(folder)
    if known is None:
        half = find_any(folder, HALF)
        known = {} if half is None else read_integers(half, _RATINGS, separator=":")
    nothing = np.zeros(0, np.int64)
    return known.get("user", nothing), known.get("movie", nothing), known.get("time", nothing)


def _events(folder: Path) -> tuple[Columns, npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """User and movie of each row in ratings.dat order, its rating (NaN = unknown) and time (or NO_TIME)."""
    whole = _whole(folder)
    if whole is not None:
        return whole, whole["rating"].astype(np.float32), whole["time"]
    pairs = _pairs(folder)
    rows = len(pairs["user"])
    value, time = np.full(rows, np.nan, np.float32), np.full(rows, NO_TIME, np.int64)
    half = find_any(folder, HALF)
    if half is not None:
        known = read_integers(half, _RATINGS, separator=":")
        count = len(known["user"])
        if any(not np.array_equal(known[name], pairs[name][:count]) for name in ("user", "movie")):
            raise DataError(f"{half}: its lines are not the first {count} pairs of this folder", DAMAGED)
        value[:count], time[:count] = known["rating"], known["time"]
    return pairs, value, time


def _whole(folder: Path) -> Columns | None:
    path = find_any(folder, "ratings.dat", "ml-1m/ratings.dat", "ratings.dat.gz")
    if path is not None:
        return read_integers(path, _RATINGS, separator=":")
    path = find_any(folder, ARCHIVE)
    if path is None:
        return None
    with reading(path, "ratings.dat"), zipfile.ZipFile(path) as archive:
        member: IO[bytes]
        with archive.open("ml-1m/ratings.dat") as member:
            return read_integers(member, _RATINGS, separator=":", path=path)


def _pairs(folder: Path) -> Columns:
    path = find(folder, "ratings_implicit.parquet", "pairs.DERIVED.csv.gz", "ratings.dat", ARCHIVE)
    if path.suffix != ".parquet":
        return read_integers(path, {"user": 0, "movie": 1}, separator=",", header=True)
    with reading(path):
        frame = pd.read_parquet(path, columns=["userID", "movieID"])
        return {
            name: np.asarray(frame[column], np.int64) for name, column in (("user", "userID"), ("movie", "movieID"))
        }
