"""A small run under trust `distributed`, with or without masks, through both Flower apps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedcart.client.app import make_app
from fedcart.server.masked_sums import MaskedSums
from fedcart.server.rounds import run_rounds
from fedcart.server.witness import Witness
from fedcart.shared import flower_compat as fc
from fedcart.shared.agreement import Agreement
from fedcart.shared.roster import ROSTER, Roster, pins_of
from fedcart.shared.secagg.pins import Pins
from fedcart.simulation.engines import EngineSettings, run
from fedcart.simulation.engines.faults import FaultHook
from fedcart.simulation.engines.in_process import InProcessGrid
from fedcart.simulation.simulated_stores import SimulatedStores
from private_run import LEARNERS
from small_run import write_small_run

SEED = 7


@dataclass
class SecureRun:
    """Plan, ledgers, keys and roster of a run; `around` makes its stores."""

    directory: Path
    stores: int = 5
    learner: str = "popularity"
    masked: bool = True
    attempts: int = 1
    seed: int | None = SEED
    more: dict[str, Any] = field(default_factory=dict)
    trust: str = "distributed"

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        settings = {**LEARNERS.get(self.learner, {}), **self.more}
        self.agreement: Agreement = write_small_run(
            self.directory,
            stores=self.stores,
            learner=self.learner,
            trust=self.trust,
            epsilon=4.0,
            attempts=self.attempts,
            **settings,
        )
        self.around = SimulatedStores(self.directory / "results", self.seed, masked=self.masked)
        self.around.approve(self.directory, self.agreement.plan, self.agreement.plan_hash, self.agreement.catalogue)

    @property
    def archive(self) -> Path:
        return self.around.transcripts

    def pins(self) -> Pins:
        roster = Roster.load(self.directory / ROSTER)
        return pins_of(self.agreement.plan, self.agreement.plan_hash, self.agreement.rounds, roster)

    def run(self, faults: FaultHook | None = None, **settings: Any) -> None:
        """To the end, by the engine, as `simulate` does."""
        settings.setdefault("quorum", 1)
        aggregation: Any = "SA1" if self.masked else "plain"
        made = EngineSettings(aggregation=aggregation, archive=self.archive, **settings)
        with closing(self.around):
            run(self.directory, self.stores, made, faults, self.around)

    @contextmanager
    def grid(self) -> Iterator[InProcessGrid]:
        """The stores' apps, for a test that plays the coordinator."""
        fc.become_coordinator(1)
        place = str(self.directory)
        with (
            closing(self.around),
            InProcessGrid(make_app(self.around), self.stores, lambda store: {"records": place, "store": store}) as grid,
        ):
            yield grid

    def rounds(self, grid: fc.Grid, **settings: Any) -> None:
        """The coordinator's loop over any grid."""
        terms: dict[str, Any] = {"deadline_s": 60, "archive": self.archive}
        witness = Witness(grid, self.agreement, **terms)
        with closing(MaskedSums(grid, self.agreement, heard=witness.heard, **terms)) as masked:
            more = {"masked": masked, "witness": witness, "quorum": 1, **settings}
            run_rounds(grid, self.agreement, deadline_s=60, **more)
