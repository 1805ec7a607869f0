"""A coalition's own certificate authority and the server certificate that it signs, as PEM files.

Stores trust this authority and no other: its certificate travels in their invitations. Keys are P-256, mode 0600.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedcart.shared.errors import ConfigError, InputError
from fedcart.shared.storage import create_private, named_failures, read_private, replace_bytes

AUTHORITY, AUTHORITY_KEY = "authority.pem", "authority.key"
SERVER, SERVER_KEY = "server.pem", "server.key"
MOST_BYTES = 4096
"""Of a key file."""
AUTHORITY_DAYS, SERVER_DAYS = 3650, 397
_EARLY = datetime.timedelta(hours=1)
"""A certificate is valid from a little before it was made: stores' clocks differ."""


def make_authority(directory: Path, name: str) -> None:
    """Make an authority: authority.pem and authority.key.

    Raises:
      ConfigError: there is one already.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"fedcart coalition {name}"[:64])])
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    made = (
        _builder(subject, subject, key, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    _write_key(directory / AUTHORITY_KEY, key)
    replace_bytes(directory / AUTHORITY, made.public_bytes(serialization.Encoding.PEM))


def make_server(directory: Path, hosts: Sequence[str], days: int = SERVER_DAYS) -> None:
    """Make (or renew) the certificate of a server under these names and addresses: server.pem and server.key.

    Raises:
      ConfigError: others may use the authority's key.
      InputError: the authority cannot be read.
    """
    signer = serialization.load_pem_private_key(read_private(directory / AUTHORITY_KEY, MOST_BYTES), None)
    with named_failures(directory / AUTHORITY, "read"):
        authority = x509.load_pem_x509_certificate((directory / AUTHORITY).read_bytes())
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{directory / AUTHORITY_KEY}: not a key of an authority; nothing was made")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    made = (
        _builder(subject, authority.subject, key, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_alternative(host) for host in hosts]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    (directory / SERVER_KEY).unlink(missing_ok=True)
    _write_key(directory / SERVER_KEY, key)
    replace_bytes(directory / SERVER, made.public_bytes(serialization.Encoding.PEM))


def expires(directory: Path) -> datetime.datetime:
    """When the server's certificate is good no more. Raises InputError where it cannot be read or is none."""
    with named_failures(directory / SERVER, "read"):
        raw = (directory / SERVER).read_bytes()
    try:
        return x509.load_pem_x509_certificate(raw).not_valid_after_utc
    except ValueError:
        raise InputError(f"{directory / SERVER}: no certificate") from None


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLY)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write a new key file; never over another."""
    raw = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    create_private(path, raw, "no key was made")
