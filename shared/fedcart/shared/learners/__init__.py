"""Algorithms, both halves (store and coordinator) side by side; `load` finds one by name."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from fedcart.shared.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from fedcart.shared.learners.base import Learner

BUILT_IN = {
    "popularity": "fedcart.shared.learners.popularity:Popularity",
    "gram": "fedcart.shared.learners.gram:Gram",
    "spectral": "fedcart.shared.learners.spectral:Spectral",
    "als": "fedcart.shared.learners.als:Als",
    "mf": "fedcart.shared.learners.neural.mf:MatrixFactorization",
    "ncf": "fedcart.shared.learners.neural.ncf:NeuralCollaborativeFiltering",
}
"""Name -> module:class; imported only when asked for, so that only `mf` and `ncf` need torch."""


def learner_class(name: str) -> type[Learner]:
    """The class of a built-in learner; its fields are its hyper-parameters.

    Raises:
      ConfigError: unknown name, or the extra that it needs is not installed.
    """
    if name not in BUILT_IN:
        raise ConfigError(f"unknown learner {name!r}", did_you_mean(name, BUILT_IN))
    module, _, attribute = BUILT_IN[name].partition(":")
    try:
        found: type[Learner] = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name in ("torch", "opacus"):
            raise ConfigError(
                f"learner {name!r} needs {error.name}, which is not installed",
                "pip install 'fedcart[neural]'",
            ) from None
        raise
    return found
