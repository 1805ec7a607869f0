"""Who may be learned from, by a column that answers yes or no. No answer is a no; an unknown word is refused."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcart.shared.errors import DataError
from fedcart.shared.tables.columns import Bools

YES = frozenset({"yes", "y", "true", "t", "1", "1.0"})
NO = frozenset({"no", "n", "false", "f", "0", "0.0", ""})


def answers(column: pd.Series, where: str) -> Bools:
    """[rows] whether the cell says yes. Refuses a word that is neither yes nor no, by its row."""
    words = column.astype("string").str.strip().str.lower().fillna("")
    for word in words.unique():
        if word not in YES | NO:
            row = int(np.flatnonzero((words == word).to_numpy(bool))[0]) + 1
            raise DataError(
                f"{where}, row {row}: {word!r} is neither yes nor no; nothing was read",
                "yes, y, true, t, 1; no, n, false, f, 0; an empty cell is a no",
            )
    said: Bools = words.isin(YES).to_numpy(bool)
    return said


def decisions(customers: pd.Series, said: Bools, time: npt.NDArray[np.int64], unreadable: Bools) -> dict[str, bool]:
    """Customer -> whether they may be learned from: what the latest of their rows says; of several, yes if all do.

    A row whose time cannot be read counts as the latest, so that its no is heard.
    """
    at = np.where(unreadable, np.iinfo(np.int64).max, time)
    known = customers.notna().to_numpy(bool)
    table = pd.DataFrame({"customer": customers[known], "at": at[known], "said": said[known]})
    latest = table[table["at"] == table.groupby("customer", sort=False)["at"].transform("max")]
    found = latest.groupby("customer", sort=False)["said"].all()
    return {str(customer): bool(yes) for customer, yes in found.items()}
