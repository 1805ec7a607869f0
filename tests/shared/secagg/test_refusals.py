"""What a store refuses: each rule that broke before, or could, has one test. Nothing changes by a refusal."""

from __future__ import annotations

import copy
import dataclasses
import os
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedcart.shared.errors import PrivacyRefused, ProtocolError
from fedcart.shared.secagg.collection import RoundSum
from fedcart.shared.secagg.dealing import share_hashes
from fedcart.shared.secagg.keys import seal_box
from fedcart.shared.secagg.messages import ConfirmWord, Keys, TrainWord
from fedcart.shared.secagg.participant import Participant
from fedcart.shared.secagg.pins import survivors_hash
from fedcart.shared.secagg.requests import BoxesRequest, ConfirmRequest, Delivery, KeysRequest, Train, UnmaskRequest
from fedcart.shared.secagg.wire import Message, sign, spell
from secagg_kit import COORDINATOR, MODEL, Coalition, MemoryJournal, identity, make_pins

VALUES = {i: [1 << i] * 3 for i in range(5)}
OTHER = b"m" * 32


def asked(message: Message) -> bytes:
    """A request with the coordinator's signature: whatever it says, it is authentic."""
    return spell(sign(message, identity(COORDINATOR)))


def coalition(**changes: Any) -> Coalition:
    return Coalition(make_pins(5, 1, 4, **{"rounds": 3, **changes}))


def epoch_zero(made: Coalition) -> bytes:
    return asked(KeysRequest(made.pins.tag(0), 0))


def uploaded() -> tuple[Coalition, RoundSum]:
    """A round whose five vectors have come."""
    made = coalition()
    begun = made.open_epoch().begin(0, 0, MODEL)
    for i in range(5):
        upload = made.upload(i, begun, VALUES[i])
        begun.add(upload.vector, upload.word)
    return made, begun


def confirmed() -> tuple[Coalition, RoundSum]:
    """A round whose survivor set all five have signed."""
    made, begun = uploaded()
    for i in range(5):
        begun.add_confirm(made.stores[i].confirm(begun.confirm_request()))
    return made, begun


def train_request(begun: RoundSum, **changes: Any) -> bytes:
    return asked(dataclasses.replace(begun.train, **changes))


def refuses(match: str, call: Callable[..., Any], *arguments: Any) -> None:
    with pytest.raises(ProtocolError, match=match) as caught:
        call(*arguments)
    assert caught.value.exit_code == 4


def never(_: Train) -> Any:
    raise AssertionError("a vector was computed")


# --- KEYS


@pytest.mark.parametrize(
    ("epoch", "allowed"), [(0, False), (3, False), (4, True), (19, True), (20, False), (2**60, False)]
)
def test_an_epoch_is_one_of_the_next_sixteen(epoch: int, allowed: bool) -> None:
    made = coalition()
    made.stores[0].keys(asked(KeysRequest(made.pins.tag(3), 3)))
    store, request = made.start(0), asked(KeysRequest(made.pins.tag(epoch), epoch))
    if allowed:
        store.keys(request)
    else:
        refuses("lies outside 4 .. 19; it was not entered", store.keys, request)
        assert made.journals[0].past(made.pins.run).epoch == 3


def test_a_second_epoch_needs_a_second_object() -> None:
    made = coalition()
    made.stores[0].keys(epoch_zero(made))
    refuses("second and different KEYS", made.stores[0].keys, asked(KeysRequest(made.pins.tag(1), 1)))


def test_keys_are_for_the_pinned_run_and_coordinator_only() -> None:
    made = coalition()
    other = dataclasses.replace(made.pins, plan=OTHER)
    refuses("another run, roster or plan", made.stores[0].keys, asked(KeysRequest(other.tag(0), 0)))
    forged = spell(sign(KeysRequest(made.pins.tag(0), 0), identity(1)))
    refuses("signature is not by key", made.stores[0].keys, forged)


