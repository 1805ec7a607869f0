"""The key by which the coordinator knows a store's node: made at the store, mode 0600, only its public half travels."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedcart.shared.errors import ConfigError
from fedcart.shared.flower_compat.fleet import new_node_key
from fedcart.shared.storage import named_failures, sync_directory


def create_node_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Make a key and write it; an existing file is never overwritten.

    Raises:
      ConfigError: `path` exists.
      InputError: it cannot be written.
    """
    key = new_node_key()
    raw = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with named_failures(path, "create"):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise ConfigError(f"{path} exists; no key was made") from None
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        sync_directory(path.parent)
    return key


def load_node_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read what `create_node_key` wrote.

    Raises:
      ConfigError: others may read it, or it holds no such key.
      InputError: it cannot be read.
    """
    with named_failures(path, "read"), path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        raw = file.read(4096)
    if mode & 0o077:
        raise ConfigError(f"{path} has mode {mode:04o}, which others may use; the key was not used", "chmod 600 it")
    try:
        key = serialization.load_pem_private_key(raw, None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{path} holds no node key; nothing was sent")
    return key
