"""What an outsider finds in a ledger, and what needs a peer's receipt or the roster's anchor to be found.

Each tampering is marked with the least that is needed; it must be found with that, and not with less: a mark that
promises too much, or too little, fails.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcart.shared.canonical import canonical_bytes
from fedcart.shared.errors import InputError, ProtocolError
from fedcart.shared.identity import Identity
from fedcart.shared.ledger import Receipt, SignedHead
from fedcart.shared.ledger.chain import rotation_proof
from fedcart.shared.ledger.kinds import BODIES, fault_in_body
from fedcart.shared.ledger.lines import START, Fault, line_hash, make_line, parse_line
from fedcart.shared.ledger.spending import epsilon_of, epsilon_string
from fedcart.shared.ledger.verify import UNDETECTABLE, Anchor, Verdict, receipts_of, verify
from shared.ledger.ledger_cases import (
    COORDINATOR,
    CTX,
    DELTA,
    NOON,
    OTHER,
    PEER,
    PLAN,
    RHO,
    SENT,
    STORE,
    STRANGER,
    Clock,
    charge,
    create,
    receipt_of,
    send,
)

ONE, PEERS, ANCHOR, NOBODY = "one ledger", "a peer's receipt", "the anchor", "nobody"
Entry = dict[str, Any]


@dataclass
class World:
    """Two stores after three rounds; `raw` are the lines of the one that will be tampered with."""

    path: Path
    raw: list[bytes]
    peer: list[bytes]
    receipts: tuple[Receipt, ...]
    anchor: Anchor

    def entries(self) -> list[Entry]:
        return [json.loads(raw) for raw in self.raw]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    directory, clock = tmp_path_factory.mktemp("world"), Clock()
    mine, theirs = directory / "store-1.jsonl", directory / "store-2.jsonl"
    with (
        create(mine, clock=clock) as ours,
        create(theirs, identity=PEER, clock=clock) as peer,
    ):
        for number in range(3):
            clock.at += 60
            send(ours, number)
            send(peer, number)
            receipt = receipt_of(ours, peer, round=number)
            for ledger in (ours, peer):
                ledger.witness(receipt, COORDINATOR.public)
        ours.checkpoint()
        anchor = Anchor(STORE.public, ours.genesis, COORDINATOR.public)
    lines = [path.read_bytes().splitlines() for path in (mine, theirs)]
    return World(directory / "tampered.jsonl", lines[0], lines[1], receipts_of(theirs), anchor)


def look(world: World, raw: list[bytes], end: bytes = b"\n") -> list[Verdict]:
    """The verdict from the ledger alone, with the peers' receipts, and with the anchor too."""
    world.path.write_bytes(b"\n".join(raw) + end)
    return [
        verify(world.path),
        verify(world.path, receipts=world.receipts),
        verify(world.path, receipts=world.receipts, anchor=world.anchor),
    ]


def signed(entries: list[Entry], key: Identity = STORE) -> list[bytes]:
    """An insider's work: the chain made again from these entries, every line signed."""
    raw, prev = [], START
    for seq, entry in enumerate(entries):
        fields = {k: v for k, v in entry.items() if k != "sig"} | {"seq": seq, "prev": prev}
        sig = key.sign("ledger", canonical_bytes(fields)).hex()
        raw.append(canonical_bytes({**fields, "sig": sig}))
        prev = line_hash(raw[-1])
    return raw


def only(entries: list[Entry], *kinds: str) -> list[Entry]:
    """The entries of these kinds; releases point at their charges' new places."""
    kept = [entry for entry in entries if entry["kind"] in kinds]
    place = {entry["seq"]: at for at, entry in enumerate(kept)}
    for entry in kept:
        if entry["kind"] == "release":
            entry["body"]["charge"] = place[entry["body"]["charge"]]
    return kept


def change(entries: list[Entry], kind: str, nth: int = 0, **fields: Any) -> list[Entry]:
    """Change fields in the body of the nth line of a kind."""
    [entry for entry in entries if entry["kind"] == kind][nth]["body"].update(fields)
    return entries


SPENDING = ("genesis", "plan", "charge", "release")
TAMPERINGS: dict[str, tuple[str, Callable[[World], list[bytes]]]] = {}


def tampering(needs: str) -> Callable[[Callable[[World], list[bytes]]], Callable[[World], list[bytes]]]:
    def add(make: Callable[[World], list[bytes]]) -> Callable[[World], list[bytes]]:
        TAMPERINGS[make.__name__] = (needs, make)
        return make

    return add


