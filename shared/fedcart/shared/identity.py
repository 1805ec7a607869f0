"""Ed25519 identities: a key file that only its owner reads, signatures bound to a domain, pinned public keys.

A signature is over  domain | 0x00 | message,  so one made for a ledger line is none for a plan. The private key is in
no repr, message or log. Failing is an exception, never a boolean.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fedcart.shared.errors import ConfigError, ProtocolError
from fedcart.shared.storage import create_private, read_private

KEY_BYTES, SIGNATURE_BYTES = 32, 64
HEADER = b"fedcart-ed25519-v1\n"


@dataclass(frozen=True)
class Identity:
    """Who signs.

    Attributes:
      public: 32 bytes.
    """

    public: bytes
    _private: Ed25519PrivateKey = field(repr=False, compare=False)

    @classmethod
    def create(cls, path: Path) -> Identity:
        """Make a new key and write it to `path` (mode 0600), durably; an existing file is never overwritten.

        Raises:
          ConfigError: `path` exists.
          InputError: it cannot be written.
        """
        private = Ed25519PrivateKey.generate()
        raw = HEADER + private.private_bytes_raw().hex().encode() + b"\n"
        create_private(path, raw, "no key was made", "keep it: a lost key ends an identity")
        return cls(private.public_key().public_bytes_raw(), private)

    @classmethod
    def load(cls, path: Path) -> Identity:
        """Read a key file.

        Raises:
          ConfigError: others may read or write it, or it holds no key.
          InputError: it cannot be read.
        """
        raw = read_private(path, len(HEADER) + 2 * KEY_BYTES + 2)
        try:
            if not raw.startswith(HEADER):
                raise ValueError
            private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(raw[len(HEADER) :].decode().strip()))
        except ValueError:
            raise ConfigError(f"{path} holds no fedcart key; nothing was signed") from None
        return cls(private.public_key().public_bytes_raw(), private)

    @property
    def fingerprint(self) -> str:
        """Of the public key, to be compared out of band."""
        return fingerprint(self.public)

    def sign(self, domain: str, message: bytes) -> bytes:
        """64 bytes over the domain and the message. Deterministic (RFC 8032)."""
        return self._private.sign(_bound(domain, message))


def fingerprint(public: bytes) -> str:
    """64 hex digits: SHA-256 of a public key."""
    return hashlib.sha256(public).hexdigest()


def verify(public: bytes, domain: str, message: bytes, signature: bytes) -> None:
    """Check a signature against a pinned public key.

    Raises:
      ProtocolError: it is not that key's signature over this domain and message.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _bound(domain, message))
    except (InvalidSignature, ValueError):
        raise ProtocolError(
            f"a {domain} signature is not by key {fingerprint(public)[:16]}…; the message was not used"
        ) from None


def _bound(domain: str, message: bytes) -> bytes:
    if not domain.isascii() or not domain or "\0" in domain:
        raise ConfigError(f"signature domain {domain!r}: ASCII without NUL is needed; nothing was signed")
    return domain.encode() + b"\0" + message
