"""Receipts through both apps: heads go up, receipts come back, every ledger is witnessed, a rolled-back one stops."""

from __future__ import annotations

import json
import os
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from fedcart.client.app import make_app
from fedcart.client.ledger_files import key_path, ledger_path
from fedcart.server.checkpoint import read_lines
from fedcart.server.rounds import run_rounds
from fedcart.server.witness import MOST_HEADS, RECEIPTS, Witness
from fedcart.shared import flower_compat as fc
from fedcart.shared.audit.inspection import inspect
from fedcart.shared.canonical import canonical_bytes
from fedcart.shared.errors import DataError, ProtocolError, RoundFailed
from fedcart.shared.identity import Identity
from fedcart.shared.ledger import Ledger, Receipt, SignedHead
from fedcart.shared.ledger.lines import START, line_hash
from fedcart.shared.roster import ROSTER, Roster
from fedcart.shared.wire import read_head, write_receipts
from fedcart.simulation.engines.faults import Fault
from fedcart.simulation.engines.in_process import InProcessGrid
from secure_run import SecureRun

SORTS = {"SA1": ("distributed", True), "plain": ("distributed", False), "local": ("local", False)}


def make(directory: Path, sort: str = "plain", **more: Any) -> SecureRun:
    """Five rounds of als at five stores."""
    trust, masked = SORTS[sort]
    if more.setdefault("learner", "als") == "als":
        more["more"] = {"sweeps": 4}
    return SecureRun(directory, trust=trust, masked=masked, **more)


def entries(run: SecureRun, store: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ledger_path(run.around.results, store).read_bytes().splitlines()]


def words(run: SecureRun) -> list[str]:
    """Each ledger's verdict, under the roster's fingerprint."""
    (fingerprint,) = inspect(run.around.results).fingerprints
    found = inspect(run.around.results, fingerprint)
    assert found.anchored
    return [one.word for one in found.ledgers]


def rules(run: SecureRun) -> set[tuple[str, str]]:
    """(ledger, rule) of each finding."""
    return {(finding.file.name, finding.rule) for finding in inspect(run.around.results).findings}


@pytest.mark.parametrize("sort", SORTS)
def test_a_run_leaves_ledgers_whose_every_charge_another_party_witnessed(tmp_path: Path, sort: str) -> None:
    run = make(tmp_path, sort)
    run.run()
    rounds = len(run.agreement.rounds)
    assert rounds == 5
    assert words(run) == ["ok"] * 5
    for store in range(5):
        bodies = [line["body"] for line in entries(run, store) if line["kind"] == "receipt"]
        assert [body["round"] for body in bodies] == list(range(rounds))
        assert all(len(body["heads"]) == 5 for body in bodies)
    kept = (run.archive / RECEIPTS).read_text().splitlines()
    assert [json.loads(line) for line in kept] == bodies


@pytest.mark.parametrize("sort", SORTS)
def test_a_store_that_is_away_for_some_rounds_comes_back_and_is_witnessed(tmp_path: Path, sort: str) -> None:
    run = make(tmp_path, sort, attempts=3)
    gone = lambda store, round_index, _: Fault("drop") if store == round_index % 3 else None  # noqa: E731
    run.run(gone, quorum=3)
    assert words(run) == ["ok"] * 5
    assert {line["stores"] for line in read_lines(tmp_path)} == {4}


