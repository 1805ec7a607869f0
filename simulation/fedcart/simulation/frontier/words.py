"""Names of methods as a frontier prints them."""

from __future__ import annotations

from fedcart.simulation.report.methods import NAMES

WITHOUT_EPSILON = "pooled without noise"


def method_name(method: str) -> str:
    """A learner's own name; a baseline's as in reports."""
    return NAMES.get(method, method)
