"""What the coordinator refuses from stores, whom it blames, and that it never opens half a sum."""

from __future__ import annotations

import dataclasses
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcart.shared.errors import ConfigError, ProtocolError, RoundFailed
from fedcart.shared.secagg.aggregator import Aggregator
from fedcart.shared.secagg.collection import RoundSum
from fedcart.shared.secagg.dealing import share_hashes
from fedcart.shared.secagg.field import draw_secret
from fedcart.shared.secagg.masks import vector_hash
from fedcart.shared.secagg.messages import Boxes, ConfirmWord, Keys, TrainWord, Unmask
from fedcart.shared.secagg.pins import survivors_hash
from fedcart.shared.secagg.wire import sign, spell
from secagg_kit import MODEL, Coalition, MemoryJournal, identity, make_pins

VALUES = {i: [1 << i] * 3 for i in range(5)}
OTHER = b"m" * 32


def refuses(match: str, call: Callable[..., Any], *arguments: Any) -> None:
    with pytest.raises(ProtocolError, match=match):
        call(*arguments)


def opened(**changes: Any) -> tuple[Coalition, RoundSum]:
    made = Coalition(make_pins(5, 1, 4, **{"rounds": 2, **changes}))
    return made, made.open_epoch().begin(0, 0, MODEL)


def signed(message: Any, index: int) -> bytes:
    return spell(sign(message, identity(index)))


def test_keys_are_taken_from_the_roster_once_and_for_this_epoch() -> None:
    made = Coalition(make_pins(5, 1, 4))
    epoch = made.aggregator()
    raw = made.stores[0].keys(epoch.keys_request())
    keys = Keys.parse(raw, made.pins)
    refuses("store 9 is not in the roster", epoch.add_keys, signed(dataclasses.replace(keys, sender=9), 9))
    refuses("another epoch, run, roster or plan", epoch.add_keys, signed(dataclasses.replace(keys, tag=OTHER), 0))
    refuses("signature is not by key", epoch.add_keys, signed(keys, 1))
    assert epoch.add_keys(raw) == epoch.add_keys(raw) == 0
    second = signed(dataclasses.replace(keys, head=OTHER), 0)
    refuses("two different KEYS in one epoch; the first stands", epoch.add_keys, second)
    assert [offence.store for offence in epoch.offences] == [0]
    with pytest.raises(RoundFailed, match="1 stores sent KEYS, 4 are needed"):
        epoch.boxes_request()


def test_a_key_that_nobody_could_agree_with_is_refused_and_its_owner_named() -> None:
    made = Coalition(make_pins(5, 1, 4))
    epoch = made.aggregator()
    keys = Keys.parse(made.stores[0].keys(epoch.keys_request()), made.pins)
    weak = (bytes(32), keys.rounds[0][1])
    for wrong in (dataclasses.replace(keys, box_key=bytes(32)), dataclasses.replace(keys, rounds=(weak,))):
        refuses("store 0 announced a key of small order", epoch.add_keys, signed(wrong, 0))
    assert [offence.store for offence in epoch.offences] == [0, 0]
    assert epoch.keys == {}


def test_latecomers_wait_for_the_next_epoch() -> None:
    made = Coalition(make_pins(5, 1, 4))
    epoch = made.aggregator()
    late = made.stores[4].keys(epoch.keys_request())
    for i in range(4):
        epoch.add_keys(made.stores[i].keys(epoch.keys_request()))
    request = epoch.boxes_request()
    refuses("store 4 sent KEYS after", epoch.add_keys, late)
    for i in range(4):
        epoch.add_boxes(made.stores[i].boxes(request))
    refuses("store 4 dealt no boxes", epoch.delivery, 4)


def test_boxes_are_for_everybody_who_was_shown() -> None:
    made = Coalition(make_pins(5, 1, 4))
    epoch = made.aggregator()
    for i in range(5):
        epoch.add_keys(made.stores[i].keys(epoch.keys_request()))
    boxes = Boxes.parse(made.stores[0].boxes(epoch.boxes_request()), made.pins)
    fewer = dataclasses.replace(boxes, rows={i: boxes.rows[i] for i in (1, 2, 3)})
    refuses("boxes for other stores", epoch.add_boxes, signed(fewer, 0))
    epoch.add_boxes(spell(boxes))
    refuses("two different BOXES", epoch.add_boxes, signed(dataclasses.replace(boxes, head=OTHER), 0))
    with pytest.raises(RoundFailed, match="1 stores dealt boxes, 4 are needed"):
        epoch.delivery(0)


