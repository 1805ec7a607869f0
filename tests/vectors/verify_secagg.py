"""Checks the vectors of SA1 in plain integers: `python tests/vectors/verify_secagg.py [FILE…]`.

No code of fedcart is used. From `cryptography` come AES, X25519 and Ed25519; hashing, HKDF, Shamir, the messages and
the sums are here, as docs/spec/secagg.md says them. Each file must be accepted or refused as its `expect` says; the
exit code is 0 if so.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

P = 2**256 - 189
Json = dict[str, Any]


class Refused(Exception):
    """What is checked is not as the specification says."""


def need(condition: object, why: str) -> None:
    if not condition:
        raise Refused(why)


# --- section 2 of the specification: hashes, keys, masks, shares


def h(label: str, *parts: bytes) -> bytes:
    data = b"".join(len(part).to_bytes(8, "big") + part for part in (b"fedcart/SA1/" + label.encode(), *parts))
    return hashlib.sha256(data).digest()


def u(value: int, size: int = 2) -> bytes:
    return value.to_bytes(size, "big")


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    extracted = hmac.new(salt, secret, hashlib.sha256).digest()
    return hmac.new(extracted, b"fedcart/SA1/" + info + b"\x01", hashlib.sha256).digest()


def x25519(private: bytes, public: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))


def public_of(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def self_key(b: bytes, ctx: bytes) -> bytes:
    return hkdf(b, ctx, b"self")


def pair_key(private: bytes, public: bytes, ctx: bytes, i: int, j: int) -> bytes:
    return hkdf(x25519(private, public), ctx, b"pair" + u(min(i, j)) + u(max(i, j)))


def mask_bytes(key: bytes, size: int) -> bytes:
    return Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor().update(bytes(size))


def words(raw: bytes, bits: int) -> list[int]:
    size = bits // 8
    return [int.from_bytes(raw[at : at + size], "little") for at in range(0, len(raw), size)]


def combine(shares: list[tuple[int, bytes]], threshold: int) -> bytes:
    points = [x for x, _ in shares]
    need(len(shares) >= threshold, "fewer shares than the threshold")
    need(all(1 <= x <= 2**16 for x in points), "a point of 0 or beyond 2^16")
    need(len(set(points)) == len(points), "a point stands twice")
    total = 0
    for x, share in sorted(shares)[:threshold]:
        value, weight = int.from_bytes(share, "big"), 1
        need(len(share) == 32 and value < P, "a share is no field element")
        for y in sorted(points)[:threshold]:
            if y != x:
                weight = weight * y * pow(y - x, -1, P) % P
        total = (total + weight * value) % P
    return total.to_bytes(32, "big")


def open_box(private: bytes, public: bytes, tag: bytes, i: int, j: int, box: bytes) -> bytes:
    key = hkdf(x25519(private, public), tag, b"box" + u(i) + u(j))
    try:
        return AESGCM(key).decrypt(box[:12], box[12:], tag + u(i) + u(j))
    except InvalidTag:
        raise Refused("a box does not open") from None


def check_signature(public: bytes, name: str, body: bytes, signature: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, b"fedcart/SA1/" + name.encode() + b"\0" + body)
    except InvalidSignature:
        raise Refused(f"a {name} signature is wrong") from None


def tag_of(pins: Json, epoch: int) -> bytes:
    return h("tag", pins["run"], u(epoch, 8), pins["roster"], pins["plan"])


def ring_order(pins: Json, tag: bytes) -> list[int]:
    return sorted(map(int, pins["identities"]), key=lambda i: h("ring", tag, u(i)))


def holders(pins: Json, tag: bytes) -> dict[int, set[int]]:
    """Who holds shares of whom: all, or on a ring the 2K nearest and oneself."""
    order, reach = ring_order(pins, tag), pins.get("reach", 0)
    if reach == 0:
        return {i: set(order) for i in order}
    return {i: {order[(p + d) % len(order)] for d in range(-reach, reach + 1)} for p, i in enumerate(order)}


def share_threshold(pins: Json) -> int:
    held = 2 * pins["reach"] + 1 if pins.get("reach", 0) else pins["n"]
    return (held + pins["c"]) // 2 + 1


def need_no_gap(pins: Json, tag: bytes, live: list[int], cohort: list[int]) -> None:
    order, reach = ring_order(pins, tag), pins.get("reach", 0)
    if reach:
        for p in range(len(order)):
            near = sum(order[(p + d) % len(order)] in live for d in range(reach))
            need(2 * near > pins["c"], "a stretch of the ring holds too few stores")
        held = holders(pins, tag)
        need(all(len(held[j] & set(live)) >= share_threshold(pins) for j in cohort), "too few holders are left")


# --- section 3: messages


class Fields:
    """Reads a message from its front."""

    def __init__(self, raw: bytes) -> None:
        self.raw, self.at = raw, 0

    def take(self, size: int) -> bytes:
        need(self.at + size <= len(self.raw), "a message ends early")
        self.at += size
        return self.raw[self.at - size : self.at]

    def number(self, size: int = 2) -> int:
        return int.from_bytes(self.take(size), "big")

    def table(self, row: Callable[[int], Any]) -> dict[int, Any]:
        found: dict[int, Any] = {}
        for _ in range(self.number()):
            index = self.number()
            need(not found or index > max(found), "ids do not ascend")
            found[index] = row(index)
        return found

    def end(self, public: bytes, name: str, skip: bytes = b"") -> None:
        """The signature is the last field, over everything before it."""
        body = self.raw[: self.at]
        check_signature(public, name, body, self.take(64))
        need(self.at == len(self.raw), "a message goes on after its end")


def who(pins: Json, index: int) -> bytes:
    need(str(index) in pins["identities"], "a store outside the roster")
    return bytes(pins["identities"][str(index)])


def read_keys(raw: bytes, pins: Json, tag: bytes) -> Json:
    f = Fields(raw)
    need(f.take(32) == tag, "another epoch, run, roster or plan")
    sender, _head, box = f.number(), f.take(32), f.take(32)
    need(f.number() == pins["rounds"], "R is the plan's")
    rounds = [(f.take(32), f.take(32)) for _ in range(pins["rounds"])]
    f.end(who(pins, sender), "KEYS")
    return {"sender": sender, "box": box, "rounds": rounds}


def read_boxes(raw: bytes, pins: Json, tag: bytes) -> Json:
    f, rounds = Fields(raw), pins["rounds"]
    need(f.take(32) == tag, "another epoch, run, roster or plan")
    sender, head = f.number(), f.take(32)
    own = [f.take(32) for _ in range(2 * rounds)]

    def row(receiver: int) -> Json:
        box, hashes = f.take(12 + 64 * rounds + 16), [f.take(32) for _ in range(2 * rounds)]
        body = tag + u(sender) + u(receiver) + head + box + b"".join(hashes)
        check_signature(who(pins, sender), "BOX", body, f.take(64))
        return {"box": box, "hashes": hashes}

    rows = f.table(row)
    f.end(who(pins, sender), "BOXES")
    return {"sender": sender, "rows": rows, "hashes": {sender: own} | {i: r["hashes"] for i, r in rows.items()}}


def read_train(raw: bytes, pins: Json, tag: bytes) -> Json:
    f = Fields(raw)
    need(f.take(32) == tag, "another epoch, run, roster or plan")
    numbers = {"round": f.number(), "release": f.number(4), "block": f.number(4), "model": f.take(32)}
    cohort = list(f.table(lambda index: index))
    body = raw[: f.at]
    f.end(pins["coordinator"], "TRAIN-REQUEST")
    need(numbers["round"] < pins["rounds"], "a round beyond the plan's")
    return {**numbers, "cohort": cohort, "ctx": h("ctx", body)}


def read_word(raw: bytes, pins: Json, name: str, ctx: bytes) -> Json:
    f = Fields(raw)
    sender = f.number()
    need(f.take(32) == ctx, "another context")
    value, _head = f.take(32), f.take(32)
    f.end(who(pins, sender), name)
    return {"sender": sender, "value": value}


def read_evidence(raw: bytes, pins: Json, name: str, word: str, ctx: bytes) -> dict[int, bytes]:
    f = Fields(raw)
    need(f.take(32) == ctx, "another context")

    def row(sender: int) -> bytes:
        value, head = f.take(32), f.take(32)
        check_signature(who(pins, sender), word, u(sender) + ctx + value + head, f.take(64))
        return u(sender) + ctx + value + head + f.raw[f.at - 64 : f.at]

    rows = f.table(row)
    f.end(pins["coordinator"], name)
    return rows


def read_unmask(raw: bytes, pins: Json, ctx: bytes, survivors_hash: bytes) -> Json:
    f = Fields(raw)
    sender = f.number()
    need(f.take(32) == ctx, "another context")
    need(f.take(32) == survivors_hash, "another survivor set")
    f.take(32)
    alive, dropped = f.table(lambda _: f.take(32)), f.table(lambda _: f.take(32))
    f.end(who(pins, sender), "UNMASK")
    need(not set(alive) & set(dropped), "both shares of one store")
    return {"sender": sender, b"b": alive, b"key": dropped}


# --- the files


def verify_mask(v: Json) -> None:
    pins, train = v["pins"], v["train"]
    need(tag_of(pins, train["epoch"]) == v["tag"], "tag")
    cohort = u(len(train["cohort"])) + b"".join(map(u, train["cohort"]))
    body = v["tag"] + u(train["round"]) + u(train["release"], 4) + u(train["block"], 4) + train["model"] + cohort
    need(h("ctx", body) == v["context"], "ctx")
    one, other = v["private"]
    need([public_of(one), public_of(other)] == v["public"], "public keys")
    i, j = v["ids"]
    keys = {"pair": pair_key(one, v["public"][1], v["context"], i, j), "self": self_key(v["b"], v["context"])}
    need(keys["pair"] == pair_key(other, v["public"][0], v["context"], j, i), "the two sides differ")
    for name, key in keys.items():
        mask = mask_bytes(key, pins["length"] * pins["bits"] // 8)
        need(key == v["masks"][name]["key"], f"{name} key")
        need(words(mask[:48], pins["bits"])[:6] == v["masks"][name]["first"], f"{name} first words")
        need(hashlib.sha256(mask).digest() == v["masks"][name]["sha256"], f"{name} SHA-256")


def verify_shamir(v: Json) -> None:
    shares = [(x, share) for x, share in v["shares"]]
    need(combine(shares, v["threshold"]) == v["secret"], "the secret")
    for x, share in shares:
        value = sum(int.from_bytes(a, "big") * x**k for k, a in enumerate(v["coefficients"])) % P
        need(value.to_bytes(32, "big") == share, f"the share at {x}")


def verify_box(v: Json) -> None:
    opened = open_box(v["receiver_private"], v["sender_public"], v["tag"], v["sender"], v["receiver"], v["box"])
    need(opened == v["content"], "content")


def verify_keys(v: Json) -> None:
    read_keys(v["raw"], v["pins"], tag_of(v["pins"], v["epoch"]))


def verify_round(v: Json) -> None:
    pins, one = v["pins"], v["round"]
    n, c, m, bits = pins["n"], pins["c"], pins["m"], pins["bits"]
    t = (n + c) // 2 + 1
    floor, tag = max(t, m), tag_of(pins, v["epoch"])
    for i, private in v["identity_private"].items():
        made = Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
        need(made == pins["identities"][i], "an identity")
    f = Fields(v["keys_request"])
    need((f.take(32), f.number(8)) == (tag, v["epoch"]), "KEYS request")
    f.end(pins["coordinator"], "KEYS-REQUEST")
    keys = {int(i): read_keys(raw, pins, tag) for i, raw in v["keys"].items()}
    boxes = {int(i): read_boxes(raw, pins, tag) for i, raw in v["boxes"].items()}
    need(len(keys) >= floor, "too few KEYS")
    held, t_k = holders(pins, tag), share_threshold(pins)
    verify_secrets(v, keys, boxes, tag, t_k)
    need(all(set(b["rows"]) == (held[i] & set(keys)) - {i} for i, b in boxes.items()), "rows are for the neighbours")
    train = read_train(one["train"], pins, tag)
    ctx, number, cohort = train["ctx"], train["round"], train["cohort"]
    need(len(cohort) >= floor, "a cohort under max(t, m)")
    need(set(cohort) <= set(boxes), "a cohort names a store that dealt no boxes")
    need_no_gap(pins, tag, cohort, cohort)
    uploads = {int(i): read_word(raw, pins, "TRAIN", ctx) for i, raw in one["uploads"].items()}
    for i, word in uploads.items():
        need(word["sender"] == i and i in cohort, "an upload's sender")
        need(hashlib.sha256(v["vectors"][str(i)]).digest() == word["value"], "a vector is not the signed one")
        need(
            words(v["vectors"][str(i)], bits) == masked(v, keys, i, train, held[i]), "a vector is not x plus its masks"
        )
    survivors = sorted(uploads)
    need(len(survivors) >= floor, "survivors under max(t, m)")
    need_no_gap(pins, tag, survivors, cohort)
    shown = read_evidence(one["confirm"], pins, "CONFIRM-REQUEST", "TRAIN", ctx)
    need(shown == {i: one["uploads"][str(i)] for i in survivors}, "CONFIRM shows other uploads")
    agreed = h("survivors", b"".join(map(u, survivors)))
    confirmed = {int(i): read_word(raw, pins, "CONFIRM", ctx) for i, raw in one["confirmations"].items()}
    need(all(i in survivors and w["sender"] == i and w["value"] == agreed for i, w in confirmed.items()), "CONFIRM")
    quorum = read_evidence(one["unmask"], pins, "UNMASK-REQUEST", "CONFIRM", ctx)
    need(len(quorum) >= t, "no quorum")
    need(all(one["confirmations"].get(str(i)) == raw for i, raw in quorum.items()), "a word that no store gave")
    replies = {int(i): read_unmask(raw, pins, ctx, agreed) for i, raw in one["replies"].items()}
    for i, reply in replies.items():
        need(reply["sender"] == i and i in survivors, "a reply's sender")
        need(set(reply[b"b"]) == held[i] & set(survivors), "shares of b are for U3")
        dropped = set(cohort) - set(survivors)
        need(set(reply[b"key"]) == held[i] & dropped, "shares of round keys are for U2 without U3")
        for kind in (b"b", b"key"):
            for owner, share in reply[kind].items():
                hashed = boxes[owner]["hashes"][i][2 * number + (kind == b"key")]
                need(h("share", tag, u(owner) + u(i) + u(number), kind, share) == hashed, "a share was not dealt")
    total = [sum(column) for column in zip(*(words(v["vectors"][str(i)], bits) for i in survivors), strict=True)]
    for i in survivors:
        b = combine([(r + 1, reply[b"b"][i]) for r, reply in replies.items() if r in held[i]], t_k)
        need(h("b", tag, u(i) + u(number), b) == keys[i]["rounds"][number][1], "b is not the committed one")
        total = less(total, self_key(b, ctx), bits)
    for k in set(cohort) - set(survivors):
        private = combine([(r + 1, reply[b"key"][k]) for r, reply in replies.items() if r in held[k]], t_k)
        need(public_of(private) == keys[k]["rounds"][number][0], "a round key is not the announced one")
        for i in held[k] & set(survivors):
            key = pair_key(private, keys[i]["rounds"][number][0], ctx, i, k)
            total = less(total, key, bits, 1 if i < k else -1)
    signed = [value - 2**bits if value >= 2 ** (bits - 1) else value for value in (x % 2**bits for x in total)]
    expected = [sum(column) for column in zip(*(v["values"][str(i)] for i in survivors), strict=True)]
    need(signed == expected == v["total"], "the sum")


def less(total: list[int], key: bytes, bits: int, sign: int = 1) -> list[int]:
    mask = words(mask_bytes(key, len(total) * bits // 8), bits)
    return [a - sign * b for a, b in zip(total, mask, strict=True)]


def masked(v: Json, keys: Json, i: int, train: Json, near: set[int]) -> list[int]:
    """x_i plus its masks with its neighbours, from the secrets."""
    bits, number = v["pins"]["bits"], train["round"]
    b, private = v["secrets"][str(i)]["rounds"][number]
    found = less(v["values"][str(i)], self_key(b, train["ctx"]), bits, -1)
    for j in train["cohort"]:
        if j != i and j in near:
            key = pair_key(private, keys[j]["rounds"][number][0], train["ctx"], i, j)
            found = less(found, key, bits, -1 if i < j else 1)
    return [x % 2**bits for x in found]


def verify_secrets(v: Json, keys: Json, boxes: Json, tag: bytes, t: int) -> None:
    """KEYS commit to the secrets, and the boxes deal them."""
    for i, sent in keys.items():
        secrets = v["secrets"][str(i)]
        need(public_of(secrets["box"]) == sent["box"], "a box key")
        for r, (b, private) in enumerate(secrets["rounds"]):
            need(sent["rounds"][r] == (public_of(private), h("b", tag, u(i) + u(r), b)), "a round's keys")
    for i, dealt in boxes.items():
        opened = {}
        for j, row in dealt["rows"].items():
            content = open_box(v["secrets"][str(j)]["box"], keys[i]["box"], tag, i, j, row["box"])
            opened[j] = [content[at : at + 32] for at in range(0, len(content), 32)]
            for r in range(v["pins"]["rounds"]):
                for kind, share, hashed in zip(
                    (b"b", b"key"), opened[j][2 * r : 2 * r + 2], row["hashes"][2 * r : 2 * r + 2], strict=True
                ):
                    need(h("share", tag, u(i) + u(j) + u(r), kind, share) == hashed, "a share is not the hashed one")
        if len(opened) >= t:
            for r, (b, private) in enumerate(v["secrets"][str(i)]["rounds"]):
                for place, secret in enumerate((b, private)):
                    shares = [(j + 1, content[2 * r + place]) for j, content in opened.items()]
                    need(combine(shares, t) == secret, "the boxes deal another secret")


def unhexed(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: v if k in ("kind", "expect", "why") else unhexed(v) for k, v in value.items()}
    if isinstance(value, list):
        return [unhexed(v) for v in value]
    return bytes.fromhex(value) if isinstance(value, str) else value


CHECKS = {"mask": verify_mask, "shamir": verify_shamir, "box": verify_box, "keys": verify_keys, "round": verify_round}


def outcome(path: Path) -> tuple[str, str]:
    """("accept" or "refuse", why) of one file."""
    vector = unhexed(json.loads(path.read_text()))
    try:
        CHECKS[vector["kind"]](vector)
    except Refused as refused:
        return "refuse", str(refused)
    return "accept", ""


def main(arguments: list[str]) -> int:
    paths = [Path(a) for a in arguments] or sorted((Path(__file__).parent / "secagg" / "v1").glob("*.json"))
    wrong = 0
    for path in paths:
        found, why = outcome(path)
        expected = json.loads(path.read_text())["expect"]
        wrong += found != expected
        print(f"{'ok ' if found == expected else 'BAD'} {path.stem}: {found}{': ' if why else ''}{why}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
