"""Settings of `spectral` as a fixed function of epsilon and the public bound on customers.

More customers drown the same noise as a larger epsilon does, so both enter as their product, in units of ML-1M's
6,040 customers. The values were chosen on validation items of that set (docs/spectral.md); nothing of a run's own data
is read, so using them costs no privacy.
"""

from __future__ import annotations

import math
from typing import Any

CUSTOMERS = 6040
"""Customers of the set that the steps were chosen on."""
STEPS: tuple[tuple[float, dict[str, Any]], ...] = (
    (2.0, {"sketch_rounds": 2, "popularity_share": 0.3, "unobserved_weight": 1.0, "regularization": 300.0}),
    (6.0, {"sketch_rounds": 2, "popularity_share": 0.2, "unobserved_weight": 1.0, "regularization": 300.0}),
    (math.inf, {"sketch_rounds": 4, "popularity_share": 0.2, "unobserved_weight": 1.0, "regularization": 300.0}),
)
"""Up to this epsilon x customers / CUSTOMERS: settings."""


def suited(epsilon: float, customers_bound: int) -> dict[str, Any]:
    """The settings for a run; epsilon infinite = without noise."""
    strength = epsilon * customers_bound / CUSTOMERS
    return dict(next(settings for most, settings in STEPS if strength <= most))
