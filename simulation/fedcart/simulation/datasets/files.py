"""Reading published files: every way a file can be wrong becomes one error that names it."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcart.shared.errors import DataError

DAMAGED = "the file is damaged or is another file of that name; get it again"


def find(folder: Path, *names: str) -> Path:
    """The first of `names` that exists in `folder`; DataError naming all when none does."""
    found = find_any(folder, *names)
    if found is not None:
        return found
    if not folder.is_dir():
        raise DataError(
            f"data set {folder.name!r} is not in {folder.parent}: there is no folder {folder}",
            _files_hint(folder.name),
        )
    raise DataError(f"{folder} has no file {' or '.join(names)}", _files_hint(folder.name))


def find_any(folder: Path, *names: str) -> Path | None:
    """The first of `names` that exists in `folder`, or None."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _files_hint(name: str) -> str:
    return f"`fedcart data describe {name}` lists its files and where they come from"


@contextmanager
def reading(path: Path, what: str = "", *, hint: str = DAMAGED) -> Iterator[None]:
    """Turns what goes wrong while `path` (or its member `what`) is read into a DataError that names it."""
    name = f"{path}:{what}" if what else str(path)
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: byte {error.start} is not {error.encoding}", "name the file's encoding") from error
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{name}: the file is empty", hint) from error
    except (
        pd.errors.ParserError,
        gzip.BadGzipFile,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        KeyError,
    ) as error:
        raise DataError(f"{name}: {one_line(error)}", hint) from error
    except (ValueError, OverflowError) as error:
        raise DataError(f"{name}: a value has the wrong type ({one_line(error)})", hint) from error
    except OSError as error:
        raise DataError(f"{name}: {error.strerror or one_line(error)}; nothing was read") from error


def read_integers(
    source: Path | IO[Any],
    columns: Mapping[str, int],
    *,
    separator: str = "\t",
    header: bool = False,
    path: Path | None = None,
) -> dict[str, npt.NDArray[np.int64]]:
    """Integer columns of a text file (gzip by suffix): name -> [rows] int64.

    Args:
      columns: name -> 0-based position in the line.
      path: names the file in errors when `source` is an open file.
    """
    named = path or (source if isinstance(source, Path) else Path("<open file>"))
    with reading(named):
        frame = pd.read_csv(
            source,
            sep=separator,
            header=0 if header else None,
            usecols=sorted(columns.values()),
            dtype=np.int64,
        )
    if frame.empty:
        raise DataError(f"{named}: no row was found", DAMAGED)
    order = sorted(columns, key=columns.__getitem__)
    return {name: frame.iloc[:, place].to_numpy() for place, name in enumerate(order)}


def read_lines(path: Path, encoding: str) -> list[str]:
    """All lines of a small text file (gzip by suffix), without empty ones."""
    opener: Callable[[Path, str], IO[bytes]] = gzip.open if path.suffix == ".gz" else open  # type: ignore[assignment]
    with reading(path), opener(path, "rb") as stream:
        text = stream.read().decode(encoding)
    return [line for line in text.splitlines() if line]


def one_line(error: BaseException) -> str:
    """An exception's text without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__