def test_two_objects_never_serve_one_epoch() -> None:
    """Each would answer TRAIN and CONFIRM once: one store, two survivor sets."""
    made = coalition()
    twin = Participant(made.pins, 0, identity(0), made.journals[0], list(made.pins.identities.values()))
    made.stores[0].keys(epoch_zero(made))
    refuses("lies outside 1 .. 16", twin.keys, epoch_zero(made))


def test_entering_an_epoch_ends_the_one_before_even_in_another_object() -> None:
    made = coalition()
    begun = made.open_epoch().begin(0, 0, MODEL)
    earlier = made.stores[0]
    made.start(0).keys(asked(KeysRequest(made.pins.tag(1), 1)))
    refuses(
        "TRAIN of epoch 0 could not be made durable",
        earlier.train,
        begun.train_request(),
        MODEL,
        lambda _: made.words(VALUES[0]),
    )
    refuses("epoch is over", earlier.train, begun.train_request(), MODEL, never)


def test_a_roster_with_more_strangers_than_colluders_is_refused() -> None:
    pins = make_pins(5, 1, 4)
    known = [identity(i).public for i in range(4)]
    Participant(pins, 0, identity(0), MemoryJournal(), known)
    with pytest.raises(PrivacyRefused, match="2 of the plan's participants are unknown here, over its 1"):
        Participant(pins, 0, identity(0), MemoryJournal(), known[:3])
    refuses("another key in the roster", Participant, pins, 0, identity(1), MemoryJournal(), known)


# --- BOXES


def keys_of(made: Coalition) -> dict[int, Keys]:
    return {i: Keys.parse(store.keys(epoch_zero(made)), made.pins) for i, store in made.stores.items()}


def test_keys_by_a_foreign_key_are_refused() -> None:
    made = coalition()
    keys = keys_of(made)
    for forger in (identity(77), identity(1)):  # a stranger; another participant
        forged = {**keys, 2: sign(keys[2], forger)}
        refuses("signature is not by key", made.stores[0].boxes, asked(BoxesRequest(made.pins.tag(0), forged)))
    stranger = {i: keys[i] for i in range(4)} | {9: sign(dataclasses.replace(keys[4], sender=9), identity(9))}
    refuses("store 9 is not in the roster", made.stores[0].boxes, asked(BoxesRequest(made.pins.tag(0), stranger)))
    made.stores[0].boxes(asked(BoxesRequest(made.pins.tag(0), keys)))  # nothing had changed


def test_keys_of_another_epoch_are_refused() -> None:
    made = coalition()
    keys = keys_of(made)
    old = sign(dataclasses.replace(keys[2], tag=made.pins.tag(7)), identity(2))
    as_new = dataclasses.replace(old, tag=made.pins.tag(0))
    request = BoxesRequest(made.pins.tag(0), {**keys, 2: as_new})
    refuses("signature is not by key", made.stores[0].boxes, asked(request))


def test_a_victim_is_not_isolated_with_a_few() -> None:
    made = coalition()
    keys = keys_of(made)
    few = {i: keys[i] for i in (0, 1, 4)}
    refuses(
        "3 KEYS, this store among them, are under the plan's 4",
        made.stores[0].boxes,
        asked(BoxesRequest(made.pins.tag(0), few)),
    )


def test_a_second_set_of_keys_is_refused_and_the_first_again_gets_the_same_boxes() -> None:
    made = coalition()
    keys = keys_of(made)
    first = asked(BoxesRequest(made.pins.tag(0), keys))
    answer = made.stores[0].boxes(first)
    second = asked(BoxesRequest(made.pins.tag(0), {i: keys[i] for i in range(4)}))
    refuses("second and different BOXES", made.stores[0].boxes, second)
    assert made.stores[0].boxes(first) == answer


