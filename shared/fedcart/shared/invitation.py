"""What a store and its coordinator say to each other outside of rounds: invitations, and signed questions.

An invitation is a file that the coordinator hands to one store, out of band. It holds what the store must trust (the
authority of the coordinator's certificate, and its public key) and a secret that is good for one joining. A question is
a canonical JSON document with an Ed25519 signature of who asks.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcart.shared.canonical import canonical_bytes
from fedcart.shared.errors import DataError, ProtocolError
from fedcart.shared.identity import KEY_BYTES, SIGNATURE_BYTES, Identity, verify
from fedcart.shared.signatures import is_hex
from fedcart.shared.storage import create_private, named_failures, replace_bytes

VERSION = 1
JOIN, PLAN, APPROVE, MODEL, LEAVE = (f"/v1/coalition/{word}" for word in ("join", "plan", "approve", "model", "leave"))
"""Paths of the coalition's own calls."""
TOKEN_BYTES = 32
MODEL_DOMAIN = "model"
"""Of the coordinator's signature over a finished run's model; see `model_bytes_to_sign`."""


@dataclass(frozen=True, kw_only=True)
class Invitation:
    """One store's invitation.

    Attributes:
      coalition, store: names.
      address: host:port of the coordinator.
      authority: PEM certificate that signs the coordinator's.
      coordinator_key: Ed25519 public key, 64 hex digits.
      token: the secret, 64 hex digits. Never in a repr.
    """

    coalition: str
    store: str
    address: str
    authority: str
    coordinator_key: str
    token: str = dataclasses.field(repr=False)

    def save(self, path: Path) -> None:
        """Write it for its owner only.

        Raises:
          ConfigError: the file exists.
        """
        raw = canonical_bytes({"version": VERSION, **dataclasses.asdict(self)})
        create_private(path, raw, "no invitation was made")

    @classmethod
    def load(cls, path: Path) -> Invitation:
        """Read an invitation.

        Raises:
          DataError: it is none.
          InputError: it cannot be read.
        """
        with named_failures(path, "read"):
            raw = path.read_bytes()
        return cls(**read_fields(path, raw, {f.name for f in dataclasses.fields(cls)}, "an invitation"))


def read_fields(path: Path, raw: bytes, names: set[str], what: str) -> dict[str, str]:
    """The text fields of one of our files. Raises DataError when they are not exactly `names`."""
    try:
        found = json.loads(raw)
        version = found.pop("version")
    except (ValueError, KeyError, AttributeError, TypeError):
        raise DataError(f"{path}: not {what}") from None
    if version != VERSION or set(found) != names or not all(isinstance(value, str) for value in found.values()):
        raise DataError(f"{path}: not {what} of version {VERSION}")
    return dict(found)


@dataclass(frozen=True, kw_only=True)
class Membership:
    """What a store keeps of its invitation once it has joined; nothing in it is secret."""

    coalition: str
    store: str
    address: str
    authority: str
    coordinator_key: str

    @classmethod
    def of(cls, invitation: Invitation) -> Membership:
        """Without the token."""
        fields = dataclasses.asdict(invitation)
        del fields["token"]
        return cls(**fields)

    def save(self, path: Path) -> None:
        """Write it, durably."""
        replace_bytes(path, canonical_bytes({"version": VERSION, **dataclasses.asdict(self)}))

    @classmethod
    def load(cls, path: Path) -> Membership:
        """Read it. Raises DataError, InputError."""
        with named_failures(path, "read"):
            raw = path.read_bytes()
        return cls(**read_fields(path, raw, {f.name for f in dataclasses.fields(cls)}, "a membership"))


def model_bytes_to_sign(plan_hash: str, model_hash: str) -> bytes:
    """What the coordinator signs of a model: whose it is, and the hash of its arrays."""
    return f"{plan_hash} {model_hash}".encode()


def ask(identity: Identity, question: str, document: dict[str, Any]) -> bytes:
    """The body of a question: the document, who asks, and their signature over both. `question` is its path."""
    signature = identity.sign(question, canonical_bytes(document)).hex()
    return json.dumps({"document": document, "key": identity.public.hex(), "signature": signature}).encode()


def asked(question: str, body: bytes) -> tuple[dict[str, Any], str]:
    """(document, public key of who asks) of a question whose signature is good.

    Raises:
      ProtocolError: it is not.
    """
    try:
        found = json.loads(body)
        document, key, signature = found["document"], found["key"], found["signature"]
        raw = canonical_bytes(document)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ProtocolError("a question that is no signed document; it was not answered") from None
    if not isinstance(document, dict) or not is_hex(key, KEY_BYTES) or not is_hex(signature, SIGNATURE_BYTES):
        raise ProtocolError("a question that is no signed document; it was not answered")
    verify(bytes.fromhex(key), question, raw, bytes.fromhex(signature))
    return document, key