class Deaf(fc.Grid):
    """Another grid, on which some stores' uploads are lost after they were charged, and receipts never come."""

    def __init__(self, inner: Any, lost: Any) -> None:
        self._inner, self._lost = inner, lost

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def push_messages(self, messages: Any) -> Any:
        return self._inner.push_messages(list(messages))

    def pull_messages(self, message_ids: Any) -> Any:
        return [self._spoilt(reply) for reply in self._inner.pull_messages(message_ids)]

    def _spoilt(self, reply: fc.Message) -> fc.Message:
        round_index, _, flow = (*reply.metadata.group_id.split("."), "train")[:3]
        if self._lost(reply.metadata.src_node_id - 2, int(round_index), flow):
            lost = fc.Message(fc.Error(fc.RAISED, "Lost"), reply_to=reply)
            lost.metadata.__dict__["_reply_to_message_id"] = reply.metadata.reply_to_message_id
            return lost
        return reply

    run = property(lambda self: self._inner.run)

    def set_run(self, run: Any) -> None:
        self._inner.set_run(run)

    def create_message(self, *given: Any, **more: Any) -> fc.Message:
        return self._inner.create_message(*given, **more)

    def get_node_ids(self) -> Any:
        return self._inner.get_node_ids()

    def send_and_receive(self, messages: Any, *, timeout: float | None = None) -> Any:
        return self.pull_messages(self.push_messages(messages))


def played(run: SecureRun, lost: Any, *, witness: bool = True, rounds: int | None = None) -> None:
    """The coordinator's loop over a grid that loses what `lost(store, round, flow)` says."""
    with run.grid() as grid:
        deaf = Deaf(grid, lost)
        keeper = Witness(deaf, run.agreement, deadline_s=60, archive=run.archive) if witness else None
        run_rounds(deaf, run.agreement, deadline_s=60, quorum=3, witness=keeper)


def test_a_store_whose_uploads_and_answers_are_lost_is_left_behind_until_a_receipt_reaches_it(tmp_path: Path) -> None:
    run = make(tmp_path, "local", stores=4)
    played(run, lambda store, round_index, flow: store == 1 and round_index < 2)
    charged = {line["body"]["round"] for line in entries(run, 1) if line["kind"] == "charge"}
    assert 2 not in charged  # refused: nobody had witnessed round 0
    last = len(run.agreement.rounds) - 1
    assert {0, 1, last} <= charged
    assert words(run) == ["ok"] * 4
    assert read_lines(tmp_path)[2]["failures"] == {"PrivacyRefused": 1}


def test_without_receipts_every_store_stops_before_the_third_round(tmp_path: Path) -> None:
    run = make(tmp_path, "local")
    with pytest.raises(RoundFailed, match=r"round 2 .* \(5 PrivacyRefused\)"):
        played(run, lambda *_: False, witness=False)
    assert len(read_lines(tmp_path)) == 2
    run.run()  # heads were never heard: the coordinator asks again, and goes on
    assert words(run) == ["ok"] * 5


def spent_before(run: SecureRun, store: int, rounds: int) -> None:
    """Earlier plans of one round each, whose receipts never came."""
    path, key = ledger_path(run.around.results, store), Identity.load(key_path(run.directory, store))
    with Ledger.open(path, key) as ledger:
        for number in range(rounds):
            plan = f"{number:064x}"
            ledger.plan(plan, epsilon="1", delta=1e-6, dearest=Fraction(1, 200), attempts=1)
            told = {"plan": plan, "round": 0, "attempt": 0, "release": "r", "D": 1, "variance": 100}
            ledger.charge(**told, honest=1, delta=1e-6)


def test_a_chain_of_plans_of_one_round_needs_its_receipts_and_gets_them(tmp_path: Path) -> None:
    run = make(tmp_path, "local", learner="popularity", stores=3)
    assert len(run.agreement.rounds) == 1
    for store in range(3):
        spent_before(run, store, 2)
    with pytest.raises(RoundFailed, match=r"round 0 .* \(3 PrivacyRefused\)"):
        played(run, lambda *_: False, witness=False)
    played(run, lambda *_: False)
    assert words(run) == ["ok"] * 3