def test_a_store_is_shown_its_own_keys_or_none() -> None:
    made = coalition()
    keys = keys_of(made)
    other = sign(dataclasses.replace(keys[0], box_key=keys[1].box_key), identity(0))
    refuses(
        "other KEYS than this store sent",
        made.stores[0].boxes,
        asked(BoxesRequest(made.pins.tag(0), {**keys, 0: other})),
    )


# --- boxes


def dealt() -> tuple[Coalition, Any]:
    made = coalition()
    epoch = made.aggregator()
    for store in made.stores.values():
        epoch.add_keys(store.keys(epoch.keys_request()))
    for store in made.stores.values():
        epoch.add_boxes(store.boxes(epoch.boxes_request()))
    return made, epoch


def delivered(made: Coalition, epoch: Any) -> Delivery:
    return Delivery.parse(epoch.delivery(0), made.pins)


def test_a_swapped_box_is_not_opened() -> None:
    """A box for another receiver, by another sender, or altered: the sender is left out of every cohort."""
    made, epoch = dealt()
    sent = delivered(made, epoch)
    wrong = dict(sent.rows)
    wrong[1] = dataclasses.replace(epoch.boxes[1].rows[2], receiver=0)
    refused = made.stores[0].deliver(asked(dataclasses.replace(sent, rows=wrong)))
    assert list(refused) == [1]
    assert "signature" in refused[1]
    cohort = train_of(made, cohort=(0, 1, 2, 3, 4))
    refuses("names one whose box it did not open", made.stores[0].train, asked(cohort), MODEL, never)


def test_a_box_signed_over_other_shares_than_it_holds_is_not_used() -> None:
    made, epoch = dealt()
    sent = delivered(made, epoch)
    row = sent.rows[1]
    lie = sign(dataclasses.replace(row, hashes=row.hashes[::-1]), identity(1))
    refused = made.stores[0].deliver(asked(dataclasses.replace(sent, rows={**sent.rows, 1: lie})))
    assert refused == {1: "store 1 dealt other shares than it signed; its box was not used"}


def test_a_box_with_a_word_that_is_no_field_element_is_not_used() -> None:
    """Its dealer hashed and signed what it holds, so nothing else would tell."""
    made, epoch = dealt()
    sent = delivered(made, epoch)
    row, shares = sent.rows[1], [(b"\xff" * 32, bytes(32))] * made.pins.rounds
    content = b"".join(b + key for b, key in shares)
    box = seal_box(made.stores[1]._secrets.box, epoch.keys[0].box_key, row.tag, 1, 0, content)
    hashes = share_hashes(row.tag, 1, 0, shares)
    lie = sign(dataclasses.replace(row, box=box, hashes=hashes), identity(1))
    refused = made.stores[0].deliver(asked(dataclasses.replace(sent, rows={**sent.rows, 1: lie})))
    assert refused == {1: "a field element is not below p = 2^256 - 189; it was not used"}


def test_too_few_boxes_close_the_epoch() -> None:
    made, epoch = dealt()
    sent = delivered(made, epoch)
    few = {i: sent.rows[i] for i in (1, 2)}
    refuses("3 boxes, this store among them", made.stores[0].deliver, asked(dataclasses.replace(sent, rows=few)))
    wrong = {i: dataclasses.replace(row, box=bytes(len(row.box))) for i, row in sent.rows.items()}
    refuses("1 opened boxes", made.stores[0].deliver, asked(dataclasses.replace(sent, rows=wrong)))
    refuses("epoch is over", made.stores[0].deliver, epoch.delivery(0))


def test_boxes_for_another_store_or_before_its_own_are_refused() -> None:
    made, epoch = dealt()
    refuses("for another store", made.stores[0].deliver, epoch.delivery(1))
    fresh = coalition()
    fresh.stores[0].keys(epoch_zero(fresh))
    refuses("before this store dealt its own", fresh.stores[0].deliver, epoch.delivery(0))


# --- TRAIN


