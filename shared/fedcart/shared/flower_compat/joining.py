"""A message from its objects' bytes, its arrays joined here: Flower's own reading holds each array's bytes three times.

Chunks go as soon as the last array that holds them is whole, so that beside a message's bytes there is one array.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from fedcart.shared.errors import ProtocolError
from fedcart.shared.flower_compat import Array

MOST_BYTES = 1 << 32
"""Of a message's arrays together. A few bytes can name one chunk a million times, and must not fill the memory."""


def read_objects(root: str, contents: dict[str, bytes]) -> Any:
    """The object that `root` numbers, as Flower's `inflate_object_from_contents` reads it.

    Args:
      contents: bytes of each object below it, by number; emptied on the way.

    Raises:
      ProtocolError: arrays of more than MOST_BYTES, or of something that is no chunk.
      Exception: Flower's own and Python's, where the bytes are no objects.
    """
    from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

    chunks = {number: _chunks(raw) for number, raw in contents.items() if raw.startswith(b"Array ")}
    if sum(len(contents[chunk]) for parts in chunks.values() for chunk in parts) > MOST_BYTES:
        raise ProtocolError(f"a message names arrays of more than {MOST_BYTES} bytes; it was not used")
    uses = Counter(chunk for parts in chunks.values() for chunk in set(parts))
    arrays: dict[str, Any] = {}
    for number, parts in chunks.items():
        about = json.loads(_body(contents[number]).tobytes())
        data = b"".join(_chunk(contents[chunk]) for chunk in parts)
        arrays[number] = Array(dtype=about["dtype"], shape=tuple(about["shape"]), stype=about["stype"], data=data)
        for chunk in set(parts):
            uses[chunk] -= 1
            if not uses[chunk]:
                del contents[chunk]
    return inflate_object_from_contents(root, contents, objects=arrays)


def _chunks(raw: bytes) -> list[str]:
    """Numbers of an array's chunks, in their order; one that occurs again is named again."""
    from flwr.supercore.inflatable.inflatable_object import get_object_children_ids_from_object_content

    children = get_object_children_ids_from_object_content(raw)
    return [children[place] for place in json.loads(_body(raw).tobytes())["arraychunk_ids"]]


def _chunk(raw: bytes) -> memoryview:
    if not raw.startswith(b"ArrayChunk "):
        raise ProtocolError("an array of something that is no chunk; it was not used")
    return _body(raw)


def _body(raw: bytes) -> memoryview:
    """What comes after an object's head, without a copy."""
    return memoryview(raw)[raw.index(b"\0") + 1 :]
