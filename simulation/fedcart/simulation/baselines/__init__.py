"""Methods that see all customers at once, for comparison; each ends in a `Scorer` for the training customers."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import ConfigError, did_you_mean
from fedcart.shared.interactions import Histories
from fedcart.shared.learners.base import Scorer

NAMES: tuple[str, ...] = (
    "popularity",
    "recent",
    "recent_own",
    "itemknn",
    "userknn",
    "ease",
    "ials",
    "content",
    "random",
    "memoriser",
)
"""Every baseline; each is the function `fit` of the module of its name."""

POPULARITY_ALONE = frozenset({"recent", "recent_own", "content"})
"""Those that learn nothing together but popularity; private runs give them a released one."""


def fit(name: str, train: Histories, catalogue: Catalogue, seed: int, **settings: Any) -> Scorer:
    """Fit a baseline to the training view; `settings` are the keyword arguments of its own `fit`.

    Raises:
      ConfigError: unknown name or setting.
    """
    if name not in NAMES:
        raise ConfigError(f"unknown baseline {name!r}", did_you_mean(name, NAMES))
    fit_one = _function(name)
    known = set(inspect.signature(fit_one).parameters) - {"train", "catalogue"}
    for key in settings:
        if key not in known - {"seed"}:
            raise ConfigError(f"baseline {name!r} has no setting {key!r}", did_you_mean(key, known - {"seed"}))
    if "seed" in known:
        settings = {**settings, "seed": seed}
    return fit_one(train, catalogue, **settings)


def setting(name: str, key: str, settings: Mapping[str, Any]) -> Any:
    """What a baseline runs with: from `settings`, else its own default."""
    return settings[key] if key in settings else inspect.signature(_function(name)).parameters[key].default


def _function(name: str) -> Callable[..., Scorer]:
    found: Callable[..., Scorer] = importlib.import_module(f"{__name__}.{name}").fit
    return found
