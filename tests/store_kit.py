"""A shop with a table: a store's folder whose data the test writes, read with a clock of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcart.client.data.reading import Reading, read_new
from fedcart.client.store_folder import STORE, StoreFolder, create_store
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import Histories
from fedcart.shared.learners.memory import MemoryCustomers, run_rounds
from fedcart.shared.model_files import save_model
from fedcart.shared.plan import Plan, build_learner

DAY = 86_400
NOW = 1_000 * DAY


@dataclass(frozen=True)
class Shop:
    """`home` holds the table sales.csv and the folder `north`."""

    home: Path

    @classmethod
    def make(cls, home: Path, table: str = "", **options: Any) -> Shop:
        """A folder with an overlap of no day, and the table."""
        shop = cls(home)
        create_store(shop.directory, source=str(home / "sales.csv"), **options)
        shop.set("overlap_days = 2 ", "overlap_days = 0 ")
        shop.write(table)
        return shop

    @property
    def directory(self) -> Path:
        return self.home / "north"

    @property
    def folder(self) -> StoreFolder:
        return StoreFolder.open(self.directory)

    def write(self, table: str, name: str = "sales.csv") -> Path:
        (self.home / name).write_text(table)
        return self.home / name

    def set(self, old: str, new: str, file: str = STORE) -> None:
        """Edit store.toml or policy.toml; the text must be there."""
        path = self.directory / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    def read(self, **options: Any) -> Reading:
        return read_new(self.folder, **{"now": NOW, **options})[1]


def make_model(
    directory: Path,
    catalogue: Catalogue,
    histories: Histories,
    *,
    as_of: int | None = None,
    learner: str = "gram",
    **settings: Any,
) -> Path:
    """A run's folder with the model of a coalition of one store, trained in the clear."""
    made = build_learner(learner, settings)
    plan = Plan(
        catalogue_hash=catalogue.hash,
        catalogue_source=catalogue.source,
        as_of=as_of,
        participants=1,
        learner=learner,
        hyper_parameters=settings,
        customers_bound=max(1, histories.customers),
        seed=0,
    )
    state = run_rounds(made, [MemoryCustomers(histories)], catalogue, 0, plan.customers_bound)
    save_model(directory / "model", plan, catalogue, state, rehearsal=False)
    return directory
