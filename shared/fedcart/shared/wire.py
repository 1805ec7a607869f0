"""The messages of a round: the instruction (state, plan hash, round), the reply (one total a release), the receipts.

A reply holds one array for each release and, under a guarantee, the signed head of the store's ledger; nothing else:
no counts, no metrics, no names. Both sides build and read them here, so that what one accepts is what the other sends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedcart.shared.canonical import canonical_bytes, model_hash
from fedcart.shared.errors import ProtocolError
from fedcart.shared.flower_compat import ArrayRecord, ConfigRecord, RecordDict, pack_arrays, unpack_array
from fedcart.shared.learners.base import Array, State
from fedcart.shared.ledger.kinds import HASH, SIG
from fedcart.shared.ledger.receipts import Receipt, SignedHead
from fedcart.shared.privacy.release import Release

STATE, ROUND, TOTALS = "state", "round", "totals"
PLAN_HASH, MODEL_HASH, INDEX, ATTEMPT = "plan-hash", "model-hash", "index", "attempt"
HEAD, RECEIPTS = "head", "receipts"
RECEIPT_ACTION = "receipt"


@dataclass(frozen=True)
class Instruction:
    """What the coordinator asks of every store.

    Attributes:
      plan_hash: of the coordinator's plan.
      index: of the round.
      attempt: 0, or how often the round was asked for before.
      state: public arrays, read-only views of the message; nothing carried.
    """

    plan_hash: str
    index: int
    attempt: int
    state: State


def write_instruction(plan_hash: str, index: int, state: State, attempt: int = 0) -> RecordDict:
    """The content of the message to every store; one object for all, so its bytes travel once."""
    facts: dict[str, str | int] = {
        PLAN_HASH: plan_hash,
        MODEL_HASH: model_hash(state.public),
        INDEX: index,
        ATTEMPT: attempt,
    }
    return RecordDict({STATE: pack_arrays(state.public), ROUND: ConfigRecord({**facts})})


def read_instruction(content: RecordDict) -> Instruction:
    """Parse and check an instruction. Raises ProtocolError when anything is missing or does not match its hash."""
    records, facts = content.get(STATE), content.get(ROUND)
    if set(content) != {STATE, ROUND} or not isinstance(records, ArrayRecord) or not isinstance(facts, ConfigRecord):
        raise ProtocolError(f"an instruction holds {STATE!r} and {ROUND!r}; nothing was released")
    plan_hash, expected, index, attempt = map(facts.get, (PLAN_HASH, MODEL_HASH, INDEX, ATTEMPT))
    if not isinstance(plan_hash, str) or not isinstance(expected, str):
        raise ProtocolError("an instruction names plan and model; nothing was released")
    if not isinstance(index, int) or not isinstance(attempt, int) or attempt < 0:
        raise ProtocolError("an instruction names round and attempt; nothing was released")
    public = {name: unpack_array(packed) for name, packed in records.items()}
    if any(array.dtype != np.float32 for array in public.values()) or model_hash(public) != expected:
        raise ProtocolError(f"the model of round {index} is not the one its hash names; nothing was released")
    return Instruction(plan_hash, index, attempt, State(public))


def write_reply(totals: Mapping[str, Array], head: SignedHead | None = None) -> RecordDict:
    """The content of a store's reply; `head` of its ledger where it has one."""
    return RecordDict({TOTALS: pack_arrays(totals), **({} if head is None else write_head(head))})


def read_reply(content: RecordDict, releases: Sequence[Release]) -> Mapping[str, Array]:
    """A store's totals, read-only views of the message: int64 units with noise, float64 without.

    Raises:
      ProtocolError: they are not the round's releases.
    """
    record = content.get(TOTALS)
    if set(content) - {HEAD} != {TOTALS} or not isinstance(record, ArrayRecord):
        raise ProtocolError(f"a reply holds {TOTALS!r}, {HEAD!r} and nothing else; it was not added")
    if set(record) != {release.name for release in releases}:
        raise ProtocolError("a reply holds other arrays than the round's releases; it was not added")
    totals = {release.name: unpack_array(record[release.name]) for release in releases}
    for release in releases:
        total = totals[release.name]
        wanted = total_dtype(release)
        if total.dtype != wanted or total.shape != release.shape:
            raise ProtocolError(
                f"release {release.name!r} came as {total.dtype} {total.shape}, not {wanted} {release.shape}; "
                "it was not added"
            )
        if not np.isfinite(total).all():
            raise ProtocolError(f"release {release.name!r} came with numbers that are not finite; it was not added")
    return totals


def write_head(head: SignedHead) -> RecordDict:
    """Where a store's ledger stands: beside an upload, or alone as the reply to receipts."""
    return RecordDict({HEAD: ConfigRecord({"public": head.public, "head": head.head, "sig": head.sig})})


def read_head(content: RecordDict) -> SignedHead:
    """The head in a reply. Whose it is, and whether it is signed, is not asked here.

    Raises:
      ProtocolError: there is none.
    """
    record = content.get(HEAD)
    if not isinstance(record, ConfigRecord) or set(record) != {"public", "head", "sig"}:
        raise ProtocolError("a reply lacks the signed head of its store's ledger; it was not used")
    public, head, sig = (record[name] for name in ("public", "head", "sig"))
    if not (HASH(public) and HASH(head) and SIG(sig)):
        raise ProtocolError("the head of a ledger came in another form; it was not used")
    return SignedHead(str(public), str(head), str(sig))


def write_receipts(receipts: Sequence[Receipt]) -> RecordDict:
    """What a store is sent after a round; none asks for its head alone."""
    raw = canonical_bytes([receipt.body() for receipt in receipts])
    return RecordDict({RECEIPTS: ConfigRecord({RECEIPTS: raw})})


def read_receipts(content: RecordDict) -> tuple[Receipt, ...]:
    """What `write_receipts` wrote. Raises ProtocolError; signatures are not asked here."""
    record = content.get(RECEIPTS)
    raw = record.get(RECEIPTS) if isinstance(record, ConfigRecord) and set(record) == {RECEIPTS} else None
    if set(content) != {RECEIPTS} or not isinstance(raw, bytes):
        raise ProtocolError(f"a message of receipts holds {RECEIPTS!r} and nothing else; it was not used")
    try:
        bodies = json.loads(raw)
    except (ValueError, RecursionError):
        raise ProtocolError("receipts that are no JSON; they were not used") from None
    if not isinstance(bodies, list):
        raise ProtocolError("receipts come as a list; they were not used")
    return tuple(map(Receipt.parse, bodies))


def total_dtype(release: Release) -> np.dtype[Any]:
    """int64 units where noise was added, float64 numbers where none was."""
    return np.dtype(np.int64 if release.noise_multiplier else np.float64)


def reply_bytes(releases: Sequence[Release]) -> int:
    """Size of one store's arrays in a round."""
    return sum(release.words * 8 for release in releases)


def state_bytes(state: State) -> int:
    """Size of the published arrays."""
    return sum(array.nbytes for array in state.public.values())
