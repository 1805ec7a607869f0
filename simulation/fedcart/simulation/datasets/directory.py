"""Where the named data sets lie: an argument, FEDCART_DATA, or ../shared/data beside the repository."""

from __future__ import annotations

import os
from pathlib import Path

from fedcart.shared.errors import DataError

HINT = "name it with --data-dir DIR or FEDCART_DATA; `fedcart data fetch NAME --data-dir DIR` downloads a set"


def data_dir(directory: Path | None = None, *, must_exist: bool = True) -> Path:
    """The data directory: `directory`, else FEDCART_DATA, else ../shared/data beside the repository.

    Raises:
      DataError: none of them is given, or (with `must_exist`) the one given is not a directory.
    """
    named = directory or (Path(os.environ["FEDCART_DATA"]) if os.environ.get("FEDCART_DATA") else None)
    if named is None:
        named = _beside_the_repository()
    if named is None:
        raise DataError("no data directory is known; nothing was read", HINT)
    if must_exist and not named.is_dir():
        raise DataError(f"the data directory {named} does not exist", HINT)
    return named


def _beside_the_repository() -> Path | None:
    root = Path(__file__).resolve().parents[4]
    shared = root.parent / "shared" / "data"
    return shared if (root / "pyproject.toml").is_file() and shared.is_dir() else None
