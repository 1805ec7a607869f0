"""A coalition from its folder to its first plan: who gets in, once, and what server and stores say to each other."""

from __future__ import annotations

import dataclasses
import json
import stat
from pathlib import Path

import pytest

from fedcart.client.store_folder import create_store
from fedcart.server.coalition.control import Control
from fedcart.server.coalition.doors import Doors
from fedcart.server.coalition.folder import CoalitionFolder, Member, create_coalition
from fedcart.server.coalition.planning import publish, write_plan_file
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.cli import run
from fedcart.shared.errors import ConfigError, DataError, ProtocolError
from fedcart.shared.flower_compat.fleet import new_node_key, public_pem
from fedcart.shared.identity import Identity
from fedcart.shared.invitation import APPROVE, JOIN, LEAVE, PLAN, Invitation, Membership, ask, asked
from fedcart.shared.roster import ROSTER, Roster
from fedcart.shared.signatures import APPROVAL_DOMAIN, SIGNATURES, PlanSignatures

CATALOGUE = Catalogue(tuple(f"item {i}" for i in range(12)), "given")


@pytest.fixture
def folder(tmp_path: Path) -> CoalitionFolder:
    return create_coalition(tmp_path / "demo", CATALOGUE, ["127.0.0.1"], 9443)


def store_of(tmp_path: Path, name: str) -> Identity:
    return create_store(tmp_path / name)[1]


class Caller:
    """A store's questions to a coalition's doors, without a network."""

    def __init__(self, folder: CoalitionFolder, identity: Identity) -> None:
        self.doors, self.identity = Doors(folder, lambda: None).doors(), identity

    def __call__(self, path: str, document: dict[str, object]) -> tuple[int, dict[str, object]]:
        status, body = self.doors[path].answer({}, ask(self.identity, path, document))
        return status, json.loads(body) if body else {}


def joining(token: str) -> dict[str, object]:
    return {"token": token, "ledger": "ab" * 32, "node_key": public_pem(new_node_key()).decode()}


def joined(folder: CoalitionFolder, tmp_path: Path, *names: str) -> dict[str, Caller]:
    callers = {}
    for name in names:
        [path] = folder.invite([name], tmp_path)
        callers[name] = Caller(folder, store_of(tmp_path, f"{name}-store"))
        status, _ = callers[name](JOIN, joining(Invitation.load(path).token))
        assert status == 200
    return callers


def test_a_new_coalitions_secrets_are_its_owners(folder: CoalitionFolder) -> None:
    for secret in ("keys/coordinator.key", "tls/authority.key", "tls/server.key"):
        assert stat.S_IMODE((folder.directory / secret).stat().st_mode) == 0o600
    assert folder.catalogue().hash == CATALOGUE.hash
    assert folder.about().address == "127.0.0.1:9443"


def test_a_question_without_end_is_refused_like_any_other(folder: CoalitionFolder) -> None:
    doors = Doors(folder, lambda: None).doors()
    for body in (b"[" * 60_000, b'{"document":' + b"[" * 50_000):
        assert doors[PLAN].answer({}, body) == (403, b"")


