"""Identities: a key file that only its owner reads, and signatures that mean one thing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcart.shared import storage
from fedcart.shared.errors import ConfigError, InputError, ProtocolError
from fedcart.shared.identity import HEADER, Identity, fingerprint, verify


def test_a_key_written_once_is_read_back_and_signs_alike(tmp_path: Path) -> None:
    made = Identity.create(tmp_path / "key")
    read = Identity.load(tmp_path / "key")
    assert read == made
    assert read.sign("ledger", b"line") == made.sign("ledger", b"line")
    verify(made.public, "ledger", b"line", read.sign("ledger", b"line"))


def test_a_key_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Identity.create(tmp_path / "key")
    finally:
        os.umask(before)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601])
def test_a_key_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    Identity.create(tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(ConfigError, match=f"mode {mode:04o}.*not used"):
        Identity.load(tmp_path / "key")


def test_an_existing_key_is_never_overwritten(tmp_path: Path) -> None:
    made = Identity.create(tmp_path / "key")
    with pytest.raises(ConfigError, match="exists; no key was made"):
        Identity.create(tmp_path / "key")
    assert Identity.load(tmp_path / "key") == made


@pytest.mark.parametrize("raw", [b"", HEADER, HEADER + b"00", HEADER + b"z" * 64, b"x" + HEADER, HEADER + b"0" * 66])
def test_what_is_no_key_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(raw)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="holds no fedcart key"):
        Identity.load(path)


def test_a_missing_key_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        Identity.load(tmp_path / "none")


def test_a_key_that_could_not_be_made_durable_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage.os, "fsync", fail)
    with pytest.raises(InputError, match="No space left"):
        Identity.create(tmp_path / "key")
    assert not (tmp_path / "key").exists()


@given(st.binary(max_size=40), st.integers(0, 511))
def test_one_changed_bit_is_no_signature(message: bytes, bit: int) -> None:
    signer = KEY
    signature = bytearray(signer.sign("plan", message))
    signature[bit // 8] ^= 1 << (bit % 8)
    with pytest.raises(ProtocolError, match="not used"):
        verify(signer.public, "plan", message, bytes(signature))


@pytest.mark.parametrize(
    ("domain", "message"), [("plan", b"line"), ("ledger", b"other"), ("ledge", b"r\0line"), ("ledger", b"")]
)
def test_a_signature_is_for_one_domain_and_message(domain: str, message: bytes) -> None:
    signature = KEY.sign("ledger", b"line")
    with pytest.raises(ProtocolError):
        verify(KEY.public, domain, message, signature)


@pytest.mark.parametrize("domain", ["", "a\0b", "é"])
def test_a_domain_that_could_run_into_the_message_is_refused(domain: str) -> None:
    with pytest.raises(ConfigError, match="nothing was signed"):
        KEY.sign(domain, b"")


def test_the_private_key_is_in_no_repr(tmp_path: Path) -> None:
    made = Identity.create(tmp_path / "key")
    secret = (tmp_path / "key").read_bytes()[len(HEADER) :].strip().decode()
    assert secret not in repr(made)
    assert bytes.fromhex(secret).hex() not in repr(vars(made))
    assert "Ed25519PrivateKey" not in repr(made)


def test_a_fingerprint_is_of_the_public_key_alone() -> None:
    assert KEY.fingerprint == fingerprint(KEY.public)
    assert len(KEY.fingerprint) == 64


def test_the_key_in_the_file_is_the_seed_of_rfc_8032(tmp_path: Path) -> None:
    """Section 7.1, test 2: another reader of the file gets the same public key."""
    path = tmp_path / "key"
    path.write_bytes(HEADER + b"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb\n")
    path.chmod(0o600)
    expected = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert Identity.load(path).public.hex() == expected


def _key() -> Identity:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        return Identity.create(Path(directory) / "key")


KEY = _key()
