"""Tables need the extra `store`; a store that lacks it is told so, not shown a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fedcart.shared.errors import ConfigError

PACKAGES = ("pandas", "pyarrow", "sqlalchemy")


@contextmanager
def store_extra() -> Iterator[None]:
    """Around imports of `shared.tables`. Raises ConfigError naming what is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name in PACKAGES:
            raise ConfigError(
                f"reading tables needs {error.name}, which is not installed", "pip install 'fedcart[store]'"
            ) from None
        raise
