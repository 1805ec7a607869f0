"""Settings of `spectral` as a fixed function of epsilon and the public bound on customers.

More customers drown the same noise as a larger epsilon does, so both enter as their product, in units of ML-1M's
6,040 customers. The values were chosen on validation items of that set and of online-retail (docs/spectral.md);
nothing of a run's own data is read.
"""

from __future__ import annotations

import math
import sys
from typing import Any

CUSTOMERS = 6040
"""Customers of ML-1M."""
FEW: dict[str, Any] = {
    "sketch_rounds": 2,
    "popularity_share": 0.6,
    "factor_weight": 0.75,
    "factor_exponent": 0.5,
    "unobserved_weight": 1.0,
    "regularization": 100.0,
}
SOME: dict[str, Any] = {
    "sketch_rounds": 2,
    "popularity_share": 0.2,
    "factor_weight": 1.0,
    "factor_exponent": 0.25,
    "unobserved_weight": 1.0,
    "regularization": 200.0,
}
MANY: dict[str, Any] = SOME | {"sketch_rounds": 3, "first_dim": 32, "embedding_dim": 31}
"""95 words an item, 2.95 MB on ML-1M's 3,883; four wider sketches take half as much again and gain nothing sure."""
STEPS: tuple[tuple[float, dict[str, Any]], ...] = (
    (3.5, FEW),
    (6.0, SOME),
    (sys.float_info.max, MANY),
    (math.inf, SOME | {"sketch_rounds": 4}),
)
"""Up to this epsilon x customers / CUSTOMERS: settings."""


def suited(epsilon: float, customers_bound: int) -> dict[str, Any]:
    """The settings for a run; epsilon infinite = without noise."""
    strength = epsilon * customers_bound / CUSTOMERS
    return dict(next(settings for most, settings in STEPS if strength <= most))