# ---- found in one ledger: the file was changed without the key


@tampering(ONE)
def a_field_was_edited(w: World) -> list[bytes]:
    return [raw.replace(b'"variance":"6', b'"variance":"9') for raw in w.raw]


@tampering(ONE)
def a_line_was_taken_out(w: World) -> list[bytes]:
    return w.raw[:2] + w.raw[4:]


@tampering(ONE)
def two_lines_were_swapped(w: World) -> list[bytes]:
    return [*w.raw[:2], w.raw[5], *w.raw[3:5], w.raw[2], *w.raw[6:]]


@tampering(ONE)
def a_line_stands_twice(w: World) -> list[bytes]:
    return w.raw[:3] + w.raw[2:]


@tampering(ONE)
def a_stranger_added_a_line(w: World) -> list[bytes]:
    prev = line_hash(w.raw[-1])
    extra = make_line(STRANGER, seq=len(w.raw), prev=prev, time=NOON + 999, kind="policy", body={"hash": OTHER})
    return [*w.raw, extra.raw]


@tampering(ONE)
def a_stranger_handed_it_over(w: World) -> list[bytes]:
    prev = line_hash(w.raw[-1])
    body = {"public": STRANGER.public.hex(), "proof": rotation_proof(STRANGER, prev, STORE.public)}
    extra = make_line(STRANGER, seq=len(w.raw), prev=prev, time=NOON + 999, kind="rotation", body=body)
    return [*w.raw, extra.raw]


@tampering(ONE)
def another_ledgers_end_was_glued_on(w: World) -> list[bytes]:
    return w.raw[:5] + w.peer[5:]


@tampering(ONE)
def it_was_cut_in_the_middle_of_a_line(w: World) -> list[bytes]:
    return [*w.raw[:5], w.raw[5][:100]]


# ---- found in one ledger: the key signed what the rules forbid


@tampering(ONE)
def rho_was_lowered(w: World) -> list[bytes]:
    return signed(change(w.entries(), "charge", 1, rho="1/13"))


@tampering(ONE)
def epsilon_was_lowered(w: World) -> list[bytes]:
    return signed(change(w.entries(), "charge", 1, epsilon_after="0.100000"))


@tampering(ONE)
def the_clock_ran_back(w: World) -> list[bytes]:
    entries = w.entries()
    entries[-1]["time"] = NOON
    return signed(entries)


@tampering(ONE)
def an_unknown_kind_was_added(w: World) -> list[bytes]:
    return signed([*w.entries(), {"v": 1, "time": NOON + 999, "kind": "refund", "body": {"rho": "1/12"}}])


@tampering(ONE)
def an_unknown_field_was_added(w: World) -> list[bytes]:
    return signed(change(w.entries(), "charge", 1, note="free"))


@tampering(ONE)
def an_unknown_version_was_used(w: World) -> list[bytes]:
    return signed([entry | {"v": 2} for entry in w.entries()])


@tampering(ONE)
def one_release_was_charged_twice(w: World) -> list[bytes]:
    return signed(change(w.entries(), "charge", 1, round=0))


@tampering(ONE)
def two_releases_went_on_one_charge(w: World) -> list[bytes]:
    return signed(change(w.entries(), "release", 1, charge=2))


@tampering(ONE)
def a_charge_says_rehearsal(w: World) -> list[bytes]:
    return signed(change(w.entries(), "charge", 1, rehearsal=True))


@tampering(ONE)
def a_checkpoint_was_lowered(w: World) -> list[bytes]:
    return signed(change(w.entries(), "checkpoint", rho="1/12"))


@tampering(ONE)
def a_torn_line_was_recovered_for_nothing(w: World) -> list[bytes]:
    body = {"hash": OTHER, "bytes": 10, "rho": "0/1"}
    return signed([*w.entries(), {"v": 1, "time": NOON + 999, "kind": "recovery", "body": body}])


@tampering(ONE)
def a_dearer_release_than_the_plans_was_charged(w: World) -> list[bytes]:
    return signed(change(w.entries(), "plan", dearest="1/13"))


@tampering(ONE)
def a_second_genesis_was_added(w: World) -> list[bytes]:
    return signed([*w.entries(), w.entries()[0] | {"time": NOON + 999}])


@tampering(ONE)
def a_plan_has_delta_one(w: World) -> list[bytes]:
    return signed(change(w.entries(), "plan", delta="1"))


