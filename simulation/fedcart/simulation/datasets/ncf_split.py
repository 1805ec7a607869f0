"""The leave-one-out split of MovieLens-1M by He et al. (NCF, WWW 2017): train pairs, test items, negatives.

Items are positions 0..3705 in NCF's own numbering, then the movies nobody rated: the whole public list (3,883,
`given`) when the folder `ml-1m` lies beside this one, else the 3,706 rated ones (`derived`). For 156 people the
published negatives contain their own test item: their row has 99 distinct candidates and a -1. Times of training
ratings are those of the folder `ml-1m` beside this one, as far as it has them: customers 0..2998 where it is in pieces.
"""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import DataError
from fedcart.shared.interactions import NO_TIME, Interactions
from fedcart.simulation.datasets.dataset import Dataset, GivenSplit, Reading
from fedcart.simulation.datasets.files import DAMAGED, find, read_integers, reading
from fedcart.simulation.datasets.ml_1m import movies, times


def read(folder: Path) -> Dataset:
    """994,169 training events, 6,040 held-out ones; a training rating counts 1, as in NCF."""
    train_path = find(folder, "ml-1m.train.pairs.DERIVED.tsv.gz", "ml-1m.train.rating", "ml-1m.train.rating.gz")
    train = read_integers(train_path, {"user": 0, "item": 1})
    test_path = find(folder, "ml-1m.test.rating.gz", "ml-1m.test.rating")
    test = read_integers(test_path, {"user": 0, "item": 1, "rating": 2, "time": 3})
    map_path = find(folder, "ml-1m.item_map.DERIVED.tsv")
    movie_of_item = _movie_of_item(map_path)
    candidates = _candidates(find(folder, "ml-1m.test.negative.gz", "ml-1m.test.negative"), test)
    highest = max(int(train["item"].max()), int(candidates.max()))
    if highest >= len(movie_of_item):
        raise DataError(f"{map_path}: the split has an item {highest}, the map {len(movie_of_item)}", DAMAGED)
    customers = int(max(train["user"].max(), test["user"].max())) + 1
    rows = len(train["user"]) + len(test["user"])
    return Dataset(
        name="ncf-split",
        interactions=Interactions.build(
            train["user"], train["item"], behaviour="rating", time=_times(train, movie_of_item, folder.parent / "ml-1m")
        ),
        customers=customers,
        catalogue=_catalogue(movie_of_item, folder),
        store_names=(),
        reading=Reading(rows, rows),
        given_split=GivenSplit(
            Interactions.build(test["user"], test["item"], behaviour="rating", time=test["time"], value=test["rating"]),
            candidates,
        ),
    )


def distinct_candidates(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """[customers, candidates] with every later copy of an item in a row removed and the row padded with -1.

    The order of the remaining items is kept, so the first (the test item) stays first.
    """
    order = np.argsort(rows, axis=1, kind="stable")
    ordered = np.take_along_axis(rows, order, 1)
    copy_sorted = np.zeros(rows.shape, bool)
    copy_sorted[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    copy = np.zeros(rows.shape, bool)
    np.put_along_axis(copy, order, copy_sorted, 1)
    front = np.argsort(copy, axis=1, kind="stable")  # kept items first, in their order
    packed = np.take_along_axis(np.where(copy, -1, rows), front, 1)
    return packed.astype(np.int32)


def _candidates(path: Path, test: dict[str, npt.NDArray[np.int64]]) -> npt.NDArray[np.int32]:
    """[customers, 100] the test item, then the published negatives of '(user,item)\\tn1\\t...\\tn99'."""
    with reading(path):
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        plain = raw.decode("ascii").translate({ord("("): None, ord(")"): None, ord(","): "\t"})
        table = pd.read_csv(io.StringIO(plain), sep="\t", header=None, dtype=np.int64).to_numpy()
    if not np.array_equal(table[:, :2], np.column_stack([test["user"], test["item"]])):
        raise DataError(f"{path}: its '(user,item)' are not those of the test file, line by line", DAMAGED)
    return distinct_candidates(table[:, 1:])


def _times(
    train: dict[str, npt.NDArray[np.int64]], movie_of_item: npt.NDArray[np.int64], folder: Path
) -> npt.NDArray[np.int64]:
    """[rows] seconds of each training rating, NO_TIME where `folder` has none; NCF counts people from 0."""
    user, movie, time = times(folder)
    found = np.full(len(train["user"]), NO_TIME, np.int64)
    if not len(user):
        return found
    width = int(max(movie_of_item.max(), movie.max())) + 1
    known = user * width + movie
    order = np.argsort(known, kind="stable")
    wanted = (train["user"] + 1) * width + movie_of_item[train["item"]]
    position = np.minimum(np.searchsorted(known[order], wanted), len(order) - 1)
    match = known[order[position]] == wanted
    found[match] = time[order[position]][match]
    return found


def _movie_of_item(path: Path) -> npt.NDArray[np.int64]:
    """[items] movie id of each NCF item."""
    table = read_integers(path, {"item": 0, "movie": 1}, header=True)
    if not np.array_equal(table["item"], np.arange(len(table["item"]))):
        raise DataError(f"{path}: the items are not 0, 1, 2, ...", DAMAGED)
    return table["movie"]


def _catalogue(movie_of_item: npt.NDArray[np.int64], folder: Path) -> Catalogue:
    rated = tuple(str(movie) for movie in movie_of_item)
    listed = movies(folder.parent / "ml-1m")
    if listed is None:
        return Catalogue(rated, "derived")
    known = set(rated)
    ids = rated + tuple(movie for movie in listed.ids if movie not in known)
    lacking = next((movie for movie in rated if movie not in listed.index), None)
    if lacking is not None:
        raise DataError(f"movie {lacking} of {folder} is not in the movies.dat beside it", DAMAGED)
    order = np.array([listed.index[movie] for movie in ids])
    return Catalogue(ids, "given", {name: column[order] for name, column in listed.columns.items()})
