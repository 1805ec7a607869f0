"""Signatures under a plan: good ones pass, and a bad, missing or foreign one is named with its file and key."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from fedcart.shared.canonical import canonical_bytes
from fedcart.shared.errors import ConfigError, PrivacyRefused, ProtocolError
from fedcart.shared.identity import Identity, verify
from fedcart.shared.signatures import SIGNATURES, PlanSignatures, require_signature

HASH, OTHER = "ab" * 32, "cd" * 32


@pytest.fixture
def keys(tmp_path: Path) -> list[Identity]:
    return [Identity.create(tmp_path / f"{i}.key") for i in range(3)]


def test_what_was_saved_is_loaded_and_stands(tmp_path: Path, keys: list[Identity]) -> None:
    coordinator, one, two = keys
    signed = PlanSignatures.sign(HASH, coordinator).countersigned(one).countersigned(two).countersigned(one)
    path = tmp_path / SIGNATURES
    signed.save(path)
    assert PlanSignatures.load(path) == signed
    assert len(signed.countersignatures) == 2
    signed.check(path, HASH)
    require_signature(tmp_path, HASH, coordinator.public.hex())
    assert path.read_bytes() == canonical_bytes(json.loads(path.read_bytes()))


def test_an_approval_is_no_plan_and_a_plan_no_approval(tmp_path: Path, keys: list[Identity]) -> None:
    coordinator, store, _ = keys
    signed = PlanSignatures.sign(HASH, coordinator).countersigned(store)
    approval = signed.countersignatures[store.public.hex()]
    with pytest.raises(ProtocolError):
        verify(store.public, "plan", bytes.fromhex(HASH), bytes.fromhex(approval))
    swapped = dataclasses.replace(signed, coordinator_key=store.public.hex(), signature=approval)
    with pytest.raises(PrivacyRefused, match="the coordinator's signature"):
        swapped.check(tmp_path, HASH)


def test_a_foreign_or_bad_signature_is_named_with_file_and_key(tmp_path: Path, keys: list[Identity]) -> None:
    coordinator, store, _ = keys
    path = tmp_path / SIGNATURES
    signed = PlanSignatures.sign(HASH, coordinator)
    with pytest.raises(PrivacyRefused, match=rf"{SIGNATURES}.*{coordinator.fingerprint[:16]}.*nothing was approved"):
        signed.check(path, HASH, store.public.hex())
    with pytest.raises(PrivacyRefused, match="the plan beside it is cdcd"):
        signed.check(path, OTHER)
    forged = dataclasses.replace(signed, plan_hash=OTHER)
    with pytest.raises(PrivacyRefused, match=rf"{SIGNATURES}.*{coordinator.fingerprint[:16]}"):
        forged.check(path, OTHER, coordinator.public.hex())
    with pytest.raises(PrivacyRefused, match=rf"countersignature is not by key {store.fingerprint[:16]}"):
        dataclasses.replace(signed, countersignatures={store.public.hex(): "00" * 64}).check(path, HASH)
    with pytest.raises(PrivacyRefused, match="which is no key"):
        signed.check(path, HASH, "sesame")


def test_none_is_refused_where_a_coordinator_is_pinned_and_only_there(tmp_path: Path, keys: list[Identity]) -> None:
    require_signature(tmp_path, HASH, "")
    with pytest.raises(ConfigError, match="nobody signed"):
        require_signature(tmp_path, HASH, keys[0].public.hex())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"surprise": 1}, "unknown field 'surprise'"),
        ({"signature": "00"}, "'signature' is not of its form"),
        ({"signature": "AB" * 64}, "'signature' is not of its form"),
        ({"plan_hash": 3}, "'plan_hash' is not of its form"),
        ({"coordinator_key": None}, "'coordinator_key' is not of its form"),
        ({"countersignatures": []}, "'countersignatures' is not of its form"),
        ({"countersignatures": {"ab": "cd"}}, "'countersignatures' is not of its form"),
        ({"version": 2}, "not of version 1"),
    ],
)
def test_refuses_a_file_that_is_not_signatures(tmp_path: Path, keys: list[Identity], changes: dict, told: str) -> None:
    path = tmp_path / SIGNATURES
    path.write_bytes(canonical_bytes({**PlanSignatures.sign(HASH, keys[0]).document(), **changes}))
    with pytest.raises(ConfigError, match=told):
        PlanSignatures.load(path)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff"])
def test_refuses_other_bytes(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / SIGNATURES
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match="not signatures of a plan"):
        PlanSignatures.load(path)


def test_refuses_missing_fields_and_bytes_that_are_not_canonical(tmp_path: Path, keys: list[Identity]) -> None:
    path = tmp_path / SIGNATURES
    document = PlanSignatures.sign(HASH, keys[0]).document()
    path.write_text(json.dumps(document, indent=1))
    with pytest.raises(ConfigError, match="not canonical"):
        PlanSignatures.load(path)
    del document["signature"]
    path.write_bytes(canonical_bytes(document))
    with pytest.raises(ConfigError, match="no field 'signature'"):
        PlanSignatures.load(path)
