"""A reply's arrays are joined here as Flower joins them, in less memory, and no small reply fills it."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

from fedcart.shared import flower_compat as fc
from fedcart.shared.errors import ProtocolError
from fedcart.shared.flower_compat import joining
from fedcart.shared.flower_compat.joining import read_objects

CHUNK = 5 << 20


def written(arrays: dict[str, Any]) -> tuple[str, dict[str, bytes]]:
    content = fc.RecordDict({"t": fc.pack_arrays(arrays), "c": fc.ConfigRecord({"i": 1})})
    return content.object_id, {number: part.deflate() for number, part in get_all_nested_objects(content).items()}


def arrays_of(content: Any) -> dict[str, Any]:
    return {name: fc.unpack_array(packed) for name, packed in content["t"].items()}


def test_what_is_read_is_what_flower_reads() -> None:
    """Several chunks, the same chunk again in one array and in another, one array twice, an empty one."""
    words, draw = CHUNK // 8, np.random.default_rng(0)
    zeros, random = np.zeros(3 * words), draw.random(2 * words + 5)
    sent = {"zeros": zeros, "random": random, "again": random, "both": np.append(zeros, 1.0), "none": np.zeros(0)}
    root, contents = written(sent)
    theirs = inflate_object_from_contents(root, dict(contents))
    ours = read_objects(root, contents)
    assert not [raw for raw in contents.values() if raw.startswith(b"ArrayChunk ")]
    assert ours.object_id == theirs.object_id == root
    assert ours["c"] == {"i": 1}
    for name, array in arrays_of(ours).items():
        np.testing.assert_array_equal(array, sent[name])


def peak(read: Any, root: str, contents: dict[str, bytes]) -> int:
    """Bytes above those before, at most."""
    tracemalloc.start()
    read(root, contents)
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def test_beside_a_replys_bytes_there_is_one_array() -> None:
    draw = np.random.default_rng(0)
    root, contents = written({name: draw.random(4 * CHUNK // 8) for name in "xy"})
    one = 4 * CHUNK
    assert peak(inflate_object_from_contents, root, dict(contents)) > 2.5 * one  # so the bound below can be missed
    assert peak(read_objects, root, contents) < 2.2 * one  # the two arrays themselves; chunks were there before


@pytest.mark.parametrize("part", ["most", "no chunk", "no such chunk"])
def test_refuses_arrays_that_fill_the_memory_and_what_is_no_chunk(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "MOST_BYTES", 10_000)
    root, contents = written({"x": np.zeros(4)})
    number = next(x for x, raw in contents.items() if raw.startswith(b"Array "))
    head, body = contents[number].split(b"\0", 1)
    about = json.loads(body)
    if part == "no such chunk":
        about["arraychunk_ids"] = [7]
    elif part == "most":
        about["arraychunk_ids"] = [0] * 1000
    else:
        head = head.split(b" ")[0] + b" " + number.encode() + b" " + head.split(b" ")[2]
    contents[number] = head + b"\0" + json.dumps(about).encode()
    with pytest.raises(IndexError if part == "no such chunk" else ProtocolError):
        read_objects(root, contents)
