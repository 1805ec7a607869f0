"""SA1 on Flower's Message API: which message type each flow has, and the records that it carries.

A query carries one SA1 message each way, as bytes. TRAIN carries the model to the store and the masked words back:
one array of uint32 or uint64 beside the signed word and the signed head of the store's ledger. No count, no metric and
no number in clear is in any reply.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from fedcart.shared.errors import ProtocolError
from fedcart.shared.flower_compat import ArrayRecord, ConfigRecord, RecordDict, pack_arrays, unpack_array
from fedcart.shared.learners.base import Array, Round, State
from fedcart.shared.ledger.receipts import SignedHead
from fedcart.shared.secagg.masks import Bits, Integers, Words, to_words, words
from fedcart.shared.wire import HEAD, ROUND, STATE, Instruction, read_instruction, write_head, write_instruction

Flow = Literal["keys", "boxes", "deliver", "train", "confirm", "unmask"]
FLOWS: tuple[Flow, ...] = ("keys", "boxes", "deliver", "train", "confirm", "unmask")
"""In the order of an epoch and its rounds."""
TRAIN_ACTION = "masked"
SECAGG, MASKED, MESSAGE, VECTOR = "secagg", "masked", "message", "y"


def message_type(flow: Flow) -> str:
    """Flower's `category.action`."""
    return f"train.{TRAIN_ACTION}" if flow == "train" else f"query.{flow}"


def write_query(raw: bytes) -> RecordDict:
    """A request or a reply of every flow but TRAIN. The reply to a delivery is empty."""
    return RecordDict({SECAGG: ConfigRecord({MESSAGE: raw})})


def read_query(content: RecordDict) -> bytes:
    """What `write_query` wrote."""
    if set(content) != {SECAGG}:
        raise ProtocolError(f"a message of secure aggregation holds {SECAGG!r} and nothing else; it was not used")
    return _message(content)


def write_masked_instruction(plan_hash: str, index: int, state: State, attempt: int, raw: bytes) -> RecordDict:
    """A TRAIN request beside the model; one object for all stores."""
    return RecordDict({**write_instruction(plan_hash, index, state, attempt), **write_query(raw)})


def read_masked_instruction(content: RecordDict) -> tuple[Instruction, bytes]:
    """The instruction and the TRAIN request. Raises ProtocolError when anything is missing or too many."""
    if set(content) != {STATE, ROUND, SECAGG}:
        raise ProtocolError(f"TRAIN holds {STATE!r}, {ROUND!r} and {SECAGG!r}; nothing was released")
    plain = RecordDict({name: content[name] for name in (STATE, ROUND)})
    return read_instruction(plain), _message(content)


def write_upload(vector: Words, word: bytes, head: SignedHead | None = None) -> RecordDict:
    """A store's masked words, its signed word on them, and the head of its ledger for the round's receipt."""
    found = {MASKED: pack_arrays({VECTOR: vector}), **write_query(word)}
    return RecordDict({**found, **({} if head is None else write_head(head))})


def read_upload(content: RecordDict) -> tuple[Words, bytes]:
    """A read-only view of the words, and the signed word. The sum checks shape, type and signature."""
    record = content.get(MASKED)
    if set(content) - {HEAD} != {MASKED, SECAGG} or not isinstance(record, ArrayRecord) or set(record) != {VECTOR}:
        raise ProtocolError(f"an upload holds {MASKED!r} with one array and {SECAGG!r}; it was not added")
    return unpack_array(record[VECTOR]), _message(content)


def join(round_: Round, totals: Mapping[str, Array], bits: Bits) -> Words:
    """A round's releases as one vector, in the plan's order; int64 units as words of Z_2^bits, [d], a copy.

    Raises:
      ProtocolError: a unit that the words cannot hold.
    """
    made, at = words(sum(release.words for release in round_.releases), bits), 0
    for release in round_.releases:
        made[at : at + release.words] = to_words(totals[release.name].reshape(-1), bits)
        at += release.words
    return made


def part(round_: Round, total: Integers) -> dict[str, Array]:
    """Undo `join` on the opened sum: int64 units by release."""
    ends = np.cumsum([release.words for release in round_.releases])[:-1]
    pieces: Sequence[Array] = np.split(total.astype(np.int64, copy=False), ends)
    return {release.name: piece.reshape(release.shape) for release, piece in zip(round_.releases, pieces, strict=True)}


def _message(content: RecordDict) -> bytes:
    record = content.get(SECAGG)
    if not isinstance(record, ConfigRecord) or set(record) != {MESSAGE}:
        raise ProtocolError(f"{SECAGG!r} holds {MESSAGE!r} and nothing else; it was not used")
    raw = record[MESSAGE]
    if not isinstance(raw, bytes):
        raise ProtocolError(f"{MESSAGE!r} of {SECAGG!r} is no bytes; it was not used")
    return raw
