"""An epoch as its signed messages: what the coordinator archives and an auditor replays (`replay`).

No vector is in it and none can be computed from it: it holds H(y), shares that rebuild the masks of a sum that was
opened anyway, and sealed boxes whose keys are erased.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedcart.shared.canonical import canonical_bytes
from fedcart.shared.errors import DataError
from fedcart.shared.secagg.aggregator import Aggregator
from fedcart.shared.secagg.collection import RoundSum
from fedcart.shared.secagg.wire import Message, spell

Rows = Mapping[int, bytes]
SCHEMA = 1
_ROWS = ("keys", "boxes", "uploads", "confirmations", "replies")
"""Fields with a message of each store; all others but the epoch are one message."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundTranscript:
    """One round; a request that was never made is empty. `uploads` are the signed words, without the vectors."""

    train: bytes
    uploads: Rows
    confirm: bytes
    confirmations: Rows
    unmask: bytes
    replies: Rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Transcript:
    """One epoch, byte for byte as it went over the wire."""

    epoch: int
    keys_request: bytes
    keys: Rows
    boxes_request: bytes
    boxes: Rows
    rounds: tuple[RoundTranscript, ...]

    def to_bytes(self) -> bytes:
        """Canonical JSON, bytes as hex."""
        return canonical_bytes({"schema": SCHEMA, **_plain(self), "rounds": [_plain(r) for r in self.rounds]})

    @staticmethod
    def parse(raw: bytes) -> Transcript:
        """What `to_bytes` wrote.

        Raises:
          DataError: it is something else.
        """
        try:
            found = json.loads(raw)
            rounds = tuple(RoundTranscript(**_read(row)) for row in found.pop("rounds"))
            if found.pop("schema") != SCHEMA or not 0 <= found["epoch"] < 2**64:
                raise ValueError
            return Transcript(**_read(found), rounds=rounds)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise DataError("not a transcript of secure aggregation; nothing was verified") from None


def transcript_of(epoch: Aggregator) -> Transcript:
    """Everything that the coordinator archives of one epoch so far."""
    return Transcript(
        epoch=epoch.epoch,
        keys_request=epoch.keys_request(),
        keys=_spelled(epoch.keys),
        boxes_request=spell(epoch.asked) if epoch.asked else b"",
        boxes=_spelled(epoch.boxes),
        rounds=tuple(_round_of(r) for r in epoch.rounds),
    )


def _round_of(one: RoundSum) -> RoundTranscript:
    return RoundTranscript(
        train=one.train_request(),
        uploads=_spelled(one.uploads),
        confirm=spell(one.confirmed) if one.confirmed else b"",
        confirmations=_spelled(one.confirmations),
        unmask=spell(one.asked) if one.asked else b"",
        replies=_spelled(one.replies),
    )


def _spelled(messages: Mapping[int, Message]) -> dict[int, bytes]:
    return {i: spell(messages[i]) for i in sorted(messages)}


def _plain(one: Transcript | RoundTranscript) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name in one.__dataclass_fields__:
        value = getattr(one, name)
        if isinstance(value, Mapping):
            made[name] = {f"{i:05d}": raw.hex() for i, raw in value.items()}
        elif isinstance(value, bytes):
            made[name] = value.hex()
        elif isinstance(value, int):
            made[name] = value
    return made


def _read(row: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in row.items():
        if name in _ROWS:
            made[name] = {int(i): bytes.fromhex(raw) for i, raw in sorted(value.items())}
        else:
            made[name] = int(value) if name == "epoch" else bytes.fromhex(value)
    return made