@pytest.mark.parametrize("at", [0, 2, -1])
@pytest.mark.parametrize("step", ["sign", "send"])
def test_a_coordinator_that_stops_between_checkpoint_and_receipt_makes_up_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, step: str
) -> None:
    run = make(tmp_path, "local", stores=3)
    at = at % len(run.agreement.rounds)
    kept = getattr(Witness, step)

    def stop(self: Witness, *given: Any) -> None:
        if str(at) in (str(given[0]), str(given[1]).split(".")[0]):
            raise KeyboardInterrupt
        kept(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Witness, step, stop)
        with pytest.raises(KeyboardInterrupt):
            run.run()
    run.run()
    assert words(run) == ["ok"] * 3


def test_a_store_that_was_rolled_back_stops_for_good_when_its_receipt_comes(tmp_path: Path) -> None:
    run = make(tmp_path, "local", stores=4)
    path = ledger_path(run.around.results, 2)
    before = path.read_bytes()

    def restore(store: int, round_index: int, flow: str) -> bool:
        if (store, round_index, flow) == (2, 1, "train"):
            path.write_bytes(before)  # a backup of before the run, after the upload left
        return False

    played(run, restore)
    assert "rolled back" in path.with_name(f"{path.name}.stopped").read_text()
    assert {line["kind"] for line in entries(run, 2)} == {"genesis", "policy", "plan"}
    assert read_lines(tmp_path)[2]["failures"] == {"PrivacyRefused": 1}
    assert (path.name, "witness") in rules(run)


@pytest.mark.parametrize("sort", ["plain", "local"])
def test_a_store_that_was_rolled_back_after_it_took_its_receipts_stops_at_the_next(tmp_path: Path, sort: str) -> None:
    run = make(tmp_path, sort)
    path = ledger_path(run.around.results, 2)
    before = path.read_bytes()

    def restore(store: int, round_index: int, flow: str) -> bool:
        if (store, round_index, flow) == (2, 1, "receipt"):
            path.write_bytes(before)  # its next head is of a ledger in which rounds 0 and 1 were never charged
        return False

    played(run, restore)
    assert "rolled back" in path.with_name(f"{path.name}.stopped").read_text()
    assert {line["body"]["round"] for line in entries(run, 2) if line["kind"] == "charge"} == {2}
    assert (path.name, "witness") in rules(run)


@pytest.mark.parametrize("recalled", [False, True])
def test_a_store_that_was_rolled_back_between_two_plans_stops_when_the_next_begins(
    tmp_path: Path, recalled: bool
) -> None:
    run = make(tmp_path / "plans" / "first", "local", stores=3)
    path = ledger_path(run.around.results, 2)
    before = path.read_bytes()
    run.run()
    (run.directory / "transcript").mkdir()
    shutil.copy(run.archive / RECEIPTS, run.directory / "transcript" / RECEIPTS)
    path.write_bytes(before)  # as if the first plan had never been charged
    length = len(entries(run, 0))
    with run.grid() as grid:
        earlier = tmp_path / "plans" if recalled else None
        keeper = Witness(grid, run.agreement, deadline_s=60, archive=tmp_path / "second", earlier=earlier)
        keeper.meet(list(grid.get_node_ids()), 0)
    stopped = path.with_name(f"{path.name}.stopped")
    assert stopped.exists() == recalled  # without them nobody would know
    assert not recalled or "rolled back" in stopped.read_text()
    assert len(entries(run, 0)) == length + 1  # the others have the old one, and gain where they stand now
    assert not list(path.parent.glob("store-000[01]*.stopped"))