def test_refuses_a_folder_that_holds_something_and_a_derived_list(folder: CoalitionFolder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not empty"):
        create_coalition(folder.directory, CATALOGUE, ["127.0.0.1"], 9443)
    derived = dataclasses.replace(CATALOGUE, source="derived")
    with pytest.raises(ConfigError, match="derived"):
        create_coalition(tmp_path / "other", derived, ["127.0.0.1"], 9443)
    assert not (tmp_path / "other").exists()


def test_an_invitation_is_good_once_and_for_one_store(folder: CoalitionFolder, tmp_path: Path) -> None:
    paths = folder.invite(["north", "south"], tmp_path)
    invitation = Invitation.load(paths[0])
    assert stat.S_IMODE(paths[0].stat().st_mode) == 0o600
    assert invitation.token not in repr(invitation)
    assert invitation.token not in (folder.directory / "members.json").read_text()
    first, second = Caller(folder, store_of(tmp_path, "a")), Caller(folder, store_of(tmp_path, "b"))
    document = joining(invitation.token)
    assert first(JOIN, document)[0] == 200
    assert first(JOIN, document)[0] == 200  # its answer was lost: the same store asks again
    assert second(JOIN, joining(invitation.token))[0] == 403
    assert second(JOIN, joining("00" * 32))[0] == 403
    assert [member.state for member in folder.members()] == ["joined", "invited"]
    assert first(JOIN, joining(Invitation.load(paths[1]).token))[0] == 403  # one store, two places
    assert len(folder.joined()) == 1


@pytest.mark.parametrize("names", [["north", "north"], ["No rth"], [""], ["../x"], ["a" * 41]])
def test_refuses_names(folder: CoalitionFolder, tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(ConfigError, match="nobody was invited"):
        folder.invite(names, tmp_path)
    assert folder.members() == []
    assert list(tmp_path.glob("*.invite")) == []


def test_refuses_to_invite_twice(folder: CoalitionFolder, tmp_path: Path) -> None:
    folder.invite(["north"], tmp_path)
    with pytest.raises(ConfigError, match="invited before"):
        folder.invite(["south", "north"], tmp_path)
    assert [member.name for member in folder.members()] == ["north"]
    assert not (tmp_path / "south.invite").exists()


def test_a_question_is_signed_for_its_path_and_its_words(tmp_path: Path) -> None:
    identity = Identity.create(tmp_path / "key")
    body = ask(identity, PLAN, {"have": "x"})
    assert asked(PLAN, body) == ({"have": "x"}, identity.public.hex())
    with pytest.raises(ProtocolError):
        asked(APPROVE, body)
    with pytest.raises(ProtocolError):
        asked(PLAN, body.replace(b'"x"', b'"y"'))
    for raw in (b"", b"[]", b'{"document": 3, "key": "", "signature": ""}', b'{"document": {"a": 0.5}}'):
        with pytest.raises(ProtocolError):
            asked(PLAN, raw)


def test_members_are_shown_the_plan_with_its_roster_and_strangers_nothing(
    folder: CoalitionFolder, tmp_path: Path
) -> None:
    callers = joined(folder, tmp_path, "north", "south", "west")
    north, stranger = callers["north"], Caller(folder, store_of(tmp_path, "stranger"))
    assert north(PLAN, {"have": ""}) == (200, {})
    write_plan_file(folder, epsilon=4.0, learner="popularity", trust=None, customers_bound=1000)
    plan, place = publish(folder)
    assert (plan.trust, plan.participants) == ("distributed", 3)
    status, shown = north(PLAN, {"have": ""})
    assert status == 200
    assert set(shown["files"]) == {"plan.json", "catalogue.json", SIGNATURES, ROSTER}  # type: ignore[call-overload]
    assert north(PLAN, {"have": place.name}) == (200, {})
    assert stranger(PLAN, {"have": ""})[0] == 403
    roster = Roster.load(place / ROSTER)
    assert roster.stores == tuple(caller.identity.public.hex() for caller in callers.values())
    assert publish(folder)[1] == place  # the same again


def test_a_countersignature_is_its_stores_and_of_this_plan(folder: CoalitionFolder, tmp_path: Path) -> None:
    callers = joined(folder, tmp_path, "north", "south", "west")
    write_plan_file(folder, epsilon=4.0, learner="popularity", trust=None, customers_bound=1000)
    _, place = publish(folder)
    plan_hash = PlanSignatures.load(place / SIGNATURES).plan_hash
    north, south = callers["north"], callers["south"]

    def signed(caller: Caller) -> dict[str, object]:
        return {
            "plan_hash": plan_hash,
            "countersignature": caller.identity.sign(APPROVAL_DOMAIN, bytes.fromhex(plan_hash)).hex(),
        }

    assert north(APPROVE, signed(south))[0] == 403
    assert north(APPROVE, signed(north) | {"plan_hash": "00" * 32})[0] == 403
    stranger = Caller(folder, store_of(tmp_path, "stranger"))
    assert stranger(APPROVE, signed(stranger))[0] == 403
    assert north(APPROVE, signed(north))[0] == 200
    assert set(PlanSignatures.load(place / SIGNATURES).countersignatures) == {north.identity.public.hex()}


def test_who_was_suspended_is_told_nothing_more(folder: CoalitionFolder, tmp_path: Path) -> None:
    callers = joined(folder, tmp_path, "north", "south")
    assert run(["coalition", "set", str(folder.directory), "north", "suspended"]) == 0
    assert callers["north"](PLAN, {"have": ""})[0] == 403
    assert run(["coalition", "set", str(folder.directory), "north", "joined"]) == 0
    assert callers["north"](PLAN, {"have": ""})[0] == 200
    assert run(["coalition", "set", str(folder.directory), "north", "removed"]) == 0
    for state in ("joined", "suspended"):  # for good, by no detour
        assert run(["coalition", "set", str(folder.directory), "north", state]) == 2
    assert [member.state for member in folder.members()] == ["removed", "joined"]
    assert run(["coalition", "set", str(folder.directory), "nobody", "removed"]) == 2


def test_who_left_comes_back_by_another_invitation_with_its_ledger_and_who_was_removed_does_not(
    folder: CoalitionFolder, tmp_path: Path
) -> None:
    callers = joined(folder, tmp_path, "north", "south")
    for name in ("north", "south"):
        if name == "south":
            assert run(["coalition", "set", str(folder.directory), "south", "removed"]) == 0
        assert callers[name](LEAVE, {"coalition": "demo"})[0] == 200
        assert callers[name](PLAN, {"have": ""})[0] == 403
    assert [member.state for member in folder.members()] == ["left", "removed"]
    for state in ("joined", "suspended"):
        assert run(["coalition", "set", str(folder.directory), "north", state]) == 2
    paths = folder.invite(["north-2", "south-2"], tmp_path)
    north, south = (joining(Invitation.load(path).token) for path in paths)
    assert callers["south"](JOIN, south)[0] == 403
    assert callers["north"](JOIN, north | {"node_key": folder.members()[0].node_key})[0] == 403
    assert callers["north"](JOIN, north | {"ledger": "cd" * 32})[0] == 403  # begun anew, as if nothing had been spent
    assert callers["north"](JOIN, north)[0] == 200
    assert callers["north"](PLAN, {"have": ""})[0] == 200
    assert [member.state for member in folder.members()] == ["left", "removed", "joined", "invited"]


def test_a_plan_counts_the_stores_that_joined(folder: CoalitionFolder, tmp_path: Path) -> None:
    joined(folder, tmp_path, "north")
    path = write_plan_file(folder, epsilon=4.0, learner="popularity", trust=None, customers_bound=1000)
    assert publish(folder)[0].trust == "local"
    path.write_text(path.read_text().replace("participants = 1", "participants = 2"))
    with pytest.raises(ConfigError, match="1 stores have joined; nothing was signed"):
        publish(folder)


def test_options_of_a_plan_that_would_change_nothing_are_refused(
    folder: CoalitionFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    joined(folder, tmp_path, "north")
    place, file = str(folder.directory), str(tmp_path / "plan.toml")
    for words in (
        [place, "--trust", "distributed"],  # plan.toml would say another
        [place, "--learner", "als", "--customers-bound", "9"],
        [place, "--epsilon", "4", "--out", str(tmp_path / "out")],
        [file, "--epsilon", "4"],
    ):
        assert run(["coalition", "plan", *words]) == 2
        assert f"{words[-2]} would change nothing" in capsys.readouterr().err
    assert not (folder.directory / "plan.toml").exists()
    assert run(["coalition", "plan", place, "--epsilon", "4", "--learner", "popularity", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["learner"] == "popularity"


def test_a_server_that_stops_in_the_middle_of_a_run_is_no_end_of_it(
    folder: CoalitionFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    line = {"event": "round", "round": 0, "rounds": 2, "stores": 3, "seconds": 1.0, "aggregation": "SA1"}
    control = Control(folder.directory, lambda _, say: say(line))
    try:
        assert run(["coalition", "train", str(folder.directory)]) == 4
    finally:
        control.close()
    said = capsys.readouterr()
    assert (said.out, "round 1 of 2" in said.err) == ("", True)
    assert "the server stopped before the run ended" in said.err


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for text in ("", "{}", '{"version": 1}', '{"version": 2, "coalition": "a"}'):
        path.write_text(text)
        with pytest.raises(DataError):
            Invitation.load(path)
        with pytest.raises(DataError):
            Membership.load(path)
    with pytest.raises(ConfigError, match="no coalition"):
        CoalitionFolder.open(tmp_path)


def test_the_commands_tell_what_they_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items, place = tmp_path / "items.csv", str(tmp_path / "demo")
    items.write_text("id,title\na,A\nb,B\n")
    assert run(["coalition", "new", place, "--catalogue", str(items), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"] == 2
    assert run(["coalition", "invite", place, "north", "--into", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["invitations"] == [str(tmp_path / "north.invite")]
    assert run(["coalition", "roster", place, "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)["stores"]
    assert row == {"store": "north", "state": "invited", "fingerprint": ""}
    assert run(["coalition", "train", place]) == 2
    assert "nobody serves it" in capsys.readouterr().err
    assert Member(name="x").state == "invited"