def test_rounds_go_up_and_keep_their_floor() -> None:
    made = Coalition(make_pins(5, 1, 4, rounds=2))
    epoch = made.open_epoch()
    with pytest.raises(RoundFailed, match="3 stores can take part"):
        epoch.begin(0, 0, MODEL, without=[0, 1])
    epoch.begin(1, 0, MODEL)
    for number in (0, 1, 2):
        with pytest.raises(ConfigError, match="not begun"):
            epoch.begin(number, 0, MODEL)
    with pytest.raises(ConfigError, match="another coordinator"):
        Aggregator(made.pins, identity(1), MemoryJournal())


def test_a_restarted_coordinator_begins_the_next_epoch() -> None:
    made = Coalition(make_pins(5, 1, 4))
    assert made.open_epoch().epoch == 0
    for i in range(5):
        made.start(i)
    epoch = made.open_epoch()
    assert epoch.epoch == 1
    assert set(made.finish(epoch.begin(0, 0, MODEL), VALUES)) == {31}


def test_an_upload_is_what_its_store_signed_and_counts_once() -> None:
    made, begun = opened()
    upload = made.upload(1, begun, VALUES[1])
    word = TrainWord.parse(upload.word)
    other = upload.vector + np.uint32(1)
    refuses("store 1 sent another vector than it signed", begun.add, other, upload.word)
    refuses("not the plan's 3 words of 32 bits", begun.add, upload.vector[:2], upload.word)
    refuses("not the plan's 3 words of 32 bits", begun.add, upload.vector.astype("<u8"), upload.word)
    refuses("signature is not by key", begun.add, upload.vector, signed(word, 2))
    refuses("store 9 was not asked", begun.add, upload.vector, signed(dataclasses.replace(word, sender=9), 9))
    elsewhere = signed(dataclasses.replace(word, context=OTHER), 1)
    refuses("another context", begun.add, upload.vector, elsewhere)
    assert begun.add(upload.vector, upload.word) == 1
    refuses("store 1 has uploaded already", begun.add, upload.vector, upload.word)
    forged = signed(dataclasses.replace(word, value=vector_hash(other)), 1)
    refuses("store 1 has uploaded already", begun.add, other, forged)


def test_a_late_upload_is_not_in_the_sum() -> None:
    made, begun = opened()
    late = made.upload(2, begun, VALUES[2])
    for i in (0, 1, 3, 4):
        upload = made.upload(i, begun, VALUES[i])
        begun.add(upload.vector, upload.word)
    request = begun.confirm_request()
    refuses("store 2 came after the survivor set was fixed", begun.add, late.vector, late.word)
    assert begun.confirm_request() == request
    for i in (0, 1, 3, 4):
        begun.add_confirm(made.stores[i].confirm(request))
    for i in (0, 1, 3, 4):
        begun.add_unmask(made.stores[i].unmask(begun.unmask_request()))
    assert set(begun.total()) == {27}
    assert set(begun.total()) == {27}


def test_the_survivor_set_is_on_disk_before_anybody_is_asked_to_sign_it() -> None:
    made, begun = opened()
    for i in range(5):
        upload = made.upload(i, begun, VALUES[i])
        begun.add(upload.vector, upload.word)
    made.own.fail_at = len(made.own.records)
    with pytest.raises(OSError, match="no space"):
        begun.confirm_request()
    assert begun.survivors == ()
    made.own.fail_at = None
    begun.confirm_request()
    assert made.own.kinds() == ["KEYS", "CONFIRM"]


def confirmed() -> tuple[Coalition, RoundSum]:
    made, begun = opened()
    for i in range(5):
        upload = made.upload(i, begun, VALUES[i])
        begun.add(upload.vector, upload.word)
    for i in range(5):
        begun.add_confirm(made.stores[i].confirm(begun.confirm_request()))
    return made, begun


def test_words_on_another_set_do_not_count() -> None:
    made, begun = opened()
    for i in range(5):
        upload = made.upload(i, begun, VALUES[i])
        begun.add(upload.vector, upload.word)
    begun.confirm_request()
    word = ConfirmWord(0, begun.context, survivors_hash((0, 1, 2, 3)), OTHER)
    refuses("store 0 signed another survivor set", begun.add_confirm, signed(word, 0))
    refuses("store 9 was not asked", begun.add_confirm, signed(dataclasses.replace(word, sender=9), 9))
    with pytest.raises(RoundFailed, match="0 stores confirmed, 4 are needed; nothing was revealed"):
        begun.unmask_request()
    with pytest.raises(RoundFailed, match="0 stores sent shares, 4 are needed; the sum was not opened"):
        begun.total()


