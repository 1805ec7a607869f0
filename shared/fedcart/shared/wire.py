"""The two messages of a round: the instruction (state, plan hash, round) and the reply (one total a release).

A reply holds one array for each release and nothing else: no counts, no metrics, no names. Both sides build and
read them here, so that what one accepts is what the other sends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedcart.shared.canonical import model_hash
from fedcart.shared.errors import ProtocolError
from fedcart.shared.flower_compat import ArrayRecord, ConfigRecord, RecordDict, pack_arrays, unpack_array
from fedcart.shared.learners.base import State, Totals
from fedcart.shared.privacy.release import Release

STATE, ROUND, TOTALS = "state", "round", "totals"
PLAN_HASH, MODEL_HASH, INDEX = "plan-hash", "model-hash", "index"


@dataclass(frozen=True)
class Instruction:
    """What the coordinator asks of every store.

    Attributes:
      plan_hash: of the coordinator's plan.
      index: of the round.
      state: public arrays, read-only views of the message; nothing carried.
    """

    plan_hash: str
    index: int
    state: State


def write_instruction(plan_hash: str, index: int, state: State) -> RecordDict:
    """The content of the message to every store; one object for all, so its bytes travel once."""
    facts: dict[str, str | int] = {
        PLAN_HASH: plan_hash,
        MODEL_HASH: model_hash(state.public),
        INDEX: index,
    }
    return RecordDict({STATE: pack_arrays(state.public), ROUND: ConfigRecord({**facts})})


def read_instruction(content: RecordDict) -> Instruction:
    """Parse and check an instruction. Raises ProtocolError when anything is missing or does not match its hash."""
    records, facts = content.get(STATE), content.get(ROUND)
    if set(content) != {STATE, ROUND} or not isinstance(records, ArrayRecord) or not isinstance(facts, ConfigRecord):
        raise ProtocolError(f"an instruction holds {STATE!r} and {ROUND!r}; nothing was released")
    plan_hash, expected, index = facts.get(PLAN_HASH), facts.get(MODEL_HASH), facts.get(INDEX)
    if not isinstance(plan_hash, str) or not isinstance(expected, str) or not isinstance(index, int):
        raise ProtocolError("an instruction names plan, model and round; nothing was released")
    public = {name: unpack_array(packed) for name, packed in records.items()}
    if any(array.dtype != np.float32 for array in public.values()) or model_hash(public) != expected:
        raise ProtocolError(f"the model of round {index} is not the one its hash names; nothing was released")
    return Instruction(plan_hash, index, State(public))


def write_reply(totals: Totals) -> RecordDict:
    """The content of a store's reply."""
    return RecordDict({TOTALS: pack_arrays(totals)})


def read_reply(content: RecordDict, releases: Sequence[Release]) -> Totals:
    """A store's totals, read-only views of the message. Raises ProtocolError when they are not the round's releases."""
    record = content.get(TOTALS)
    if set(content) != {TOTALS} or not isinstance(record, ArrayRecord):
        raise ProtocolError(f"a reply holds {TOTALS!r} and nothing else; it was not added")
    if set(record) != {release.name for release in releases}:
        raise ProtocolError("a reply holds other arrays than the round's releases; it was not added")
    totals = {release.name: unpack_array(record[release.name]) for release in releases}
    for release in releases:
        total = totals[release.name]
        if total.dtype != np.float64 or total.shape != release.shape:
            raise ProtocolError(
                f"release {release.name!r} came as {total.dtype} {total.shape}, not float64 {release.shape}; "
                "it was not added"
            )
        if not np.isfinite(total).all():
            raise ProtocolError(f"release {release.name!r} came with numbers that are not finite; it was not added")
    return totals


def reply_bytes(releases: Sequence[Release]) -> int:
    """Size of one store's arrays in a round."""
    return sum(release.words * 8 for release in releases)


def state_bytes(state: State) -> int:
    """Size of the published arrays."""
    return sum(array.nbytes for array in state.public.values())
