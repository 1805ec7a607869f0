"""Who stands for a plan: `plan.signatures.json` beside `plan.json`, the coordinator's signature and the stores' own.

Signed are the 32 bytes of the plan's hash, in domain `plan` by the coordinator and `plan-approval` by each store. Only
this file says who signed; a signature here is never proof of what a store's policy or ledger says. Failing is an
exception, never a boolean.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedcart.shared.canonical import canonical_bytes
from fedcart.shared.errors import ConfigError, PrivacyRefused, ProtocolError, did_you_mean
from fedcart.shared.identity import KEY_BYTES, SIGNATURE_BYTES, Identity, fingerprint, verify
from fedcart.shared.storage import named_failures, replace_bytes

SIGNATURES = "plan.signatures.json"
PLAN_DOMAIN, APPROVAL_DOMAIN = "plan", "plan-approval"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class PlanSignatures:
    """The signatures under one plan. All are lower-case hexadecimal digits.

    Attributes:
      plan_hash: SHA-256 of plan.json, 64 digits.
      coordinator_key: Ed25519 public key, 64 digits.
      signature: of the coordinator, 128 digits.
      countersignatures: public key of a store -> its signature.
    """

    plan_hash: str
    coordinator_key: str
    signature: str
    countersignatures: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def sign(cls, plan_hash: str, coordinator: Identity) -> PlanSignatures:
        """The coordinator's."""
        made = coordinator.sign(PLAN_DOMAIN, bytes.fromhex(plan_hash)).hex()
        return cls(plan_hash=plan_hash, coordinator_key=coordinator.public.hex(), signature=made)

    def countersigned(self, store: Identity) -> PlanSignatures:
        """With one store's approval, too."""
        made = store.sign(APPROVAL_DOMAIN, bytes.fromhex(self.plan_hash)).hex()
        signatures = {**self.countersignatures, store.public.hex(): made}
        return dataclasses.replace(self, countersignatures=signatures)

    def check(self, path: Path, plan_hash: str, coordinator_key: str = "") -> None:
        """Refuse signatures that do not stand under this very plan.

        Args:
          path: of the file, for messages.
          coordinator_key: the pinned public key; empty = whoever signed.

        Raises:
          PrivacyRefused: they are of another plan, of another coordinator, or one of them is not its key's.
        """
        if self.plan_hash != plan_hash:
            raise PrivacyRefused(
                f"{path}: signs plan {self.plan_hash[:16]}…, and the plan beside it is {plan_hash[:16]}…; "
                "nothing was approved or released",
                "the plan was changed after it was signed: ask the coordinator for both files",
            )
        if coordinator_key and self.coordinator_key != coordinator_key:
            raise PrivacyRefused(
                f"{path}: signed by key {short(self.coordinator_key)}, and [trust] coordinator_key is "
                f"{short(coordinator_key)}; nothing was approved or released",
                "only the coordinator in policy.toml may plan",
            )
        self._check(path, "the coordinator's signature", self.coordinator_key, PLAN_DOMAIN, self.signature)
        for key, signature in self.countersignatures.items():
            self._check(path, "a store's countersignature", key, APPROVAL_DOMAIN, signature)

    def _check(self, path: Path, what: str, key: str, domain: str, signature: str) -> None:
        try:
            verify(bytes.fromhex(key), domain, bytes.fromhex(self.plan_hash), bytes.fromhex(signature))
        except ProtocolError:
            raise PrivacyRefused(
                f"{path}: {what} is not by key {short(key)}; nothing was approved or released"
            ) from None

    def document(self) -> dict[str, Any]:
        """As the file holds them."""
        return {"version": VERSION, **dataclasses.asdict(self)}

    def save(self, path: Path) -> None:
        """Write the canonical bytes to `path`, durably."""
        replace_bytes(path, canonical_bytes(self.document()))

    @classmethod
    def load(cls, path: Path) -> PlanSignatures:
        """Read what `save` wrote; no signature is verified yet.

        Raises:
          ConfigError: there is none, or it is not such a file in canonical bytes.
        """
        if not path.exists():
            raise ConfigError(
                f"{path}: no such file, so nobody signed the plan; nothing was approved or released",
                "fedcart coalition plan … --key coordinator.key --out DIR signs one",
            )
        with named_failures(path, "read"):
            raw = path.read_bytes()
        try:
            document = json.loads(raw)
        except ValueError:
            raise _misread(path, "it is not JSON") from None
        if not isinstance(document, dict) or document.pop("version", None) != VERSION:
            raise _misread(path, f"it is not of version {VERSION}")
        fields = {f.name for f in dataclasses.fields(cls)}
        for name in sorted(set(document) ^ fields):
            found = f"unknown field {name!r}" if name in document else f"no field {name!r}"
            raise _misread(path, found, did_you_mean(name, fields) if name in document else None)
        made = cls(**document)
        if (odd := made._odd_field()) is not None:
            raise _misread(path, f"field {odd!r} is not of its form")
        if canonical_bytes(made.document()) != raw:
            raise _misread(path, "its bytes are not canonical")
        return made

    def _odd_field(self) -> str | None:
        if not is_hex(self.plan_hash, KEY_BYTES):
            return "plan_hash"
        if not is_hex(self.coordinator_key, KEY_BYTES):
            return "coordinator_key"
        if not is_hex(self.signature, SIGNATURE_BYTES):
            return "signature"
        stores = self.countersignatures
        if not isinstance(stores, dict) or not all(
            is_hex(key, KEY_BYTES) and is_hex(signature, SIGNATURE_BYTES) for key, signature in stores.items()
        ):
            return "countersignatures"
        return None


def require_signature(directory: Path, plan_hash: str, coordinator_key: str) -> None:
    """Refuse a run whose plan the pinned coordinator did not sign; an empty key pins nobody (a simulation).

    Raises:
      PrivacyRefused: as `PlanSignatures.check`.
      ConfigError: there are no signatures, or the file is none of ours.
    """
    if coordinator_key:
        path = directory / SIGNATURES
        PlanSignatures.load(path).check(path, plan_hash, coordinator_key)


def is_hex(value: Any, size: int) -> bool:
    """Whether it is `size` bytes as lower-case digits."""
    return isinstance(value, str) and len(value) == 2 * size and set(value) <= set("0123456789abcdef")


def short(key: str) -> str:
    """The first digits of a public key's fingerprint; of what is no key, of its text."""
    try:
        return f"{fingerprint(bytes.fromhex(key))[:16]}…"
    except ValueError:
        return f"{key[:16]!r}, which is no key"


def _misread(path: Path, why: str, hint: str | None = None) -> ConfigError:
    return ConfigError(f"{path}: not signatures of a plan: {why}; nothing was approved or released", hint)
