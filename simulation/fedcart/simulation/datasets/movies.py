"""The public item lists of the MovieLens sets: id, title, genres and year."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcart.shared.catalogue import Catalogue, Source

YEAR = r"\s*\((\d{4})\)\s*$"
"""A title ends with its year of release: 'Toy Story (1995)'."""


def movie_catalogue(
    ids: Sequence[str], titles: Sequence[str], genres: Sequence[str], source: Source = "given"
) -> Catalogue:
    """A catalogue of movies: the year leaves the title; genres are joined by '|'; unknown text is ''."""
    text = pd.Series(list(titles), dtype=object)
    year = pd.to_numeric(text.str.extract(YEAR, expand=False), errors="coerce")
    category = pd.Series(list(genres), dtype=object).replace("(no genres listed)", "")
    return Catalogue(
        ids=tuple(ids),
        source=source,
        columns={
            "title": text.str.replace(YEAR, "", regex=True).to_numpy(object),
            "category": category.to_numpy(object),
            "year": year.to_numpy(np.float64),
        },
    )


def positions(ids: npt.ArrayLike, catalogue: Catalogue) -> npt.NDArray[np.int32]:
    """[rows] catalogue position of each integer movie id; -1 = not in the catalogue."""
    table = pd.Index([int(movie) for movie in catalogue.ids])
    return table.get_indexer(pd.Index(np.asarray(ids))).astype(np.int32)