@tampering(ONE)
def a_charge_has_delta_zero(w: World) -> list[bytes]:
    return signed(change(w.entries(), "charge", 2, delta="0.0"))


@tampering(ONE)
def a_fraction_is_not_in_lowest_terms(w: World) -> list[bytes]:
    return signed(change(w.entries(), "plan", dearest="2/24"))


@tampering(ONE)
def a_receipt_was_made_up(w: World) -> list[bytes]:
    return signed(change(w.entries(), "receipt", 1, ctx=OTHER))


@tampering(ONE)
def a_charge_left_but_the_receipts_that_saw_it_stayed(w: World) -> list[bytes]:
    entries = w.entries()
    return signed(entries[:5] + entries[8:9])


# ---- found by what other stores remember


@tampering(PEERS)
def its_end_was_cut_off(w: World) -> list[bytes]:
    return w.raw[:5]


@tampering(PEERS)
def an_old_copy_was_restored_and_went_on(w: World) -> list[bytes]:
    body = w.entries()[5]["body"] | {"round": 9}
    return signed([*w.entries()[:5], w.entries()[5] | {"body": body}])


@tampering(PEERS)
def a_charge_and_all_receipts_were_left_out(w: World) -> list[bytes]:
    entries = w.entries()
    return signed(only(entries[:5] + entries[11:], *SPENDING))


@tampering(PEERS)
def more_noise_is_claimed_than_was_charged(w: World) -> list[bytes]:
    entries = change(only(w.entries(), *SPENDING), "charge", 0, variance=str(6 << 41), rho="1/24")
    for nth in range(3):
        after = epsilon_string(epsilon_of(Fraction(1 + 2 * nth, 24), DELTA))
        change(entries, "charge", nth, epsilon_after=after)
    return signed(entries)


@tampering(PEERS)
def it_became_a_rehearsal_afterwards(w: World) -> list[bytes]:
    entries = change(only(w.entries(), *SPENDING), "genesis", rehearsal=True)
    for nth in range(3):
        change(entries, "charge", nth, rehearsal=True)
    return signed(entries)


@tampering(PEERS)
def a_new_ledger_was_begun_under_the_same_key(w: World) -> list[bytes]:
    return signed([w.entries()[0] | {"time": NOON + 999}])


# ---- found by the roster's anchor


@tampering(ANCHOR)
def all_was_written_again_under_another_key(w: World) -> list[bytes]:
    return signed(change(only(w.entries(), *SPENDING), "genesis", public=STRANGER.public.hex()), STRANGER)


@tampering(ANCHOR)
def another_stores_ledger_was_put_in_its_place(w: World) -> list[bytes]:
    return w.peer


@tampering(ANCHOR)
def key_and_witness_are_made_up(w: World) -> list[bytes]:
    entries = change(only(w.entries(), *SPENDING), "genesis", public=STRANGER.public.hex())
    head = SignedHead.make(STRANGER, line_hash(signed(entries, STRANGER)[-1]))
    body = Receipt.make(PEER, round=2, ctx=CTX, heads={STRANGER.public.hex(): head}).body()
    return signed([*entries, {"v": 1, "time": NOON + 999, "kind": "receipt", "body": body}], STRANGER)


@tampering(ANCHOR)
def a_receipt_of_another_coordinator_was_appended(w: World) -> list[bytes]:
    raw = w.raw
    head = SignedHead.make(STORE, line_hash(raw[-1]))
    body = Receipt.make(STRANGER, round=3, ctx=CTX, heads={STORE.public.hex(): head}).body()
    return raw + signed([*w.entries(), {"v": 1, "time": NOON + 999, "kind": "receipt", "body": body}])[-1:]


# ---- found by nobody: said in `UNDETECTABLE`


@tampering(NOBODY)
def what_came_after_the_last_receipt_was_dropped(w: World) -> list[bytes]:
    return w.raw[:-1]


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_tampering_is_found_with_what_its_mark_says_and_not_with_less(world: World, name: str) -> None:
    needs, make = TAMPERINGS[name]
    verdicts = look(world, make(world), end=b"" if "middle" in name else b"\n")
    assert [bool(verdict.findings) for verdict in verdicts] == {
        ONE: [True, True, True],
        PEERS: [False, True, True],
        ANCHOR: [False, False, True],
        NOBODY: [False, False, False],
    }[needs]
    for verdict in verdicts:
        assert (verdict.word == "not consistent") == bool(verdict.findings)
        for finding in verdict.findings:
            assert str(finding).startswith(f"{world.path}: line {finding.line}: {finding.rule}: ")


