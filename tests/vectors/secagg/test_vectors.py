"""The vectors of SA1 are what the package makes, and package and plain-integer verifier agree on each."""

from __future__ import annotations

import ast
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcart.shared.errors import ProtocolError
from fedcart.shared.privacy.cohort import Cohort
from fedcart.shared.secagg import keys as k
from fedcart.shared.secagg.masks import add_masks, vector_hash, words
from fedcart.shared.secagg.messages import Keys, TrainWord
from fedcart.shared.secagg.pins import Pins
from fedcart.shared.secagg.replay import verify_transcript
from fedcart.shared.secagg.shamir import combine
from fedcart.shared.secagg.transcript import RoundTranscript, Transcript
from fedcart.shared.secagg.wire import check

HERE = Path(__file__).parent
FILES = sorted((HERE / "v1").glob("*.json"))


def module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


verifier = module(HERE.parent / "verify_secagg.py")


def test_the_files_are_what_the_generator_writes() -> None:
    generator = module(HERE / "generate.py")
    made = {name: generator.spelled(contents) for name, contents in generator.all_vectors().items()}
    assert made == {path.stem: path.read_text() for path in FILES}


def test_the_verifier_shares_no_code_with_the_package() -> None:
    tree = ast.parse((HERE.parent / "verify_secagg.py").read_text())
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {name.split(".")[0] for name in names} <= {
        "__future__", "collections", "cryptography", "hashlib", "hmac", "json", "pathlib", "sys", "typing",
    }  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_plain_integer_verifier_says_what_is_expected(path: Path) -> None:
    assert verifier.outcome(path)[0] == json.loads(path.read_text())["expect"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_package_says_what_is_expected(path: Path) -> None:
    vector = verifier.unhexed(json.loads(path.read_text()))
    try:
        CHECKS[vector["kind"]](vector)
        found = "accept"
    except ProtocolError:
        found = "refuse"
    assert found == vector["expect"]


def pins_of(v: dict[str, Any]) -> Pins:
    p = v["pins"]
    return Pins(
        run=p["run"],
        roster=p["roster"],
        plan=p["plan"],
        cohort=Cohort(participants=p["n"], colluders=p["c"], min_survivors=p["m"]),
        rounds=p["rounds"],
        length=p["length"],
        bits=p["bits"],
        identities={int(i): key for i, key in p["identities"].items()},
        coordinator=p["coordinator"],
        reach=p.get("reach", 0),
    )


def check_mask(v: dict[str, Any]) -> None:
    (i, j), (one, other) = v["ids"], v["private"]
    found = {
        "pair": k.pair_mask_key(other, k.public_key(one), v["context"], j, i),
        "self": k.self_mask_key(v["b"], v["context"]),
    }
    for name, key in found.items():
        mask = words(v["pins"]["length"], v["pins"]["bits"])
        add_masks(mask, [(key, False)])
        assert (key, vector_hash(mask)) == (v["masks"][name]["key"], v["masks"][name]["sha256"])


def check_shamir(v: dict[str, Any]) -> None:
    if len({x for x, _ in v["shares"]}) < len(v["shares"]):
        raise ProtocolError("a mapping cannot hold one point twice")
    assert combine(dict(v["shares"]), v["threshold"]) == v["secret"]


def check_box(v: dict[str, Any]) -> None:
    found = k.open_box(v["receiver_private"], v["sender_public"], v["tag"], v["sender"], v["receiver"], v["box"])
    assert found == v["content"]


def check_keys(v: dict[str, Any]) -> None:
    pins = pins_of(v)
    keys = Keys.parse(v["raw"], pins)
    if keys.tag != pins.tag(v["epoch"]):
        raise ProtocolError("another epoch")
    check(keys, pins.identities[keys.sender])


def rows(found: dict[str, bytes]) -> dict[int, bytes]:
    return {int(i): raw for i, raw in found.items()}


def check_round(v: dict[str, Any]) -> None:
    fields = {name: rows(x) if isinstance(x, dict) else x for name, x in v["round"].items()}
    transcript = Transcript(
        epoch=v["epoch"],
        keys_request=v["keys_request"],
        keys=rows(v["keys"]),
        boxes_request=v["boxes_request"],
        boxes=rows(v["boxes"]),
        rounds=(RoundTranscript(**fields),),
    )
    (audited,) = verify_transcript(transcript, pins_of(v))
    for i in audited.survivors:
        vector = np.frombuffer(v["vectors"][str(i)], f"<u{v['pins']['bits'] // 8}")
        if vector_hash(vector) != TrainWord.parse(fields["uploads"][i]).value:
            raise ProtocolError("another vector")
    if not audited.opened:
        raise ProtocolError("not opened")


CHECKS = {"mask": check_mask, "shamir": check_shamir, "box": check_box, "keys": check_keys, "round": check_round}
