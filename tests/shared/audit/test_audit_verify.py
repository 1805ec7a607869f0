"""`fedcart audit verify`: what it finds in a folder of ledgers, with and without the roster's fingerprint."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from fedcart.shared.audit.anchors import roster_fingerprint
from fedcart.shared.audit.cli import audit as command
from fedcart.shared.audit.inspection import inspect
from fedcart.shared.ledger.verify import UNDETECTABLE, Anchor, receipts_of
from shared.audit.audit_cases import MINE, ROOT, SCHEMA, THEIRS, Audit, two_stores
from shared.ledger.ledger_cases import COORDINATOR, STORE, charge, create
from shared.ledger.test_verify import ANCHOR, NOBODY, ONE, PEERS, TAMPERINGS, World, only, signed

BESIDE = {"another_stores_ledger_was_put_in_its_place"}
"""Needs no anchor where the other store's own copy lies beside it: one key began both."""


def fingerprint(folder: Path) -> str:
    (found,) = inspect(folder).fingerprints
    return found


def world_of(folder: Path) -> World:
    lines = [(folder / name).read_bytes().splitlines() for name in (MINE, THEIRS)]
    line = inspect(folder).ledgers[0].genesis
    assert line is not None
    anchor = Anchor(STORE.public, line.hash, COORDINATOR.public)
    return World(folder / MINE, lines[0], lines[1], receipts_of(folder / THEIRS), anchor)


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_tampering_is_found_in_a_folder_as_it_is_marked(audit: Audit, tmp_path: Path, name: str) -> None:
    two_stores(tmp_path)
    roster, (needs, make) = fingerprint(tmp_path), TAMPERINGS[name]
    end = b"" if "middle" in name else b"\n"
    (tmp_path / MINE).write_bytes(b"\n".join(make(world_of(tmp_path))) + end)
    alone = audit("verify", tmp_path, "--json")
    told = audit("verify", tmp_path, "--roster-fingerprint", roster, "--json")
    assert (alone.code, told.code) == {
        ONE: (4, 4),
        PEERS: (4, 4),
        ANCHOR: (4 if name in BESIDE else 0, 4),
        NOBODY: (0, 0),
    }[needs]
    for answer in (alone, told):
        assert bool(answer.document["findings"]) == (answer.code == 4)
        assert ("damaged" in answer.out or "key" in answer.rules or "anchor" in answer.rules) == (answer.code == 4)


def test_a_sound_folder_is_unanchored_until_its_roster_is_told(audit: Audit, tmp_path: Path) -> None:
    two_stores(tmp_path)
    alone = audit("verify", tmp_path)
    roster = fingerprint(tmp_path)
    assert alone.code == 0
    assert alone.out.splitlines()[0] == f"{MINE}: consistent, unanchored (12 lines, 10 witnessed)"
    assert f"roster fingerprint: {roster}" in alone.out
    told = audit("verify", tmp_path, "--roster-fingerprint", roster)
    assert told.code == 0
    assert [line.split(" (")[0] for line in told.out.splitlines()[:2]] == [f"{MINE}: ok", f"{THEIRS}: ok"]
    for words in UNDETECTABLE:
        assert words in alone.out
        assert words in told.out


def test_what_was_charged_after_the_last_receipt_is_unwitnessed(audit: Audit, tmp_path: Path) -> None:
    two_stores(tmp_path, rounds=0)
    from shared.ledger.ledger_cases import reopen

    with reopen(tmp_path / MINE) as ledger:
        charge(ledger)
    told = audit("verify", tmp_path, "--roster-fingerprint", fingerprint(tmp_path), "--json").document
    assert [one["verdict"] for one in told["ledgers"]] == ["anchored, unwitnessed", "anchored, unwitnessed"]


