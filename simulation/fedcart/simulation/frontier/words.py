"""Names of methods and lists of epsilons as a frontier prints them."""

from __future__ import annotations

from collections.abc import Iterable

from fedcart.simulation.report.formats import plain
from fedcart.simulation.report.methods import NAMES

TRUST = {
    "distributed": "one noise, shared by the stores",
    "local": "each store adds all the noise itself",
    "none": "no noise",
}


def method_name(method: str) -> str:
    """A learner's own name; a baseline's as in reports, content's without what it is made of."""
    return method if method == "content" else NAMES.get(method, method)


def listed(words: Iterable[str]) -> str:
    """a, b and c."""
    found = list(words)
    return " and ".join([", ".join(found[:-1]), found[-1]]) if len(found) > 1 else "".join(found)


def epsilons(values: Iterable[float]) -> str:
    """ε = 1, 4 and 8."""
    return f"ε = {listed(plain(value) for value in sorted(values))}"