def train_of(made: Coalition, **changes: Any) -> Train:
    return dataclasses.replace(Train(made.pins.tag(0), 0, 0, 0, MODEL, (0, 1, 2, 3, 4)), **changes)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"cohort": (0, 1, 2)}, "3 stores in the cohort, this store among them, are under the plan's 4"),
        ({"cohort": (1, 2, 3, 4)}, "leaves this store out"),
        ({"cohort": (0, 1, 2, 9)}, "names one whose box it did not open"),
        ({"round": 3}, "not one of the plan's 3"),
        ({"tag": OTHER}, "another epoch, run, roster or plan"),
        ({"model": OTHER}, "not the one the request names"),
    ],
)
def test_a_train_request_is_refused_that_says(changes: dict[str, Any], match: str) -> None:
    made = coalition()
    begun = made.open_epoch().begin(0, 0, MODEL)
    refuses(match, made.stores[0].train, train_request(begun, **changes), MODEL, never)
    made.upload(0, begun, VALUES[0])  # nothing had changed


@pytest.mark.parametrize(
    "changes", [{"model": OTHER}, {"cohort": (0, 1, 2, 3)}, {"release": 1}, {"block": 1}, {"round": 0, "release": 5}]
)
def test_a_second_train_in_the_round_is_refused_whatever_differs(changes: dict[str, Any]) -> None:
    made = coalition()
    begun = made.open_epoch().begin(0, 0, MODEL)
    upload = made.upload(0, begun, VALUES[0])
    refuses(
        "round 0 came after round 0",
        made.stores[0].train,
        train_request(begun, **changes),
        changes.get("model", MODEL),
        never,
    )
    again = made.stores[0].train(begun.train_request(), MODEL, never)
    assert again.word == upload.word
    assert again.vector is upload.vector
    assert not again.vector.flags.writeable  # whoever holds the first cannot change what a repeat gets


def test_train_for_a_later_round_closes_the_earlier_one() -> None:
    made, begun = uploaded()
    store = made.stores[0]
    request = begun.confirm_request()
    store.train(train_request(begun, round=2), MODEL, lambda _: made.words(VALUES[0]))
    assert set(store._secrets.rounds) | set(store._secrets.held) == {2}
    refuses("another context", store.confirm, request)
    refuses("round 1 came after round 2", store.train, train_request(begun, round=1), MODEL, never)
    refuses("round 0 came after round 2", store.train, begun.train_request(), MODEL, never)


@pytest.mark.parametrize(
    ("release", "number", "allowed"), [(4, 1, False), (5, 1, True), (6, 1, True), (7, 1, False), (7, 2, True)]
)
def test_a_round_carries_the_next_release_or_a_repeat(release: int, number: int, allowed: bool) -> None:
    made = coalition()
    begun = made.open_epoch().begin(0, 5, MODEL)
    made.upload(0, begun, VALUES[0])
    request = train_request(begun, release=release, round=number)
    if allowed:
        made.stores[0].train(request, MODEL, lambda _: made.words(VALUES[0]))
    else:
        refuses("neither a repeat nor the next", made.stores[0].train, request, MODEL, never)


def test_a_release_gone_by_is_refused_in_later_epochs_too() -> None:
    made = coalition()
    made.upload(0, made.open_epoch().begin(0, 5, MODEL), VALUES[0])
    for i in range(5):
        made.start(i)
    begun = made.open_epoch().begin(0, 4, MODEL)
    refuses("release 4, but the last one answered was 5", made.stores[0].train, begun.train_request(), MODEL, never)


@pytest.mark.parametrize("wrong", [np.zeros(4, "<u4"), np.zeros(3, "<u8"), np.zeros(3), np.zeros((3, 1), "<u4"), None])
def test_a_vector_of_another_shape_closes_the_round_and_sends_nothing(wrong: Any) -> None:
    made = coalition()
    begun = made.open_epoch().begin(0, 0, MODEL)
    refuses("not the plan's 3 words of 32 bits", made.stores[0].train, begun.train_request(), MODEL, lambda _: wrong)
    refuses("came after round 0", made.stores[0].train, begun.train_request(), MODEL, never)
    assert made.journals[0].kinds() == ["KEYS"]
    assert 0 not in made.stores[0]._secrets.rounds


