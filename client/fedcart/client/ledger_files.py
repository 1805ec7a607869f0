"""Where a store's policy, ledger and key lie, beside its records.

policy.toml                 what the store allows
ledger/store-0003.jsonl     the ledger (docs/ledger.md)
keys/store-0003.key         the key that signs it, 0600
"""

from __future__ import annotations

from pathlib import Path

from fedcart.shared.identity import Identity
from fedcart.shared.ledger.ledger import Ledger

POLICY, LEDGERS, KEYS = "policy.toml", "ledger", "keys"


def home_of(plan: Path) -> Path:
    """Where the files of a plan's store lie: in its folder, for a plan that it was shown; else beside the plan."""
    home = plan.resolve().parent.parent
    return home if plan.resolve().parent.name == "plans" and (home / "store.toml").exists() else plan


def ledger_path(directory: Path | str, store: int) -> Path:
    """The ledger of store number `store`."""
    return Path(directory) / LEDGERS / f"store-{store:04d}.jsonl"


def key_path(directory: Path | str, store: int) -> Path:
    """Its key."""
    return Path(directory) / KEYS / f"store-{store:04d}.key"


def open_store_ledger(directory: Path | str, store: int) -> Ledger:
    """Open and lock a store's ledger with its own key.

    Raises:
      InputError, ConfigError: there is none, or the key is another's or readable by others.
      PrivacyRefused: the ledger is in use, stopped or damaged. Nothing is released.
    """
    return Ledger.open(ledger_path(directory, store), Identity.load(key_path(directory, store)))
