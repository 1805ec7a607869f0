"""A store's customers as a run sees them: histories over the plan's catalogue, and who is left out, in one directory.

The number of a customer is the same in every directory. Whoever was forgotten has an empty row. Records are written
once for a run; consent is carried into all of them at every reading, so that an opt-out holds from the next release on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedcart.client.consent import OPTED_OUT, consenting, set_consent
from fedcart.client.data.kept import Kept
from fedcart.client.data.view import open_view
from fedcart.client.forget import opt_out
from fedcart.client.records import OLD, RECORDS, mend, open_records, write_records
from fedcart.client.store_folder import StoreFolder
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import DataError
from fedcart.shared.storage import named_failures, replace_bytes, replace_file

NUMBERING = "numbering.txt"
"""Beside records: by which of the folder's numberings they name customers. Another `data` begins another one."""


def write_store_records(folder: StoreFolder, directory: Path, catalogue: Catalogue, as_of: int | None) -> int:
    """Write `directory`/records and opted_out.npy from what was read. Consent first: a crash leaves nobody in too many.

    Records that are there stay as they are, with the learners' tables beside them, and consent is brought up to date:
    a run that goes on sees the customers it began with, less those who left.

    Args:
      as_of: seconds, as the plan says: what ages are relative to. Nothing that came then or later takes part, so that a
        store can measure the model on it.

    Returns:
      How many customers have a history here and consent; never to leave the store.
    """
    view = open_view(folder, catalogue)
    if (directory / RECORDS).is_dir():
        carry_consent(directory, view.kept)
        histories = open_records(directory)[0]
    else:
        histories = view.histories_as_of(as_of)
        out = ~view.kept.consent
        replace_bytes(directory / NUMBERING, numbering(view.kept).encode())
        replace_file(directory / OPTED_OUT, lambda file: np.save(file, out, allow_pickle=False))
        write_records(directory, histories, np.array([0, view.customers]))
    rows = consenting(directory, 0, histories.customers)
    return int((histories.counts > 0).sum() if rows is None else (histories.counts[rows] > 0).sum())


def with_records(folder: StoreFolder, kept: Kept) -> Iterator[tuple[Path, int]]:
    """(directory, customers) of everything in the store's folder that holds records: its own, and those of its plans.

    Raises:
      DataError: they name customers by another numbering, so that nobody in them can be told any more.
    """
    for old in [folder.directory / OLD, *folder.directory.glob(f"*/*/{OLD}")]:
        mend(old.parent)  # a replacement that a crash cut short is no run without customers
    found = [folder.directory / RECORDS, *sorted(folder.directory.glob(f"*/*/{RECORDS}"))]
    for records in found:
        if not records.is_dir():
            continue
        directory = records.parent
        path = directory / NUMBERING
        with named_failures(path, "read"):
            own = path.read_text(encoding="utf-8") if path.exists() else ""
        if own != numbering(kept):
            raise DataError(
                f"{records} numbers customers otherwise than {folder.data}, which was made anew; nothing was changed",
                f"the run cannot go on: remove {records} and {directory / OPTED_OUT}",
            )
        yield directory, open_records(directory)[0].customers


def carry_consent(directory: Path, kept: Kept, before: Kept | None = None) -> None:
    """Leave out of a run whoever does not consent now, rows and all; take in again whoever opted in since `before`."""
    total = open_records(directory)[0].customers
    left_out = np.ones(total, np.bool_)
    rows = consenting(directory, 0, total)
    left_out[slice(None) if rows is None else rows] = False
    out = ~kept.consent[:total]
    if (out & ~left_out).any():
        opt_out(directory, _rows(out & ~left_out))
    if before is not None:
        came_back = ~out & left_out
        known = min(total, len(before.consent))
        came_back[:known] &= ~before.consent[:known]
        came_back[known:] = False
        if came_back.any():
            set_consent(directory, _rows(came_back), total, opted_out=False)


def numbering(kept: Kept) -> str:
    """Identifies the numbering of a folder's customers, and tells nothing of its key."""
    return hashlib.sha256(b"numbering\0" + kept.key).hexdigest()


def _rows(which: npt.NDArray[np.bool_]) -> list[int]:
    return [int(row) for row in np.flatnonzero(which)]
