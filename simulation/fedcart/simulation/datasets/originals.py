"""Where public originals are published, and the checksum each file must have. Nothing unverifiable is listed.

A checksum is either the publisher's own or was computed from bytes this project read; each entry says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Provenance = Literal["publisher's own", "computed from stored bytes"]
_GROUPLENS = "https://files.grouplens.org/datasets/movielens"
_MULE = "https://raw.githubusercontent.com/geonwooko/MULE/52bccb5346a17894170c76ba1619b7c86bb166ee/data"


@dataclass(frozen=True, kw_only=True)
class Original:
    """One file: its address, the name it gets in the set's folder, and its checksum (lower-case hex)."""

    url: str
    file: str
    algorithm: Literal["sha256", "md5"]
    checksum: str
    provenance: Provenance


ORIGINALS: Mapping[str, tuple[Original, ...]] = {
    "ml-1m": (
        Original(
            url=f"{_GROUPLENS}/ml-1m.zip",
            file="ml-1m.zip",
            algorithm="md5",
            checksum="c4d9eecfca2ab87c1945afe126590906",
            provenance="publisher's own",
        ),
    ),
    "ml-100k": (
        Original(
            url=f"{_GROUPLENS}/ml-100k.zip",
            file="ml-100k.zip",
            algorithm="md5",
            checksum="0e33842e24a9c977be4e0107933c0723",
            provenance="publisher's own",
        ),
    ),
    "ml-latest-small": (
        Original(
            url=f"{_GROUPLENS}/ml-latest-small.zip",
            file="ml-latest-small.zip",
            algorithm="sha256",
            checksum="696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
            provenance="computed from stored bytes",
        ),
    ),
    "jdata": tuple(
        Original(
            url=f"{_MULE}/jdata/{file}",
            file=file,
            algorithm="sha256",
            checksum=checksum,
            provenance="computed from stored bytes",
        )
        for file, checksum in (
            ("buy.txt", "21b99e3bbb86601a51785302a180ae02dc7e63ebd94cf3d9d56e41eea67f4af3"),
            ("cart.txt", "fb6c4dd5538301d07545537ee2c67a88048fc5f69179b9e389a5fb8ce9332f94"),
            ("collect.txt", "2c468f6bde9616837d4501a8f6c79593bd79bf421cad4d5a151c3e106a98d457"),
        )
    ),
}
"""Sets that can be downloaded. The others are not offered whole by an address with a checksum known here."""