def test_an_error_while_the_vector_is_made_closes_the_round_only() -> None:
    made = coalition()
    epoch = made.open_epoch()

    def spent(_: Train) -> Any:
        raise PrivacyRefused("no budget")

    with pytest.raises(PrivacyRefused):
        made.stores[0].train(epoch.begin(0, 0, MODEL).train_request(), MODEL, spent)
    made.upload(0, epoch.begin(1, 0, MODEL), VALUES[0])


# --- CONFIRM


def confirm_request(begun: RoundSum, *survivors: int, **changes: Any) -> bytes:
    words = tuple(begun.uploads[i] for i in survivors)
    return asked(dataclasses.replace(ConfirmRequest(begun.context, words), **changes))


def test_a_second_survivor_set_is_refused_and_the_first_again_gets_the_same_word() -> None:
    made, begun = uploaded()
    word = made.stores[0].confirm(confirm_request(begun, 0, 1, 2, 3))
    refuses("second and different CONFIRM", made.stores[0].confirm, confirm_request(begun, 0, 1, 2, 4))
    refuses("second and different CONFIRM", made.stores[0].confirm, confirm_request(begun, 0, 1, 2, 3, 4))
    assert made.stores[0].confirm(confirm_request(begun, 0, 1, 2, 3)) == word


def test_a_set_that_was_written_but_never_sent_is_the_only_one_all_the_same() -> None:
    made, begun = uploaded()
    store, journal = made.stores[0], made.journals[0]
    before = len(journal.records)
    journal.head = lambda: b"short"  # type: ignore[method-assign]
    refuses("a ledger's head has 5 bytes", store.confirm, confirm_request(begun, 0, 1, 2, 3))
    del journal.head
    assert len(journal.records) == before + 1
    refuses("no second one", store.confirm, confirm_request(begun, 0, 1, 2, 4))


@pytest.mark.parametrize(
    ("survivors", "match"), [((0, 1, 2), "3 survivors, this store among them"), ((1, 2, 3, 4), "leaves this store out")]
)
def test_a_survivor_set_is_refused_that_is_too_small_or_leaves_the_store_out(survivors: Any, match: str) -> None:
    made, begun = uploaded()
    refuses(match, made.stores[0].confirm, confirm_request(begun, *survivors))


def test_a_survivor_set_is_filled_up_by_nobody_twice() -> None:
    made, begun = uploaded()
    body = ConfirmRequest(begun.context, tuple(begun.uploads[i] for i in (0, 1, 2))).body()
    word = begun.uploads[2]
    again = (2).to_bytes(2, "big") + word.value + word.head + word.signature
    forged = body[:32] + (4).to_bytes(2, "big") + body[34:] + again
    signature = identity(COORDINATOR).sign(ConfirmRequest.DOMAIN, forged)
    refuses("lists id 2 after 2", made.stores[0].confirm, forged + signature)


def test_survivors_show_their_own_signed_uploads_in_this_context() -> None:
    made, begun = uploaded()
    forged = sign(dataclasses.replace(begun.uploads[3], value=OTHER), identity(1))
    words = (*(begun.uploads[i] for i in (0, 1, 2)), forged)
    refuses("signature is not by key", made.stores[0].confirm, asked(ConfirmRequest(begun.context, words)))
    elsewhere = sign(TrainWord(3, OTHER, OTHER, OTHER), identity(3))
    replayed = TrainWord(3, begun.context, elsewhere.value, elsewhere.head, elsewhere.signature)
    words = (*(begun.uploads[i] for i in (0, 1, 2)), replayed)
    refuses("signature is not by key", made.stores[0].confirm, asked(ConfirmRequest(begun.context, words)))
    own = sign(dataclasses.replace(begun.uploads[0], value=OTHER), identity(0))  # as if its identity were stolen
    words = (own, *(begun.uploads[i] for i in (1, 2, 3)))
    refuses("another upload of this store", made.stores[0].confirm, asked(ConfirmRequest(begun.context, words)))


