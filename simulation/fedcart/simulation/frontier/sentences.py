"""What a frontier found, in one sentence, and where content is better, unasked."""

from __future__ import annotations

from fedcart.simulation.frontier.results import Json


def summary(document: Json) -> str:
    """The table as text."""
    return str(len(document["table"]))
