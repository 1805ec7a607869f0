"""`store forget`: everything that the folder holds of a customer goes, and stays gone when the source is read again."""

from __future__ import annotations

from fedcart.client.data.kept import load_kept, locked, save_kept
from fedcart.client.data.records import with_records
from fedcart.client.forget import STILL_HELD, forget
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
        for directory, customers in list(with_records(folder, kept)):
            if number < customers:
                forget(directory, [number], ledger)
                recorded = True
        if not recorded:
            ledger.erased(1)
        save_kept(folder.data, kept.without(number))
    return STILL_HELD