def test_a_survivor_outside_the_cohort_is_refused() -> None:
    made = coalition()
    begun = made.open_epoch().begin(0, 0, MODEL, without=[4])
    for i in range(4):
        upload = made.upload(i, begun, VALUES[i])
        begun.add(upload.vector, upload.word)
    extra = sign(TrainWord(4, begun.context, OTHER, OTHER), identity(4))
    words = (*(begun.uploads[i] for i in range(4)), extra)
    refuses("outside the cohort", made.stores[0].confirm, asked(ConfirmRequest(begun.context, words)))


def test_confirm_before_train_is_refused() -> None:
    made = coalition()
    made.open_epoch()
    refuses("no upload of this store is open", made.stores[0].confirm, b"")


# --- UNMASK


def unmask_request(begun: RoundSum, *signers: int, **changes: Any) -> bytes:
    words = tuple(begun.confirmations[i] for i in signers)
    return asked(dataclasses.replace(UnmaskRequest(begun.context, words), **changes))


def test_no_share_is_given_to_less_than_a_quorum() -> None:
    made, begun = confirmed()
    refuses("3 stores signed the survivor set, 4 are needed", made.stores[0].unmask, unmask_request(begun, 0, 1, 2))
    made.stores[0].unmask(unmask_request(begun, 1, 2, 3, 4))


def test_a_quorum_is_of_participants_who_signed_this_very_set() -> None:
    made, begun = confirmed()
    words = [begun.confirmations[i] for i in range(4)]
    other = sign(dataclasses.replace(words[3], value=survivors_hash((0, 1, 2, 3))), identity(3))
    refuses("on another survivor set", made.stores[0].unmask, asked(UnmaskRequest(begun.context, (*words[:3], other))))
    forged = sign(words[3], identity(2))
    refuses("signature is not by key", made.stores[0].unmask, asked(UnmaskRequest(begun.context, (*words[:3], forged))))
    stranger = sign(dataclasses.replace(words[3], sender=9), identity(9))
    refuses("store 9 is not in", made.stores[0].unmask, asked(UnmaskRequest(begun.context, (*words[:3], stranger))))
    as_train = sign(TrainWord(3, begun.context, words[3].value, words[3].head), identity(3))
    swapped = ConfirmWord(3, begun.context, as_train.value, as_train.head, as_train.signature)
    refuses(
        "signature is not by key", made.stores[0].unmask, asked(UnmaskRequest(begun.context, (*words[:3], swapped)))
    )


def test_shares_before_a_signed_set_are_refused() -> None:
    made, begun = uploaded()
    elsewhere = asked(UnmaskRequest(OTHER, ()))
    refuses("another context", made.stores[0].unmask, elsewhere)
    for i in range(1, 5):
        begun.add_confirm(made.stores[i].confirm(begun.confirm_request()))
    refuses("before a survivor set was signed", made.stores[0].unmask, begun.unmask_request())


def test_a_second_unmask_gets_the_same_shares_or_none() -> None:
    made, begun = confirmed()
    answer = made.stores[0].unmask(unmask_request(begun, 0, 1, 2, 3))
    refuses("second and different UNMASK", made.stores[0].unmask, unmask_request(begun, 0, 1, 2, 4))
    assert made.stores[0].unmask(unmask_request(begun, 0, 1, 2, 3)) == answer
    refuses("came after round 0", made.stores[0].train, begun.train_request(), MODEL, never)
    assert made.journals[0].kinds() == ["KEYS", "TRAIN", "CONFIRM", "UNMASK"]


