"""The built-in marketplace: eight invented shops, their people and a year of visits, from (size, seed, version).

No table of real people is behind it; docs/marketplace.md sets its traits beside those of real shops.
"""

from __future__ import annotations

from fedcart.shared.errors import ConfigError, did_you_mean
from fedcart.simulation.datasets.dataset import Dataset
from fedcart.simulation.datasets.marketplace.events import EVENTS, make_events
from fedcart.simulation.datasets.marketplace.world import SIZES, VERSION, World, make_world

__all__ = ["EVENTS", "SIZES", "VERSION", "World", "make", "make_world"]


def make(size: str = "default", seed: int = 0, events: str = "daily") -> Dataset:
    """The marketplace of a size ('small', 'default', 'large') and a seed; deterministic.

    Args:
      events: 'daily', views are one row a person, item and day with their number as value; 'full', one row a page view.

    Raises:
      ConfigError: unknown size or events, or a negative seed.
    """
    if events not in EVENTS:
        raise ConfigError(f"the marketplace has no events {events!r}; nothing was made", did_you_mean(events, EVENTS))
    return make_events(make_world(size, seed), events)
