"""`store approve`: a plan is countersigned after every check, or refused, saying what was not released."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from fedcart.client.approve import accept, look
from fedcart.client.store_folder import create_store
from fedcart.shared.agreement import Agreement
from fedcart.shared.errors import PrivacyRefused
from fedcart.shared.identity import Identity
from fedcart.shared.ledger.ledger import Ledger
from fedcart.shared.ledger.verify import verify
from fedcart.shared.policy import Policy
from fedcart.shared.roster import ROSTER, Roster
from fedcart.shared.signatures import SIGNATURES, PlanSignatures
from plan_kit import PLAN_TOML, POLICY_TOML, Desk, command


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk.make(tmp_path)
    assert made.plan()[0] == 0
    return made


def refused(desk: Desk, code: int, *told: str, more: tuple[Any, ...] = ("--yes",)) -> None:
    """Refused with this exit code and these words, and nothing on disk was changed."""
    before = desk.everything()
    found, _, err = desk.approve(*more)
    assert (found, desk.everything()) == (code, before), err
    for words in told:
        assert words in err


def test_approves_once_in_the_ledger_and_beside_the_plan(desk: Desk) -> None:
    before = set(desk.everything())
    code, out, err = desk.approve()
    assert code == 0, err
    assert set(desk.everything()) == before
    assert [line["kind"] for line in desk.ledger_lines()] == ["genesis", "policy", "plan"]
    body = desk.ledger_lines()[-1]["body"]
    signatures = PlanSignatures.load(desk.plans / SIGNATURES)
    assert body["hash"] == signatures.plan_hash
    assert (body["epsilon"], body["delta"], body["attempts"]) == ("4", "0.0001", 2)
    assert list(signatures.countersignatures) == [desk.store.public.hex()]
    signatures.check(desk.plans / SIGNATURES, body["hash"], desk.coordinator.public.hex())
    assert verify(desk.home / "ledger.jsonl").word == "consistent, unanchored"
    assert "over its life" in out
    again = desk.everything()
    assert desk.approve()[0] == 0
    assert desk.everything() == again


def test_a_plan_in_a_stores_folder_is_approved_with_the_stores_own_files(desk: Desk, tmp_path: Path) -> None:
    folder, identity = create_store(tmp_path / "north", coalition="spring")
    place = folder.directory / "plans" / "first"
    shutil.copytree(desk.plans, place)
    shutil.copy(desk.home / "policy.toml", folder.directory)
    with folder.open_ledger() as ledger:
        genesis = ledger.genesis
    write_roster(desk, place, identity.public.hex(), genesis)
    code, _, err = command("store", "approve", place, "--yes")
    assert code == 0, err
    signed = PlanSignatures.load(place / SIGNATURES)
    assert list(signed.countersignatures) == [identity.public.hex()]
    with folder.open_ledger() as ledger:
        assert ledger.approved(signed.plan_hash)


def write_roster(desk: Desk, place: Path, key: str, ledger: str) -> None:
    """Of this store and another one."""
    roster = Roster(coordinator=desk.coordinator.public.hex(), stores=("1" * 64, key), ledgers=("2" * 64, ledger))
    roster.save(place / ROSTER)


@pytest.mark.parametrize(
    ("key", "ledger", "told", "hint"),
    [
        ("3" * 64, "3" * 64, "does not name this store;", "made after it joined"),
        ("own", "3" * 64, "this store with this ledger, but with another", "the store joined with"),
    ],
)
def test_a_plan_of_other_stores_is_not_countersigned(desk: Desk, key: str, ledger: str, told: str, hint: str) -> None:
    write_roster(desk, desk.plans, desk.store.public.hex() if key == "own" else key, ledger)
    refused(desk, 3, told, hint, "nothing was approved or released")
    assert not PlanSignatures.load(desk.plans / SIGNATURES).countersignatures


def test_a_plan_in_a_stores_folder_without_its_roster_is_not_countersigned(desk: Desk, tmp_path: Path) -> None:
    folder, _ = create_store(tmp_path / "north", coalition="spring")
    place = folder.directory / "plans" / "first"
    shutil.copytree(desk.plans, place)
    code, _, err = command("store", "approve", place, "--yes")
    assert code == 2
    assert "roster.json" in err
    assert not PlanSignatures.load(place / SIGNATURES).countersignatures


def test_shows_the_cost_and_what_the_ledger_would_have_spent(desk: Desk) -> None:
    code, out, _ = desk.approve("--yes", "--json")
    told = json.loads(out)
    assert (code, told["approved"], told["objections"]) == (0, True, [])
    assert told["ledger"]["total"]["before"] == 0
    assert told["ledger"]["total"]["after"] == pytest.approx(told["cost"]["epsilon"], rel=1e-9)
    assert 3.99 < told["cost"]["epsilon"] <= 4
    assert told["ledger"]["window"] | {"before": 0, "after": 0} == {"days": 30, "before": 0, "after": 0, "cap": 6.0}


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 3), ("", 3)])
def test_asks_before_it_signs(desk: Desk, answer: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    before = desk.everything()
    found, out, err = desk.approve("--store", "0")
    assert found == code
    assert "over its life" in out
    assert "Countersign it" in err
    assert (desk.everything() == before) == (code != 0)


def test_ctrl_c_at_the_question_is_an_interruption(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> bool:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise click.Abort from None

    monkeypatch.setattr(click, "confirm", interrupted)
    refused(desk, 130, "interrupted", more=("--store", "0"))


def test_nobody_approves_unasked_while_no_coordinator_is_pinned(desk: Desk) -> None:
    desk.set_policy(POLICY_TOML.format(key=""))
    refused(desk, 3, "pins no coordinator", "nothing was approved or released", "coordinator_key")


def test_a_policy_may_approve_by_itself(desk: Desk) -> None:
    desk.set_policy(POLICY_TOML.format(key=desk.coordinator.public.hex()) + "[approve]\nauto = true\n")
    assert desk.approve("--store", "0")[0] == 0


def test_a_crash_before_the_countersignature_is_mended_by_approving_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("fedcart.shared.signatures.replace_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            desk.approve()
    ledger = desk.ledger_lines()
    assert [line["kind"] for line in ledger] == ["genesis", "policy", "plan"]
    assert not PlanSignatures.load(desk.plans / SIGNATURES).countersignatures
    assert desk.approve()[0] == 0
    assert desk.ledger_lines() == ledger
    assert PlanSignatures.load(desk.plans / SIGNATURES).countersignatures


def test_what_an_approved_plan_spent_is_not_asked_for_again(desk: Desk) -> None:
    desk.approve()
    whole = json.loads(desk.approve("--yes", "--json")[1])["ledger"]["total"]
    body = desk.ledger_lines()[-1]["body"]
    digest, rounds = body["hash"], json.loads((desk.plans / "plan.json").read_bytes())["rounds"]
    with Ledger.open(desk.home / "ledger.jsonl", desk.store) as ledger:
        for round_ in rounds:
            for row in round_["releases"]:
                place = {"plan": digest, "round": round_["index"], "attempt": 0, "release": row["name"]}
                ledger.charge(
                    **place, D=row["sensitivity"], variance=int(row["variance"]), honest=3, delta=1e-4
                ).spend()
    spent = json.loads(desk.approve("--yes", "--json")[1])["ledger"]["total"]
    assert 2 < spent["before"] < spent["after"]
    assert spent["after"] == pytest.approx(whole["after"], rel=1e-9)


# ---- signatures


def test_refuses_a_plan_without_signatures(desk: Desk) -> None:
    (desk.plans / SIGNATURES).unlink()
    refused(desk, 2, "plan.signatures.json: no such file", "nothing was approved or released")


def test_refuses_a_bad_signature(desk: Desk) -> None:
    path = desk.plans / SIGNATURES
    document = json.loads(path.read_bytes())
    flipped = ("1" if document["signature"][0] != "1" else "2") + document["signature"][1:]
    path.write_bytes(path.read_bytes().replace(document["signature"].encode(), flipped.encode()))
    refused(desk, 3, str(path), desk.coordinator.fingerprint[:16], "nothing was approved or released")


def test_refuses_a_plan_changed_after_it_was_signed(desk: Desk) -> None:
    desk.edit_plan(lambda plan: plan.update(seed=8), sign=False)
    refused(desk, 3, "the plan beside it is", "nothing was approved or released")


def test_refuses_another_coordinator(desk: Desk) -> None:
    stranger = Identity.create(desk.home / "stranger.key")
    digest = PlanSignatures.load(desk.plans / SIGNATURES).plan_hash
    PlanSignatures.sign(digest, stranger).save(desk.plans / SIGNATURES)
    refused(desk, 3, stranger.fingerprint[:16], desk.coordinator.fingerprint[:16], "nothing was approved or released")


def test_bytes_that_nobody_signed_are_not_even_read_as_a_plan(desk: Desk) -> None:
    desk.edit_plan(lambda plan: plan.update(epsilom=1), sign=False)
    refused(desk, 3, "the plan beside it is", "nothing was approved or released")


def test_a_plan_swapped_while_it_is_read_is_not_approved(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    swapped = dataclasses.replace(Agreement.open(desk.plans), plan_hash="0" * 64)
    monkeypatch.setattr(Agreement, "open", lambda _: swapped)
    refused(desk, 3, "the plan beside it is 0000", "nothing was approved or released")


def test_what_the_policy_does_not_allow_is_not_accepted_by_any_way(desk: Desk) -> None:
    policy = Policy.load(desk.home / "policy.toml")
    with Ledger.open(desk.home / "ledger.jsonl", desk.store) as ledger:
        seen = look(desk.plans, policy, ledger, desk.store)
        with pytest.raises(PrivacyRefused, match="too dear"):
            accept(dataclasses.replace(seen, objections=("too dear",)), ledger, desk.store)
    assert [line["kind"] for line in desk.ledger_lines()] == ["genesis"]


# ---- the plan


def set_(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(plan: Any) -> None:
        for key in path[:-1]:
            plan = plan[key]
        plan[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (set_("epsilom", value=1), "epsilom"),
        (set_("privacy", "epsilom", value="1"), "epsilom"),
        (set_("privacy", "epsilon", value="0"), "epsilon 0.0 must be positive"),
        (set_("privacy", "delta", value="-0.0001"), "delta -0.0001 must lie between 0 and 1"),
        (set_("privacy", "bounds", "gram", "clip_norm", value="NaN"), "clip_norm: NaN is not a number"),
        (set_("privacy", "bounds", "gram", "clip_norm", value="inf"), "clip_norm inf"),
        (set_("learner", value="gramm"), "unknown learner 'gramm'"),
        (set_("rounds", 0, "releases", 0, "noise_multiplier", value="0.01"), "says other rounds"),
        (set_("catalogue_hash", value="0" * 64), "is not the plan's"),
        (set_("version", value=2), "not a plan of version 1"),
    ],
)
def test_refuses_a_signed_plan_that_is_no_plan(desk: Desk, change: Callable[[dict[str, Any]], None], told: str) -> None:
    desk.edit_plan(change)
    refused(desk, 2, told, "; nothing was ")


def test_lists_every_objection_of_the_policy(desk: Desk) -> None:
    key = desk.coordinator.public.hex()
    desk.set_policy(
        POLICY_TOML.format(key=key).replace('"popularity", "gram"', '"als"').replace("8.0", "3.0")
        + "min_noise_multiplier = 50.0\n"
    )
    told = (
        "learner gram is not among [require] learners als",
        "epsilon 4 is over [limits] epsilon_total 3",
        "release 'gram' has noise",
        "release 'popularity' has noise",
        "it would bring the total to epsilon 4.0000 at delta 0.0001, over 3",
        "nothing was approved or released",
    )
    refused(desk, 3, *told)
    code, out, _ = desk.approve("--yes", "--json")
    assert code == 3
    assert not json.loads(out)["approved"]
    assert len(json.loads(out)["objections"]) == 5


def test_a_plan_that_fits_alone_is_refused_when_the_window_is_full(desk: Desk) -> None:
    desk.set_policy((desk.home / "policy.toml").read_text().replace("epsilon_window = 6.0", "epsilon_window = 2.0"))
    refused(desk, 3, "it would bring the window of 30 days to epsilon 4.0000 at delta 0.0001, over 2")


# ---- the policy's file


@pytest.mark.parametrize("mode", [0o606, 0o602, 0o666])
def test_refuses_a_policy_that_others_may_write(desk: Desk, mode: int) -> None:
    (desk.home / "policy.toml").chmod(mode)
    refused(desk, 2, "others may write it", "nothing was released")


def test_refuses_a_missing_policy(desk: Desk) -> None:
    (desk.home / "policy.toml").unlink()
    refused(desk, 2, "policy.toml: no such file", "nothing was approved or released")


# ---- the ledger


def test_refuses_a_ledger_edited_by_hand(desk: Desk) -> None:
    desk.approve()
    path = desk.home / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"epsilon":"4"', b'"epsilon":"1"'))
    refused(desk, 3, "line 3: signature", "nothing was released")


def put_back(desk: Desk, lines: int) -> Path:
    """The ledger as it was when it had so many lines."""
    path = desk.home / "ledger.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]))
    return path


def test_refuses_a_ledger_without_a_line(desk: Desk) -> None:
    desk.approve()
    put_back(desk, 0)
    refused(desk, 3, "no finished line", "nothing was")


@pytest.mark.parametrize("lines", [1, 2])
def test_a_ledger_that_lacks_a_plan_its_key_approved_stops_for_good(desk: Desk, lines: int) -> None:
    desk.approve()
    path = put_back(desk, lines)
    before = path.read_bytes()
    code, _, err = desk.approve()
    assert code == 3
    assert "rolled back: it lacks plan" in err
    assert "which its own key approved; nothing was released" in err
    assert path.read_bytes() == before
    assert "a countersignature proves" in path.with_name(f"{path.name}.stopped").read_text()
    shutil.rmtree(desk.plans)
    (desk.home / "plan.toml").write_text(PLAN_TOML.replace("seed = 7", "seed = 8"))
    assert desk.plan()[0] == 0
    refused(desk, 3, "ledger.jsonl stopped: a countersignature proves", "After a stop")


def test_a_countersignature_that_its_key_never_made_stops_nothing(desk: Desk) -> None:
    path, own = desk.plans / SIGNATURES, desk.store.public.hex()
    found = PlanSignatures.load(path)
    for signature in ("0" * 128, found.signature):
        dataclasses.replace(found, countersignatures={own: signature}).save(path)
        refused(desk, 3, "a store's countersignature is not by key", "nothing was approved or released")
    found.save(path)
    assert desk.approve()[0] == 0


def test_refuses_another_stores_ledger(desk: Desk) -> None:
    other = Identity.create(desk.home / "other.key")
    (desk.home / "ledger.jsonl").unlink()
    Ledger.create(desk.home / "ledger.jsonl", other, coalition="spring", rehearsal=False).close()
    refused(desk, 3, "is the ledger of another key", "nothing was released")


def test_refuses_a_missing_ledger(desk: Desk) -> None:
    (desk.home / "ledger.jsonl").unlink()
    refused(desk, 2, "ledger.jsonl", "nothing was")


def test_an_unfinished_line_costs_its_price_before_anything_is_approved(desk: Desk) -> None:
    desk.approve()
    path = desk.home / "ledger.jsonl"
    with path.open("ab") as file:
        file.write(b'{"body":')
    code, out, _ = desk.approve("--yes", "--json")
    assert code == 0
    assert desk.ledger_lines()[-1]["kind"] == "recovery"
    assert json.loads(out)["ledger"]["total"]["before"] > 1


def test_a_plan_without_noise_is_refused_unless_the_policy_says_so(tmp_path: Path) -> None:
    toml = PLAN_TOML.replace('"distributed"', '"none"').replace("epsilon = 4.0\n", "")
    desk = Desk.make(tmp_path, toml)
    assert desk.plan()[0] == 0
    refused(desk, 3, "trust none is not among", "nothing was approved or released")
    desk.set_policy(POLICY_TOML.format(key=desk.coordinator.public.hex()) + 'trust = ["none"]\n')
    for _ in range(2):
        assert desk.approve()[0] == 0
    assert [line["kind"] for line in desk.ledger_lines()] == ["genesis"]
