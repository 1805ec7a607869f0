"""The store's side: `from fedcart.client import Store`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedcart.client.store import Store

__all__ = ["Store"]


def __getattr__(name: str) -> Any:
    """Load the front object when it is asked for: command-line help must not wait for it."""
    if name == "Store":
        from fedcart.client.store import Store

        return Store
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
