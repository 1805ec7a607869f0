"""A coalition's folder: what lies where, and who is invited, in, suspended or out.

coalition.json                 its name, and where it listens
keys/coordinator.key           signs plans, rounds and receipts; 0600
tls/                           its certificate authority and its server's certificate
catalogue.json                 the public item list
members.json                   every store ever invited
plan.toml                      the plan that was last made, as it can be edited
plans/HASH/                    a plan and its run; `published` names the one that stores are shown
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fedcart.server.tls_files import AUTHORITY, make_authority, make_server
from fedcart.shared.agreement import CATALOGUE
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import ConfigError, DataError
from fedcart.shared.folders import new_folder
from fedcart.shared.identity import Identity, fingerprint
from fedcart.shared.invitation import TOKEN_BYTES, Invitation
from fedcart.shared.roster import KEY
from fedcart.shared.storage import named_failures, replace_bytes

ABOUT, MEMBERS, TLS, PLANS, PUBLISHED = "coalition.json", "members.json", "tls", "plans", "published"
VERSION = 1
NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
State = Literal["invited", "joined", "suspended", "left", "removed"]
"""`left` by its own word: its key and ledger may join again by another invitation. `removed` by the operator: never."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """A store that was invited.

    Attributes:
      token_hash: SHA-256 of its invitation's secret; empty once it was used.
      key: Ed25519 public key, `ledger`: hash of its ledger's first line, `node_key`: PEM; empty before it joined.
    """

    name: str
    state: State = "invited"
    token_hash: str = ""
    key: str = ""
    ledger: str = ""
    node_key: str = ""


@dataclass(frozen=True, kw_only=True)
class About:
    """coalition.json: `hosts` are names and addresses of the coordinator, the first is told to stores."""

    name: str
    hosts: tuple[str, ...]
    port: int

    @property
    def address(self) -> str:
        """host:port."""
        host = self.hosts[0]
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


@dataclass(frozen=True)
class CoalitionFolder:
    """Paths of one coalition, and its files as objects."""

    directory: Path

    @classmethod
    def open(cls, directory: Path) -> CoalitionFolder:
        """An existing folder. Raises ConfigError when it is none."""
        if not (directory / ABOUT).is_file():
            raise ConfigError(
                f"{directory} is no coalition: it has no {ABOUT}", f"fedcart coalition new {directory} --catalogue FILE"
            )
        return cls(directory)

    @property
    def tls(self) -> Path:
        """Authority and server certificate."""
        return self.directory / TLS

    def about(self) -> About:
        """Its name, and where it listens."""
        found = _read(self.directory / ABOUT)
        return About(name=found["name"], hosts=tuple(found["hosts"]), port=int(found["port"]))

    def identity(self) -> Identity:
        """The coordinator's."""
        return Identity.load(self.directory / KEY)

    def catalogue(self) -> Catalogue:
        """The item list."""
        return Catalogue.load(self.directory / CATALOGUE)

    def members(self) -> list[Member]:
        """All that were ever invited, in that order."""
        return [Member(**row) for row in _read(self.directory / MEMBERS)["members"]]

    def joined(self) -> list[Member]:
        """Those that take part."""
        return [member for member in self.members() if member.state == "joined"]

    def change(self, edit: Callable[[list[Member]], list[Member]]) -> None:
        """Replace the list of members by what `edit` makes of it; one writer at a time, durably."""
        with _locked(self.directory / f"{MEMBERS}.lock"):
            _write_members(self.directory / MEMBERS, edit(self.members()))

    def invite(self, names: Sequence[str], into: Path) -> list[Path]:
        """Write an invitation for each new store: all or none.

        Raises:
          ConfigError: a name is taken or no name.
        """
        about, authority = self.about(), (self.tls / AUTHORITY).read_text()
        key, made = self.identity().public.hex(), {}
        for name in names:
            if not name or set(name) - NAME_CHARACTERS or len(name) > 40 or name in made:
                raise ConfigError(
                    f"store {name!r}: up to 40 of a-z, 0-9, - and _, each once; nobody was invited",
                )
            made[name] = Invitation(
                coalition=about.name,
                store=name,
                address=about.address,
                authority=authority,
                coordinator_key=key,
                token=secrets.token_hex(TOKEN_BYTES),
            )
        paths = [into / f"{name}.invite" for name in made]

        def add(members: list[Member]) -> list[Member]:
            taken = {member.name for member in members} & set(made)
            if taken:
                raise ConfigError(f"{', '.join(sorted(taken))}: invited before; nobody was invited")
            for path, invitation in zip(paths, made.values(), strict=True):
                invitation.save(path)
            return members + [Member(name=x.store, token_hash=token_hash(x.token)) for x in made.values()]

        self.change(add)
        return paths

    def published(self) -> Path | None:
        """Directory of the plan that stores are shown."""
        path = self.directory / PUBLISHED
        return self.directory / PLANS / path.read_text().strip() if path.exists() else None


def listed(members: Sequence[Member]) -> list[dict[str, str]]:
    """Members for people and --json: public parts only."""
    return [
        {
            "store": member.name,
            "state": member.state,
            "fingerprint": fingerprint(bytes.fromhex(member.key)) if member.key else "",
        }
        for member in members
    ]


def token_hash(token: str) -> str:
    """What the coordinator keeps of an invitation's secret."""
    return hashlib.sha256(bytes.fromhex(token)).hexdigest()


def create_coalition(directory: Path, catalogue: Catalogue, hosts: Sequence[str], port: int) -> CoalitionFolder:
    """Make a coalition's folder: keys, certificates, item list and an empty roster. All of it appears at once.

    Raises:
      ConfigError: the directory is not empty, or the item list was derived from interactions.
    """
    directory = Path(os.path.abspath(directory))
    if catalogue.source != "given":
        raise ConfigError("the item list was derived from interactions; nothing was made", "epsilon would not cover it")
    with (
        new_folder(directory, "keys are never replaced: name another folder") as part,
        named_failures(directory, "create"),
    ):
        for name in (KEY.parent.name, TLS, PLANS):
            (part / name).mkdir(mode=0o700)
        Identity.create(part / KEY)
        make_authority(part / TLS, directory.name)
        make_server(part / TLS, hosts)
        catalogue.save(part / CATALOGUE)
        about = About(name=directory.name, hosts=tuple(hosts), port=port)
        replace_bytes(part / ABOUT, json.dumps({"version": VERSION, **dataclasses.asdict(about)}).encode())
        _write_members(part / MEMBERS, [])
    return CoalitionFolder(directory)


def _write_members(path: Path, members: Sequence[Member]) -> None:
    rows = [dataclasses.asdict(member) for member in members]
    replace_bytes(path, json.dumps({"version": VERSION, "members": rows}, indent=1).encode())


def _read(path: Path) -> dict[str, Any]:
    with named_failures(path, "read"):
        raw = path.read_bytes()
    try:
        found = json.loads(raw)
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.pop("version", None) != VERSION:
        raise DataError(f"{path}: not of version {VERSION}")
    return found


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with named_failures(path, "lock"), path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