def test_a_store_that_returns_another_share_is_named_and_the_sum_opens_without_it() -> None:
    made, begun = confirmed()
    request = begun.unmask_request()
    for i in range(5):
        reply = Unmask.parse(made.stores[i].unmask(request), made.pins)
        if i == 2:
            reply = dataclasses.replace(reply, alive={**reply.alive, 4: draw_secret()})
            refuses("store 2 sent a share of store 4 that is not the one dealt", begun.add_unmask, signed(reply, 2))
        else:
            begun.add_unmask(spell(reply))
    assert [offence.store for offence in begun.offences] == [2]
    assert set(begun.total()) == {31}


def test_shares_that_nobody_asked_for_are_refused() -> None:
    _, begun = confirmed()
    reply = Unmask(0, begun.context, survivors_hash(begun.survivors), OTHER, {}, {})
    refuses("nobody asked for", begun.add_unmask, signed(reply, 0))
    begun.unmask_request()
    refuses("other shares than were asked for", begun.add_unmask, signed(reply, 0))
    refuses("signature is not by key", begun.add_unmask, signed(reply, 1))
    moved = dataclasses.replace(reply, value=OTHER)
    refuses("for another survivor set", begun.add_unmask, signed(moved, 0))


@pytest.mark.parametrize("kind", [0, 1])
def test_a_dealer_whose_shares_rebuild_nothing_is_named_and_no_sum_opens(kind: int) -> None:
    """Store 1 deals shares of another b (or round key) than it announced: its own signatures prove it."""
    made = Coalition(make_pins(5, 1, 4))
    secrets_of = made.stores[1]
    epoch = made.aggregator()
    for i in range(5):
        epoch.add_keys(made.stores[i].keys(epoch.keys_request()))
    pair = list(secrets_of._secrets.rounds[0])
    pair[kind] = draw_secret()
    secrets_of._secrets.rounds[0] = tuple(pair)
    for i in range(5):
        epoch.add_boxes(made.stores[i].boxes(epoch.boxes_request()))
    for i in range(5):
        made.stores[i].deliver(epoch.delivery(i))
    begun = epoch.begin(0, 0, MODEL)
    with pytest.raises(RoundFailed, match="shares dealt by stores 1 do not rebuild their secrets; no sum was opened"):
        made.finish(begun, VALUES, no_upload=[1] if kind else [])
    assert [offence.store for offence in begun.offences] == [1]


def test_a_share_that_a_store_kept_for_itself_is_checked_too() -> None:
    made, begun = confirmed()
    reply = Unmask.parse(made.stores[2].unmask(begun.unmask_request()), made.pins)
    lie = dataclasses.replace(reply, alive={**reply.alive, 2: draw_secret()})
    refuses("store 2 sent a share of store 2 that is not the one dealt", begun.add_unmask, signed(lie, 2))


def test_a_share_that_is_no_field_element_is_refused_though_its_dealer_signed_its_hash() -> None:
    """Store 1 hashed such a word as the share that it keeps: the sum opens without its reply."""
    made, word = Coalition(make_pins(5, 1, 4)), b"\xff" * 32
    epoch = made.aggregator()
    for i in range(5):
        epoch.add_keys(made.stores[i].keys(epoch.keys_request()))
    for i in range(5):
        boxes = Boxes.parse(made.stores[i].boxes(epoch.boxes_request()), made.pins)
        if i == 1:
            boxes = dataclasses.replace(boxes, own=share_hashes(boxes.tag, 1, 1, [(word, word)]))
        epoch.add_boxes(signed(boxes, i))
    for i in range(5):
        made.stores[i].deliver(epoch.delivery(i))
    begun = epoch.begin(0, 0, MODEL)
    for i in range(5):
        upload = made.upload(i, begun, VALUES[i])
        begun.add(upload.vector, upload.word)
    for i in range(5):
        begun.add_confirm(made.stores[i].confirm(begun.confirm_request()))
    for i in range(5):
        reply = Unmask.parse(made.stores[i].unmask(begun.unmask_request()), made.pins)
        if i == 1:
            lie = dataclasses.replace(reply, alive={**reply.alive, 1: word})
            refuses("store 1 sent a share of store 1 that is no field element", begun.add_unmask, signed(lie, 1))
        else:
            begun.add_unmask(spell(reply))
    assert [offence.store for offence in begun.offences] == [1]
    assert set(begun.total()) == {31}


