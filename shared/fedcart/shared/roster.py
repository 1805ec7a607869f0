"""Who takes part in a plan: the roster file, and what secure aggregation pins from it and from the plan.

Both sides read their own copy; nothing of it ever comes in a message. A store's index is its position.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedcart.shared.canonical import canonical_bytes, content_hash
from fedcart.shared.errors import ConfigError, DataError
from fedcart.shared.identity import KEY_BYTES
from fedcart.shared.learners.base import Round
from fedcart.shared.plan import Plan
from fedcart.shared.privacy.grid import grid, share_variance
from fedcart.shared.privacy.release import Release
from fedcart.shared.secagg.graph import reach_of
from fedcart.shared.secagg.masks import Bits
from fedcart.shared.secagg.pins import HASH, Pins
from fedcart.shared.storage import named_failures, replace_bytes

ROSTER, KEY = "roster.json", Path("keys") / "coordinator.key"
"""In a run's directory; the key is at the coordinator only."""
VERSION = 1
MOST_EPOCH_ROUNDS = 64
"""R is no more: KEYS and BOXES grow with R, and a store that missed them sits out R rounds."""
NOISE_ROOM = 12
"""Standard deviations of the whole noise that must fit beside the sum."""


@dataclass(frozen=True, kw_only=True)
class Roster:
    """The participants, in the order of their indices. All are lower-case hexadecimal digits.

    Attributes:
      coordinator: Ed25519 public key, 64 digits.
      stores: public key of each store.
      ledgers: hash of the first line of each store's ledger.
    """

    coordinator: str
    stores: tuple[str, ...]
    ledgers: tuple[str, ...]

    def __post_init__(self) -> None:
        words = (self.coordinator, *self.stores, *self.ledgers)
        if len(self.stores) != len(self.ledgers) or not all(map(_is_hash, words)):
            raise ConfigError("a roster names a key and a ledger for each store, 64 hex digits each; nothing was run")

    @property
    def hash(self) -> str:
        """SHA-256 of the file, 64 hex digits: what a policy's roster_root pins."""
        return content_hash(self.document())

    def document(self) -> dict[str, object]:
        """As canonical JSON can hold it."""
        stores = [{"key": key, "ledger": ledger} for key, ledger in zip(self.stores, self.ledgers, strict=True)]
        return {"version": VERSION, "coordinator": self.coordinator, "stores": stores}

    def save(self, path: Path) -> None:
        """Write the canonical bytes, durably."""
        replace_bytes(path, canonical_bytes(self.document()))

    @classmethod
    def load(cls, path: Path) -> Roster:
        """Read a roster.

        Raises:
          InputError: there is none, or it cannot be read.
          DataError: it is something else.
        """
        with named_failures(path, "read"):
            raw = path.read_bytes()
        try:
            found = json.loads(raw)
            rows = found["stores"]
            made = cls(
                coordinator=found["coordinator"],
                stores=tuple(row["key"] for row in rows),
                ledgers=tuple(row["ledger"] for row in rows),
            )
            whole = canonical_bytes(made.document()) == raw
        except (ValueError, TypeError, KeyError, ConfigError):
            whole = False
        if not whole:
            raise DataError(f"{path}: not a roster of version {VERSION}; nothing was run")
        return made


def pins_of(plan: Plan, plan_hash: str, rounds: Sequence[Round], roster: Roster) -> Pins:
    """What SA1 takes for granted in a run of `plan`: one vector a round, all its releases one after another.

    Release number r of the protocol is round r of the plan. An epoch has R rounds, tries included.

    Raises:
      ConfigError: the plan's trust is not `distributed`, the roster has another number of stores, or above 100 stores
        all would have to be each other's neighbours.
    """
    cohort = plan.cohort()
    if cohort is None:
        raise ConfigError(f"trust {plan.trust} masks nothing; no aggregation was planned")
    if len(roster.stores) != plan.participants:
        raise ConfigError(
            f"the roster names {len(roster.stores)} stores, the plan {plan.participants}; no aggregation was planned"
        )
    lengths = tuple(sum(release.words for release in round_.releases) for round_ in rounds)
    run = bytes.fromhex(plan_hash)
    return Pins(
        run=run,
        roster=bytes.fromhex(roster.hash),
        plan=run,
        cohort=cohort,
        rounds=min(MOST_EPOCH_ROUNDS, len(rounds) + plan.attempts - 1),
        length=max(lengths),
        bits=word_bits(plan, rounds),
        identities={index: bytes.fromhex(key) for index, key in enumerate(roster.stores)},
        coordinator=bytes.fromhex(roster.coordinator),
        lengths=lengths,
        reach=reach_of(cohort),
    )


def word_bits(plan: Plan, rounds: Sequence[Round]) -> Bits:
    """32 where no store's sum can reach its part of 2^31, by the plan's bound on customers; 64 otherwise."""
    bound, releases = plan.customers_bound, [release for round_ in rounds for release in round_.releases]
    return 32 if all(bound * grid(release).largest <= headroom(plan, release) for release in releases) else 64


def headroom(plan: Plan, release: Release) -> int:
    """Most that one number of one store's sum may be, in units, before noise, in words of 32 bits.

    (2^31 - 12 sigma) / n, with sigma^2 = n x one store's variance, rounded down. Sums are clamped to it: a contraction,
    so the sensitivity stays. By the plan's bound on customers no sum is ever over it.
    """
    sigma = math.isqrt(plan.participants * share_variance(release, plan.honest)) + 1
    return (2**31 - NOISE_ROOM * sigma) // plan.participants


def _is_hash(word: object) -> bool:
    return isinstance(word, str) and len(word) == 2 * HASH == 2 * KEY_BYTES and set(word) <= set("0123456789abcdef")
