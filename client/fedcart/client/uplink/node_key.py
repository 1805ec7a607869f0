"""The key by which the coordinator knows a store's node: made at the store, mode 0600, only its public half travels."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedcart.shared.errors import ConfigError
from fedcart.shared.flower_compat.fleet import new_node_key
from fedcart.shared.storage import create_private, read_private

MOST_BYTES = 4096
"""Of a key file."""


def create_node_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Make a key and write it; an existing file is never overwritten.

    Raises:
      ConfigError: `path` exists.
      InputError: it cannot be written.
    """
    key = new_node_key()
    raw = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    create_private(path, raw, "no key was made")
    return key


def load_node_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read what `create_node_key` wrote.

    Raises:
      ConfigError: others may read it, or it holds no such key.
      InputError: it cannot be read.
    """
    raw = read_private(path, MOST_BYTES)
    try:
        key = serialization.load_pem_private_key(raw, None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{path} holds no node key; nothing was sent")
    return key
