"""One store's folder: what lies where, and how it comes to be, whole or not at all.

store.toml                  where the data lie (settings)
policy.toml                 what may leave, 0600
keys/store-0000.key         the store's identity, 0600, made here and never sent
ledger/store-0000.jsonl     what was spent
data/                       what was read so far, 0700
records/  opted_out.npy     customers as a run sees them
models/                     the models that were used, and which one is
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedcart.client.ledger_files import POLICY, key_path, ledger_path
from fedcart.client.settings import StoreSettings
from fedcart.client.store_templates import policy_toml, store_toml
from fedcart.shared.errors import ConfigError
from fedcart.shared.folders import new_folder
from fedcart.shared.identity import Identity
from fedcart.shared.ledger.ledger import Ledger
from fedcart.shared.policy import Policy
from fedcart.shared.storage import named_failures, replace_bytes

STORE = "store.toml"
NUMBER = 0
"""A folder of a real store holds one store, its first."""


@dataclass(frozen=True)
class StoreFolder:
    """Paths of one store, and its files as objects."""

    directory: Path

    @classmethod
    def open(cls, directory: Path) -> StoreFolder:
        """An existing folder.

        Raises:
          ConfigError: it holds no store.toml.
        """
        if not (directory / STORE).is_file():
            raise ConfigError(f"{directory} is no store: it has no {STORE}", f"fedcart store init {directory}")
        return cls(directory)

    @property
    def data(self) -> Path:
        """What was read."""
        return self.directory / "data"

    @property
    def models(self) -> Path:
        """What is recommended from."""
        return self.directory / "models"

    @property
    def ledger_file(self) -> Path:
        """What was spent."""
        return ledger_path(self.directory, NUMBER)

    @property
    def key_file(self) -> Path:
        """The store's identity."""
        return key_path(self.directory, NUMBER)

    def settings(self) -> StoreSettings:
        """store.toml."""
        return StoreSettings.load(self.directory / STORE)

    def policy(self) -> Policy:
        """policy.toml."""
        return Policy.load(self.directory / POLICY)

    def identity(self) -> Identity:
        """The store's key."""
        return Identity.load(self.key_file)

    def open_ledger(self) -> Ledger:
        """The ledger, locked; close it."""
        return Ledger.open(self.ledger_file, self.identity())


def create_store(
    directory: Path,
    *,
    source: str = "sales.csv",
    query: str | None = None,
    columns: Mapping[str, str] | None = None,
    catalogue: str | None = None,
    epsilon_total: float = 8.0,
    consent_column: str = "",
    coalition: str = "any",
) -> tuple[StoreFolder, Identity]:
    """Make a store's folder: two commented files, a new key and an empty ledger. All of it appears at once, or nothing.

    Args:
      directory: new, or empty. Only its owner may look into it.
      coalition: the name in the ledger's first line; one ledger serves all coalitions.

    Raises:
      ConfigError: the directory holds something, or a setting is no good.
      InputError: it cannot be written.
    """
    directory = Path(os.path.abspath(directory))
    with new_folder(directory, "a store's key and ledger are never replaced: name another folder") as part:
        made = StoreFolder(part)
        text = store_toml(folder=directory.name, source=source, query=query, columns=columns or {}, catalogue=catalogue)
        policy = policy_toml(epsilon_total=epsilon_total, consent_column=consent_column)
        with named_failures(directory, "create"):
            for path, words in ((part / STORE, text), (part / POLICY, policy)):
                replace_bytes(path, words.encode())
                path.chmod(0o600)
            for folder in (key_path(part, NUMBER).parent, made.ledger_file.parent):
                folder.mkdir(mode=0o700)
        _check(made, directory)
        identity = Identity.create(key_path(part, NUMBER))
        Ledger.create(made.ledger_file, identity, coalition=coalition, rehearsal=False).close()
    return StoreFolder(directory), identity


def _check(made: StoreFolder, directory: Path) -> None:
    """What was written can be read."""
    try:
        made.settings()
        made.policy()
    except ConfigError as error:
        message = error.message.replace(str(made.directory), str(directory))
        raise ConfigError(f"{message}; nothing was made", error.hint) from None
