"""`coalition plan`: shows a cost without writing, writes a signed plan whole or not at all, refuses odd files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedcart.shared.agreement import Agreement
from fedcart.shared.signatures import SIGNATURES, PlanSignatures
from plan_kit import PLAN_TOML, Desk, command


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk.make(tmp_path)


def test_without_a_key_it_only_shows(desk: Desk) -> None:
    before = desk.everything()
    code, out, err = desk.plan(out=False)
    assert (code, err) == (0, "")
    assert "eps so far" in out
    assert "2nd opinion" in out
    assert desk.everything() == before


def test_writes_a_signed_plan_that_a_store_can_open(desk: Desk) -> None:
    code, out, err = desk.plan("--json")
    assert code == 0, err
    told = json.loads(out)
    agreement = Agreement.open(desk.plans)
    assert told["plan_hash"] == agreement.plan_hash
    signatures = PlanSignatures.load(desk.plans / SIGNATURES)
    signatures.check(desk.plans / SIGNATURES, agreement.plan_hash, desk.coordinator.public.hex())
    assert sorted(p.name for p in desk.plans.iterdir()) == ["catalogue.json", "plan.json", SIGNATURES]
    assert not [p for p in desk.home.iterdir() if p.name.endswith(".part")]
    assert agreement.plan.privacy is not None
    assert agreement.plan.privacy.delta == 1e-4
    cohort = agreement.plan.cohort()
    assert cohort is not None
    assert told["cost"]["cohort"] == {"n": 5, "c": 1, "m": 4, "h": 3, "t": 4}


def test_writing_the_same_plan_again_keeps_the_countersignatures(desk: Desk) -> None:
    desk.plan()
    assert desk.approve()[0] == 0
    before = desk.everything()
    code, _, err = desk.plan()
    assert (code, desk.everything()) == (0, before)
    assert "holds this plan already" in err


def test_never_overwrites_another_plan_or_other_files(desk: Desk) -> None:
    desk.plan()
    (desk.home / "plan.toml").write_text(PLAN_TOML.replace("seed = 7", "seed = 8"))
    before = desk.everything()
    code, _, err = desk.plan()
    assert (code, desk.everything()) == (2, before)
    assert "holds another plan; it was not overwritten" in err
    (desk.plans / "plan.json").unlink()
    before = desk.everything()
    code, _, err = desk.plan()
    assert (code, desk.everything()) == (2, before)
    assert "holds other files and no plan" in err


def test_an_empty_directory_may_be_used(desk: Desk) -> None:
    desk.plans.mkdir()
    assert desk.plan()[0] == 0


def test_a_write_that_fails_leaves_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = desk.everything()
    monkeypatch.setattr(PlanSignatures, "save", full)
    code, _, err = desk.plan()
    assert (code, desk.everything(), desk.plans.exists()) == (2, before, False)
    assert "No space left" in err


@pytest.mark.parametrize("words", [("--key", "coordinator.key"), ("--out", "plans")])
def test_a_plan_is_written_signed_or_not_at_all(desk: Desk, words: tuple[str, str]) -> None:
    code, _, err = desk.plan(words[0], desk.home / words[1], out=False)
    assert code == 2
    assert "signed or not at all" in err
    assert not desk.plans.exists()


@pytest.mark.parametrize(
    ("old", "new", "code", "told"),
    [
        ("seed = 7", "sed = 7", 2, "unknown key 'sed'"),
        ('name = "gram"', "", 2, "key 'name' is missing"),
        ("customers_bound = 100", "", 2, "key 'customers_bound' is missing"),
        ("customers_bound = 100", "customers_bound = 0", 2, "at least 1"),
        ('name = "gram"', 'name = "gramm"', 2, "unknown learner 'gramm'"),
        ("max_items = 3", "max_itms = 3", 2, "unknown key 'max_itms'"),
        ("epsilon = 4.0", "epsilon = 0.0", 2, "epsilon 0.0 must be positive"),
        ("epsilon = 4.0", "epsilon = inf", 2, "epsilon inf must be positive and finite"),
        ("epsilon = 4.0", "epsilon = nan", 2, "NaN"),
        ("epsilon = 4.0", "epsilon = 4.0\ndelta = -1e-5", 2, "delta -1e-05 must lie between 0 and 1"),
        ("epsilon = 4.0", "epsilon = 4.0\ndelta = 0.01", 3, "nothing was released"),
        ("epsilon = 4.0", "", 2, "trust distributed without epsilon"),
        ('"distributed"', '"none"', 2, "with trust none"),
        ('"distributed"', '"local"\ncolluders = 1', 2, "no meaning with trust local"),
        ("epsilon = 4.0", 'epsilon = 4.0\noverlap = "weights"', 2, "overlap: 'weights'"),
        ("attempts = 2", "attempts = 0", 2, "0 attempts"),
        ("participants = 5", "participants = 2", 2, "2 stores cannot share one noise"),
        ("participants = 5", "participants = 5.5", 2, "participants"),
        ("[learner]", "[learner", 2, "plan.toml"),
        (
            "customers_bound = 100",
            "customers_bound = 100\n[privacy.bounds.gramm]\nshare = 1.0",
            2,
            "no release 'gramm'",
        ),
        ("customers_bound = 100", "customers_bound = 100\n[privacy.bounds.gram]\nclip = 1.0", 2, "unknown key 'clip'"),
        ("customers_bound = 100", "customers_bound = 100\n[privacy.bounds.gram]\nclip_norm = nan", 2, "clip_norm nan"),
        (
            "customers_bound = 100",
            "customers_bound = 100\n[privacy.bounds.gram]\nclip_norm = -1.0",
            2,
            "clip_norm -1.0",
        ),
    ],
)
def test_refuses(desk: Desk, old: str, new: str, code: int, told: str) -> None:
    assert old in PLAN_TOML
    (desk.home / "plan.toml").write_text(PLAN_TOML.replace(old, new, 1))
    found, out, err = desk.plan()
    assert (found, out, desk.plans.exists()) == (code, "", False), err
    assert told in err


def test_refuses_what_is_not_there(desk: Desk) -> None:
    for words in (("nowhere.toml", "catalogue.json"), ("plan.toml", "nowhere.json")):
        code, out, err = command("coalition", "plan", desk.home / words[0], "--catalogue", desk.home / words[1])
        assert (code, out) == (2, "")
        assert "nowhere" in err


def test_a_bound_of_the_file_replaces_the_learners(desk: Desk) -> None:
    (desk.home / "plan.toml").write_text(PLAN_TOML + "[privacy.bounds.gram]\nclip_norm = 2.5\n")
    _, out, _ = desk.plan("--json", out=False)
    rows = [x for round_ in json.loads(out)["cost"]["rounds"] for x in round_["releases"]]
    assert {row["name"]: row["clip_norm"] for row in rows} == {"popularity": 1.0, "gram": 2.5}
