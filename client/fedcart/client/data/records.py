"""A store's customers as a run sees them: histories over the plan's catalogue, and who is left out, in one directory.

The number of a customer is the same in every directory. Whoever was forgotten has an empty row.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fedcart.client.consent import OPTED_OUT
from fedcart.client.data.view import open_view
from fedcart.client.records import write_records
from fedcart.client.store_folder import StoreFolder
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.storage import replace_file


def write_store_records(folder: StoreFolder, directory: Path, catalogue: Catalogue, as_of: int | None) -> int:
    """Write `directory`/records and opted_out.npy from what was read. Consent first: a crash leaves nobody in too many.

    Args:
      as_of: seconds, as the plan says: what ages are relative to. Nothing that came then or later takes part, so that a
        store can measure the model on it.

    Returns:
      How many customers have a history here and consent; never to leave the store.
    """
    view = open_view(folder, catalogue)
    out = ~view.kept.consent
    replace_file(directory / OPTED_OUT, lambda file: np.save(file, out, allow_pickle=False))
    histories = view.histories_as_of(as_of)
    write_records(directory, histories, np.array([0, view.customers]))
    return len(view.learned_from)
