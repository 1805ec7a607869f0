"""What a party knows before the first message, out of band: nothing here is ever read from the other side."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from fedcart.shared.canonical import canonical_bytes
from fedcart.shared.errors import ConfigError, DataError, PrivacyRefused, ProtocolError
from fedcart.shared.privacy.cohort import Cohort
from fedcart.shared.secagg.graph import MAX_COMPLETE, Complete, Graph, ring
from fedcart.shared.secagg.keys import digest, ids
from fedcart.shared.secagg.masks import Bits

HASH = 32
HASHES = ("run", "roster", "plan", "coordinator")
"""Fields of 32 bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pins:
    """One run's constants, from the signed plan and the signed roster.

    Attributes:
      run, roster, plan: hashes of 32 bytes.
      cohort: n, c, m.
      rounds: R, rounds in a block (an epoch has one block), 1 .. 1024.
      length: d, words in a vector.
      lengths: d of each release, in the plan's order, where releases differ; then `length` is the largest.
      bits: 32 or 64.
      identities: roster index -> Ed25519 public key, for the n participants of the plan.
      coordinator: the coordinator's Ed25519 public key.
      reach: K of the ring (`graph.reach_of`); 0 = every store is every other's neighbour.
    """

    run: bytes
    roster: bytes
    plan: bytes
    cohort: Cohort
    rounds: int
    length: int
    bits: Bits
    identities: Mapping[int, bytes]
    coordinator: bytes
    lengths: tuple[int, ...] = ()
    reach: int = 0

    def __post_init__(self) -> None:
        if self.reach == 0 and self.cohort.participants > MAX_COMPLETE:
            found = self.cohort.participants
            raise ConfigError(f"{found} participants are over a complete graph's {MAX_COMPLETE}; nothing was planned")
        if self.reach and not self.cohort.colluders < 2 * self.reach < self.cohort.participants - 1:
            raise ConfigError(f"reach {self.reach} is not over c / 2 and under (n - 1) / 2; nothing was planned")
        if len(self.identities) != self.cohort.participants:
            found, asked = len(self.identities), self.cohort.participants
            raise ConfigError(f"{found} identities are pinned for {asked} participants; nothing was started")
        if len(set(self.identities.values())) != len(self.identities):
            raise ConfigError("one identity key stands for two participants; nothing was started")
        if not all(0 <= index < 2**16 - 1 for index in self.identities):
            raise ConfigError("a roster index lies outside 0 .. 65534; nothing was started")
        if not 1 <= self.rounds <= 1024 or not 0 <= self.length < 2**32 or self.bits not in (32, 64):
            raise ConfigError("rounds, length or bits lie outside 1 .. 1024, 0 .. 2^32 - 1, 32 or 64; nothing started")
        if self.lengths and (min(self.lengths) < 0 or max(self.lengths) != self.length):
            raise ConfigError("the releases' lengths do not end at the largest; nothing was started")
        if any(len(word) != HASH for word in (self.run, self.roster, self.plan)):
            raise ConfigError("the hashes of run, roster and plan have 32 bytes each; nothing was started")

    def to_bytes(self) -> bytes:
        """Canonical JSON: what an archive of transcripts keeps beside them."""
        cohort = self.cohort
        return canonical_bytes(
            {
                **{name: getattr(self, name).hex() for name in HASHES},
                "cohort": [cohort.participants, cohort.colluders, cohort.min_survivors],
                **{name: getattr(self, name) for name in ("rounds", "length", "bits", "reach")},
                "lengths": list(self.lengths),
                "identities": {f"{index:05d}": key.hex() for index, key in self.identities.items()},
            }
        )

    @staticmethod
    def parse(raw: bytes) -> Pins:
        """What `to_bytes` wrote. It vouches for nothing: compare plan and roster with what is known out of band.

        Raises:
          DataError: it is something else.
        """
        try:
            found = json.loads(raw)
            participants, colluders, minimum = found["cohort"]
            made = Pins(
                **{name: bytes.fromhex(found[name]) for name in HASHES},
                cohort=Cohort(participants=participants, colluders=colluders, min_survivors=minimum),
                rounds=found["rounds"],
                length=found["length"],
                bits=found["bits"],
                lengths=tuple(found["lengths"]),
                reach=found["reach"],
                identities={int(index): bytes.fromhex(key) for index, key in found["identities"].items()},
            )
            whole = made.to_bytes() == raw
        except (ValueError, TypeError, KeyError, AttributeError, ConfigError):
            whole = False
        if not whole:
            raise DataError("not the pins of a run of secure aggregation; nothing was verified")
        return made

    def words_of(self, release: int) -> int:
        """d of one release.

        Raises:
          ProtocolError: the plan has no such release.
        """
        if not self.lengths:
            return self.length
        if not 0 <= release < len(self.lengths):
            raise ProtocolError(f"release {release} is not one of the plan's {len(self.lengths)}; nothing was computed")
        return self.lengths[release]

    def graph(self, tag: bytes) -> Graph:
        """Who masks with whom in the epoch of this tag."""
        if self.reach == 0:
            return Complete(self.identities, self.cohort)
        return ring(tag, tuple(self.identities), self.cohort, self.reach)

    def tag(self, epoch: int) -> bytes:
        """H(run, epoch, roster, plan): what binds every message to this epoch."""
        return digest("tag", self.run, epoch.to_bytes(8, "big"), self.roster, self.plan)


def require_known(pins: Pins, known: Collection[bytes]) -> None:
    """Every participant whose key a store does not know out of band counts as a colluder: invented members are free.

    Raises:
      PrivacyRefused: there are more than c of them.
    """
    unknown = sum(public not in known for public in pins.identities.values())
    if unknown > pins.cohort.colluders:
        raise PrivacyRefused(
            f"{unknown} of the plan's participants are unknown here, over its {pins.cohort.colluders} colluders; "
            "no aggregation was entered",
            "compare their fingerprints with their owners and add them to [trust] known_stores in policy.toml",
        )


def survivors_hash(survivors: tuple[int, ...]) -> bytes:
    """H(U3)."""
    return digest("survivors", ids(*survivors))
