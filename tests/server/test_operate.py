"""What an operator has: metrics on loopback, the record of runs, a renewed certificate, the next item list, logs."""

from __future__ import annotations

import json
import logging
import re
import socket
import ssl
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest

from coalition_kit import ITEMS, served
from fedcart.client.membership.coordinator import join, pin_coordinator
from fedcart.client.membership.files import MemberFiles
from fedcart.client.store_folder import create_store
from fedcart.server.coalition import item_list, service
from fedcart.server.coalition.control import CONTROL, is_served, question
from fedcart.server.coalition.folder import CoalitionFolder, create_coalition
from fedcart.server.coalition.planning import publish, write_plan_file
from fedcart.server.coalition.runs import RUNS, Runs
from fedcart.server.coalition.service import Service
from fedcart.server.coalition.watch import Counters, Watch, answer
from fedcart.server.tls_files import AUTHORITY, SERVER, expires, make_server
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.cli import run
from fedcart.shared.errors import ConfigError, InputError, PrivacyRefused, ProtocolError
from fedcart.shared.invitation import Invitation
from fedcart.shared.json_log import JsonLines, TextLines
from fedcart.shared.ledger.ledger import Ledger

PARTS = ("client", "server", "shared")
LINE = {"round": 0, "rounds": 2, "stage": "x", "seconds": 0.5, "stores": 3, "failures": {"NoReply": 2}}


# --- logs


def said(message: str, *args: object, **extra: object) -> dict[str, object]:
    record = logging.LogRecord("fedcart.x", logging.INFO, "x.py", 1, message, args, None)
    for name, value in extra.items():
        setattr(record, name, value)
    line = JsonLines().format(record)
    assert "\n" not in line
    return json.loads(line)  # type: ignore[no-any-return]


def test_a_json_line_holds_what_the_program_says_and_nothing_that_was_filled_in() -> None:
    told = said("online as node %d", 8_812_345)
    assert (told["event"], told["level"], told["logger"]) == ("online as node %d", "info", "fedcart.x")
    told = said("%s", PrivacyRefused("customer 4711 spent 3.5"))
    assert (told["event"], told["error"]) == ("error", "PrivacyRefused")
    assert "4711" not in json.dumps(told)
    assert said("round", **LINE)["failures"] == {"NoReply": 2}
    assert "secret" not in said("round", secret=1)
    try:
        raise ValueError("row of customer 4711")
    except ValueError:
        import sys

        record = logging.LogRecord("fedcart.x", logging.ERROR, "x.py", 1, "it failed", (), sys.exc_info())
    assert "4711" not in JsonLines().format(record)
    assert json.loads(JsonLines().format(record))["error"] == "ValueError"


def test_a_line_of_text_says_what_a_round_came_to() -> None:
    record = logging.LogRecord("fedcart.rounds", logging.INFO, "x.py", 1, "round", (), None)
    assert TextLines("%(name)s %(message)s").format(record) == "fedcart.rounds round"
    record.__dict__.update(round=0, rounds=5, stores=4, failures={"NoReply": 1})
    line = "fedcart.rounds round round=0 rounds=5 stores=4 failures={'NoReply': 1}"
    assert TextLines("%(name)s %(message)s").format(record) == line


def test_no_message_is_put_together_before_it_is_logged() -> None:
    """Else what was filled in would be in the JSON line."""
    root, call = (
        Path(__file__).resolve().parents[2],
        re.compile(r"\blog\.(?:debug|info|warning|error|exception)\(\s*(.)"),
    )
    texts = {path: path.read_text() for part in PARTS for path in (root / part / "fedcart").rglob("*.py")}
    first = {path.name: set(call.findall(text)) for path, text in texts.items()}
    assert {'"'} == set().union(*first.values())


# --- metrics and health


def test_metrics_are_prometheus_text_without_labels_on_loopback_only() -> None:
    counters = Counters()
    counters.round(LINE)
    counters.ended(well=False)
    now = {"fedcart_stores_joined": 3.0, "fedcart_stores_online": 2.0, "fedcart_certificate_seconds": 9.0}
    watch = Watch(0, lambda: counters.text(now), lambda: None)
    try:
        base = f"http://127.0.0.1:{watch.port}"
        assert httpx.get(f"{base}/health").text == "ok\n"
        assert httpx.get(f"{base}/members").status_code == 404
        text = httpx.get(f"{base}/metrics").text
        with pytest.raises(InputError, match="cannot listen"):
            Watch(watch.port, str, lambda: None)
    finally:
        watch.close()
    samples = dict(line.split(" ") for line in text.splitlines() if not line.startswith("#"))
    assert samples["fedcart_rounds_total"] == "1"
    assert samples["fedcart_round_failures_total"] == "2"
    assert samples["fedcart_runs_failed_total"] == "1"
    assert samples["fedcart_stores_online"] == "2"
    assert "{" not in text


