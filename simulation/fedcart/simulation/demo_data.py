"""The small marketplace as tables, for `fedcart store demo`."""

from __future__ import annotations

from pathlib import Path

from fedcart.simulation.datasets import marketplace
from fedcart.simulation.datasets.export import export


def make_tables(folder: Path) -> None:
    """Write interactions.csv and items.csv, those of `fedcart data make marketplace --size small --format csv`."""
    export(marketplace.make("small", 0), folder, "csv")