def test_never_both_shares_of_one_store() -> None:
    made = coalition()
    begun = made.open_epoch().begin(0, 0, MODEL)
    made.finish(begun, VALUES, no_upload=[2])
    for reply in begun.replies.values():
        assert set(reply.alive) == {0, 1, 3, 4}
        assert set(reply.dropped) == {2}


# --- secrets


def test_secrets_are_erased_as_soon_as_they_have_served() -> None:
    made, begun = confirmed()
    store = made.stores[0]
    assert store._secrets.box is None
    assert 0 not in store._secrets.rounds
    store.unmask(begun.unmask_request())
    assert 0 not in store._secrets.held
    assert store._round.upload is None
    store.close()
    assert store._secrets is None
    refuses("epoch is over", store.unmask, begun.unmask_request())


def test_a_participant_is_not_copied_not_pickled_and_shows_nothing() -> None:
    store = coalition().stores[0]
    refuses("nothing was copied", copy.deepcopy, store)
    refuses("nothing was copied", pickle.dumps, store)
    assert repr(store) == "Participant(store 0, epoch -1, <secret>)"


def test_a_forked_process_answers_nothing() -> None:
    made = coalition()
    begun = made.open_epoch().begin(0, 0, MODEL)
    store, request = made.stores[0], begun.train_request()
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            store.train(request, MODEL, never)
        except BaseException as error:
            os.write(writer, str(error).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert b"carried over a fork" in os.read(reader, 1000)
    made.upload(0, begun, VALUES[0])


def test_two_requests_at_once_are_not_both_answered() -> None:
    made = coalition()
    begun = made.open_epoch().begin(0, 0, MODEL)
    found: list[str] = []

    def other() -> None:
        try:
            made.stores[0].train(begun.train_request(), MODEL, never)
        except ProtocolError as error:
            found.append(error.message)

    def slow(_: Train) -> Any:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        return made.words(VALUES[0])

    made.stores[0].train(begun.train_request(), MODEL, slow)
    assert found == ["a request came while another was being answered; refused"]


# --- crashes


STEPS = ("KEYS", "TRAIN", "CONFIRM", "UNMASK")


@pytest.mark.parametrize("step", range(4))
def test_a_write_that_fails_sends_nothing_and_gives_the_epoch_up(step: int) -> None:
    made = coalition()
    victim = made.journals[0]
    victim.fail_at = step
    with pytest.raises(ProtocolError, match=f"{STEPS[step]} of epoch 0 could not be made durable; nothing was sent"):
        made.finish(made.open_epoch().begin(0, 0, MODEL), VALUES)
    assert victim.kinds() == list(STEPS[:step])
    assert made.stores[0]._secrets is None
    victim.fail_at = None
    refuses("epoch is over", made.stores[0].keys, epoch_zero(made))


@pytest.mark.parametrize("step", range(1, 5))
def test_after_a_restart_the_whole_epoch_is_refused(step: int) -> None:
    """Crash after each write: the new object knows the epoch is gone, and none of its requests is answered."""
    made, begun = confirmed()
    requests = (epoch_zero(made), begun.train_request(), begun.confirm_request(), begun.unmask_request())
    made.journals[0] = MemoryJournal(made.journals[0].records[:step])
    store = made.start(0)
    refuses("lies outside 1 .. 16", store.keys, requests[0])
    refuses("no epoch was entered", store.train, requests[1], MODEL, never)
    refuses("no epoch was entered", store.confirm, requests[2])
    refuses("no epoch was entered", store.unmask, requests[3])
    store.keys(asked(KeysRequest(made.pins.tag(1), 1)))
    refuses("another epoch", store.boxes, asked(BoxesRequest(made.pins.tag(0), {})))


def test_everything_is_journalled_before_it_is_sent() -> None:
    """The head in a message stands for a journal that already holds the message's record."""
    made, begun = confirmed()
    records = made.journals[0].records
    assert begun.uploads[0].head == MemoryJournal(records[:2]).head()
    assert begun.confirmations[0].head == MemoryJournal(records[:3]).head()
