"""A coordinator that lies to real stores: each lie is refused, nothing is released, and every ledger verifies."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coalition_kit import NAMES, served, write_sales
from fedcart.client.membership.demo import Demo
from fedcart.client.membership.ready import write_records
from fedcart.client.store_folder import StoreFolder
from fedcart.client.store_process import StoreProcess
from fedcart.server import app as server_app
from fedcart.server import masked_sums
from fedcart.server.checkpoint import read_lines
from fedcart.server.coalition.control import question
from fedcart.server.coalition.folder import PUBLISHED, CoalitionFolder
from fedcart.server.coalition.planning import publish, write_plan_file
from fedcart.shared.canonical import canonical_bytes
from fedcart.shared.errors import ConfigError, FedcartError, PrivacyRefused
from fedcart.shared.identity import Identity
from fedcart.shared.learners.base import State
from fedcart.shared.ledger.verify import verify
from fedcart.shared.roster import ROSTER, Roster
from fedcart.shared.secagg_wire import read_masked_instruction
from fedcart.shared.signatures import SIGNATURES, PlanSignatures


@dataclasses.dataclass
class Lies:
    """A coalition whose operator writes what he likes, and three honest stores."""

    folder: CoalitionFolder
    stores: list[StoreFolder]

    def publish(self, change: Callable[[Path], None]) -> Path:
        """A plan as it should be, changed by `change`, under the coordinator's own signature."""
        write_plan_file(self.folder, epsilon=4.0, learner="popularity", trust=None, customers_bound=1000)
        _, place = publish(self.folder)
        false = place.with_name(hashlib.sha256(repr(change).encode()).hexdigest()[:16])
        false.mkdir()
        for file in ("plan.json", "catalogue.json", ROSTER):
            (false / file).write_bytes((place / file).read_bytes())
        change(false)
        digest = hashlib.sha256((false / "plan.json").read_bytes()).hexdigest()
        PlanSignatures.sign(digest, self.folder.identity()).save(false / SIGNATURES)
        (self.folder.directory / PUBLISHED).write_text(f"{false.name}\n")
        return false

    def charges(self) -> int:
        """Lines of all ledgers that charge; every ledger verifies."""
        count = 0
        for store in self.stores:
            assert not verify(store.ledger_file).findings
            count += store.ledger_file.read_text().count('"kind":"charge"')
        return count


def a_coalition(tmp_path: Path) -> Iterator[tuple[Lies, Any]]:
    write_sales(tmp_path / "sales.csv")
    with served(tmp_path) as (folder, service):
        paths = folder.invite(NAMES, tmp_path)
        yield Lies(folder, Demo(paths, tmp_path / "stores", tmp_path / "sales.csv", lambda _: None).prepare()), service


@pytest.fixture(scope="module")
def lies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lies]:
    for made, _ in a_coalition(tmp_path_factory.mktemp("lies")):
        yield made


# --- a plan that lies


def edited(**fields: Any) -> Callable[[Path], None]:
    def change(place: Path) -> None:
        document = json.loads((place / "plan.json").read_bytes())
        (place / "plan.json").write_bytes(canonical_bytes({**document, **fields}))

    return change


def weaker(place: Path) -> None:
    """Its rounds say less noise than its epsilon needs."""
    document = json.loads((place / "plan.json").read_bytes())
    document["rounds"][0]["releases"][0]["noise_multiplier"] = "0.5"
    (place / "plan.json").write_bytes(canonical_bytes(document))


def another_catalogue(place: Path) -> None:
    document = json.loads((place / "catalogue.json").read_bytes())
    document["ids"] = [*document["ids"][1:], "another"]
    (place / "catalogue.json").write_bytes(canonical_bytes(document))


def invented_stores(place: Path) -> None:
    """Two of the three are the coordinator's own: a cohort of one."""
    roster = Roster.load(place / ROSTER)
    made = [Identity.create(place / f"invented{i}.key").public.hex() for i in (1, 2)]
    dataclasses.replace(roster, stores=(roster.stores[0], *made)).save(place / ROSTER)


