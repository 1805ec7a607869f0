"""Ed25519 identities: a key file that only its owner reads, signatures bound to a domain, pinned public keys.

A signature is over  domain | 0x00 | message,  so one made for a ledger line is none for a plan. The private key is in
no repr, message or log. Failing is an exception, never a boolean.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fedcart.shared.errors import ConfigError, ProtocolError
from fedcart.shared.storage import named_failures, sync_directory

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
        with named_failures(path, "create"):
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileExistsError:
                raise ConfigError(f"{path} exists; no key was made", "keep it: a lost key ends an identity") from None
            try:
                with os.fdopen(descriptor, "wb") as file:
                    os.fchmod(file.fileno(), 0o600)  # whatever the umask says
                    file.write(HEADER + private.private_bytes_raw().hex().encode() + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                sync_directory(path.parent)
            except OSError:
                path.unlink(missing_ok=True)
                raise
        return cls(private.public_key().public_bytes_raw(), private)

    @classmethod
    def load(cls, path: Path) -> Identity:
        """Read a key file.

        Raises:
          ConfigError: others may read or write it, or it holds no key.
          InputError: it cannot be read.
        """
        with named_failures(path, "read"), path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            raw = file.read(len(HEADER) + 2 * KEY_BYTES + 2)
        if mode & 0o077:
            raise ConfigError(f"{path} has mode {mode:04o}, which others may use; the key was not used", "chmod 600 it")
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
