"""What members pushed and the coordinator has not taken yet: Flower bounds neither its number nor its size.

A member fills its own share of the memory and no more; what the coordinator takes, or a run's end frees, makes room.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from fedcart.shared.flower_compat.joining import MOST_BYTES

MOST_OBJECTS = 1 << 12
"""A message of MOST_BYTES is 820 chunks of 5 MiB and their arrays."""


class Pushed:
    """Objects in Flower's store by the member that registered them. Of one thread."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._of: dict[bytes, set[str]] = {}

    def has_room(self, member: bytes, objects: Set[str] = frozenset(), length: int = 0) -> bool:
        """Whether a member may register these objects too, or push `length` bytes more."""
        here = {number for number in self._of.get(member, ()) if number in self._store}
        self._of[member] = here
        held = sum(len(self._store.get(number) or b"") for number in here) if length else 0
        return len(here | objects) <= MOST_OBJECTS and held + length <= MOST_BYTES

    def note(self, member: bytes, objects: Set[str]) -> None:
        """Objects that a member has registered, if Flower took them."""
        self._of.setdefault(member, set()).update(objects)
