"""What stores gained in simulation by learning together, by their size: measured figures, and a range of them.

The figures are those of docs/results/store-size.md, measured with all data in hand on public and made-up sets. They say
what happened there, not what will happen here.
"""

from __future__ import annotations

import functools
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

SOURCE = "docs/results/store-size.md"
FILE = "measured_gains.json"
ALIKE = 2.0
"""Stores of half to twice the customers are of a size."""
FEWEST_MEASURED = 20
"""Stores with fewer measured customers are left out: their own figure is noise."""
FEWEST_STORES = 3
"""Below this many stores of a size no range is given."""
FEWEST_FOR_MIDDLE = 8
"""From this many on, the middle half is told too: the ends are the noise of single small stores."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """One store of one simulation: NDCG@10 on new items, alone (tuned) and together.

    Attributes:
      set: name of the data set.
      customers, measured: of the store; those with a new held-out item.
      epsilon: of the run; None = without noise.
    """

    set: str
    store: str
    customers: int
    measured: int
    epsilon: float | None
    alone: float
    together: float

    @property
    def relative(self) -> float:
        """Together over alone, less 1."""
        return self.together / self.alone - 1


@dataclass(frozen=True, kw_only=True)
class Range:
    """Stores of a size under one epsilon.

    Attributes:
      low, high: the least and the greatest relative gain; None where fewer than `FEWEST_STORES` were measured.
      middle: quartiles, between which half of the stores are; None below `FEWEST_FOR_MIDDLE`.
    """

    epsilon: float | None
    stores: int
    sets: tuple[str, ...]
    low: float | None
    high: float | None
    middle: tuple[float, float] | None

    def document(self) -> dict[str, Any]:
        """For --json."""
        return {
            "epsilon": self.epsilon,
            "stores": self.stores,
            "sets": list(self.sets),
            "relative_gain": None if self.low is None else [self.low, self.high],
            "middle_half": None if self.middle is None else list(self.middle),
        }


@functools.cache
def gains() -> tuple[Gain, ...]:
    """All that was measured."""
    rows = json.loads(resources.files("fedcart.client.data").joinpath(FILE).read_text(encoding="utf-8"))["stores"]
    return tuple(Gain(**row) for row in rows)


def ranges(customers: int, measured: Sequence[Gain] | None = None) -> tuple[Range, ...]:
    """Least and greatest relative gain of stores of that size, one range an epsilon, none first."""
    known = [one for one in (gains() if measured is None else measured) if one.measured >= FEWEST_MEASURED]
    found = []
    for epsilon in sorted({one.epsilon for one in known}, key=lambda x: (x is not None, x or 0.0)):
        alike = [
            one for one in known if one.epsilon == epsilon and customers / ALIKE <= one.customers <= customers * ALIKE
        ]
        enough = len(alike) >= FEWEST_STORES
        relative = sorted(one.relative for one in alike)
        middle = None
        if len(relative) >= FEWEST_FOR_MIDDLE:
            lower, _, upper = statistics.quantiles(relative, n=4, method="inclusive")
            middle = (lower, upper)
        found.append(
            Range(
                epsilon=epsilon,
                stores=len(alike),
                sets=tuple(sorted({one.set for one in alike})),
                low=relative[0] if enough else None,
                high=relative[-1] if enough else None,
                middle=middle,
            )
        )
    return tuple(found)
