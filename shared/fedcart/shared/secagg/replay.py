"""The audit of an epoch from its transcript: who was asked what, who answered, what could be opened.

It recomputes U2, U3 and ctx, checks every signature, count and share, and never needs a vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedcart.shared.errors import FedcartError, ProtocolError, RoundFailed
from fedcart.shared.secagg.checks import check_graph
from fedcart.shared.secagg.graph import Graph
from fedcart.shared.secagg.messages import Boxes, ConfirmWord, Keys, Signed, TrainWord, Unmask
from fedcart.shared.secagg.pins import Pins, survivors_hash
from fedcart.shared.secagg.recovery import check_shares, remaining_masks
from fedcart.shared.secagg.requests import BoxesRequest, ConfirmRequest, KeysRequest, Train, UnmaskRequest
from fedcart.shared.secagg.transcript import RoundTranscript, Rows, Transcript
from fedcart.shared.secagg.wire import Message, check


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditedRound:
    """What a round's messages prove.

    Attributes:
      cohort: U2.
      survivors: U3; empty when none was fixed.
      opened: t stores sent shares, so the coordinator could open the sum of U3.
    """

    round: int
    release: int
    block: int
    model: bytes
    context: bytes
    cohort: tuple[int, ...]
    survivors: tuple[int, ...]
    confirmed: tuple[int, ...]
    opened: bool


def verify_transcript(transcript: Transcript, pins: Pins) -> tuple[AuditedRound, ...]:
    """Replay an epoch: every signature, U2, U3, ctx, cohort sizes, quorums, shares and what they rebuild.

    Raises:
      ProtocolError: naming the round, the message and the store that is wrong.
    """
    tag, where = pins.tag(transcript.epoch), f"epoch {transcript.epoch}"
    graph = pins.graph(tag)
    with _Named(f"{where}, KEYS request"):
        request = KeysRequest.parse(transcript.keys_request)
        _equal(request, KeysRequest(tag, transcript.epoch, request.signature))
        check(request, pins.coordinator)
    keys, boxes = {}, {}
    for i, raw in transcript.keys.items():
        with _Named(f"{where}, KEYS of store {i}"):
            keys[i] = Keys.parse(raw, pins)
            _check_store(keys[i], keys[i].sender, i, keys[i].tag, tag, pins)
    if transcript.boxes_request:
        with _Named(f"{where}, BOXES request"):
            shown = BoxesRequest.parse(transcript.boxes_request, pins)
            check(shown, pins.coordinator)
            if shown.tag != tag or shown.keys != keys:
                raise ProtocolError("it shows other KEYS than those that came")
            _floor(len(keys), pins)
    for i, raw in transcript.boxes.items():
        with _Named(f"{where}, BOXES of store {i}"):
            boxes[i] = Boxes.parse(raw, pins)
            _check_store(boxes[i], boxes[i].sender, i, boxes[i].tag, tag, pins)
            if set(boxes[i].rows) != (graph.holders(i) & keys.keys()) - {i}:
                raise ProtocolError("it deals for other stores than were shown")
            for row in boxes[i].rows.values():
                check(row, pins.identities[i])
    found: list[AuditedRound] = []
    for one in transcript.rounds:
        found.append(_verify_round(one, pins, graph, tag, keys, boxes, found[-1] if found else None))
    return tuple(found)


def _verify_round(
    one: RoundTranscript,
    pins: Pins,
    graph: Graph,
    tag: bytes,
    keys: Mapping[int, Keys],
    boxes: Mapping[int, Boxes],
    before: AuditedRound | None,
) -> AuditedRound:
    with _Named("a TRAIN request"):
        train = Train.parse(one.train, pins)
    where, context, survivors = f"round {train.round}", train.context(), tuple(sorted(one.uploads))
    with _Named(f"{where}, TRAIN request"):
        check(train, pins.coordinator)
        _follows(train, tag, pins, before)
        _floor(len(train.cohort), pins)
        if not set(train.cohort) <= set(boxes):
            raise ProtocolError("its cohort names a store that dealt no boxes")
        check_graph(graph, train.cohort, train.cohort)
    uploads = _words(one.uploads, TrainWord, context, train.cohort, pins, f"{where}, upload")
    if not one.confirm:
        if one.confirmations or one.unmask or one.replies:
            raise ProtocolError(f"{where}: stores confirmed a survivor set that nobody fixed")
        survivors = ()
    else:
        with _Named(f"{where}, CONFIRM request"):
            asked = ConfirmRequest.parse(one.confirm, pins)
            check(asked, pins.coordinator)
            _equal(asked, ConfirmRequest(context, tuple(uploads[i] for i in survivors), asked.signature))
            _floor(len(survivors), pins)
            check_graph(graph, survivors, train.cohort)
    confirmations = _words(one.confirmations, ConfirmWord, context, survivors, pins, f"{where}, CONFIRM")
    for i, word in confirmations.items():
        if word.value != survivors_hash(survivors):
            raise ProtocolError(f"{where}, CONFIRM of store {i}: it is on another survivor set")
    replies = _verify_replies(one, pins, graph, train, survivors, confirmations, boxes, where)
    try:
        _, offences = remaining_masks(graph, train, survivors, keys, replies)
        opened = not offences
    except RoundFailed:
        opened = False
    return AuditedRound(
        round=train.round,
        release=train.release,
        block=train.block,
        model=train.model,
        context=context,
        cohort=train.cohort,
        survivors=survivors,
        confirmed=tuple(confirmations),
        opened=opened,
    )


def _verify_replies(
    one: RoundTranscript,
    pins: Pins,
    graph: Graph,
    train: Train,
    survivors: tuple[int, ...],
    confirmations: Mapping[int, Signed],
    boxes: Mapping[int, Boxes],
    where: str,
) -> dict[int, Unmask]:
    if not one.unmask:
        if one.replies:
            raise ProtocolError(f"{where}: stores sent shares that nobody asked for")
        return {}
    with _Named(f"{where}, UNMASK request"):
        asked = UnmaskRequest.parse(one.unmask, pins)
        check(asked, pins.coordinator)
        if asked.context != train.context() or any(confirmations.get(w.sender) != w for w in asked.words):
            raise ProtocolError("it shows other words than those that came")
        if len(asked.words) < pins.cohort.quorum:
            raise ProtocolError(f"it shows {len(asked.words)} words, under the quorum of {pins.cohort.quorum}")
    replies = {}
    for i, raw in one.replies.items():
        with _Named(f"{where}, UNMASK of store {i}"):
            reply = replies[i] = Unmask.parse(raw, pins)
            _check_store(reply, reply.sender, i, reply.context, train.context(), pins)
            if i not in survivors or reply.value != survivors_hash(survivors):
                raise ProtocolError("it is for another survivor set")
            check_shares(graph, reply, train, survivors, boxes)
    return replies


def _follows(train: Train, tag: bytes, pins: Pins, before: AuditedRound | None) -> None:
    if train.tag != tag or train.round >= pins.rounds:
        raise ProtocolError("it is for another epoch, run, roster, plan or a round beyond the plan's")
    if before is not None and not before.round < train.round:
        raise ProtocolError("its round does not follow the one before")
    if before is not None and not before.release <= train.release <= before.release + train.round - before.round:
        raise ProtocolError("its release is neither a repeat nor the next")


def _words(
    rows: Rows, kind: type[Signed], context: bytes, among: tuple[int, ...], pins: Pins, name: str
) -> dict[int, Any]:
    found = {}
    for i, raw in rows.items():
        with _Named(f"{name} of store {i}"):
            word = found[i] = kind.parse(raw)
            _check_store(word, word.sender, i, word.context, context, pins)
            if i not in among:
                raise ProtocolError("it was not asked")
    return found


def _check_store(message: Message, sender: int, i: int, has: bytes, needs: bytes, pins: Pins) -> None:
    if sender != i or i not in pins.identities:
        raise ProtocolError("it is another store's, or one's outside the roster")
    if has != needs:
        raise ProtocolError("it is for another epoch or context")
    check(message, pins.identities[i])


def _floor(count: int, pins: Pins) -> None:
    if count < pins.cohort.min_survivors:
        raise ProtocolError(f"{count} stores are under the plan's {pins.cohort.min_survivors}")


def _equal(found: object, needed: object) -> None:
    if found != needed:
        raise ProtocolError("it says something else than the messages before it")


class _Named:
    """Puts the place in front of what went wrong there."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FedcartError):
            raise ProtocolError(f"{self._where}: {error.message}") from error
