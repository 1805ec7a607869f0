"""A coalition's whole way with three stores: joined by invitation, a plan approved by policy, trained by SA1."""

from __future__ import annotations

import base64
import dataclasses
import email.utils
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from coalition_kit import NAMES, served, until, write_sales
from fedcart.client.approve import check_roster
from fedcart.client.membership import coordinator as coordinator_calls
from fedcart.client.membership.demo import Demo
from fedcart.client.membership.files import MemberFiles
from fedcart.client.recommend.models import current_name
from fedcart.client.records import open_records
from fedcart.client.store import Store
from fedcart.client.store_folder import StoreFolder, create_store
from fedcart.client.store_process import StoreProcess, known_keys
from fedcart.client.uplink import StoreNode
from fedcart.server.checkpoint import read_lines
from fedcart.server.coalition.control import question
from fedcart.server.coalition.folder import CoalitionFolder
from fedcart.server.coalition.planning import publish, write_plan_file
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.cli import run
from fedcart.shared.errors import ConfigError, PrivacyRefused, ProtocolError
from fedcart.shared.identity import Identity, fingerprint
from fedcart.shared.interactions import Interactions, build_histories
from fedcart.shared.invitation import MODEL_DOMAIN, Invitation, Membership, model_bytes_to_sign
from fedcart.shared.ledger.ledger import Ledger
from fedcart.shared.ledger.verify import receipts_of
from fedcart.shared.model_files import ABOUT, STATE, load_model
from fedcart.shared.policy import Coordination, Limits, Policy
from fedcart.shared.roster import Roster
from store_kit import make_model


def test_three_stores_join_approve_and_train(tmp_path: Path) -> None:
    """All in this process, but for the stores' reading; the transport is TLS on loopback."""
    write_sales(tmp_path / "sales.csv")
    said: list[str] = []
    with served(tmp_path) as (folder, service):
        paths = folder.invite(NAMES, tmp_path)
        folders = Demo(paths, tmp_path / "stores", tmp_path / "sales.csv", said.append).prepare()
        assert [member.state for member in folder.members()] == ["joined"] * 3
        write_plan_file(folder, epsilon=4.0, learner="popularity", trust=None, customers_bound=1000)
        _, place = publish(folder)
        stores = [StoreProcess(found.directory, look_s=0.2) for found in folders]
        for store in stores:
            store.start()
        try:
            told = list(question(folder.directory, {"do": "train", "wait_s": 120}))
            assert until(lambda: all(current_name(found) for found in folders))
        finally:
            for store in stores:
                store.stop()
        service.sync_members()
    assert told[-1] == {"event": "done", "directory": str(place)}
    [line] = read_lines(place)
    assert (line["stores"], line["aggregation"]) == (3, "SA1")
    for found in folders:
        identity = found.identity()
        with Ledger.open(found.ledger_file, identity) as ledger:
            assert 0 < ledger.epsilon(1e-5) <= 4
        begun, receipt = receipts_of(found.ledger_file)  # where it stood when the run began, and after the round
        assert (begun.round, receipt.round, len(begun.heads), len(receipt.heads)) == (0, 0, 3, 3)
        histories, _ = open_records(MemberFiles(found).plan(place.name))
        assert histories.customers == 12
        assert len(Store(found.directory).recommend(f"{found.directory.name}0", 5).items) == 5
    assert any("approves unasked" in line for line in said)


# --- what a store refuses