# --- runs


def test_the_record_says_how_each_run_ended(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    assert runs.read() == []
    about = {
        "plan": "p",
        "plan_hash": "h",
        "learner": "als",
        "trust": "local",
        "epsilon": "4",
        "stores": 3,
        "rounds": 2,
    }
    first, second, third = (runs.begin(10.0 + i, about) for i in range(3))
    runs.add_round(first, LINE)
    runs.end(first, 20.0, "done")
    runs.end(second, 21.0, "failed", "too few", 4)
    Runs(tmp_path).interrupt()
    found = runs.read()
    assert [(run["run"], run["state"], run["reason"]) for run in found] == [
        (third, "interrupted", None), (second, "failed", "too few"), (first, "done", None),
    ]  # fmt: skip
    assert found[2]["finished"][0]["failures"] == {"NoReply": 2}
    (tmp_path / RUNS).write_bytes(b"no database" * 100)
    with pytest.raises(InputError, match=RUNS):
        runs.read()


def test_a_page_that_cannot_be_made_is_answered_and_its_reason_logged(caplog: pytest.LogCaptureFixture) -> None:
    def refuses() -> str:
        raise InputError("tls/server.pem: cannot read: No such file or directory")

    def breaks() -> str:
        raise ZeroDivisionError("a fault")

    pages = {"/metrics": refuses, "/health": breaks}
    assert answer("/metrics", pages) == (500, b"unhealthy\n")
    assert "tls/server.pem: cannot read" in caplog.records[-1].getMessage()
    assert answer("/health", pages) == (500, b"unhealthy\n")
    assert caplog.records[-1].exc_info is not None
    assert answer("/other", pages) == (404, b"")


# --- one served coalition


def test_health_says_when_no_store_can_call(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with served(tmp_path, watch_port=0) as (folder, service):
        assert service.watch is not None
        base, certificate = f"http://127.0.0.1:{service.watch.port}", folder.tls / SERVER
        assert httpx.get(f"{base}/health").text == "ok\n"
        good = certificate.read_bytes()
        for bad, reason in ((None, "cannot read"), (b"nothing", "no certificate")):
            certificate.unlink()
            if bad is not None:
                certificate.write_bytes(bad)
            service.sync_certificate()  # serves on with the one it has
            for page in ("/health", "/metrics"):
                reply = httpx.get(f"{base}{page}")
                assert (reply.status_code, reply.text) == (500, "unhealthy\n")
                assert reason in caplog.records[-1].getMessage()
            certificate.write_bytes(good)
        assert httpx.get(f"{base}/health").status_code == 200
        make_server(folder.tls, ["127.0.0.1"], days=0)
        assert httpx.get(f"{base}/health").status_code == 500
        assert "expired at" in caplog.records[-1].getMessage()


def test_a_served_coalition_renews_is_watched_and_lets_a_store_leave(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(tmp_path, watch_port=0) as (folder, service):
        place, port = str(folder.directory), folder.about().port

        def serial() -> int:
            from cryptography import x509

            context = ssl.create_default_context(cafile=str(folder.tls / AUTHORITY))
            with (
                socket.create_connection(("127.0.0.1", port)) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
            ):
                return x509.load_der_x509_certificate(secure.getpeercert(True) or b"").serial_number

        with pytest.raises(ConfigError, match="is served already"):
            Service(folder, "127.0.0.1", 0)
        assert is_served(folder.directory)

        before = serial()
        assert run(["coalition", "renew", place, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["expires"] > time.time() + 396 * 86_400
        service.sync_certificate()
        assert serial() != before

        [path] = folder.invite(["north"], tmp_path)
        store = MemberFiles(create_store(tmp_path / "north")[0])
        pin_coordinator(store.policy_file, Invitation.load(path).coordinator_key)
        join(store, Invitation.load(path))
        assert service.watch is not None
        text = httpx.get(f"http://127.0.0.1:{service.watch.port}/metrics").text
        assert "fedcart_stores_joined 1\n" in text
        assert "fedcart_stores_online 0\n" in text

        asked = list(question(folder.directory, {"do": "train", "wait_s": 0}))
        assert asked[-1]["event"] == "failed"  # no plan: not a run
        assert Runs(folder.directory).read() == []
        assert run(["coalition", "status", place]) == 0
        said = capsys.readouterr().out
        assert "1 joined" in said
        assert ", served\n" in said

        assert run(["store", "leave", "--dir", str(tmp_path / "north"), "--yes"]) == 0
        assert [member.state for member in folder.members()] == ["left"]
        assert not store.membership_file.exists()
        assert not store.node_key.exists()
        with Ledger.open(store.folder.ledger_file, store.folder.identity()):
            pass
        assert run(["store", "leave", "--dir", str(tmp_path / "north"), "--yes"]) == 2
        with pytest.raises(ProtocolError):
            join(store, Invitation.load(path))  # it was good once


@pytest.mark.parametrize(
    ("times", "told"),
    [((0, 1), "after 1970-01-01T00:00:01Z"), ((4_000_000_000, 4_000_000_001), "before 2096-10-02T07:06:40Z")],
)
def test_a_plan_that_does_not_hold_is_not_begun_and_costs_no_attempt(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    times: tuple[int, int],
    told: str,
) -> None:
    with served(tmp_path) as (folder, _):
        [path] = folder.invite(["north"], tmp_path)
        store = MemberFiles(create_store(tmp_path / "north")[0])
        pin_coordinator(store.policy_file, Invitation.load(path).coordinator_key)
        join(store, Invitation.load(path))
        plan = write_plan_file(folder, epsilon=4.0, learner="popularity", trust=None, customers_bound=1000)
        for name, at in zip(("not_before", "not_after"), times, strict=True):
            plan.write_text(re.sub(rf"{name} = \d+", f"{name} = {at}", plan.read_text()))
        _, place = publish(folder)
        began = time.monotonic()
        assert run(["coalition", "train", str(folder.directory), "--wait", "60"]) == 3
        assert time.monotonic() - began < 30  # no store was waited for
        said = capsys.readouterr().err
        assert f"plan {place.name}: it does not hold {told}, and the time here is 20" in said
        assert "nothing was sent or charged" in said
        assert "hint: make a new one: fedcart coalition plan" in said
        assert Runs(folder.directory).read() == []
    monkeypatch.setattr(service, "load_checkpoint", lambda *_: SimpleNamespace(round_index=0))
    service.refuse_out_of_time(place, service.described(place))  # all its rounds are finished: its model is kept


# --- the item list


@pytest.fixture
def folder(tmp_path: Path) -> CoalitionFolder:
    return create_coalition(tmp_path / "demo", Catalogue(ITEMS, "given"), ["127.0.0.1"], 9443)


def test_items_are_added_to_a_draft_compared_and_published(
    folder: CoalitionFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, more = str(folder.directory), tmp_path / "more.csv"
    more.write_text("id,title\nnew1,A new one\nitem3,Renamed\n")
    before = folder.catalogue().hash
    assert run(["coalition", "catalogue", "publish", place]) == 2
    assert "has no catalogue.draft.json" in capsys.readouterr().err
    assert run(["coalition", "catalogue", "add", place, str(more), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["added"], told["removed"], told["changed"]) == (["new1"], [], list(ITEMS))  # a column is new
    assert folder.catalogue().hash == before == told["hash"]
    assert run(["coalition", "catalogue", "diff", place, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == told
    assert run(["coalition", "catalogue", "publish", place]) == 0
    assert "+ new1" in capsys.readouterr().out
    now = folder.catalogue()
    assert (now.hash, now.ids) == (told["draft_hash"], (*ITEMS, "new1"))
    assert now.columns["title"].tolist()[3] == "Renamed"
    assert item_list.compare(folder)["added"] == []


def test_derived_items_are_not_added_and_numbers_keep_their_gaps() -> None:
    old = Catalogue(("a", "b"), "given", {"price": np.array([1.0, 2.0])})
    made = item_list.merged(old, Catalogue(("c", "a"), "given", {"price": np.array([np.nan, 5.0])}))
    assert made.ids == ("a", "b", "c")
    np.testing.assert_array_equal(made.columns["price"], [5.0, 2.0, np.nan])
    assert item_list.difference(old, made)["changed"] == ["a"]
    with pytest.raises(ConfigError, match="derived"):
        item_list.merged(old, Catalogue(("d",), "derived"))


def test_the_runs_of_a_folder_that_nobody_serves_can_be_read(
    folder: CoalitionFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    place = str(folder.directory)
    (folder.directory / CONTROL).write_text(str(folder.directory / "gone"))  # a killed server leaves it
    assert run(["coalition", "runs", place, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"schema": 1, "runs": []}
    assert run(["coalition", "status", place, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["served"], told["plan"], told["last_run"], told["stores"]) == (False, None, None, {})
    assert told["certificate_expires"] == int(expires(folder.tls).timestamp())
