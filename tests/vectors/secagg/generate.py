"""Writes the test vectors of SA1: `python tests/vectors/secagg/generate.py`. The same files every time.

Each file is one JSON object: `kind` says what is to be checked, `expect` whether it must be accepted or refused and
`why`. Bytes are hex. `verify_secagg.py`, one folder up, checks them with no code of the package.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[2] / "shared")]

import numpy as np  # noqa: E402

from fedcart.shared.secagg.aggregator import Aggregator  # noqa: E402
from fedcart.shared.secagg.field import P, to_bytes  # noqa: E402
from fedcart.shared.secagg.graph import Ring  # noqa: E402
from fedcart.shared.secagg.keys import pair_mask_key, public_key, seal_box, self_mask_key  # noqa: E402
from fedcart.shared.secagg.masks import Bits, add_masks, to_words, words  # noqa: E402
from fedcart.shared.secagg.messages import Keys, Unmask  # noqa: E402
from fedcart.shared.secagg.participant import Participant  # noqa: E402
from fedcart.shared.secagg.pins import Pins  # noqa: E402
from fedcart.shared.secagg.requests import Train  # noqa: E402
from fedcart.shared.secagg.shamir import split  # noqa: E402
from fedcart.shared.secagg.transcript import RoundTranscript, transcript_of  # noqa: E402
from fedcart.shared.secagg.wire import sign, spell  # noqa: E402
from secagg_kit import COORDINATOR, MODEL, MemoryJournal, identity, make_pins  # noqa: E402

FOLDER = HERE / "v1"
LONG = 524_291
"""Words: 16 blocks of 2^15 and three more, so that a block's end and a part of one are in it."""


def stream(seed: str) -> Callable[[int], bytes]:
    """draw(k) = the first k bytes of SHA-256(seed | counter); for vectors only."""
    counter = 0

    def draw(size: int) -> bytes:
        nonlocal counter
        counter += 1
        return hashlib.sha256(f"{seed} {counter}".encode()).digest()[:size]

    return draw


