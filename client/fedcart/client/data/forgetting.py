"""`store forget`: everything that the folder holds of a customer goes, and stays gone when the source is read again."""

from __future__ import annotations

from pathlib import Path

from fedcart.client.data.kept import load_kept, locked, save_kept
from fedcart.client.forget import STILL_HELD, forget
from fedcart.client.records import RECORDS, open_records
from fedcart.client.store_folder import StoreFolder
from fedcart.shared.errors import DataError


def forget_customer(folder: StoreFolder, customer: str) -> str:
    """Erase a customer's rows and id, here and in the records of runs, and record that somebody was forgotten.

    The ledger's line says a bucket and a day, nobody's name. What was read goes last: a crash before that is mended by
    forgetting again.

    Returns:
      What whoever asked is told.

    Raises:
      DataError: no such customer.
      PrivacyRefused: the ledger is stopped or in use. Nothing was erased.
    """
    with locked(folder.data), folder.open_ledger() as ledger:
        kept = load_kept(folder.data)
        number = None if kept is None else kept.index.get(customer.strip())
        if kept is None or number is None:
            raise DataError("no such customer was read, or they were forgotten before; nothing was erased")
        recorded = False
        for directory in _with_records(folder.directory):
            if number < open_records(directory)[0].customers:
                forget(directory, [number], ledger)
                recorded = True
        if not recorded:
            ledger.erased(1)
        save_kept(folder.data, kept.without(number))
    return STILL_HELD


def _with_records(home: Path) -> list[Path]:
    """The store's folder and those of its runs, where records were written."""
    return [path for path in (home, *sorted((home / "runs").glob("*"))) if (path / RECORDS).is_dir()]