def test_the_newest_receipt_that_names_a_store_is_recalled_and_none_that_its_own_plan_outdates(tmp_path: Path) -> None:
    run = make(tmp_path / "run", "local", stores=3)
    coordinator = Identity.load(run.directory / "keys" / "coordinator.key")
    heads = [read_head(ask(run, store).content) for store in range(3)]

    def wrote(place: str, second: int, *named: SignedHead) -> Receipt:
        receipt = Receipt.make(coordinator, round=second, ctx="c" * 64, heads={x.public: x for x in named})
        path = tmp_path / "plans" / place / "transcript" / RECEIPTS
        path.parent.mkdir(parents=True)
        path.write_bytes(canonical_bytes(receipt.body()) + b"\n" + b"torn")
        os.utime(path, (second, second))
        return receipt

    wrote("a", 1, *heads)
    second, own, newest = wrote("b", 2, *heads[:2]), wrote("own", 3, heads[0]), wrote("c", 4, heads[2])
    with run.grid() as grid:
        archive = tmp_path / "plans" / "own" / "transcript"
        keeper = Witness(grid, run.agreement, deadline_s=60, archive=archive, earlier=tmp_path / "plans")
    assert keeper._owed == {heads[0].public: [own], heads[1].public: [second], heads[2].public: [newest]}
    (tmp_path / "plans" / "c" / "transcript" / RECEIPTS).write_bytes(b"{}\n")
    with run.grid() as grid, pytest.raises(DataError, match="not receipts; nothing was run"):
        Witness(grid, run.agreement, deadline_s=60, archive=archive, earlier=tmp_path / "plans")


def ask(run: SecureRun, store: int, *receipts: Receipt) -> fc.Message:
    fc.become_coordinator(1)
    message = fc.Message(write_receipts(receipts), store + 2, "query.receipt", ttl=60.0)
    node = {"records": str(run.directory), "store": store}
    return make_app(run.around)(message, fc.Context(1, store + 2, node, fc.RecordDict(), {}))


def test_a_forged_receipt_stops_nobody_and_is_written_nowhere(tmp_path: Path) -> None:
    run = make(tmp_path, "local", stores=3)
    stranger = Identity.create(tmp_path / "stranger.key")
    head = read_head(ask(run, 0).content)
    before = entries(run, 0)
    invented = SignedHead(head.public, "7" * 64, head.sig)
    for coordinator in (stranger, Identity.load(run.directory / "keys" / "coordinator.key")):
        for claimed in (invented, *([head] if coordinator is stranger else [])):
            receipt = Receipt.make(coordinator, round=0, ctx="c" * 64, heads={head.public: claimed})
            assert ask(run, 0, receipt).error.reason == "ProtocolError"
    assert entries(run, 0) == before
    run.run()
    assert words(run) == ["ok"] * 3


def test_a_receipt_that_comes_twice_stands_once_and_one_about_others_not_at_all(tmp_path: Path) -> None:
    run = make(tmp_path, "local", stores=3)
    coordinator = Identity.load(run.directory / "keys" / "coordinator.key")
    mine, other = (read_head(ask(run, store).content) for store in (0, 1))
    both = Receipt.make(coordinator, round=0, ctx="c" * 64, heads={x.public: x for x in (mine, other)})
    alien = Receipt.make(coordinator, round=0, ctx="c" * 64, heads={other.public: other})
    for receipts in ([both], [both, alien], [alien], [both]):
        assert read_head(ask(run, 0, *receipts).content).holds()
    assert [line["kind"] for line in entries(run, 0)].count("receipt") == 1


def test_a_node_that_shows_anothers_head_first_shuts_nobody_out(tmp_path: Path) -> None:
    run = make(tmp_path, "local", stores=3)
    stores = Roster.load(run.directory / ROSTER).stores
    mine, other = (ask(run, store).content for store in (0, 1))
    with run.grid() as grid:
        grid.store_of = lambda node: stores[node - 2] if node < 4 else None  # type: ignore[attr-defined]
        keeper = Witness(grid, run.agreement, deadline_s=60, archive=run.archive)
        for thief in (3, 4):
            with pytest.raises(ProtocolError, match="another node's store"):
                keeper.heard(thief, mine)
        keeper.heard(2, mine)
        keeper.heard(3, other)


