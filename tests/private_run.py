"""A small run under an epsilon, with a ledger for store 0, and keys that repeat their noise."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from fedcart.client.app import POLICY
from fedcart.client.gate import Surroundings
from fedcart.client.ledger_files import key_path, ledger_path, open_store_ledger
from fedcart.shared.agreement import Agreement
from fedcart.shared.identity import Identity
from fedcart.shared.ledger.ledger import Ledger
from fedcart.shared.policy import Policy
from fedcart.shared.privacy.accounting import dearest_charge
from fedcart.shared.privacy.keystream import Keystream
from small_run import write_small_run

LEARNERS = {
    "popularity": {},
    "gram": {"max_items": 8},
    "als": {"embedding_dim": 3, "sweeps": 2},
    "mf": {"local_steps": 0, "server_optimizer": "adam", "embedding_dim": 3, "round_count": 2},
    "ncf": {"local_steps": 0, "server_optimizer": "adam", "embedding_dim": 3, "layers": (4, 2), "round_count": 2},
}


def seeded(plan: str, round_index: int, attempt: int, name: str) -> Keystream:
    """A rehearsal's keys: the same noise for the same place."""
    return Keystream(hashlib.sha256(f"{plan} {round_index} {attempt} {name}".encode()).digest())


def start_ledger(directory: Path, agreement: Agreement, store: int = 0, *, rehearsal: bool = False) -> None:
    """A ledger with the plan in it."""
    for path in (ledger_path(directory, store), key_path(directory, store)):
        path.parent.mkdir(exist_ok=True)
    identity = Identity.create(key_path(directory, store))
    dearest = dearest_charge(agreement.rounds, agreement.plan.honest)
    with Ledger.create(ledger_path(directory, store), identity, coalition="test", rehearsal=rehearsal) as ledger:
        ledger.plan(agreement.plan_hash, epsilon="4", delta=1e-4, dearest=dearest, attempts=agreement.plan.attempts)


def small(directory: Path, learner: str = "popularity", trust: str = "local", **more: Any) -> Agreement:
    """A private run with a ledger for store 0."""
    settings = LEARNERS[learner]
    agreement = write_small_run(
        directory, learner=learner, trust=trust, epsilon=more.pop("epsilon", 4.0), attempts=more.pop("attempts", 1),
        customers_per_store=more.pop("customers_per_store", 5), **settings,
    )  # fmt: skip
    start_ledger(directory, agreement, **more)
    return agreement


def around(directory: Path, **changes: Any) -> Surroundings:
    """A store's own surroundings, some of them changed."""
    changes.setdefault("policy", Policy.load(directory / POLICY))
    return Surroundings(open_ledger=lambda: open_store_ledger(directory, 0), **changes)
