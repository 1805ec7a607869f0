"""The built-in marketplace: eight invented shops, their people and a year of visits, from (size, seed, version).

No table of real people is behind it; docs/marketplace.md sets its traits beside those of real shops.
"""

from __future__ import annotations

from fedcart.simulation.datasets.dataset import Dataset
from fedcart.simulation.datasets.marketplace.events import make_events
from fedcart.simulation.datasets.marketplace.world import SIZES, VERSION, World, make_world

__all__ = ["SIZES", "VERSION", "World", "make", "make_world"]


def make(size: str = "default", seed: int = 0) -> Dataset:
    """The marketplace of a size ('small', 'default', 'large') and a seed; deterministic.

    Raises:
      ConfigError: unknown size, or a negative seed.
    """
    return make_events(make_world(size, seed))
