"""Opt-out and the right to be forgotten, at the store."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from fedcart.client.consent import set_consent
from fedcart.client.held_out import erase_held_out
from fedcart.client.local_table import MappedTable
from fedcart.client.records import LOCAL, RECORDS, open_records, rewrite_records
from fedcart.shared.ledger.ledger import Ledger

STILL_HELD = (
    "Sums released before now, and models made of them, hold what this customer gave, under the epsilon that was "
    "charged for it. Nothing is refunded and nothing can be taken back from them."
)
"""What whoever asks to be forgotten is told."""


def opt_out(directory: Path | str, customers: Collection[int]) -> None:
    """Leave customers out of every release from now on; erase their local rows and held-out items."""
    histories, _ = open_records(directory)
    set_consent(directory, customers, histories.customers, opted_out=True)
    erase_held_out(directory, customers)
    rows = np.fromiter(customers, np.int64, len(customers))
    MappedTable(f"{directory}/{RECORDS}/{LOCAL}", 0, histories.customers, histories.customers, None, rows).erase()


def forget(directory: Path | str, customers: Collection[int], ledger: Ledger) -> str:
    """Opt customers out, erase their rows and interactions, and record that some were forgotten, not who.

    Interactions go last and the record after them: a crash in between is mended by forgetting again.

    Returns:
      `STILL_HELD`.
    """
    opt_out(directory, customers)
    histories, offsets = open_records(directory)
    gone = np.zeros(histories.customers, np.bool_)
    gone[np.fromiter(customers, np.int64, len(customers))] = True
    rewrite_records(directory, histories.only(~gone[histories.row_of_pair()]), offsets)
    ledger.erased(len(customers))
    return STILL_HELD
