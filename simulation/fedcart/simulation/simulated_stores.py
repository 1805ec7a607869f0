"""What every store of a simulation brings to the gate: a ledger of its own, a key, and noise.

DIR/ledger/store-0003.jsonl           stays with the results
DIR/work/coalition/keys/              goes when the run is complete
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fedcart.client.gate import Surroundings
from fedcart.client.ledger_files import key_path, ledger_path
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.identity import Identity
from fedcart.shared.ledger.ledger import Ledger
from fedcart.shared.plan import Plan, exact
from fedcart.shared.policy import simulated
from fedcart.shared.privacy.accounting import dearest_charge
from fedcart.shared.privacy.keystream import fresh
from fedcart.simulation.rehearsal import RehearsalKeys


@dataclass(frozen=True)
class SimulatedStores:
    """Makes a store's surroundings, in this process or in another.

    Attributes:
      results: directory in which `ledger/` stays.
      seed: of rehearsal noise; None = the operating system's.
    """

    results: Path
    seed: int | None

    def __call__(self, directory: str, store: int) -> Surroundings:
        """Of one store; its share of noise may leave in the clear, since one person holds all stores here."""
        keys = fresh if self.seed is None else RehearsalKeys(self.seed, store)

        def open_ledger() -> Ledger:
            return Ledger.open(ledger_path(self.results, store), Identity.load(key_path(directory, store)))

        return Surroundings(policy=simulated(), keys=keys, open_ledger=open_ledger, plain_shares=True)

    def approve(self, directory: Path, plan: Plan, plan_hash: str, catalogue: Catalogue) -> None:
        """Start each store's ledger, with the plan in it; ledgers that a run left when it stopped go on."""
        if plan.privacy is None:
            return
        rounds = plan.rounds(catalogue)
        dearest = dearest_charge(rounds, plan.honest)
        for store in range(plan.participants):
            path, key = ledger_path(self.results, store), key_path(directory, store)
            if path.exists():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            key.parent.mkdir(parents=True, exist_ok=True)
            identity = Identity.load(key) if key.exists() else Identity.create(key)
            with Ledger.create(path, identity, coalition="simulation", rehearsal=self.seed is not None) as ledger:
                epsilon = str(exact(plan.privacy.epsilon))
                ledger.plan(
                    plan_hash, epsilon=epsilon, delta=plan.privacy.delta, dearest=dearest, attempts=plan.attempts
                )