@pytest.mark.parametrize(
    ("change", "kind", "told"),
    [
        (weaker, ConfigError, "says other rounds"),
        (edited(app_hash="0" * 64), PrivacyRefused, "is installed here"),
        (edited(app_hash=None), PrivacyRefused, "names no app_hash"),
        (edited(coalition="another"), PrivacyRefused, "of coalition 'another'"),
        (edited(coordinator_key="0" * 64), PrivacyRefused, "not of .demo. by its pinned coordinator"),
        (edited(not_after=1_700_000_000, not_before=None), PrivacyRefused, "does not hold after"),
        (edited(not_before=4_000_000_000, not_after=None), PrivacyRefused, "does not hold before"),
        (edited(attempts=3), ConfigError, "says other rounds"),
        (another_catalogue, ConfigError, "catalogue"),
        (edited(catalogue_source="derived"), PrivacyRefused, "derived from interactions"),
        (invented_stores, PrivacyRefused, "could have invented"),
    ],
)
def test_a_store_approves_no_plan_that_lies(
    lies: Lies, change: Callable[[Path], None], kind: type[FedcartError], told: str
) -> None:
    lies.publish(change)
    store = StoreProcess(lies.stores[0].directory)
    with pytest.raises(kind, match=told):
        store._look_for_plan()
    assert store.plan == ""
    assert lies.charges() == 0
    assert '"kind":"plan"' not in lies.stores[0].ledger_file.read_text()


# --- a run that lies


class Running:
    """Three stores that approved a plan with many attempts, and a coordinator to be patched."""

    def __init__(self, lies: Lies) -> None:
        path = write_plan_file(
            lies.folder, epsilon=4.0, learner="popularity", trust=None, customers_bound=1000, attempts=3
        )
        assert path.exists()
        _, self.place = publish(lies.folder)
        self.lies = lies
        self.stores = [StoreProcess(x.directory, look_s=0.2, ready=write_records) for x in lies.stores]

    def train(self) -> dict[str, Any]:
        """What `coalition train` is told at last."""
        asked = {"do": "train", "wait_s": 60, "deadline_s": 10}
        return list(question(self.lies.folder.directory, asked))[-1]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    for lies, _ in a_coalition(tmp_path_factory.mktemp("running")):
        made = Running(lies)
        for store in made.stores:
            store.start()
        try:
            yield made
        finally:
            with ThreadPoolExecutor() as together:
                list(together.map(StoreProcess.stop, made.stores))


LIES: tuple[Callable[..., tuple[Any, ...]], ...] = (
    lambda plan, index, state, attempt, raw: ("0" * 64, index, state, attempt, raw),  # a plan of weaker noise
    lambda plan, index, state, attempt, raw: (plan, index + 1, state, attempt, raw),  # a longer run
    lambda plan, index, state, attempt, raw: (plan, index, state, 3, raw),  # a repeat that epsilon does not pay for
)


def test_instructions_that_lie_are_charged_for_nothing(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lie an attempt; every store refuses each."""
    true, left = masked_sums.write_masked_instruction, list(LIES)
    monkeypatch.setattr(masked_sums, "write_masked_instruction", lambda *words: true(*left.pop(0)(*words)))
    told = running.train()
    assert (told["event"], told["exit_code"], left) == ("failed", 4, [])
    assert "3 ProtocolError" in told["message"] or "3 PrivacyRefused" in told["message"]
    assert running.lies.charges() == 0
    assert read_lines(running.place) == []


def test_a_store_that_is_asked_alone_answers_nothing(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cohort of one: its share of the noise would stand alone."""
    monkeypatch.setattr(server_app, "aggregation_of", lambda *_: "plain")
    told = running.train()
    assert (told["event"], told["exit_code"]) == ("failed", 4)
    assert "3 PrivacyRefused" in told["message"]
    assert running.lies.charges() == 0


def test_another_model_for_one_store_opens_nothing_and_an_honest_repeat_follows(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That store computes nothing; what the others sent stays masked, and is paid for."""
    true, seen = masked_sums.MaskedSums._flow, []

    def split(own: Any, now: Any, epoch: Any, name: Any, contents: Any, take: Any) -> None:
        if name == "train" and not seen:
            seen.append(name)
            plan_hash, rounds = own._agreement.plan_hash, own._agreement.rounds
            other = State({"another": np.ones(3, np.float32)}, {})
            raw = read_masked_instruction(contents[0])[1]
            contents = {**contents, 0: masked_sums.write_masked_instruction(plan_hash, rounds[0].index, other, 0, raw)}
        true(own, now, epoch, name, contents, take)

    monkeypatch.setattr(masked_sums.MaskedSums, "_flow", split)
    assert running.train()["event"] == "done"
    [line] = read_lines(running.place)
    assert (line["attempt"], line["stores"]) == (1, 3)
    assert running.lies.charges() == 2 + 3
