"""`fedcart audit transcript`: a run's own messages are accepted, and whatever is changed in them is found."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedcart.shared.errors import FedcartError
from fedcart.shared.secagg.replay import verify_transcript
from fedcart.shared.secagg.requests import Train
from fedcart.shared.secagg.transcript import Transcript, transcript_of
from fedcart.shared.secagg.wire import sign, spell
from secagg_kit import COORDINATOR, MODEL, Coalition, identity, make_pins
from shared.audit.audit_cases import SCHEMA, Audit

PINS = make_pins(5, 1, 4, rounds=3)
PLAN, ROSTER = PINS.plan.hex(), PINS.roster.hex()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs of five stores, in the folder of a run: one drop, one round that failed."""
    folder = tmp_path_factory.mktemp("run")
    place = folder / "ledger" / "transcript"
    place.mkdir(parents=True)
    (place / "pins.json").write_bytes(PINS.to_bytes())
    values, own = {i: [1, 2, i] for i in range(5)}, None
    for releases in ((0, 1), (1, 2)):
        coalition = Coalition(PINS) if own is None else Coalition(PINS, journals=own[0], own=own[1])
        epoch = coalition.open_epoch()
        for number, release in enumerate(releases):
            begun = epoch.begin(number, release, MODEL)
            if (number, release) == (1, 1):
                for i in range(2):
                    upload = coalition.upload(i, begun, values[i])
                    begun.add(upload.vector, upload.word)
            else:
                coalition.finish(begun, values, no_upload=[4])
        (place / f"epoch-{epoch.epoch:04d}.json").write_bytes(transcript_of(epoch).to_bytes())
        own = coalition.journals, coalition.own
    return folder


def copied(kept: Path, tmp_path: Path) -> Path:
    shutil.copytree(kept / "ledger" / "transcript", tmp_path / "here")
    return tmp_path / "here"


def document(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.out)
    SCHEMA.validate(found)
    return found


def test_a_run_is_accepted_round_by_round(kept: Path, audit: Audit) -> None:
    answer = audit("transcript", kept, "--plan", PLAN, "--roster", ROSTER, "--json")
    assert answer.code == 0
    found = document(answer)
    assert found["told"]
    assert found["pins"]["honest"] == 3
    rounds = [[(r["round"], r["release"], r["opened"]) for r in one["rounds"]] for one in found["epochs"]]
    assert rounds == [[(0, 0, True), (1, 1, False)], [(0, 1, True), (1, 2, True)]]
    assert found["epochs"][0]["rounds"][0]["survivors"] == [0, 1, 2, 3]
    text = audit("transcript", kept / "ledger" / "transcript")
    assert text.code == 0
    assert "round 0, release 0: 5 asked, 4 uploaded, 4 confirmed; opened over 4 stores" in text.out
    assert "whose plan and roster these are, nobody told" in text.out


def flip(raw: str) -> str:
    return raw[:-1] + ("0" if raw[-1] != "0" else "1")