def test_joining_pins_the_coordinator_and_no_other_may_follow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = create_store(tmp_path / "store")
    files, place = MemberFiles(made), str(tmp_path / "store")
    with served(tmp_path) as (folder, _):
        paths = folder.invite(["north", "south"], tmp_path)
        key = folder.identity().public.hex()
        assert run(["store", "run", "--dir", place]) == 2
        assert "has joined no coalition" in capsys.readouterr().err
        for answer in ("n\n", ""):
            monkeypatch.setattr("sys.stdin", io.StringIO(answer))
            assert run(["store", "join", str(paths[0]), "--dir", place]) == 3
            assert "nothing was joined" in capsys.readouterr().err
        assert not made.policy().trust.coordinator_key
        assert run(["store", "join", str(paths[0]), "--dir", place, "--yes"]) == 0
        assert made.policy().trust.coordinator_key == key
        assert fingerprint(bytes.fromhex(key)) in capsys.readouterr().out
        assert [member.state for member in folder.members()] == ["joined", "invited"]
        assert run(["store", "join", str(paths[0]), "--dir", place]) == 0  # again is harmless
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        assert run(["store", "leave", "--dir", place]) == 2
        assert files.membership_file.exists()
        other, _ = create_store(tmp_path / "other")
        assert run(["store", "join", str(paths[0]), "--dir", str(other.directory), "--yes"]) == 4  # used
        assert not MemberFiles(other).membership_file.exists()
        elsewhere = dataclasses.replace(Invitation.load(paths[1]), coordinator_key="0" * 64)
        elsewhere.save(tmp_path / "elsewhere.invite")
        before = files.policy_file.read_text()
        assert run(["store", "join", str(tmp_path / "elsewhere.invite"), "--dir", place, "--yes"]) == 3
        assert "pins another coordinator_key" in capsys.readouterr().err
        assert files.policy_file.read_text() == before
    assert run(["store", "join", str(paths[1]), "--dir", str(other.directory), "--yes"]) == 1  # nobody is there


def test_a_model_that_the_pinned_coordinator_did_not_sign_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = MemberFiles(create_store(tmp_path / "north")[0])
    coordinator, other = (Identity.create(tmp_path / name) for name in ("a", "b"))
    plan, hashed = "1" * 64, "2" * 64
    about = json.dumps({"version": 1, "plan_hash": plan, "model_hash": hashed, "rehearsal": False})
    good = coordinator.sign(MODEL_DOMAIN, model_bytes_to_sign(plan, hashed)).hex()
    bad = other.sign(MODEL_DOMAIN, model_bytes_to_sign(plan, hashed)).hex()
    Membership(coalition="c", store="s", address="a", authority="x", coordinator_key="k").save(files.membership_file)
    for signature, wanted, key in (
        (bad, plan, coordinator.public.hex()),
        (good, "3" * 64, coordinator.public.hex()),
        ("?", plan, coordinator.public.hex()),
    ):
        found = {"about": about, "state": "", "signature": signature}
        monkeypatch.setattr(coordinator_calls, "post", lambda *_, found=found: found)
        with pytest.raises(ProtocolError):
            coordinator_calls.fetch_model(files, files.folder.identity(), "0" * 16, wanted, key)
    assert not files.plan("0" * 16).exists()


def test_a_model_whose_arrays_are_not_the_signed_ones_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = MemberFiles(create_store(tmp_path / "north")[0])
    coordinator, catalogue = Identity.create(tmp_path / "a"), Catalogue(("x", "y"), "given")
    bought = [build_histories(Interactions.build([0, 0], items), 1, 2) for items in ([0, 1], [1, 1])]
    made, other = (
        make_model(tmp_path / place, catalogue, histories, learner="popularity") / "model"
        for place, histories in zip(("run", "other"), bought, strict=True)
    )
    about = json.loads((made / ABOUT).read_bytes())
    signed = model_bytes_to_sign(about["plan_hash"], about["model_hash"])
    Membership(coalition="c", store="s", address="a", authority="x", coordinator_key="k").save(files.membership_file)
    name = about["plan_hash"][:16]
    files.plan(name).mkdir(parents=True)
    for file in ("plan.json", "catalogue.json"):
        (files.plan(name) / file).write_bytes((made / file).read_bytes())

    def fetch(state: bytes) -> bool:
        answer = {
            "about": (made / ABOUT).read_text(),
            "state": base64.b64encode(state).decode(),
            "signature": coordinator.sign(MODEL_DOMAIN, signed).hex(),
        }
        monkeypatch.setattr(coordinator_calls, "post", lambda *_, **__: answer)
        key, identity = coordinator.public.hex(), files.folder.identity()
        return coordinator_calls.fetch_model(files, identity, name, about["plan_hash"], key)

    before = sorted(files.plan(name).iterdir())
    for state in ((other / STATE).read_bytes(), b"no arrays"):
        with pytest.raises(ProtocolError, match="not the one that it signed"):
            fetch(state)
        assert sorted(files.plan(name).iterdir()) == before
    assert fetch((made / STATE).read_bytes())
    assert load_model(files.plan(name) / "model").model_hash == about["model_hash"]


