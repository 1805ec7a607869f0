"""Many stores on one machine, beside honest baselines: `from fedcart.simulation import Config, simulate, frontier`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedcart.simulation.config import Config
    from fedcart.simulation.frontier.api import Frontier, frontier
    from fedcart.simulation.run import Result, simulate

__all__ = ["Config", "Frontier", "Result", "frontier", "simulate"]


def __getattr__(name: str) -> Any:
    """Load the API when it is asked for: command-line help must not wait for it."""
    if name == "Config":
        from fedcart.simulation.config import Config

        return Config
    if name in ("Result", "simulate"):
        from fedcart.simulation import run

        return getattr(run, name)
    if name in ("Frontier", "frontier"):
        from fedcart.simulation.frontier import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
