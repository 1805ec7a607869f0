"""Receipts at the store: the signed head that travels with every upload, and what comes back after the round.

Whose receipts count is pinned in the store's own files, by its policy or its roster, and never read from a message.
"""

from __future__ import annotations

import functools
from pathlib import Path

from fedcart.client.gate import Surroundings
from fedcart.shared.errors import PrivacyRefused, ProtocolError
from fedcart.shared.ledger.receipts import Receipt, SignedHead
from fedcart.shared.policy import Policy
from fedcart.shared.roster import ROSTER, Roster
from fedcart.shared.storage import FileVersion, file_version


def pinned_coordinator(directory: Path | str, policy: Policy) -> bytes | None:
    """Public key of the only coordinator whose receipts count, 32 bytes: the policy's, else the roster's.

    None where neither names one: then the store expects no receipts, and nobody witnesses its ledger.

    Raises:
      PrivacyRefused: the roster is not the one that the policy pins, or names another coordinator than it.
      InputError, DataError: the roster cannot be read.
    """
    key, root = policy.trust.coordinator_key, policy.trust.roster_root
    path = Path(directory) / ROSTER
    if not path.exists():
        if root:
            raise PrivacyRefused(f"[trust] roster_root pins a roster and {path} is not there; nothing was released")
        return bytes.fromhex(key) if key else None
    roster = _roster(str(path), file_version(str(path)))
    if root and roster.hash != root:
        raise PrivacyRefused(
            f"{path}: the roster {roster.hash[:16]}… is not the one that [trust] roster_root pins; nothing was released"
        )
    if key and roster.coordinator != key:
        raise PrivacyRefused(
            f"{path}: the roster names another coordinator than [trust] coordinator_key; nothing was released"
        )
    return bytes.fromhex(roster.coordinator)


@functools.lru_cache(maxsize=8)
def _roster(path: str, version: FileVersion) -> Roster:
    return Roster.load(Path(path))


def signed_head(around: Surroundings) -> SignedHead:
    """Where the store's ledger stands now, with its signature.

    Raises:
      PrivacyRefused: the ledger cannot be opened.
    """
    with around.open_ledger() as ledger:
        return ledger.signed_head()


def take_receipts(around: Surroundings, receipts: tuple[Receipt, ...]) -> SignedHead:
    """Append those that name this store; returns its head afterwards, so that a lost upload's is not lost too.

    Raises:
      PrivacyRefused: one shows this store's signature on a head that its ledger lacks: it stops for good.
      ProtocolError: one is forged or another coordinator's; the ones before it were appended.
    """
    if around.coordinator is None:
        raise ProtocolError("this store knows no coordinator whose receipts count; the receipt was not used")
    with around.open_ledger() as ledger:
        for receipt in receipts:
            if ledger.is_named_in(receipt):
                ledger.witness(receipt, around.coordinator)
        return ledger.signed_head()
