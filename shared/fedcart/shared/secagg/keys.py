"""Hashes and keys: every hash has a label, every key is bound to the one context that it serves.

Signing is `fedcart.shared.identity`'s.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedcart.shared.errors import ProtocolError

NONCE_BYTES, TAG_BYTES = 12, 16
Private = bytes | X25519PrivateKey


def digest(label: str, *parts: bytes) -> bytes:
    """SHA-256 over "fedcart/SA1/" label and the parts, each prefixed with its length (8 bytes, big-endian)."""
    state = hashlib.sha256()
    for part in (b"fedcart/SA1/" + label.encode(), *parts):
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.digest()


def ids(*indices: int) -> bytes:
    """Roster indices, 2 bytes each, big-endian, in the order given."""
    return b"".join(index.to_bytes(2, "big") for index in indices)


def load(private: bytes) -> X25519PrivateKey:
    """A private key that is used more than once: loading it costs as much as agreeing with it."""
    return X25519PrivateKey.from_private_bytes(private)


def public_key(private: bytes) -> bytes:
    """The X25519 public key of 32 private bytes."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def check_public(public: bytes) -> None:
    """Raises ProtocolError for a key of small order: nobody could agree on a mask with its owner."""
    _agree(b"any private key will do for this", public)


def self_mask_key(b: bytes, context: bytes) -> bytes:
    """Key of the mask that b alone makes, for one ctx."""
    return _derive(b, context, b"self")


def pair_mask_key(private: Private, public: bytes, context: bytes, one: int, other: int) -> bytes:
    """Key of the mask that two stores share, for one ctx; the same from either side."""
    return _derive(_agree(private, public), context, b"pair" + ids(min(one, other), max(one, other)))


def commitment(tag: bytes, owner: int, round_number: int, b: bytes) -> bytes:
    """H(b) of one store and round: what a rebuilt b is checked against."""
    return digest("b", tag, ids(owner, round_number), b)


def share_hash(tag: bytes, owner: int, holder: int, round_number: int, kind: bytes, share: bytes) -> bytes:
    """H(share): what a share that comes back is checked against. `kind` is b"b" or b"key"."""
    return digest("share", tag, ids(owner, holder, round_number), kind, share)


def seal_box(
    private: Private,
    public: bytes,
    tag: bytes,
    sender: int,
    receiver: int,
    content: bytes,
    draw: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """AES-256-GCM under a key of the ordered pair: nonce | ciphertext | tag; sender and receiver are authenticated."""
    nonce = draw(NONCE_BYTES)
    key = _derive(_agree(private, public), tag, b"box" + ids(sender, receiver))
    return nonce + AESGCM(key).encrypt(nonce, content, tag + ids(sender, receiver))


def open_box(private: Private, public: bytes, tag: bytes, sender: int, receiver: int, box: bytes) -> bytes:
    """What `seal_box` sealed.

    Raises:
      ProtocolError: another sender, receiver, epoch, or one bit changed.
    """
    key = _derive(_agree(private, public), tag, b"box" + ids(sender, receiver))
    try:
        return AESGCM(key).decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], tag + ids(sender, receiver))
    except (InvalidTag, ValueError):
        raise ProtocolError(f"the box of store {sender} for store {receiver} does not open; it was not used") from None


def _agree(private: Private, public: bytes) -> bytes:
    try:
        own = load(private) if isinstance(private, bytes) else private
        return own.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise ProtocolError("a public key has small order; no key was agreed") from None


def _derive(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=b"fedcart/SA1/" + info).derive(secret)
