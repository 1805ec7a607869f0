"""Who opted out of learning: one byte a customer beside the records, changed durably, read once a release.

Opting out acts from the next release on and erases the customer's local rows. It refunds nothing: what earlier
releases hold of the customer stays in published models, under the epsilon that was promised for it.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedcart.shared.errors import DataError
from fedcart.shared.storage import named_failures, replace_file

OPTED_OUT = "opted_out.npy"


def consenting(directory: Path | str, start: int, stop: int) -> npt.NDArray[np.int64] | None:
    """Rows (0 = start) of the customers start..stop - 1 who did not opt out; None when nobody did.

    Raises:
      DataError: the file holds something else; then nobody's consent is known and nothing is read.
    """
    path = Path(directory) / OPTED_OUT
    if not path.exists():
        return None
    out = _read(path)[start:stop]
    if len(out) != stop - start:
        raise DataError(f"{path}: {len(out)} of {stop - start} customers; nothing was read")
    return np.flatnonzero(~out) if out.any() else None


def set_consent(directory: Path | str, customers: Collection[int], total: int, *, opted_out: bool) -> None:
    """Opt customers out, or in again; durable when this returns.

    Args:
      customers: rows of the directory's records.
      total: number of customers in the records.

    Raises:
      DataError: a row that is none of them; nothing was changed.
    """
    rows = np.fromiter(customers, np.int64, len(customers))
    if len(rows) and not 0 <= rows.min() <= rows.max() < total:
        raise DataError(f"a customer outside the {total} of these records; nobody's consent was changed")
    path = Path(directory) / OPTED_OUT
    out = _read(path) if path.exists() else np.zeros(total, np.bool_)
    if len(out) != total:
        raise DataError(f"{path}: {len(out)} customers, not {total}; nobody's consent was changed")
    out[rows] = opted_out
    replace_file(path, lambda file: np.save(file, out, allow_pickle=False))


def _read(path: Path) -> npt.NDArray[np.bool_]:
    with named_failures(path, "read"):
        try:
            out = np.load(path, allow_pickle=False)
        except (ValueError, EOFError):
            raise DataError(f"{path}: not a table of consent; nothing was read") from None
    if out.dtype != np.bool_ or out.ndim != 1:
        raise DataError(f"{path}: not a table of consent; nothing was read")
    return np.array(out)