def plain(value: Any) -> Any:
    """Bytes as hex, ids as decimal keys."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list | tuple) else value


def pins_of(pins: Pins) -> dict[str, Any]:
    """What both sides know beforehand."""
    cohort = pins.cohort
    return {
        "run": pins.run, "roster": pins.roster, "plan": pins.plan, "n": cohort.participants, "c": cohort.colluders,
        "m": cohort.min_survivors, "rounds": pins.rounds, "length": pins.length, "bits": pins.bits,
        "identities": dict(pins.identities), "coordinator": pins.coordinator,
        **({"reach": pins.reach} if pins.reach else {}),
    }  # fmt: skip


def mask_vector(bits: Bits) -> dict[str, Any]:
    """Two X25519 keys, a ctx, the pair's mask and one store's own."""
    draw, pins = stream(f"mask {bits}"), make_pins(3, rounds=2, length=LONG, bits=bits)
    one, other, b = draw(32), draw(32), b"\x00" + draw(31)
    train = Train(pins.tag(7), 1, 4, 0, MODEL, (0, 1, 2))
    keys = {
        "pair": pair_mask_key(one, public_key(other), train.context(), 0, 2),
        "self": self_mask_key(b, train.context()),
    }
    made: dict[str, Any] = {}
    for name, key in keys.items():
        mask = words(LONG, bits)
        add_masks(mask, [(key, False)])
        made[name] = {"key": key, "first": mask[:6].tolist(), "sha256": hashlib.sha256(mask.tobytes()).digest()}
    train_fields = {"round": 1, "release": 4, "block": 0, "model": MODEL, "cohort": [0, 1, 2], "epoch": 7}
    return {
        "kind": "mask", "pins": pins_of(pins), "train": train_fields, "tag": pins.tag(7), "context": train.context(),
        "private": [one, other], "public": [public_key(one), public_key(other)], "ids": [0, 2], "b": b, "masks": made,
    }  # fmt: skip


def shamir_vector() -> dict[str, Any]:
    """A fixed polynomial of degree 2 and its values."""
    draw = stream("shamir")
    coefficients = [int.from_bytes(draw(32), "big") % P for _ in range(3)]
    rest = iter(coefficients[1:])
    points = [1, 2, 5, 65536]
    shares = split(to_bytes(coefficients[0]), 3, points, below=lambda _: next(rest))
    return {
        "kind": "shamir", "threshold": 3, "coefficients": [to_bytes(a) for a in coefficients],
        "shares": [[x, shares[x]] for x in points], "secret": to_bytes(coefficients[0]),
    }  # fmt: skip


def box_vector() -> dict[str, Any]:
    """One sealed box of two rounds."""
    draw, tag = stream("box"), make_pins(3).tag(0)
    one, other, content = draw(32), draw(32), b"".join(draw(32) for _ in range(4))
    box = seal_box(one, public_key(other), tag, 3, 9, content, draw)
    return {
        "kind": "box", "tag": tag, "sender": 3, "receiver": 9, "sender_public": public_key(one),
        "receiver_private": other, "content": content, "box": box,
    }  # fmt: skip


class Recorded(Participant):
    """Keeps its secrets for the file."""

    def boxes(self, raw: bytes) -> bytes:
        """Looks before the box key is erased."""
        assert self._secrets is not None
        self.shown = {"box": self._secrets.box, "rounds": [list(self._secrets.rounds[r]) for r in range(2)]}
        return super().boxes(raw)


def round_vector(n: int, c: int, m: int, bits: Bits, gone: int | None, reach: int = 0) -> dict[str, Any]:
    """An epoch with one round, every message of it, and the sum."""
    pins = make_pins(n, c, m, rounds=2, length=5, bits=bits, reach=reach)
    known = list(pins.identities.values())
    stores = {i: Recorded(pins, i, identity(i), MemoryJournal(), known, stream(f"store {i}")) for i in pins.identities}
    epoch = Aggregator(pins, identity(COORDINATOR), MemoryJournal())
    for store in stores.values():
        epoch.add_keys(store.keys(epoch.keys_request()))
    for store in stores.values():
        epoch.add_boxes(store.boxes(epoch.boxes_request()))
    deliveries = {i: epoch.delivery(i) for i in stores}
    for i, store in stores.items():
        store.deliver(deliveries[i])
    begun = epoch.begin(1, 4, MODEL)
    values = {i: [1 << i, -(1 << i), 0, 2**20 + i, -1] for i in stores}
    vectors = {}
    for i, store in stores.items():
        if i != gone:
            made = to_words(np.array(values[i]), bits)
            upload = store.train(begun.train_request(), MODEL, lambda _, made=made: made)
            begun.add(upload.vector, upload.word)
            vectors[i] = upload.vector.tobytes()
    alive = sorted(vectors)
    for i in alive:
        begun.add_confirm(stores[i].confirm(begun.confirm_request()))
    for i in alive:
        begun.add_unmask(stores[i].unmask(begun.unmask_request()))
    messages = transcript_of(epoch)
    (one,) = messages.rounds
    return {
        "kind": "round", "pins": pins_of(pins), "epoch": 0,
        "identity_private": {i: hashlib.sha256(b"identity %d" % i).digest() for i in stores},
        "secrets": {i: store.shown for i, store in stores.items()},
        "keys_request": messages.keys_request, "keys": messages.keys, "boxes_request": messages.boxes_request,
        "boxes": messages.boxes, "deliveries": deliveries,
        "round": {name: getattr(one, name) for name in RoundTranscript.__dataclass_fields__},
        "values": values, "vectors": vectors, "total": begun.total().tolist(),
    }  # fmt: skip


def wrong_rounds(good: dict[str, Any], pins: Pins) -> dict[str, tuple[str, dict[str, Any]]]:
    """The three-store round with one thing wrong, signed where a liar could sign."""
    made: dict[str, tuple[str, dict[str, Any]]] = {}

    def put(name: str, why: str, **changes: Any) -> None:
        made[name] = why, {**good, "round": {**good["round"], **changes}}

    one = good["round"]
    reply = Unmask.parse(one["replies"][1], pins)
    lie = dataclasses.replace(reply, alive={**reply.alive, 0: bytes(31) + b"\x05"})
    put("round_wrong_share", "store 1 returns a share of store 0 that was not dealt, and signs it",
        replies={**one["replies"], 1: spell(sign(lie, identity(1)))})  # fmt: skip
    put(
        "round_one_reply_missing",
        "two shares of three do not open a sum",
        replies={i: one["replies"][i] for i in (0, 1)},
    )
    small = sign(dataclasses.replace(Train.parse(one["train"], pins), cohort=(0, 1)), identity(COORDINATOR))
    put("round_small_cohort", "a cohort of two stores is under m = 3", train=spell(small))
    put("round_missing_confirmation", "the quorum shows a word that no store gave",
        confirmations={i: one["confirmations"][i] for i in (0, 1)})  # fmt: skip
    vectors = {**good["vectors"], 2: bytes([good["vectors"][2][0] ^ 1]) + good["vectors"][2][1:]}
    made["round_wrong_vector"] = "a vector is not the one that its store signed", {**good, "vectors": vectors}
    return made


def round_with_a_gap(good: dict[str, Any], pins: Pins) -> dict[str, Any]:
    """A cohort of m stores that leaves K neighbouring places of the ring empty, signed by the coordinator."""
    ring = pins.graph(pins.tag(0))
    assert isinstance(ring, Ring)
    cohort = tuple(sorted(ring.order[pins.reach :]))
    train = dataclasses.replace(Train.parse(good["round"]["train"], pins), cohort=cohort)
    return {**good, "round": {**good["round"], "train": spell(sign(train, identity(COORDINATOR)))}}


def keys_vector(raw: bytes, pins: Pins) -> dict[str, Any]:
    """One signed KEYS."""
    return {"kind": "keys", "pins": pins_of(pins), "epoch": 0, "raw": raw}


def all_vectors() -> dict[str, dict[str, Any]]:
    """Name -> contents."""
    made: dict[str, dict[str, Any]] = {}

    def put(name: str, contents: dict[str, Any], refused: str = "") -> None:
        made[name] = {"expect": "refuse" if refused else "accept", "why": refused or "all is well", **contents}

    put("mask_32", mask_vector(32))
    put("mask_64", mask_vector(64))
    shamir = shamir_vector()
    put("shamir", shamir)
    shares = shamir["shares"]
    put("shamir_zero", {**shamir, "shares": [[0, shamir["secret"]], *shares[1:3]]}, "a share at x = 0 is the secret")
    put("shamir_repeated", {**shamir, "shares": [shares[0], shares[0], shares[1]]}, "one point stands there twice")
    put("shamir_few", {**shamir, "shares": shares[:2]}, "two shares of three say nothing")
    put("shamir_above_p", {**shamir, "shares": [[1, P.to_bytes(32, "big")], *shares[1:3]]}, "a share is not below p")
    box = box_vector()
    put("box", box)
    put("box_swapped", {**box, "sender": 9, "receiver": 3}, "sender and receiver are authenticated")
    put("box_flipped", {**box, "box": box["box"][:-1] + bytes([box["box"][-1] ^ 1])}, "one bit is changed")
    put("box_other_epoch", {**box, "tag": make_pins(3).tag(1)}, "the tag is of another epoch")
    pins = make_pins(3, 1, 3, rounds=2, length=5)
    good = round_vector(3, 1, 3, 32, None)
    keys = Keys.parse(good["keys"][1], pins)
    put("keys", keys_vector(spell(keys), pins))
    put("keys_foreign", keys_vector(spell(sign(keys, identity(2))), pins), "signed by another store")
    other = sign(dataclasses.replace(keys, tag=pins.tag(1)), identity(1))
    put("keys_other_epoch", keys_vector(spell(other), pins), "the tag is of another epoch")
    put("keys_longer", keys_vector(spell(keys) + b"\0", pins), "a byte follows the signature")
    fewer = sign(dataclasses.replace(keys, rounds=keys.rounds[:1]), identity(1))
    put("keys_fewer_rounds", keys_vector(spell(fewer), pins), "R is the plan's")
    put("round", good)
    put("round_64", round_vector(3, 1, 3, 64, None))
    put("round_drop", round_vector(5, 1, 4, 32, 2))
    ring = round_vector(9, 1, 6, 32, 4, reach=3)
    put("round_ring", ring)
    gap = round_with_a_gap(ring, make_pins(9, 1, 6, rounds=2, length=5, reach=3))
    put("round_ring_gap", gap, "a cohort of six stores leaves three neighbouring places of the ring empty")
    for name, (why, contents) in wrong_rounds(good, pins).items():
        put(name, contents, why)
    return made


def spelled(contents: dict[str, Any]) -> str:
    """One file."""
    return json.dumps(plain(contents), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, contents in all_vectors().items():
        (FOLDER / f"{name}.json").write_text(spelled(contents))
