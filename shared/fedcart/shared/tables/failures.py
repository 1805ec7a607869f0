"""Every way a file can be wrong becomes one error that names it."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from fedcart.shared.errors import DataError

DAMAGED = "the file is damaged or is another file of that name; get it again"


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


def one_line(error: BaseException) -> str:
    """An exception's text without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__