def other_cohort(found: dict[str, Any]) -> None:
    """The coordinator signs a cohort under the plan's floor afterwards."""
    train = Train.parse(bytes.fromhex(found["rounds"][0]["train"]), PINS)
    small = Train(train.tag, train.round, train.release, train.block, train.model, (0, 1))
    found["rounds"][0]["train"] = spell(sign(small, identity(COORDINATOR))).hex()


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a signature": (lambda d: d["keys"].update({"00001": flip(d["keys"]["00001"])}), "KEYS of store 1"),
    "an upload left out": (lambda d: d["rounds"][0]["uploads"].pop("00002"), "round 0, CONFIRM request"),
    "a word left out": (lambda d: d["rounds"][0]["confirmations"].pop("00002"), "round 0, UNMASK request"),
    "a small cohort": (other_cohort, "2 stores are under the plan's 4"),
    "a round twice": (lambda d: d["rounds"].append(d["rounds"][0]), "its round does not follow"),
    "another epoch": (lambda d: d.update(epoch=7), "epoch 7, KEYS request"),
    "a number for a message": (lambda d: d.update(keys_request=3), "not a transcript"),
    "a negative epoch": (lambda d: d.update(epoch=-1), "not a transcript"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_is_changed_is_found(kept: Path, tmp_path: Path, audit: Audit, name: str) -> None:
    change, where = CHANGES[name]
    place = copied(kept, tmp_path)
    found = json.loads((place / "epoch-0000.json").read_bytes())
    change(found)
    (place / "epoch-0000.json").write_text(json.dumps(found))
    answer = audit("transcript", place, "--json")
    assert answer.code == 4
    (finding,) = document(answer)["findings"]
    assert (finding["rule"], finding["file"]) == ("replay", "epoch-0000.json")
    assert where in finding["message"]
    assert where in answer.err


def test_other_pins_and_names_and_orders_are_found(kept: Path, tmp_path: Path, audit: Audit) -> None:
    place = copied(kept, tmp_path)
    for words, rules in (((), set()), (("--plan", "0" * 64), {"pins"}), (("--roster", "1" * 64), {"pins"})):
        answer = audit("transcript", place, *words, "--json")
        assert {f["rule"] for f in document(answer)["findings"]} == rules
        assert answer.code == (4 if rules else 0)
    (place / "epoch-0001.json").rename(place / "epoch-0004.json")
    assert {f["rule"] for f in document(audit("transcript", place, "--json"))["findings"]} == {"epoch"}
    (place / "pins.json").write_bytes(make_pins(5, 1, 5, rounds=3).to_bytes())
    assert {f["rule"] for f in document(audit("transcript", place, "--json"))["findings"]} == {"replay", "epoch"} - {
        "epoch"
    }
    (place / "pins.json").write_bytes(b"{}")
    answer = audit("transcript", place, "--json")
    assert answer.code == 4
    assert document(answer)["pins"] is None


def test_a_release_that_comes_again_after_a_later_one_is_found(tmp_path: Path, audit: Audit) -> None:
    """Each epoch is sound by itself: their stores forgot what they had answered."""
    (tmp_path / "pins.json").write_bytes(PINS.to_bytes())
    own = None
    for release in (2, 0):
        coalition = Coalition(PINS) if own is None else Coalition(PINS, own=own)
        if own is not None:
            for journal in coalition.journals.values():
                journal.records.clear()
        epoch = coalition.open_epoch()
        coalition.finish(epoch.begin(0, release, MODEL), {i: [0, 0, 0] for i in range(5)})
        (tmp_path / f"epoch-{epoch.epoch:04d}.json").write_bytes(transcript_of(epoch).to_bytes())
        own = coalition.own
    answer = audit("transcript", tmp_path, "--json")
    assert answer.code == 4
    (finding,) = document(answer)["findings"]
    assert (finding["rule"], finding["file"]) == ("release", "epoch-0001.json")


def test_nothing_to_read_and_misspelt_hashes_are_said(tmp_path: Path, kept: Path, audit: Audit) -> None:
    for words in ((tmp_path,), (tmp_path / "none",), (kept, "--plan", "abc")):
        answer = audit("transcript", *words)
        assert answer.code == 2
        assert answer.out == ""


def test_no_change_of_a_transcript_is_worse_than_a_typed_error(kept: Path) -> None:
    """Seeded: a value of the JSON is replaced by something else. What is still accepted says the same as before."""
    raw = (kept / "ledger" / "transcript" / "epoch-0000.json").read_bytes()
    before, rng, refused = verify_transcript(Transcript.parse(raw), PINS), random.Random(3), 0
    for _ in range(150):
        found = json.loads(raw)
        at: Any = found
        while True:
            key = rng.choice(sorted(at)) if isinstance(at, dict) else rng.randrange(len(at))
            if not isinstance(at[key], dict | list) or not at[key] or rng.random() < 0.2:
                break
            at = at[key]
        old = at[key]
        at[key] = rng.choice(
            [None, 5, -1, "", "zz", "00", [], {}, {"x": "00"}, old[:-2] if isinstance(old, str) else 1]
        )
        try:
            assert verify_transcript(Transcript.parse(json.dumps(found).encode()), PINS) == before or at[key] == old
        except FedcartError:
            refused += 1
    assert refused > 100


def test_it_needs_neither_torch_nor_flower(kept: Path) -> None:
    code = (
        "import sys; from fedcart.shared.audit.transcripts import replay_folder; from pathlib import Path;"
        f"replay_folder(Path({str(kept)!r})).require();"
        "sys.exit(any(name.split('.')[0] in ('torch', 'flwr', 'opacus', 'ray') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
