"""What every store of a simulation brings to the gate: a ledger of its own, a key, and noise.

DIR/ledger/store-0003.jsonl           stays with the results
DIR/ledger/transcript/                of secure aggregation, and the coordinator's receipts; stays too
keys/, journals/                      beside the coalition's records; go when the run is complete
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fedcart.client.gate import Surroundings
from fedcart.client.ledger_files import LEDGERS, key_path, ledger_path
from fedcart.client.masking import LedgerHead, StoreMasks
from fedcart.client.witness import pinned_coordinator
from fedcart.server.masked_sums import TRANSCRIPTS
from fedcart.shared.agreement import Agreement
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import ConfigError
from fedcart.shared.identity import Identity
from fedcart.shared.ledger.ledger import Ledger
from fedcart.shared.plan import Plan, exact
from fedcart.shared.policy import simulated
from fedcart.shared.privacy.accounting import dearest_charge
from fedcart.shared.privacy.keystream import fresh
from fedcart.shared.roster import KEY as COORDINATOR_KEY
from fedcart.shared.roster import ROSTER, Roster
from fedcart.shared.secagg.graph import reach_of
from fedcart.simulation.config import EngineConfig
from fedcart.simulation.rehearsal import RehearsalKeys

JOURNALS = "journals"


@dataclass(frozen=True)
class SimulatedStores:
    """Makes a store's surroundings, in this process or in another.

    Attributes:
      results: directory in which `ledger/` stays.
      seed: of rehearsal noise; None = the operating system's.
      masked: whether shares of noise leave behind a mask only. Else in the clear, which one person who holds all
        stores' data may allow.
      masks: store -> its part in secure aggregation, in this process's memory until `close`.
    """

    results: Path
    seed: int | None
    masked: bool = False
    masks: dict[int, StoreMasks] = field(default_factory=dict, compare=False, repr=False)

    def __call__(self, directory: str, store: int) -> Surroundings:
        """Of one store."""
        keys = fresh if self.seed is None else RehearsalKeys(self.seed, store)

        def open_ledger() -> Ledger:
            return Ledger.open(ledger_path(self.results, store), Identity.load(key_path(directory, store)))

        if self.masked and store not in self.masks:
            self.masks[store] = StoreMasks(
                Agreement.open(directory),
                store,
                Identity.load(key_path(directory, store)),
                Path(directory) / JOURNALS / f"store-{store:04d}.journal",
                LedgerHead(ledger_path(self.results, store), open_ledger),
            )
        policy = simulated()
        return Surroundings(
            policy=policy,
            keys=keys,
            open_ledger=open_ledger,
            plain_shares=not self.masked,
            masks=self.masks.get(store),
            coordinator=pinned_coordinator(directory, policy),
        )

    def close(self) -> None:
        """Erase all secrets of secure aggregation and give the journals back."""
        while self.masks:
            self.masks.popitem()[1].close()

    @property
    def transcripts(self) -> Path:
        """Directory of secure aggregation's transcripts."""
        return self.results / LEDGERS / TRANSCRIPTS

    def approve(self, directory: Path, plan: Plan, plan_hash: str, catalogue: Catalogue) -> None:
        """Start each store's ledger, with policy and plan in it; ledgers that a run left when it stopped go on."""
        if plan.privacy is None:
            return
        rounds = plan.rounds(catalogue)
        dearest = dearest_charge(rounds, plan.honest)
        for store in range(plan.participants):
            with self._ledger(directory, store) as ledger:
                if ledger.approved(plan_hash):
                    continue
                ledger.policy(simulated().digest)
                epsilon = str(exact(plan.privacy.epsilon))
                ledger.plan(
                    plan_hash, epsilon=epsilon, delta=plan.privacy.delta, dearest=dearest, attempts=plan.attempts
                )
        if not (directory / ROSTER).exists():
            self._enrol(directory, plan.participants)

    def _ledger(self, directory: Path, store: int) -> Ledger:
        """A store's ledger, new or as a run left it, whose first lines it may lack."""
        path, key = ledger_path(self.results, store), key_path(directory, store)
        path.parent.mkdir(parents=True, exist_ok=True)
        key.parent.mkdir(parents=True, exist_ok=True)
        identity = Identity.load(key) if key.exists() else Identity.create(key)
        if path.exists():
            return Ledger.open(path, identity)
        return Ledger.create(path, identity, coalition="simulation", rehearsal=self.seed is not None)

    def _enrol(self, directory: Path, stores: int) -> None:
        """Write the roster: the coordinator's key, each store's, and the first lines of their ledgers."""
        path = directory / COORDINATOR_KEY
        coordinator = Identity.load(path) if path.exists() else Identity.create(path)
        keys, ledgers = [], []
        for store in range(stores):
            identity = Identity.load(key_path(directory, store))
            with Ledger.open(ledger_path(self.results, store), identity) as ledger:
                keys.append(identity.public.hex())
                ledgers.append(ledger.genesis)
        (directory / JOURNALS).mkdir(exist_ok=True)
        Roster(coordinator=coordinator.public.hex(), stores=tuple(keys), ledgers=tuple(ledgers)).save(
            directory / ROSTER
        )


def aggregation_of(plan: Plan, engine: EngineConfig) -> Literal["SA1", "plain"]:
    """How totals are opened: by secure aggregation wherever stores share one noise, unless told otherwise.

    Raises:
      ConfigError: [engine] aggregation says SA1, and they share none; or above 100 stores so many may collude or be
        missing that no ring holds (`graph.reach_of`).
    """
    cohort = plan.cohort()
    if engine.aggregation == "SA1" and cohort is None:
        raise ConfigError(
            f"[engine] aggregation SA1 with trust {plan.trust}; nothing was run",
            "it needs trust distributed; else aggregation auto",
        )
    if cohort is None or engine.aggregation == "plain":
        return "plain"
    reach_of(cohort)
    return "SA1"