def test_a_rehearsal_says_so_first_and_is_never_called_evidence(audit: Audit, tmp_path: Path) -> None:
    two_stores(tmp_path, rehearsal=True)
    for words in (["verify"], ["verify", "--roster-fingerprint", fingerprint(tmp_path)], ["budget"]):
        answer = audit(words[0], tmp_path, *words[1:])
        assert answer.code == 0
        assert answer.out.startswith("rehearsal: 2 of 2 ledgers")
        assert "evidence" not in answer.out
        assert f"{MINE}: rehearsal, " in answer.out
        document = audit(words[0], tmp_path, *words[1:], "--json").document
        assert document["rehearsal"] is True


def test_one_rehearsal_among_others_is_told_first_too(audit: Audit, tmp_path: Path) -> None:
    two_stores(tmp_path)
    from shared.ledger.ledger_cases import STRANGER

    with create(tmp_path / "z.jsonl", identity=STRANGER, rehearsal=True) as ledger:
        charge(ledger)
    assert audit("verify", tmp_path).out.startswith("rehearsal: 1 of 3 ledgers")


@pytest.mark.parametrize("verb", ["verify", "budget"])
def test_no_directory_and_no_ledgers_are_bad_input(audit: Audit, tmp_path: Path, verb: str) -> None:
    for place, words in ((tmp_path / "none", "no such directory"), (tmp_path, "no ledgers")):
        answer = audit(verb, place)
        assert (answer.code, answer.out) == (2, "")
        assert words in answer.err
        assert "nothing was audited" in answer.err


@pytest.mark.parametrize("verb", ["verify", "budget"])
@pytest.mark.parametrize(("name", "beside"), [("rounds.jsonl", "plan.json"), ("receipts.jsonl", "pins.json")])
def test_what_a_coordinator_keeps_is_no_damaged_ledger(
    audit: Audit, tmp_path: Path, verb: str, name: str, beside: str
) -> None:
    (tmp_path / name).write_text('{"round": 0, "stores": 5}\n')
    assert audit(verb, tmp_path).code == 4  # by its name alone it would be a ledger
    (tmp_path / beside).write_text("{}")
    answer = audit(verb, tmp_path)
    assert (answer.code, answer.out) == (2, "")
    assert "what a coordinator keeps of a plan" in answer.err
    assert f"fedcart audit transcript {tmp_path}" in answer.err
    two_stores(tmp_path)
    document = audit("verify", tmp_path, "--json").document
    assert [one["ledger"] for one in document["ledgers"]] == [MINE, THEIRS]
    assert document["foreign"] == sorted([beside, name])


def test_a_runs_folder_and_its_ledger_folder_are_the_same(audit: Audit, tmp_path: Path) -> None:
    two_stores(tmp_path / "ledger")
    assert audit("verify", tmp_path).out == audit("verify", tmp_path / "ledger").out


@pytest.mark.parametrize("verb", ["verify", "budget"])
def test_a_store_that_found_its_own_ledger_unusable_is_a_finding_with_the_reason_it_wrote(
    audit: Audit, tmp_path: Path, verb: str
) -> None:
    two_stores(tmp_path)
    assert audit(verb, tmp_path).code == 0
    (tmp_path / f"{MINE}.stopped").write_text("a receipt proves that it was rolled back\x1b[2J\n" + "x" * 1000)
    answer = audit(verb, tmp_path, "--json")
    assert answer.code == 4
    assert answer.rules == {"stopped"}
    [finding] = answer.document["findings"]
    assert (finding["file"], finding["line"]) == (MINE, 0)
    assert "wrote 'a receipt proves that it was rolled back\\x1b[2J" in finding["message"]
    assert len(finding["message"]) < 300
    assert MINE in answer.err
    if verb == "verify":
        assert answer.document["stopped"] == [f"{MINE}.stopped"]
        assert [one["verdict"] for one in answer.document["ledgers"]] == ["consistent, unanchored"] * 2


