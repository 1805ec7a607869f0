"""Which code is installed here: one hash over all of client and shared, which a plan names and every store compares.

It finds another version or an edited file. It does not cover Python, dependencies or the operating system, and code
that wants to lie about its own hash can: it is the store's check of itself, not a proof to others.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from pathlib import Path

from fedcart.shared.errors import ConfigError

ROOMS = ("fedcart.client", "fedcart.shared")
IGNORED = frozenset({"__pycache__"})


@functools.cache
def installed_app_hash() -> str:
    """SHA-256 over sorted (path, bytes) of every file of both packages, 64 hex digits; computed once a process.

    Raises:
      ConfigError: a package is not installed as files.
    """
    digest = hashlib.sha256()
    for room in ROOMS:
        spec = importlib.util.find_spec(room)
        if spec is None or not spec.submodule_search_locations:
            raise ConfigError(f"{room} is not installed as files, so its hash is not known; nothing was planned")
        add_files(digest, room, Path(next(iter(spec.submodule_search_locations))))
    return digest.hexdigest()


def add_files(digest: hashlib._Hash, room: str, root: Path) -> None:
    """Hash a folder's files into `digest`: the room's name and each one's path and bytes, length-prefixed."""
    for path in sorted(x for x in root.rglob("*") if x.is_file() and not IGNORED & set(x.parts)):
        for part in (room.encode(), path.relative_to(root).as_posix().encode(), path.read_bytes()):
            digest.update(len(part).to_bytes(8, "little") + part)
