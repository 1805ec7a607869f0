"""Noise from a seed, for simulations on public or made-up data only; client and server cannot import it.

Whoever knows the seed can subtract this noise, so a ledger written with it says `rehearsal` and is evidence of
nothing. What it is good for: a run that stopped goes on with the same bits, and a figure can be made again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from fedcart.shared.canonical import canonical_bytes
from fedcart.shared.privacy.keystream import Keystream


@dataclass(frozen=True, slots=True)
class RehearsalKeys:
    """Keys of one store, each a hash of the seed and of everything that makes a release another release."""

    seed: int
    store: int

    def __call__(self, plan: str, round_index: int, attempt: int, release: str) -> Keystream:
        """The stream of one release of one attempt: the same stream for the same arguments."""
        place = {
            "purpose": "rehearsal noise",
            "seed": self.seed,
            "store": self.store,
            "plan": plan,
            "round": round_index,
            "attempt": attempt,
            "release": release,
        }
        return Keystream(hashlib.sha256(canonical_bytes(place)).digest())
