"""A table of the user's own as a frame: CSV, Parquet or a database query. Structure errors name file and row."""

from __future__ import annotations

import datetime
import gzip
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from fedcart.shared.errors import DataError, did_you_mean
from fedcart.shared.interactions import DAY
from fedcart.shared.tables.failures import one_line, reading
from fedcart.shared.tables.options import TableOptions

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

PARQUET = (".parquet", ".pq")
_FORMATS = "CSV (.csv, .tsv, .txt, also .gz), Parquet (.parquet) and database URLs can be read"


def is_url(source: str) -> bool:
    """Whether `source` is a database URL (dialect://...), not a path."""
    return "://" in source


def shown(source: str) -> str:
    """The source as errors and reports may show it: a URL without its password and without what follows a `?`.

    Of a URL in which the password's end cannot be told, the dialect alone.
    """
    if not is_url(source):
        return source
    url = _database(source)
    if url is None:
        return source.split("://")[0] + "://..."
    return url.set(query={}).render_as_string(hide_password=True)


def _database(source: str) -> URL | None:
    """The URL's parts; None where it is none, or an `@` in its password makes a host of the password's end."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(source)
    except (ArgumentError, ValueError):
        return None
    return None if "@" in (url.host or "") else url


def read_frame(source: str, options: TableOptions) -> pd.DataFrame:
    """All columns of the table; text files as text ('' = missing), Parquet and SQL in their own types."""
    if is_url(source):
        return _query(source, options)
    path = Path(source)
    if path.is_dir():
        raise DataError(f"{path} is a folder, not a table", _FORMATS)
    if not path.exists():
        near = did_you_mean(path.name, (p.name for p in path.parent.glob("*") if p.is_file()))
        raise DataError(f"{path} does not exist; nothing was read", near)
    suffix = path.suffixes[-2] if path.suffix == ".gz" and len(path.suffixes) > 1 else path.suffix
    if path.suffix in PARQUET:
        with reading(path, hint="is it a Parquet file?"):
            try:
                return pd.read_parquet(path)
            except ValueError as error:
                raise DataError(
                    f"{path}: not a whole Parquet file ({one_line(error)})", "is it a Parquet file?"
                ) from error
    if suffix not in (".csv", ".tsv", ".txt"):
        raise DataError(f"{path}: files ending in {path.suffix or 'nothing'} are not read", _FORMATS)
    return _text(path, options.separator or ("\t" if suffix == ".tsv" else ","), options.encoding)


def require_columns(frame: pd.DataFrame, wanted: Sequence[str], where: str) -> None:
    """Refuses a table that lacks one of `wanted` or has one of them twice."""
    present = [str(column) for column in frame.columns]
    for column in wanted:
        if column not in present:
            raise DataError(f"{where}: there is no column {column!r}", did_you_mean(column, present))
        if present.count(column) > 1:
            raise DataError(f"{where}: the column {column!r} is there {present.count(column)} times", "rename one")


def _text(path: Path, separator: str, encoding: str) -> pd.DataFrame:
    real = "utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding
    hint = "every row needs the columns of the first line; check separator and quotes"
    try:
        with reading(path, hint=hint), warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path,
                sep=separator,
                encoding=real,
                dtype=str,
                keep_default_na=False,
                na_values=[""],
                index_col=False,
            )
            first = pd.read_csv(path, sep=separator, encoding=real, dtype=str, header=None, nrows=1, na_values=[""])
            # pandas calls the second of two columns 'store' 'store.1': both get their own name back.
            written = zip(first.iloc[0], frame.columns, strict=True)
            frame.columns = pd.Index([name if isinstance(name, str) else column for name, column in written])
            return frame
    except pd.errors.ParserWarning as warning:
        raise DataError(f"{path}: rows have more values than the first line has columns", hint) from warning
    except LookupError as error:
        raise DataError(f"{path}: {encoding!r} is no known encoding", "utf-8, latin-1, cp1252 ...") from error
    except DataError as error:
        if isinstance(error.__cause__, UnicodeDecodeError):
            line = _undecodable_line(path, real)
            raise DataError(f"{path}: line {line} is not {encoding}", "name the file's encoding") from error
        raise


def _undecodable_line(path: Path, encoding: str) -> int:
    """1-based number of the first line that `encoding` cannot decode."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    try:
        raw.decode(encoding)
    except UnicodeDecodeError as error:
        return raw[: error.start].count(b"\n") + 1
    return 1


def _query(url: str, options: TableOptions) -> pd.DataFrame:
    try:
        import sqlalchemy
    except ModuleNotFoundError as error:
        raise DataError("reading a database needs sqlalchemy", "pip install 'fedcart[store]'") from error
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    name = shown(url)
    if not options.query:
        raise DataError(f"{name}: a database URL needs a query; nothing was read", "query = 'SELECT ...'")
    parsed = _database(url)
    if parsed is None:
        hint = "dialect+driver://user:password@host/database; in the password @ is %40, : is %3A, / is %2F"
        raise DataError(f"{name}: not a database URL; nothing was read", hint)
    try:
        if parsed.get_backend_name() == "sqlite" and not _sqlite_exists(parsed.database):
            raise DataError(f"{name}: the database file {parsed.database} does not exist; nothing was read")
        engine = sqlalchemy.create_engine(parsed)
        with engine.connect() as connection:
            return pd.read_sql_query(sqlalchemy.text(options.query), connection, params=_since(options))
    except ModuleNotFoundError as error:
        hint = "install a driver of SQLAlchemy for it: pip install 'fedcart[postgresql]' brings PostgreSQL's"
        raise DataError(f"{name}: {one_line(error)}; nothing was read", hint) from error
    except (NoSuchModuleError, ArgumentError, ValueError) as error:
        raise DataError(f"{name}: {one_line(error)}", "dialect+driver://user@host/database") from error
    except (SQLAlchemyError, pd.errors.DatabaseError) as error:
        raise DataError(f"{name}: {one_line(getattr(error, 'orig', None) or error)}", "check the query") from error


def _since(options: TableOptions) -> dict[str, str | int] | None:
    """What stands for `:since`: a day before it, as zones and ways to write a time differ; the reader cuts exactly."""
    if not asks_for_new_rows(options):
        return None
    at = 0 if options.since is None else max(options.since - DAY, 0)
    if options.since_as == "seconds":
        return {"since": at}
    return {"since": datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")}


def asks_for_new_rows(options: TableOptions) -> bool:
    """Whether the query has `:since` in it."""
    return options.query is not None and re.search(r"(?<![:\w\\]):since\b", options.query) is not None


def _sqlite_exists(database: str | None) -> bool:
    return database in (None, "", ":memory:") or database.startswith("file:") or Path(database).is_file()