def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def endless(_: object) -> httpx.Response:
        return httpx.Response(200, stream=Endless())

    class Endless(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                yield b" " * (1 << 16)

    client = httpx.Client(base_url="https://a", transport=httpx.MockTransport(endless))
    monkeypatch.setattr(coordinator_calls, "http_client", lambda *_: client)
    monkeypatch.setattr(coordinator_calls, "MOST_ANSWER", 1 << 20)
    member = Membership(coalition="c", store="s", address="a", authority="x", coordinator_key="k")
    with pytest.raises(ProtocolError, match="longer than"):
        coordinator_calls.post(member, "/fedcart/plan", Identity.create(tmp_path / "key"), {})


def test_an_answer_is_not_used_where_the_clock_is_far_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of the ledger dated ahead would stop the store until that time has come."""
    with served(tmp_path) as (folder, _):
        [path] = folder.invite(["north"], tmp_path)
        files, true = MemberFiles(create_store(tmp_path / "north")[0]), time.time
        coordinator_calls.pin_coordinator(files.policy_file, Invitation.load(path).coordinator_key)
        coordinator_calls.join(files, Invitation.load(path))
        assert coordinator_calls.fetch_plan(files, files.folder.identity(), "") is None
        for off in (600, -600):
            date = email.utils.formatdate(true() - off, usegmt=True)
            assert abs(coordinator_calls.clock_off_s(date) - off) < 5
            with monkeypatch.context() as patch:
                patch.setattr(coordinator_calls, "clock_off_s", lambda _, off=off: float(off))
                with pytest.raises(ProtocolError, match=r"clock is [+-]600 s off"):
                    coordinator_calls.fetch_plan(files, files.folder.identity(), "")
    assert coordinator_calls.clock_off_s("") == coordinator_calls.clock_off_s("no date") == 0.0


def test_a_store_that_was_suspended_is_let_in_again_by_the_server_that_runs(tmp_path: Path) -> None:
    with served(tmp_path) as (folder, service):
        [path] = folder.invite(["north"], tmp_path)
        files, place = MemberFiles(create_store(tmp_path / "north")[0]), str(folder.directory)
        coordinator_calls.pin_coordinator(files.policy_file, Invitation.load(path).coordinator_key)
        coordinator_calls.join(files, Invitation.load(path))
        store = StoreProcess(files.folder.directory, look_s=0.2)
        store.start()
        try:
            assert until(lambda: store.state.online)
            assert run(["coalition", "set", place, "north", "suspended"]) == 0
            service.sync_members()
            assert until(lambda: "401" in store.state.trouble)
            assert run(["coalition", "set", place, "north", "joined"]) == 0
            service.sync_members()
            assert until(lambda: store.state.online)
        finally:
            store.stop()


def test_a_folder_takes_part_once_and_leaves_when_nobody_takes_part_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two would share one node, and each would lack the secrets of the messages that the other answered."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # those of pytest stay
    with served(tmp_path) as (folder, _):
        [path] = folder.invite(["north"], tmp_path)
        files = MemberFiles(create_store(tmp_path / "north")[0])
        coordinator_calls.pin_coordinator(files.policy_file, Invitation.load(path).coordinator_key)
        coordinator_calls.join(files, Invitation.load(path))
        place = str(files.folder.directory)
        store = StoreProcess(files.folder.directory, look_s=0.1)
        for _ in range(2):
            store.start()
            assert until(lambda: store.state.online)
            with pytest.raises(ConfigError, match="another `store run`"):
                StoreProcess(files.folder.directory).start()
            for command in (["store", "run"], ["store", "leave", "--yes"]):
                assert run([*command, "--dir", place]) == 2
                assert "end that one first" in capsys.readouterr().err
            assert store.state.online
            store.stop()
        assert run(["store", "leave", "--yes", "--dir", place]) == 0


@pytest.mark.parametrize("where", ["in its look for a plan", "in its node"])
def test_an_error_that_nobody_expected_ends_store_run_with_its_traceback_in_the_log(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    where: str,
) -> None:
    def unexpected(*_: object) -> None:
        raise KeyError("customer 1234")

    monkeypatch.setattr(signal, "signal", lambda *_: None)  # those of pytest stay
    with served(tmp_path) as (folder, _):
        [path] = folder.invite(["north"], tmp_path)
        files = MemberFiles(create_store(tmp_path / "north")[0])
        coordinator_calls.pin_coordinator(files.policy_file, Invitation.load(path).coordinator_key)
        coordinator_calls.join(files, Invitation.load(path))
        of = (StoreProcess, "_look_for_plan") if where == "in its look for a plan" else (StoreNode, "_activate")
        store = StoreProcess(files.folder.directory, look_s=0.1)
        with monkeypatch.context() as patch:
            patch.setattr(*of, unexpected)
            store.start()
            assert until(lambda: store.state.ended)
            assert (store.state.online, store.state.trouble) == (False, "ended by KeyError")
            store.stop()
        store.start()  # whoever embeds it may try again
        assert until(lambda: store.state.online)
        time.sleep(0.5)
        assert (store.state.online, store.state.ended) == (True, False)
        store.stop()
        monkeypatch.setattr(*of, unexpected)
        caplog.clear()
        assert run(["store", "run", "--dir", str(files.folder.directory)]) == 1
    assert "Traceback" in caplog.text
    assert "in unexpected" in caplog.text
    told = capsys.readouterr().err
    assert "the store was ended by KeyError" in told
    assert "1234" not in told.split("fedcart: error:")[1]


def policy(**trust: object) -> Policy:
    return Policy(limits=Limits(epsilon_total=8.0), trust=Coordination(**trust))  # type: ignore[arg-type]


def a_roster() -> Roster:
    return Roster(coordinator="0" * 64, stores=("1" * 64, "2" * 64, "3" * 64), ledgers=("a" * 64,) * 3)


def test_a_roster_that_nobody_vouches_for_is_refused() -> None:
    roster = a_roster()
    with pytest.raises(PrivacyRefused, match="could have invented"):
        known_keys(roster, policy(), "1" * 64)
    with pytest.raises(PrivacyRefused, match="could have invented"):
        known_keys(roster, policy(known_stores=("f" * 64,)), "1" * 64)
    with pytest.raises(PrivacyRefused, match="roster_root"):
        known_keys(roster, policy(roster_root="f" * 64), "1" * 64)
    assert len(known_keys(roster, policy(roster_root=roster.hash), "1" * 64)) == 3
    one = fingerprint(bytes.fromhex("2" * 64))
    assert known_keys(roster, policy(known_stores=(one,)), "1" * 64) == [bytes.fromhex(x * 64) for x in "12"]


def test_a_roster_without_this_store_or_with_another_ledger_is_refused() -> None:
    roster = a_roster()
    check_roster(roster, "1" * 64, "a" * 64)
    for own, genesis in (("4" * 64, "a" * 64), ("1" * 64, "b" * 64)):
        with pytest.raises(PrivacyRefused, match="does not name this store"):
            check_roster(roster, own, genesis)
    twice = Roster(coordinator="0" * 64, stores=("1" * 64, "2" * 64, "2" * 64), ledgers=("a" * 64,) * 3)
    with pytest.raises(PrivacyRefused, match="twice"):
        check_roster(twice, "1" * 64, "a" * 64)


def told_by_stores(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "fedcart.store"]


def test_a_plan_that_a_person_must_approve_waits_and_an_unpinned_coordinator_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fedcart.store")
    write_sales(tmp_path / "sales.csv")
    with served(tmp_path) as (folder, _):
        paths = folder.invite(NAMES, tmp_path)
        folders = Demo(paths, tmp_path / "stores", tmp_path / "sales.csv", lambda _: None).prepare()
        for number, (old, new) in enumerate(
            [("auto = true", "auto = false"), ('coordinator_key = "', 'coordinator_key = "" # ')]
        ):
            file = MemberFiles(folders[number]).policy_file
            file.write_text(file.read_text().replace(old, new))
        write_plan_file(folder, epsilon=4.0, learner="popularity", trust=None, customers_bound=1000)
        publish(folder)
        stores = [StoreProcess(found.directory, ready=lambda *_: None) for found in folders[:2]]
        with pytest.raises(PrivacyRefused, match="pins no coordinator_key"):
            stores[1]._look_for_plan()
        for _ in range(3):
            stores[0]._look_for_plan()
        [line] = told_by_stores(caplog)  # normal, and told once
        assert (line.levelname, [store.plan for store in stores]) == ("INFO", ["", ""])
        said, advised = line.getMessage().split(": fedcart ")
        assert "waits for a person's approval" in said
        assert run([*advised.split(), "--yes"]) == 0
        stores[0]._look_for_plan()
        assert stores[0].plan == folder.published().name  # type: ignore[union-attr]
        told = list(question(folder.directory, {"do": "train", "wait_s": 0.1}))
        assert told[-1]["event"] == "failed"
        assert "did not approve" in told[-1]["message"]


def test_a_store_that_joined_after_the_plan_waits_for_the_next_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fedcart.store")
    write_sales(tmp_path / "sales.csv")
    with served(tmp_path) as (folder, _):
        paths = folder.invite(NAMES, tmp_path)
        Demo(paths[:2], tmp_path / "stores", tmp_path / "sales.csv", lambda _: None).prepare()
        write_plan_file(folder, epsilon=4.0, learner="popularity", trust=None, customers_bound=1000)
        _, before = publish(folder)
        [late] = Demo(paths[2:], tmp_path / "late", tmp_path / "sales.csv", lambda _: None).prepare()
        store = StoreProcess(late.directory, ready=lambda *_: None)
        for _ in range(3):
            store._look_for_plan()
        [line] = told_by_stores(caplog)
        assert line.levelname == "INFO"
        assert f"plan {before.name} was made without this store, which takes part from the next one" in caplog.text
        write_plan_file(folder, epsilon=4.0, learner="popularity", trust="local", customers_bound=1000)
        _, after = publish(folder)
        store._look_for_plan()
        assert (store.plan, told_by_stores(caplog)[-1].getMessage()) == (after.name, f"ready for plan {after.name}")


# --- the six commands, as a user types them


def fedcart(place: Path, *words: str, **more: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "fedcart.shared", *words],
        cwd=place, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, **more,
    )  # type: ignore[call-overload,no-any-return]  # fmt: skip


def done(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    return str(said)


def group_is_gone(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
def test_the_six_commands(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    done(fedcart(tmp_path, "data", "make", "marketplace", "--size", "small", "--format", "csv", "--out", "market"))
    done(fedcart(tmp_path, "coalition", "new", "demo", "--catalogue", "market/items.csv", "--port", port))
    done(fedcart(tmp_path, "coalition", "invite", "demo", *NAMES))
    started = [fedcart(tmp_path, "coalition", "serve", "demo")]
    try:
        assert until(lambda: (tmp_path / "demo" / "control").exists())
        started.append(fedcart(tmp_path, "store", "demo", *(f"{name}.invite" for name in NAMES)))
        members = CoalitionFolder.open(tmp_path / "demo")
        assert until(lambda: len(members.joined()) == 3, 120)
        children = [int(x) for x in Path(f"/proc/{started[1].pid}/task/{started[1].pid}/children").read_text().split()]
        assert "epsilon      4.0000" in done(fedcart(tmp_path, "coalition", "plan", "demo", "--epsilon", "4"))
        said = done(fedcart(tmp_path, "coalition", "train", "demo", "--wait", "180"))
        rounds = re.findall(r"round (\d) of 5 +3 stores .* SA1", said)
        assert rounds == list("12345")
        again = done(fedcart(tmp_path, "coalition", "train", "demo"))
        assert "round" not in again  # it is complete
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
    assert all(group_is_gone(pid) for pid in [*(process.pid for process in started), *children])
    for name in NAMES:
        place = StoreFolder.open(tmp_path / "demo-stores" / name)
        with Ledger.open(place.ledger_file, place.identity()) as ledger:
            assert 0 < ledger.epsilon(1e-6) <= 4