def test_a_foreign_file_is_named_and_not_read_and_a_foreign_ledger_is_damaged(audit: Audit, tmp_path: Path) -> None:
    two_stores(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    document = audit("verify", tmp_path, "--json").document
    assert (document["foreign"], document["stopped"]) == (["notes.txt"], [])
    assert "not read: notes.txt" in audit("verify", tmp_path).out
    (tmp_path / "history.jsonl").write_text('{"round": 1, "metric": 0.25}\n')
    answer = audit("verify", tmp_path, "--json")
    assert answer.code == 4
    assert [one["verdict"] for one in answer.document["ledgers"]] == ["damaged", *["consistent, unanchored"] * 2]
    assert answer.rules == {"canonical"}


@pytest.mark.parametrize("content", [b"", b"\n", b"\0\0", b"\xff\n", b"{}\n"])
def test_any_file_called_a_ledger_gets_a_verdict(audit: Audit, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "l.jsonl").write_bytes(content)
    for verb in ("verify", "budget"):
        answer = audit(verb, tmp_path, "--json")
        assert answer.code == 4
        assert answer.rules
        assert answer.err.startswith("fedcart: error: ")


def test_a_finding_is_told_with_file_line_and_rule_and_the_code_is_that_of_protocol(
    audit: Audit, tmp_path: Path
) -> None:
    two_stores(tmp_path)
    raw = (tmp_path / MINE).read_bytes()
    (tmp_path / MINE).write_bytes(raw.replace(b'"round":1', b'"round":7', 1))
    answer = audit("verify", tmp_path)
    assert answer.code == 4
    assert f"finding: {tmp_path / MINE}: line 6: signature: " in answer.out
    assert answer.err.startswith(f"fedcart: error: {tmp_path / MINE}: line 6: signature: ")
    assert "no evidence" in answer.err
    assert f"{MINE}: damaged" in answer.out


@pytest.mark.parametrize("word", ["", "12", "G" * 64, "A" * 64, "0" * 65])
def test_a_misspelt_fingerprint_is_bad_input(audit: Audit, tmp_path: Path, word: str) -> None:
    two_stores(tmp_path)
    assert audit("verify", tmp_path, "--roster-fingerprint", word).code == 2


def test_another_rosters_fingerprint_is_a_finding_and_anchors_nothing(audit: Audit, tmp_path: Path) -> None:
    two_stores(tmp_path)
    answer = audit("verify", tmp_path, "--roster-fingerprint", "0" * 64, "--json")
    assert (answer.code, answer.rules) == (4, {"anchor"})
    assert answer.document["anchored"] is False
    assert {one["verdict"] for one in answer.document["ledgers"]} == {"consistent, unanchored"}


@pytest.mark.parametrize("coordinator", [None, "c" * 64, "d" * 64])
def test_the_fingerprint_is_the_hash_that_the_page_says(coordinator: str | None) -> None:
    a, b = "a" * 64, "b" * 64
    text = f'{{"coordinator":{json.dumps(coordinator)},"stores":{{"{a}":"{b}","{b}":"{a}"}}}}'
    assert roster_fingerprint({b: a, a: b}, coordinator) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("change", ["a ledger is missing", "a ledger more"])
def test_the_fingerprint_counts_the_ledgers(audit: Audit, tmp_path: Path, change: str) -> None:
    from shared.ledger.ledger_cases import STRANGER

    two_stores(tmp_path)
    roster = fingerprint(tmp_path)
    if change == "a ledger more":
        create(tmp_path / "z.jsonl", identity=STRANGER).close()
    else:
        (tmp_path / THEIRS).unlink()
    assert audit("verify", tmp_path, "--roster-fingerprint", roster, "--json").rules == {"anchor"}


def test_a_copy_under_another_name_is_a_finding_and_witnesses_nothing(audit: Audit, tmp_path: Path) -> None:
    two_stores(tmp_path)
    (tmp_path / THEIRS).write_bytes((tmp_path / MINE).read_bytes())
    answer = audit("verify", tmp_path, "--json")
    assert (answer.code, answer.rules) == (4, {"key"})
    assert {one["witnessed"] for one in answer.document["ledgers"]} == {0}


def test_a_charge_left_out_and_signed_again_is_found_only_by_what_others_hold(audit: Audit, tmp_path: Path) -> None:
    """docs/audit.md: the store signed a ledger without its last round. Alone it is sound, and cheaper."""
    two_stores(tmp_path, honest=2)
    before = audit("budget", tmp_path, "--json").document["stores"][0]["spent"]
    entries = [json.loads(raw) for raw in (tmp_path / MINE).read_bytes().splitlines()]
    kept = only(entries[:8], "genesis", "plan", "charge", "release")
    (tmp_path / MINE).write_bytes(b"\n".join(signed(kept)) + b"\n")
    found = audit("verify", tmp_path, "--json")
    assert (found.code, found.rules) == (4, {"witness"})
    assert audit("budget", tmp_path, "--json").document["stores"][0]["spent"] is None

    with_receipts = (tmp_path / THEIRS).read_bytes()
    theirs = [json.loads(raw) for raw in with_receipts.splitlines()]
    kept = only(theirs, "genesis", "plan", "charge", "release")
    from shared.ledger.ledger_cases import PEER

    (tmp_path / THEIRS).write_bytes(b"\n".join(signed(kept, PEER)) + b"\n")
    assert audit("verify", tmp_path).code == 0  # nobody holds a receipt any more
    document = audit("budget", tmp_path, "--json").document
    cheaper = document["stores"][0]["spent"]
    assert cheaper["charges"] == before["charges"] - 1
    assert cheaper["lifetime"][0]["epsilon"]["ours"] < before["lifetime"][0]["epsilon"]["ours"]
    assert [(one["round"], one["ledgers"]) for one in document["coalition"]["missing"]] == [(2, [MINE])]
    assert document["coalition"]["lifetime"] == document["stores"][1]["spent"]["lifetime"]

    (tmp_path / THEIRS).unlink()
    alone = audit("budget", tmp_path, "--json")
    assert (alone.code, alone.document["coalition"]["missing"]) == (0, [])  # found by nobody


BLOCKED = """
import sys
class Blocked:
    def find_spec(name, *_):
        if name.split(".")[0] in ("torch", "flwr", "opacus", "pandas", "pyarrow"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked)
from fedcart.shared.audit.cli import audit
audit.main(sys.argv[1:], standalone_mode=False)
"""
LAZY = """
import sys
from fedcart.shared.audit.cli import audit
audit.main(["--help"], standalone_mode=False)
print(sorted({"numpy", "scipy", "dp_accounting", "cryptography", "torch"} & set(sys.modules)))
"""


def test_both_commands_run_where_torch_flwr_and_opacus_are_not_installed(tmp_path: Path) -> None:
    two_stores(tmp_path / "ledger")
    for words in (["verify", tmp_path], ["budget", tmp_path, "--out", tmp_path / "out"]):
        arguments = [sys.executable, "-c", BLOCKED, *map(str, words)]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert MINE in done.stdout


def test_help_loads_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", LAZY], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "Example: fedcart audit verify" in done.stdout


def test_the_command_comes_in_as_an_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["fedcart.commands"]["audit"] == "fedcart.shared.audit.cli:audit"
    assert isinstance(command, click.Group)
    assert set(command.commands) == {"verify", "budget", "transcript"}


def test_every_rule_code_and_field_is_documented() -> None:
    page = (ROOT / "docs/audit.md").read_text()
    fields = {name for part in SCHEMA.schema["$defs"].values() for name in part.get("properties", {})}
    rules = {"key", "anchor", "terms", "differs", "delta", "over-plan", "accountants"}
    for word in [*fields, *rules, "damaged", "ok", "anchored, unwitnessed", "consistent, unanchored"]:
        assert f"`{word}`" in page, word
