"""An auditor replays an epoch from its messages, and finds whatever was changed in them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcart.shared.errors import DataError, ProtocolError, RoundFailed
from fedcart.shared.secagg.messages import Boxes
from fedcart.shared.secagg.replay import verify_transcript
from fedcart.shared.secagg.requests import ConfirmRequest, Train, UnmaskRequest
from fedcart.shared.secagg.transcript import Transcript, transcript_of
from fedcart.shared.secagg.wire import sign, spell
from secagg_kit import COORDINATOR, MODEL, Coalition, identity, make_pins

PINS = make_pins(5, 1, 4, rounds=4)
VALUES = {i: [1 << i] * 3 for i in range(5)}
OTHER = b"m" * 32


def archived() -> Transcript:
    """Three rounds: one whole, one that failed, its repeat without store 3."""
    made = Coalition(PINS)
    epoch = made.open_epoch()
    made.finish(epoch.begin(0, 0, MODEL), VALUES)
    with pytest.raises(RoundFailed):
        made.finish(epoch.begin(1, 1, OTHER), VALUES, no_upload=[0, 1])
    made.finish(epoch.begin(2, 1, OTHER), VALUES, no_upload=[3])
    return transcript_of(epoch)


ARCHIVED = archived()


def change(number: int | None, **changes: Any) -> Transcript:
    """The archive with fields of the epoch (None) or of one round replaced."""
    if number is None:
        return dataclasses.replace(ARCHIVED, **changes)
    rounds = list(ARCHIVED.rounds)
    rounds[number] = dataclasses.replace(rounds[number], **changes)
    return dataclasses.replace(ARCHIVED, rounds=tuple(rounds))


def test_an_auditor_recomputes_cohorts_survivors_and_contexts() -> None:
    first, failed, repeat = verify_transcript(ARCHIVED, PINS)
    assert (first.release, first.cohort, first.survivors, first.opened) == (0, (0, 1, 2, 3, 4), (0, 1, 2, 3, 4), True)
    assert (failed.release, failed.survivors, failed.confirmed, failed.opened) == (1, (), (), False)
    assert (repeat.release, repeat.survivors, repeat.confirmed) == (1, (0, 1, 2, 4), (0, 1, 2, 4))
    assert len({r.context for r in (first, failed, repeat)}) == 3


def test_a_transcript_reads_back_as_it_was_written() -> None:
    raw = ARCHIVED.to_bytes()
    assert Transcript.parse(raw) == ARCHIVED
    assert verify_transcript(Transcript.parse(raw), PINS)
    for wrong in (b"", b"{}", b"[]", raw[:-1], raw.replace(b'"schema":1', b'"schema":2')):
        with pytest.raises(DataError, match="not a transcript"):
            Transcript.parse(wrong)


def test_an_epoch_that_ended_early_is_audited_too() -> None:
    made = Coalition(PINS)
    epoch = made.aggregator()
    assert verify_transcript(transcript_of(epoch), PINS) == ()
    for i in range(5):
        epoch.add_keys(made.stores[i].keys(epoch.keys_request()))
    assert verify_transcript(transcript_of(epoch), PINS) == ()


@pytest.mark.parametrize("name", ["train", "confirm", "unmask", "keys_request", "boxes_request"])
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_a_changed_byte_of_a_request_is_found(name: str, data: st.DataObject) -> None:
    number = None if "_" in name else 2
    raw = getattr(ARCHIVED if number is None else ARCHIVED.rounds[2], name)
    at = data.draw(st.integers(0, len(raw) - 1))
    changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
    with pytest.raises(ProtocolError):
        verify_transcript(change(number, **{name: changed}), PINS)


@pytest.mark.parametrize("name", ["uploads", "confirmations", "replies", "keys", "boxes"])
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_a_changed_byte_of_an_answer_is_found_and_its_store_named(name: str, data: st.DataObject) -> None:
    number = None if name in ("keys", "boxes") else 2
    rows = dict(getattr(ARCHIVED if number is None else ARCHIVED.rounds[2], name))
    store = data.draw(st.sampled_from(sorted(rows)))
    at = data.draw(st.integers(0, len(rows[store]) - 1))
    rows[store] = rows[store][:at] + bytes([rows[store][at] ^ 1]) + rows[store][at + 1 :]
    with pytest.raises(ProtocolError, match=f"of store {store}"):
        verify_transcript(change(number, **{name: rows}), PINS)


def less(rows: Any, *gone: int) -> dict[int, bytes]:
    return {i: raw for i, raw in rows.items() if i not in gone}


def by_coordinator(message: Any) -> bytes:
    return spell(sign(message, identity(COORDINATOR)))


LAST = ARCHIVED.rounds[2]


@pytest.mark.parametrize(
    ("number", "changes", "match"),
    [
        (2, {"uploads": less(LAST.uploads, 0)}, "round 2, CONFIRM request: it says something else"),
        (2, {"confirmations": less(LAST.confirmations, 0)}, "round 2, UNMASK request: it shows other words"),
        (2, {"confirm": b""}, "a survivor set that nobody fixed"),
        (2, {"unmask": b""}, "shares that nobody asked for"),
        (2, {"replies": {1: LAST.replies[0]}}, "UNMASK of store 1: it is another store's"),
        (2, {"uploads": {**LAST.uploads, 3: ARCHIVED.rounds[0].uploads[3]}}, "upload of store 3: it is for another"),
        (None, {"keys": less(ARCHIVED.keys, 4)}, "BOXES request: it shows other KEYS"),
        (None, {"boxes": less(ARCHIVED.boxes, 4)}, "names a store that dealt no boxes"),
        (None, {"rounds": ARCHIVED.rounds[::-1]}, "does not follow the one before"),
        (None, {"epoch": 1}, "KEYS request: it says something else"),
    ],
)
def test_what_is_left_out_or_moved_is_named(number: int | None, changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ProtocolError, match=match):
        verify_transcript(change(number, **changes), PINS)


def test_a_coordinator_that_signs_a_lie_is_found() -> None:
    train = Train.parse(ARCHIVED.rounds[1].train, PINS)
    small = by_coordinator(dataclasses.replace(train, cohort=(0, 1, 2)))
    with pytest.raises(ProtocolError, match="round 1, TRAIN request: 3 stores are under the plan's 4"):
        verify_transcript(change(1, train=small, uploads={}), PINS)
    jump = by_coordinator(dataclasses.replace(train, release=3))
    with pytest.raises(ProtocolError, match="neither a repeat nor the next"):
        verify_transcript(change(1, train=jump, uploads={}), PINS)
    asked = UnmaskRequest.parse(LAST.unmask, PINS)
    few = by_coordinator(dataclasses.replace(asked, words=asked.words[:3]))
    with pytest.raises(ProtocolError, match="3 words, under the quorum of 4"):
        verify_transcript(change(2, unmask=few), PINS)


def test_a_survivor_set_under_the_plans_minimum_is_found() -> None:
    asked = ConfirmRequest.parse(LAST.confirm, PINS)
    few = by_coordinator(dataclasses.replace(asked, words=asked.words[1:]))
    with pytest.raises(ProtocolError, match="round 2, CONFIRM request: 3 stores are under the plan's 4"):
        verify_transcript(change(2, confirm=few, uploads=less(LAST.uploads, 0)), PINS)


def test_a_row_that_its_store_did_not_sign_is_found() -> None:
    boxes = Boxes.parse(ARCHIVED.boxes[0], PINS)
    row = dataclasses.replace(boxes.rows[1], signature=boxes.rows[2].signature)
    wrong = spell(sign(dataclasses.replace(boxes, rows={**boxes.rows, 1: row}), identity(0)))
    with pytest.raises(ProtocolError, match="BOXES of store 0: a fedcart/SA1/BOX signature"):
        verify_transcript(change(None, boxes={**ARCHIVED.boxes, 0: wrong}), PINS)


def test_pins_of_another_plan_verify_nothing() -> None:
    with pytest.raises(ProtocolError, match="KEYS request"):
        verify_transcript(ARCHIVED, dataclasses.replace(PINS, plan=OTHER))


def test_no_vector_is_in_a_transcript() -> None:
    made = Coalition(make_pins(3, length=1000))
    epoch = made.open_epoch()
    begun = epoch.begin(0, 0, MODEL)
    made.finish(begun, {i: list(range(1000)) for i in range(3)})
    raw = transcript_of(epoch).to_bytes()
    assert len(raw) < 3 * 4000 * 2  # the three vectors alone would be that long
