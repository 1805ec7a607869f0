"""Faults that a process of the coordinator's own can be given: importable where they are used."""

from __future__ import annotations

from fedcart.simulation.engines.faults import Fault


def drop_the_last(store: int, round_index: int, attempt: int) -> Fault | None:
    """Store 3 of four is reported dead."""
    return Fault("drop") if store == 3 else None
