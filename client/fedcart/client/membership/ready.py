"""Read what is new at the store's source and write the records of a plan's run, in a process of its own.

Reading tables takes some 250 MB (pandas, pyarrow) that a process never gives back; a store that waits for messages
should be small. So the node's process starts this one and forgets it. What goes wrong is told without what stands in
the data: a refusal of rows quotes customers' ids, and the node's process logs what it is told.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from fedcart.shared.errors import DataError, FedcartError

LONGEST_S = 24 * 3600


def make_ready(home: Path, place: Path) -> None:
    """Make the store in `home` ready for the plan in `place`, in a child process.

    Raises:
      DataError: it failed; the reason is the child's own line, which quotes no row.
    """
    _run("records", home, place)


def use_model(home: Path, place: Path) -> None:
    """Let the store recommend from the model of the run in `place`, in a child process. Raises DataError."""
    _run("model", home, place)


def _run(what: str, home: Path, place: Path) -> None:
    command = [sys.executable, "-m", "fedcart.client.membership.ready", what, str(home), str(place)]
    done = subprocess.run(  # noqa: S603  our own module
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LONGEST_S
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"]
        raise DataError(f"{what} of {place.name}: {lines[-1]}; nothing was approved or released")


def write_records(home: Path, place: Path) -> None:
    """What `make_ready` lets a child do: read what is new, and write the run's records. Raises FedcartError."""
    from fedcart.client.data.reading import read_new
    from fedcart.client.data.records import write_store_records
    from fedcart.client.store_folder import StoreFolder
    from fedcart.shared.agreement import Agreement

    folder, agreement = StoreFolder.open(home), Agreement.open(place)
    read_new(folder)
    write_store_records(folder, place, agreement.catalogue, agreement.plan.as_of)


def _main(what: str, home: str, place: str) -> int:
    from fedcart.client.recommend import models
    from fedcart.client.store_folder import StoreFolder

    try:
        if what == "model":
            models.use_model(StoreFolder.open(Path(home)), place)
        else:
            write_records(Path(home), Path(place))
    except Exception as error:
        print(without_rows(error, home), file=sys.stderr)
        return error.exit_code if isinstance(error, FedcartError) else 1
    return 0


def without_rows(error: Exception, home: str) -> str:
    """What may be logged of an error: of one that can quote rows its class alone."""
    if isinstance(error, FedcartError) and not isinstance(error, DataError):
        return error.message
    return f"{type(error).__name__}; `fedcart store check {home}` says more"


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
