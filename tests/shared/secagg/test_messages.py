"""Messages have one spelling each; keys and boxes serve one context, sender and receiver."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fedcart.shared.secagg.wire as wire
from fedcart.shared.errors import ConfigError, ProtocolError
from fedcart.shared.privacy.cohort import Cohort
from fedcart.shared.secagg.keys import (
    digest,
    open_box,
    pair_mask_key,
    public_key,
    seal_box,
    self_mask_key,
)
from fedcart.shared.secagg.messages import Boxes, ConfirmWord, Keys, Row, TrainWord, Unmask, box_bytes
from fedcart.shared.secagg.pins import Pins, survivors_hash
from fedcart.shared.secagg.requests import BoxesRequest, ConfirmRequest, Delivery, KeysRequest, Train, UnmaskRequest
from fedcart.shared.secagg.wire import Checked, spell
from secagg_kit import identity

A, B, C = (bytes([letter]) * 32 for letter in b"abc")
S = b"s" * 64
PINS = Pins(
    run=A,
    roster=B,
    plan=C,
    cohort=Cohort(participants=5, colluders=1, min_survivors=4),
    rounds=2,
    length=10,
    bits=32,
    identities={i: bytes([i]) * 32 for i in range(5)},
    coordinator=b"z" * 32,
)
BOX = b"x" * box_bytes(PINS)
HASHES = (A, B, C, A)


def row(sender: int, receiver: int) -> Row:
    return Row(A, sender, receiver, B, BOX, HASHES, S)


MESSAGES: dict[str, tuple[Any, Any]] = {
    "keys": (Keys(A, 3, B, C, ((A, B), (B, C)), S), lambda raw: Keys.parse(raw, PINS)),
    "boxes": (Boxes(A, 3, B, HASHES, {0: row(3, 0), 4: row(3, 4)}, S), lambda raw: Boxes.parse(raw, PINS)),
    "train word": (TrainWord(3, A, B, C, S), TrainWord.parse),
    "confirm word": (ConfirmWord(3, A, B, C, S), ConfirmWord.parse),
    "unmask": (Unmask(3, A, B, C, {0: A, 1: B}, {2: C}, S), lambda raw: Unmask.parse(raw, PINS)),
    "keys request": (KeysRequest(A, 2**40, S), KeysRequest.parse),
    "boxes request": (
        BoxesRequest(A, {i: Keys(A, i, B, C, ((A, B), (B, C)), S) for i in (0, 4)}, S),
        lambda raw: BoxesRequest.parse(raw, PINS),
    ),
    "delivery": (Delivery(A, 3, {0: row(0, 3), 4: row(4, 3)}, S), lambda raw: Delivery.parse(raw, PINS)),
    "train": (Train(A, 1, 7, 0, B, (0, 1, 2, 4), S), lambda raw: Train.parse(raw, PINS)),
    "confirm request": (
        ConfirmRequest(A, (TrainWord(0, A, B, C, S), TrainWord(4, A, B, C, S)), S),
        lambda raw: ConfirmRequest.parse(raw, PINS),
    ),
    "unmask request": (
        UnmaskRequest(A, (ConfirmWord(0, A, B, C, S), ConfirmWord(4, A, B, C, S)), S),
        lambda raw: UnmaskRequest.parse(raw, PINS),
    ),
}


def spelled(name: str) -> bytes:
    return spell(MESSAGES[name][0])


@pytest.mark.parametrize("name", MESSAGES)
def test_what_is_written_is_read_back(name: str) -> None:
    message, parse = MESSAGES[name]
    assert parse(spelled(name)) == message


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_cut_short_anywhere_is_refused(name: str) -> None:
    raw = spelled(name)
    for length in {*range(min(len(raw), 400)), *range(0, len(raw), 37), len(raw) - 1}:
        with pytest.raises(ProtocolError):
            MESSAGES[name][1](raw[:length])


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_that_goes_on_is_refused(name: str) -> None:
    with pytest.raises(ProtocolError, match="goes on after its end"):
        MESSAGES[name][1](spelled(name) + b"\0")


@pytest.mark.parametrize("name", MESSAGES)
@given(data=st.data())
def test_two_spellings_never_mean_the_same(name: str, data: st.DataObject) -> None:
    """Whatever byte is changed, the message is refused or says something else."""
    raw = bytearray(spelled(name))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read = MESSAGES[name][1](bytes(raw))
    except ProtocolError:
        return
    assert read != MESSAGES[name][0]


def test_ids_that_repeat_or_fall_are_refused() -> None:
    for cohort in ((0, 1, 1, 4), (1, 0, 2, 4)):
        body = A + (1).to_bytes(2, "big") + bytes(8) + B + b"".join(x.to_bytes(2, "big") for x in (4, *cohort))
        with pytest.raises(ProtocolError, match="lists id"):
            Train.parse(body + S, PINS)


def test_a_count_over_the_plans_is_refused_before_any_row_is_read() -> None:
    body = A + (1).to_bytes(2, "big") + bytes(8) + B + (6).to_bytes(2, "big")
    with pytest.raises(ProtocolError, match="lists 6 rows, over the 5"):
        Train.parse(body, PINS)


def test_both_shares_of_one_store_cannot_be_spelled() -> None:
    message = dataclasses.replace(MESSAGES["unmask"][0], dropped={1: C})
    with pytest.raises(ProtocolError, match="both shares of store 1"):
        Unmask.parse(message.body() + S, PINS)


def test_another_number_of_rounds_than_the_plans_is_refused() -> None:
    message = dataclasses.replace(MESSAGES["keys"][0], rounds=((A, B),))
    with pytest.raises(ProtocolError, match="not the plan's 2"):
        Keys.parse(message.body() + S, PINS)


@pytest.mark.parametrize(
    "change", [{"round": 2}, {"release": 8}, {"block": 1}, {"model": C}, {"cohort": (0, 1, 2, 3)}, {"tag": B}]
)
def test_the_context_binds_round_release_block_model_cohort_and_epoch(change: dict[str, Any]) -> None:
    train = MESSAGES["train"][0]
    assert dataclasses.replace(train, **change).context() != train.context()


def test_no_two_messages_are_signed_in_one_domain() -> None:
    domains = [message.DOMAIN for message, _ in MESSAGES.values()] + [Row.DOMAIN]
    assert len(set(domains)) == len(domains)


def test_a_digest_separates_labels_and_parts() -> None:
    assert len({digest("a", b"bc"), digest("ab", b"c"), digest("a", b"b", b"c"), digest("a", b"b", b"c", b"")}) == 4
    assert survivors_hash((1, 2)) != survivors_hash((12,))


def test_a_signature_is_checked_once_and_a_change_anywhere_is_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def verify(public: bytes, domain: str, body: bytes, signature: bytes) -> None:
        asked.append(body)
        real(public, domain, body, signature)

    real = wire.identity.verify
    monkeypatch.setattr(wire.identity, "verify", verify)
    signer, other, checked = identity(1), identity(2), Checked(most=2)
    good = (signer.public, "domain", b"body", signer.sign("domain", b"body"))
    checked.verify(*good)
    checked.verify(*good)
    assert len(asked) == 1
    bad = [
        (other.public, *good[1:]),
        (good[0], "other", *good[2:]),
        (*good[:2], b"bodY", good[3]),
        (*good[:3], good[3][:-1] + bytes([good[3][-1] ^ 1])),
    ]
    for changed in bad:
        for _ in range(2):  # a bad one is never remembered
            with pytest.raises(ProtocolError, match="is not by key"):
                checked.verify(*changed)
    assert (len(asked), len(checked)) == (9, 1)


def test_checked_signatures_take_bounded_memory_and_the_oldest_is_forgotten_first() -> None:
    signer, checked = identity(1), Checked(most=2)
    for body in (b"1", b"2", b"3"):
        checked.verify(signer.public, "domain", body, signer.sign("domain", body))
    assert len(checked) == 2
    with pytest.raises(ProtocolError):
        checked.verify(signer.public, "domain", b"3", bytes(64))
    checked.clear()
    assert len(checked) == 0


def test_two_stores_agree_on_one_mask_key_and_on_no_other() -> None:
    one, other = os.urandom(32), os.urandom(32)
    key = pair_mask_key(one, public_key(other), A, 1, 2)
    assert pair_mask_key(other, public_key(one), A, 2, 1) == key
    others = {
        pair_mask_key(one, public_key(other), B, 1, 2),
        pair_mask_key(one, public_key(other), A, 1, 3),
        self_mask_key(one, A),
        self_mask_key(one, B),
    }
    assert len(others | {key}) == 5


def test_a_box_opens_for_its_receiver_alone_and_only_as_it_was_sealed() -> None:
    one, other = os.urandom(32), os.urandom(32)
    box = seal_box(one, public_key(other), A, 1, 2, b"shares")
    assert open_box(other, public_key(one), A, 1, 2, box) == b"shares"
    wrong = [
        (other, public_key(one), B, 1, 2, box),
        (other, public_key(one), A, 2, 1, box),
        (other, public_key(one), A, 1, 3, box),
        (os.urandom(32), public_key(one), A, 1, 2, box),
        (other, public_key(one), A, 1, 2, box[:-1]),
        (other, public_key(one), A, 1, 2, b""),
        (other, public_key(one), A, 1, 2, bytes([box[0] ^ 1]) + box[1:]),
    ]
    for arguments in wrong:
        with pytest.raises(ProtocolError, match="does not open"):
            open_box(*arguments)


def test_a_public_key_of_small_order_is_refused() -> None:
    with pytest.raises(ProtocolError, match="small order"):
        pair_mask_key(os.urandom(32), bytes(32), A, 1, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"identities": {i: bytes([i]) * 32 for i in range(4)}}, "4 identities"),
        ({"identities": dict.fromkeys(range(5), A)}, "stands for two"),
        ({"identities": {i - 1: bytes([i]) * 32 for i in range(5)}}, "roster index"),
        ({"rounds": 0}, "rounds, length or bits"),
        ({"length": -1}, "rounds, length or bits"),
        ({"bits": 16}, "rounds, length or bits"),
        ({"plan": b"short"}, "32 bytes each"),
    ],
)
def test_refuses_pins_that_say(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(PINS, **change)
