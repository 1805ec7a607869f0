"""`frontier`: accuracy against epsilon for many learners, trusts, seeds and sizes, each point a run of `simulate`.

grid, experiment (what to run) → folder, schedule, cell_process (run it) → results, pairing (read it) →
table, buys, sentences (say it) → document, figures, page (write it).

`from fedcart.simulation import frontier` is this package once any of its modules is loaded, so it can be called: it is
`api.frontier` under its own name. Nothing here trains anything.
"""

from __future__ import annotations

import sys
import types
from typing import Any


class _Callable(types.ModuleType):
    """A package that is also its one function."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from fedcart.simulation.frontier.api import frontier

        return frontier(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