def test_more_than_twenty_tamperings_are_tried() -> None:
    marks = [needs for needs, _ in TAMPERINGS.values()]
    assert len(marks) - marks.count(NOBODY) >= 20
    assert {ONE, PEERS, ANCHOR, NOBODY} == set(marks)


RULES = {
    "a_field_was_edited": {"signature", "rho"},
    "a_line_was_taken_out": {"sequence"},
    "rho_was_lowered": {"rho"},
    "epsilon_was_lowered": {"epsilon"},
    "the_clock_ran_back": {"time"},
    "an_unknown_kind_was_added": {"kind"},
    "an_unknown_field_was_added": {"body"},
    "an_unknown_version_was_used": {"version"},
    "one_release_was_charged_twice": {"charge-twice"},
    "two_releases_went_on_one_charge": {"release"},
    "a_charge_says_rehearsal": {"rehearsal"},
    "a_checkpoint_was_lowered": {"checkpoint"},
    "a_torn_line_was_recovered_for_nothing": {"recovery"},
    "a_dearer_release_than_the_plans_was_charged": {"dearest"},
    "a_stranger_added_a_line": {"signature"},
    "a_stranger_handed_it_over": {"signature"},
    "a_second_genesis_was_added": {"genesis"},
    "a_plan_has_delta_one": {"plan"},
    "a_charge_has_delta_zero": {"epsilon"},
    "a_fraction_is_not_in_lowest_terms": {"plan"},
    "a_receipt_was_made_up": {"receipt"},
    "it_was_cut_in_the_middle_of_a_line": {"torn"},
    "its_end_was_cut_off": {"witness"},
    "another_stores_ledger_was_put_in_its_place": {"anchor"},
}


@pytest.mark.parametrize("name", RULES)
def test_the_first_finding_names_the_rule(world: World, name: str) -> None:
    make = TAMPERINGS[name][1]
    verdict = look(world, make(world), end=b"" if "middle" in name else b"\n")[2]
    numbered = [finding for finding in verdict.findings if finding.line] or list(verdict.findings)
    assert numbered[0].rule in RULES[name]


def test_one_changed_line_is_one_finding_and_one_at_the_next(world: World) -> None:
    raw = [*world.raw[:3], world.raw[3].replace(SENT.encode(), OTHER.encode()), *world.raw[4:]]
    found = look(world, raw)[0].findings
    assert [(finding.line, finding.rule) for finding in found] == [(4, "signature"), (5, "chain")]


def test_a_sound_ledger_says_what_it_can_be_trusted_for(world: World) -> None:
    world.path.write_bytes(b"\n".join(world.raw) + b"\n")
    assert verify(world.path).word == "consistent, unanchored"
    assert verify(world.path, receipts=world.receipts).word == "consistent, unanchored"
    assert verify(world.path, anchor=world.anchor).word == "anchored, unwitnessed"
    assert verify(world.path, anchor=world.anchor, receipts=world.receipts[:2]).word == "anchored, unwitnessed"
    good = verify(world.path, anchor=world.anchor, receipts=world.receipts)
    assert good.word == "ok"
    good.require()
    assert good.lines == len(world.raw)
    assert good.witnessed == 10  # the release of the last round; its receipt and the checkpoint came later
    assert good.lifetime_rho == pytest.approx(3 * RHO)
    assert UNDETECTABLE


def test_a_forged_receipt_from_elsewhere_neither_witnesses_nor_accuses(world: World) -> None:
    world.path.write_bytes(b"\n".join(world.raw) + b"\n")
    own = STORE.public.hex()
    good = SignedHead.make(STORE, line_hash(world.raw[-1]))
    forged = Receipt.make(COORDINATOR, round=3, ctx=CTX, heads={own: SignedHead(own, OTHER, good.sig)})
    stranger = Receipt.make(STRANGER, round=3, ctx=CTX, heads={own: good})
    verdict = verify(world.path, anchor=world.anchor, receipts=[forged, stranger])
    assert verdict.word == "anchored, unwitnessed"
    assert verdict.witnessed == 0


def test_a_verdict_with_findings_raises_with_file_line_and_rule(world: World) -> None:
    verdict = look(world, TAMPERINGS["rho_was_lowered"][1](world))[0]
    with pytest.raises(ProtocolError, match=r"tampered.jsonl: line 6: rho: .*no evidence"):
        verdict.require()


