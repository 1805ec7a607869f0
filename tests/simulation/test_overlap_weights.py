"""`--overlap weights` end to end: people at several shops, one clip each, one epsilon for all of a person."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from fedcart.client.gate import release
from fedcart.client.ledger_files import ledger_path
from fedcart.client.records import StoreRecords
from fedcart.shared.errors import ConfigError, PrivacyRefused
from fedcart.shared.interactions import WHOLE, Interactions
from fedcart.shared.learners.memory import MemoryCustomers
from fedcart.shared.learners.popularity import Popularity
from fedcart.shared.privacy.clipped_sums import ClippedSums
from fedcart.shared.privacy.grid import grid
from fedcart.shared.privacy.terms import PrivacyTerms
from fedcart.simulation import Config, simulate
from fedcart.simulation.cli import promise
from fedcart.simulation.document import LINKAGE
from fedcart.simulation.partition import Partition
from fedcart.simulation.report.facts import LINKED, strip
from fedcart.simulation.run import prepare
from private_run import around, small

ROOT = Path(__file__).resolve().parents[2]
SHOPS, PEOPLE, ITEMS = 4, 120, 30


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Person p buys at 1 + p % 3 shops, four items at each."""
    chance, rows = random.Random(2), ["customer,item,time,store"]
    for person in range(PEOPLE):
        for shop in range(1 + person % 3):
            bought = chance.sample(range(ITEMS), 4)
            rows += [f"c{person},i{i},{1_700_000_000 + 60 * k},s{shop + person % 2}" for k, i in enumerate(bought)]
    path = tmp_path_factory.mktemp("table") / "sales.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def config(table: Path, out: Path, overlap: str, **more: object) -> Config:
    given = {
        "data.name": str(table), "stores.by": "column", "learner.name": "popularity", "evaluate.baselines": ["content"],
        "evaluate.alone": False, "evaluate.pooled": False, "evaluate.no_noise": False, "privacy.epsilon": 4.0,
        "privacy.trust": "distributed", "privacy.rehearsal": True, "privacy.overlap": overlap, "output.dir": out,
    }  # fmt: skip
    return Config.read(None, given | more)


@pytest.fixture(scope="module")
def run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("weights") / "run"
    return out, simulate(config(table, out, "weights")).document


def test_the_unit_is_the_person_and_the_report_says_what_that_needs(run, table, tmp_path):
    _, found = run
    jsonschema.validate(found, json.loads((ROOT / "docs/schema/run.schema.json").read_text()))
    privacy = found["privacy"]
    assert (privacy["unit"], privacy["overlap"], privacy["epsilon"]) == ("customer", "weights", 4.0)
    assert "epsilon_in_stores" not in privacy
    assert LINKAGE in privacy["uncovered"]
    assert "by a linkage that is trusted" in promise(found)
    assert any(chip.note == LINKED for chip in strip(found)), "the page's strip says it too"
    pair = simulate(config(table, tmp_path / "pair", "pair")).document["privacy"]
    assert pair["unit"] == "customer_store_pair"
    assert set(pair["epsilon_in_stores"]) >= {"2", "3"}
    assert pair["noise_effective"] == privacy["noise_effective"]  # same noise, and the promise is to a person now


def test_removing_a_person_from_all_stores_moves_the_coalitions_sum_by_at_most_the_sensitivity(table, tmp_path):
    """On the histories that the run writes for its stores; a person of three shops, with all of their customers."""
    prepared = prepare(config(table, tmp_path, "weights"))
    histories, people = prepared.split.train, prepared.partition.people
    assert set(np.unique(histories.parts).tolist()) == {WHOLE, WHOLE // 2, WHOLE // 3}
    learner = Popularity()
    terms = PrivacyTerms(
        epsilon=1.0, delta=1e-5, overlap="weights", colluders=1, min_survivors=3, bounds=learner.bounds()
    )
    catalogue = prepared.dataset.catalogue
    (round_,) = terms.apply(learner.rounds(catalogue, 300), honest=2, attempts=1, customers_bound=300)
    state, name = learner.initial_state(catalogue, 0), round_.releases[0].name
    for person in np.unique(people[histories.parts == WHOLE // 3])[:10]:
        same = np.flatnonzero(people == person)
        assert len(same) == 3
        sums = ClippedSums([round_.releases[0]], parted=True)
        learner.contribute(state, round_, MemoryCustomers(histories.take(same)), sums)
        moved = sum(int(x) ** 2 for x in sums.units()[name])
        assert 0 < moved <= grid(round_.releases[0]).sensitivity ** 2


def test_without_an_epsilon_it_claims_no_unit_of_a_person(table, tmp_path):
    found = simulate(config(table, tmp_path / "run", "weights", **{"privacy.epsilon": np.inf, "privacy.trust": "none"}))
    assert (found.document["privacy"]["unit"], found.document["privacy"]["overlap"]) == ("customer_store_pair", None)


def test_it_needs_one_noise(table, tmp_path):
    with pytest.raises(ConfigError, match="trust distributed"):
        simulate(config(table, tmp_path / "run", "weights", **{"privacy.trust": "local"}))


def test_a_persons_parts_are_equal_and_never_more_than_one():
    nothing = Interactions.build([], [])
    people = np.array([5, 7, 7, 9, 9, 9])
    parts = Partition(nothing, people, np.array([0, 6]), ("a",)).parts()
    assert parts.tolist() == [WHOLE, WHOLE // 2, WHOLE // 2, *[WHOLE // 3] * 3]
    assert Partition(nothing, people[:1], np.array([0, 1]), ("a",)).parts().tolist() == [WHOLE]


def test_a_store_without_parts_charges_nothing(tmp_path):
    agreement = small(tmp_path, "popularity", "distributed")
    plan = dataclasses.replace(agreement.plan, privacy=dataclasses.replace(agreement.plan.privacy, overlap="weights"))
    before = ledger_path(tmp_path, 0).read_bytes()
    with pytest.raises(PrivacyRefused, match="does not know its customers' parts"):
        release(
            dataclasses.replace(agreement, plan=plan),
            agreement.rounds[0],
            0,
            agreement.learner.initial_state(agreement.catalogue, 0),
            StoreRecords.open(tmp_path, 0, 0),
            around(tmp_path, plain_shares=True),
        )
    assert ledger_path(tmp_path, 0).read_bytes() == before