def test_hashes_of_shares_name_owner_holder_round_and_kind() -> None:
    shares = [(MODEL, MODEL), (MODEL, MODEL)]
    found = {h for owner, holder in ((0, 1), (1, 0), (0, 2)) for h in share_hashes(OTHER, owner, holder, shares)}
    assert len(found) == 12


def test_memory_is_three_vectors_whatever_the_number_of_stores() -> None:
    length = 500_000
    _, begun = opened(length=length)
    vector = np.ones(length, "<u4")
    words = [signed(TrainWord(i, begun.context, vector_hash(vector), OTHER), i) for i in range(5)]
    tracemalloc.start()
    for i in range(5):
        begun.add(vector.copy(), words[i])
    assert tracemalloc.get_traced_memory()[1] < 2 * vector.nbytes
    tracemalloc.stop()


def test_opening_a_sum_with_drops_takes_no_further_vector() -> None:
    length = 500_000
    made, begun = opened(length=length)
    values = np.arange(length)
    for i in (0, 1, 3, 4):
        upload = made.upload(i, begun, values)
        begun.add(upload.vector, upload.word)
    for i in (0, 1, 3, 4):
        begun.add_confirm(made.stores[i].confirm(begun.confirm_request()))
    for i in (0, 1, 3, 4):
        begun.add_unmask(made.stores[i].unmask(begun.unmask_request()))
    tracemalloc.start()
    total = begun.total()
    assert tracemalloc.get_traced_memory()[1] < length  # bytes: a quarter of a vector
    tracemalloc.stop()
    assert np.array_equal(total, 4 * values)


ENDS: tuple[str, ...] = ("add_keys", "add_boxes", "add_confirm", "add_unmask", "word")
STORE_ENDS: tuple[str, ...] = ("keys", "boxes", "deliver", "train", "confirm", "unmask")


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_no_bytes_crash_either_end(data: st.DataObject) -> None:
    """Random and altered messages: a typed refusal, and the round goes on to its sum."""
    made, begun, good = _prepared()
    name = data.draw(st.sampled_from(ENDS + STORE_ENDS))
    raw = data.draw(st.one_of(st.binary(max_size=400), _altered(good[name])))
    if raw == good[name]:
        return
    store = made.stores[0]
    call = {
        "add_keys": made.epoch.add_keys,
        "add_boxes": made.epoch.add_boxes,
        "add_confirm": begun.add_confirm,
        "add_unmask": begun.add_unmask,
        "word": lambda word: begun.add(np.zeros(3, "<u4"), word),
        "train": lambda request: store.train(request, MODEL, lambda _: made.words([0] * 3)),
    }.get(name) or getattr(store, name)
    with pytest.raises(ProtocolError):
        call(raw)
    assert set(begun.total()) == {31}


def _altered(raw: bytes) -> st.SearchStrategy[bytes]:
    flips = st.tuples(st.integers(0, len(raw) - 1), st.integers(1, 255))
    return st.one_of(
        flips.map(lambda flip: raw[: flip[0]] + bytes([raw[flip[0]] ^ flip[1]]) + raw[flip[0] + 1 :]),
        st.integers(0, len(raw) - 1).map(lambda size: raw[:size]),
        st.binary(min_size=1, max_size=40).map(lambda tail: raw + tail),
    )


_PREPARED: list[Any] = []


def _prepared() -> Any:
    """One finished round, and each message of it by the end that took it."""
    if not _PREPARED:
        made = Coalition(make_pins(5, 1, 4))
        epoch = made.open_epoch()
        made.epoch = epoch  # type: ignore[attr-defined]
        begun = epoch.begin(0, 0, MODEL)
        made.finish(begun, VALUES)
        good = {
            "keys": epoch.keys_request(),
            "boxes": epoch.boxes_request(),
            "deliver": epoch.delivery(0),
            "train": begun.train_request(),
            "confirm": begun.confirm_request(),
            "unmask": begun.unmask_request(),
            "add_keys": spell(epoch.keys[0]),
            "add_boxes": spell(epoch.boxes[0]),
            "word": spell(begun.uploads[0]),
            "add_confirm": spell(begun.confirmations[0]),
            "add_unmask": spell(begun.replies[0]),
        }
        _PREPARED.append((made, begun, good))
    return _PREPARED[0]
