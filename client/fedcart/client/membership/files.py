"""What a store's folder holds of its coalition, beside its data.

coalition.json          whom it belongs to, and what it trusts; nothing secret
keys/node.key           by which the coordinator knows its node, 0600
node.json               its node's last number
plans/NAME/             a plan that it was shown, with the records of its run
journals/               of secure aggregation
.run.lock               held by the process that takes part
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedcart.client.ledger_files import KEYS, POLICY
from fedcart.client.store_folder import StoreFolder
from fedcart.shared.errors import ConfigError
from fedcart.shared.invitation import Membership
from fedcart.shared.storage import held_alone


@dataclass(frozen=True)
class MemberFiles:
    """Paths."""

    folder: StoreFolder

    @property
    def membership_file(self) -> Path:
        """coalition.json."""
        return self.folder.directory / "coalition.json"

    @property
    def node_key(self) -> Path:
        """The node's key."""
        return self.folder.directory / KEYS / "node.key"

    @property
    def node_memory(self) -> Path:
        """The node's last number."""
        return self.folder.directory / "node.json"

    @property
    def policy_file(self) -> Path:
        """policy.toml."""
        return self.folder.directory / POLICY

    def plan(self, name: str) -> Path:
        """Directory of a plan."""
        return self.folder.directory / "plans" / name

    def journal(self, name: str) -> Path:
        """Journal of a plan's secure aggregation."""
        return self.folder.directory / "journals" / f"{name}.journal"

    def membership(self) -> Membership:
        """The coalition. Raises ConfigError when the store has not joined one."""
        if not self.membership_file.exists():
            raise ConfigError(
                f"{self.folder.directory} has joined no coalition; nothing was sent",
                f"fedcart store join NAME.invite --dir {self.folder.directory}",
            )
        return Membership.load(self.membership_file)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only one that takes part with this folder, or leaves; the system lets go of it with the process.

        Two would share one node: each answers some of its messages, and neither has all secrets of an epoch.

        Raises:
          ConfigError: another is.
        """
        place = self.folder.directory
        busy = ConfigError(f"{place} is in use by another `store run`; nothing was sent", "end that one first")
        with held_alone(place / ".run.lock", busy):
            yield