def test_a_store_that_is_let_in_again_is_heard_under_its_nodes_new_number_and_no_other(tmp_path: Path) -> None:
    run = make(tmp_path, "local", stores=3)
    store = Roster.load(run.directory / ROSTER).stores[0]
    mine = ask(run, 0).content
    with run.grid() as grid:
        enrolled = {2: store}
        grid.store_of = enrolled.get  # type: ignore[attr-defined]
        keeper = Witness(grid, run.agreement, deadline_s=60, archive=run.archive)
        keeper.heard(2, mine)
        enrolled[9] = store  # both at once: one of them is not its node
        with pytest.raises(ProtocolError, match="another node's store"):
            keeper.heard(9, mine)
        del enrolled[2]
        keeper.heard(9, mine)
        with pytest.raises(ProtocolError, match="another node's store"):
            keeper.heard(2, mine)


@pytest.mark.slow
def test_many_stores_get_the_receipt_of_their_group(tmp_path: Path) -> None:
    stores = MOST_HEADS + 3
    run = make(tmp_path, "local", learner="gram", stores=stores)
    run.run()
    for store in (0, 1, stores - 1):
        body = next(line["body"] for line in entries(run, store) if line["kind"] == "receipt")
        assert stores // 2 <= len(body["heads"]) <= MOST_HEADS
    assert set(words(run)) == {"ok"}


def signed_again(run: SecureRun, store: int, kept: list[dict[str, Any]]) -> None:
    """The store's own work: a chain of these entries, every line signed with its key."""
    key, raw, prev = Identity.load(key_path(run.directory, store)), [], START
    for seq, entry in enumerate(kept):
        fields = {k: v for k, v in entry.items() if k != "sig"} | {"seq": seq, "prev": prev}
        raw.append(canonical_bytes({**fields, "sig": key.sign("ledger", canonical_bytes(fields)).hex()}))
        prev = line_hash(raw[-1])
    ledger_path(run.around.results, store).write_bytes(b"".join(line + b"\n" for line in raw))


def without(kinds: tuple[str, ...], last_round: int) -> Any:
    def keep(line: dict[str, Any]) -> bool:
        return line["kind"] not in kinds and line["body"].get("round", 0) <= last_round

    return keep


NEEDS_A_PEER: dict[str, Any] = {
    "its end was cut": lambda lines: lines[: len(lines) // 2],
    "a backup was put back": lambda lines: lines[:4],
    "its last round was left out": lambda lines: [
        x for x in lines if without(("release", "receipt", "checkpoint"), 1)(x)
    ],
    "its receipts were left out": lambda lines: [x for x in lines if x["kind"] in ("genesis", "plan", "charge")],
    "it was begun again": lambda lines: lines[:1],
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> SecureRun:
    run = make(tmp_path_factory.mktemp("finished"), "plain")
    run.run()
    return run


@pytest.mark.parametrize("peers", ["stores", "coordinator", "nobody"])
@pytest.mark.parametrize("tampering", NEEDS_A_PEER)
def test_what_needs_a_peer_is_found_through_the_receipts_of_a_run(
    finished: SecureRun, tmp_path: Path, tampering: str, peers: str
) -> None:
    shutil.copytree(finished.directory, tmp_path / "run")
    run = make_copy(finished, tmp_path / "run")
    signed_again(run, 2, NEEDS_A_PEER[tampering](entries(run, 2)))
    if peers != "stores":  # the others' ledgers are not at hand
        for store in (0, 1, 3, 4):
            ledger_path(run.around.results, store).unlink()
    if peers != "coordinator":
        (run.archive / RECEIPTS).unlink()
    expected = set() if peers == "nobody" else {("store-0002.jsonl", "witness")}
    assert rules(run) == expected


def make_copy(run: SecureRun, directory: Path) -> SecureRun:
    made = object.__new__(SecureRun)
    made.__dict__.update(run.__dict__, directory=directory)
    made.around = type(run.around)(directory / "results", run.around.seed, masked=False)
    return made


def test_an_in_process_grid_numbers_its_stores_as_the_tests_here_do() -> None:
    grid = InProcessGrid(make_app(), 2, lambda store: {"store": store})
    assert [node - 2 for node in grid.get_node_ids()] == [0, 1]
