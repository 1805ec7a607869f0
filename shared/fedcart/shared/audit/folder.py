"""Which files of a directory are ledgers, and what else lies beside them. Reads names only, and stop markers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from fedcart.shared.errors import InputError
from fedcart.shared.storage import named_failures

LEDGERS, SUFFIX, STOPPED = "ledger", ".jsonl", ".stopped"
RECEIPTS = Path("transcript") / "receipts.jsonl"
"""Beside the ledgers: the receipts that the coordinator signed, as it kept them."""
COORDINATORS = {"rounds.jsonl": "plan.json", RECEIPTS.name: "pins.json"}
"""Files of a coordinator that end like ledgers and are none, each with the file that lies beside it."""
_TORN = re.compile(r".*\.jsonl\.torn-[0-9]{1,15}-[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Folder:
    """What an auditor was handed.

    Attributes:
      directory: where the ledgers lie.
      ledgers: every NAME.jsonl, by name.
      stopped: every NAME.jsonl.stopped: that store found its own ledger unusable.
      foreign: names of files that belong to no ledger; they are not read.
    """

    directory: Path
    ledgers: tuple[Path, ...]
    stopped: tuple[Path, ...]
    foreign: tuple[str, ...]


def find_ledgers(directory: Path) -> Folder:
    """The ledgers in DIR/ledger (the folder of a run) or, when there are none, in DIR itself.

    Raises:
      InputError: no such directory, or it has no ledgers.
    """
    if not directory.is_dir():
        raise InputError(f"{directory}: no such directory; nothing was audited")
    for place in (directory / LEDGERS, directory):
        with named_failures(place, "list"):
            files = sorted(path for path in place.iterdir() if path.is_file()) if place.is_dir() else []
        names = {path.name for path in files}
        others = {name for name, beside in COORDINATORS.items() if {name, beside} <= names}
        ledgers = tuple(path for path in files if path.name.endswith(SUFFIX) and path.name not in others)
        if ledgers:
            stopped = tuple(path for path in files if path.name.endswith(SUFFIX + STOPPED))
            known = {*ledgers, *stopped, *(path for path in files if _TORN.fullmatch(path.name))}
            return Folder(place, ledgers, stopped, tuple(path.name for path in files if path not in known))
        if others:
            raise InputError(
                f"{directory}: what a coordinator keeps of a plan; ledgers lie at the stores, and nothing was audited",
                f"fedcart audit transcript {directory} replays its secure aggregation, where it used any",
            )
    raise InputError(
        f"{directory}: no ledgers (*.jsonl) here or in {LEDGERS}/; nothing was audited",
        "a run without epsilon has none: it promises nothing",
    )