def test_rehearsals_say_so(tmp_path: Path) -> None:
    with create(tmp_path / "l", rehearsal=True) as ledger:
        charge(ledger)
    verdict = verify(tmp_path / "l")
    assert verdict.rehearsal
    assert verdict.findings == ()


def test_a_missing_file_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        verify(tmp_path / "none")


@given(st.data())
def test_every_single_changed_bit_is_found_in_one_ledger(world: World, data: st.DataObject) -> None:
    raw = bytearray(b"\n".join(world.raw) + b"\n")
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= 1 << data.draw(st.integers(0, 7))
    world.path.write_bytes(raw)
    assert verify(world.path).findings


@given(st.lists(st.one_of(st.binary(max_size=80), st.sampled_from([b"{}", b"[]", b"1e9", b"[" * 5000, b"NaN"]))))
def test_garbage_is_findings_never_a_crash(world: World, lines: list[bytes]) -> None:
    assert look(world, lines)[2].word == "not consistent"
    assert look(world, [*world.raw[:3], *lines, *world.raw[3:]])[0].findings or not lines
    receipts_of(world.path)


@given(st.randoms(use_true_random=False))
def test_any_field_of_another_form_is_found_though_the_key_signed_it(world: World, chance: random.Random) -> None:
    entries = world.entries()
    entry = chance.choice(entries)
    field = chance.choice(
        sorted(set(entry["body"]) - {"coalition"} - ({"release"} if entry["kind"] == "charge" else set()))
    )
    entry["body"][field] = chance.choice([None, "", -1, 2**60, [], {}, "-1/2", "1e3", "0x1", "ſ", "1/0", "٣", "1 "])
    found = look(world, signed(entries))[0].findings
    assert entry["seq"] + 1 in {finding.line for finding in found}


def test_bodies_are_read_strictly() -> None:
    good = {"hash": PLAN}
    assert fault_in_body("policy", good) is None
    assert fault_in_body("policy", {}) == "policy has no field 'hash'"
    assert "unknown field 'more'" in str(fault_in_body("policy", good | {"more": 1}))
    assert "not of its form" in str(fault_in_body("policy", {"hash": PLAN.upper() + "\n"}))
    assert fault_in_body("policy", [good]) == "the body is no object"
    assert set(BODIES) == {
        *("genesis", "policy", "plan", "charge", "release", "abort"),
        *("receipt", "recovery", "checkpoint", "erasure", "rotation"),
    }


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_the_quick_spelling_is_the_canonical_one(value: Any) -> None:
    from fedcart.shared.ledger.lines import _ENCODER

    try:
        wanted = canonical_bytes(value)
    except InputError:
        return
    assert _ENCODER.encode(json.loads(wanted)).encode() == wanted


@pytest.mark.parametrize("raw", [b'{"a":1.5}', b'{"a":1,"a":1}', b'{"a": 1}', b"\xff", b'"\\ud800"', b"1" * 5000, b""])
def test_what_is_not_canonical_is_no_line(raw: bytes) -> None:
    with pytest.raises(Fault) as found:
        parse_line(raw)
    assert found.value.rule == "canonical"


def test_a_ledger_is_readable_with_the_standard_library_alone(world: World) -> None:
    """docs/ledger.md says how; rho here comes from the raw numbers."""
    import hashlib

    prev, total = "0" * 64, Fraction(0)
    for raw in world.raw:
        line = json.loads(raw)
        assert line["prev"] == prev
        prev = hashlib.sha256(raw).hexdigest()
        if line["kind"] == "charge":
            body = line["body"]
            total += Fraction(int(body["D"]) ** 2, 2 * body["honest"] * int(body["variance"]))
    assert total == 3 * RHO
    assert SENT in world.raw[3].decode()


def test_every_kind_field_and_rule_is_documented() -> None:
    root = Path(__file__).parents[3]
    page = (root / "docs/ledger.md").read_text()
    rules = set[str]()
    for module in (root / "shared/fedcart/shared/ledger").glob("*.py"):
        rules |= set(
            re.findall(r'(?:Fault|find)\((?:[^"()]+, )?(?:len\(lines\) \+ 1, )?"([a-z-]+)"', module.read_text())
        )
    assert {"canonical", "torn", "witness", "anchor", "charge-twice", "genesis", "signature"} <= rules
    for word in [*rules, *BODIES, *(field for fields in BODIES.values() for field in fields)]:
        assert f"`{word}`" in page, word
