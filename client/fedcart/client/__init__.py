"""The store's side: `from fedcart.client import Store, StoreProcess`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedcart.client.store import Store
    from fedcart.client.store_process import StoreProcess

__all__ = ["Store", "StoreProcess"]
FRONTS = {"Store": "fedcart.client.store", "StoreProcess": "fedcart.client.store_process"}


def __getattr__(name: str) -> Any:
    """Load a front object when it is asked for: command-line help must not wait for it."""
    if name in FRONTS:
        return getattr(importlib.import_module(FRONTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
