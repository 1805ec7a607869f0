"""The trainings of one simulation: together, each store alone, pooled, and the baselines; each ends in a Ranking."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fedcart.client.held_out import write_held_out
from fedcart.client.local_table import MappedTable
from fedcart.client.records import LOCAL, RECORDS, write_records
from fedcart.server.checkpoint import Checkpoint, load_checkpoint, read_lines
from fedcart.shared import metrics
from fedcart.shared.canonical import content_hash
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import FedcartError
from fedcart.shared.evaluation import METRICS, FederatedMetrics
from fedcart.shared.learners.base import Learner
from fedcart.shared.learners.memory import MemoryCustomers, run_rounds
from fedcart.shared.learners.store_cooccurrences import beside_store
from fedcart.shared.plan import Plan
from fedcart.shared.storage import replace_bytes
from fedcart.simulation import baselines, engines
from fedcart.simulation.alone import by_store, settings_alone, with_regularization
from fedcart.simulation.config import Config
from fedcart.simulation.evaluate import Ranking, join, rank
from fedcart.simulation.partition import Partition
from fedcart.simulation.progress import Progress
from fedcart.simulation.released_popularity import released_popularity
from fedcart.simulation.simulated_stores import SimulatedStores, aggregation_of
from fedcart.simulation.split import Split
from fedcart.simulation.workspace import read_json

ALONE = "alone.json"
CURVE = "curve.json"
CURVE_CUSTOMERS = 1000
CURVE_POINTS = 12


@dataclass
class Trainings:
    """Everything a training needs; `curve` fills with (round, NDCG@10) while the coalition trains, `alone_settings`
    when each store alone does; both are kept beside the checkpoint."""

    config: Config
    plan: Plan
    catalogue: Catalogue
    partition: Partition
    split: Split
    coalition: Path
    progress: Progress
    around: SimulatedStores
    bound_derived: bool = False

    def __post_init__(self) -> None:
        self.learner: Learner = self.plan.build_learner()
        alone = self.coalition / ALONE
        self.alone_settings: dict[str, Any] | None = read_json(alone) if alone.exists() else None
        kept = self.coalition / CURVE
        self.curve: dict[int, float] = {int(k): v for k, v in read_json(kept).items()} if kept.exists() else {}
        self.plan_hash = content_hash(self.plan.document(self.catalogue))
        self.aggregation = aggregation_of(self.plan, self.config.engine)
        self.around = replace(self.around, masked=self.aggregation == "SA1")

    def federated(self) -> Ranking:
        """Train the coalition through both Flower apps, resuming where it stopped, and rank with its model."""
        self.plan.save(self.coalition / "plan.json", self.catalogue)
        self.around.approve(self.coalition, self.plan, self.plan_hash, self.catalogue)
        self.catalogue.save(self.coalition / "catalogue.json")
        if not (self.coalition / RECORDS).exists():  # else a run that goes on: its local rows stay
            if self.plan.evaluation is not None:
                held = self.split.held_out.only_new()
                write_held_out(self.coalition, held.indptr, held.items)
            write_records(self.coalition, self.split.train, self.partition.offsets)
        engine = self.config.engine
        settings = engines.EngineSettings(
            name=engine.name,
            mode=engine.mode,
            threads=engine.threads,
            drop_rate=engine.drop_rate,
            seed=self.config.seed,
            deadline_s=self.config.rounds.deadline_s,
            quorum=self.config.rounds.quorum,
            aggregation=self.aggregation,
            archive=self.around.transcripts,
        )
        finished = load_checkpoint(self.coalition, self.plan_hash)
        if finished is not None:  # it may have been stopped before its last round was measured
            self._measure(finished.round_index)
        with closing(self.around), on_rounds(self._round_ended):
            engines.run(self.coalition, len(self.partition.names), settings, around=self.around)
        return self._rank_model(self.split, self.progress.step)

    @property
    def uses_order(self) -> bool:
        """Whether the learner's scores read the order of a customer's own history."""
        return bool(getattr(self.learner, "order_weight", 0.0))

    def without_order(self) -> Ranking:
        """The coalition's model once more, its scores blind to the order of a customer's own history."""
        return self._rank_model(self.split, self.progress.step, replace(self.learner, order_weight=0.0))  # type: ignore[type-var]

    def with_store(self) -> Ranking:
        """The coalition's model with each store's own co-occurrences beside it: what a store can serve."""
        rankings, checkpoint = [], self._finished()
        scorer, offsets = self.learner.scorer(checkpoint.state, self.catalogue), self.partition.offsets
        stores = by_store(self.split, self.partition)
        for number, part in enumerate(stores, 1):
            local = self._local(checkpoint, int(offsets[number - 1]), int(offsets[number]))
            rankings.append(rank(beside_store(scorer, part.train), part, local))
            self.progress.step(number, len(stores))
        return join(rankings)

    def alone_with_store(self) -> Ranking:
        """Each store alone, its co-occurrences beside its own model as they are beside the coalition's."""
        return self._each_alone(self._learner_alone(), self.split, with_store=True)

    def no_noise(self) -> Ranking:
        """The same learner over the same stores, neither clipped nor noised."""
        parts = by_store(self.split, self.partition)
        stores = [MemoryCustomers(part.train) for part in parts]
        learner, plan = self.learner, self.plan
        state = run_rounds(learner, stores, self.catalogue, plan.seed, plan.customers_bound, self.progress.step)
        scorer = learner.scorer(state, self.catalogue)
        return join([rank(scorer, part, store.local) for part, store in zip(parts, stores, strict=True)])

    def alone(self) -> Ranking:
        """The same learner, trained by each store on its own customers only, with `alone_settings`."""
        return self._each_alone(self._learner_alone(), self.split)

    def _learner_alone(self) -> Learner:
        if self.alone_settings is None:
            self.alone_settings = settings_alone(
                self.config,
                self.plan.learner,
                self.learner,
                self.split,
                self.partition,
                self._each_alone,
            )
            replace_bytes(self.coalition / ALONE, json.dumps(self.alone_settings).encode())
        return with_regularization(self.learner, self.alone_settings["regularization"])

    def _each_alone(self, learner: Learner, split: Split, with_store: bool = False) -> Ranking:
        rankings, stores = [], by_store(split, self.partition)
        for number, part in enumerate(stores, 1):
            rankings.append(self.central(part, learner, with_store=with_store))
            self.progress.step(number, len(stores))
        return join(rankings)

    def central(
        self, split: Split, learner: Learner | None = None, show: bool = False, with_store: bool = False
    ) -> Ranking:
        """The same learner, or another, on the split's customers as if they were one store; with its own
        co-occurrences beside it if `with_store`."""
        if split.train.customers == 0:
            return empty_ranking(split)
        progress, bound = self.progress.step if show else None, self.plan.customers_bound
        return rank_pooled(learner or self.learner, split, self.catalogue, self.plan.seed, bound, progress, with_store)

    def baseline(self, name: str, settings: dict[str, Any]) -> Ranking:
        """A method that sees all data; in a private run, where it needs popularity alone, that as it is released."""
        if self.plan.privacy is not None and name in baselines.POPULARITY_ALONE:
            half_life = baselines.setting(name, "half_life_days", settings)
            rehearsal = self.around.seed
            q = released_popularity(self.plan, self.catalogue, self.split.train, half_life, rehearsal)
            settings = {**settings, "popularity": q}
        scorer = baselines.fit(name, self.split.train, self.catalogue, seed=self.config.seed, **settings)
        return rank(scorer, self.split, progress=self.progress.step)

    def in_stores(self) -> FederatedMetrics | None:
        """What the stores measured under the run's epsilon; None before that round is over, or where there is none."""
        lines = read_lines(self.coalition)
        checkpoint = load_checkpoint(self.coalition, self.plan_hash)
        if self.plan.evaluation is None or checkpoint is None or METRICS not in checkpoint.state.carried:
            return None
        (release,) = self.plan.rounds(self.catalogue)[-1].releases
        shares = lines[-1]["stores"] / self.plan.honest
        sigma = release.noise_multiplier * release.sensitivity() * math.sqrt(shares)
        return FederatedMetrics.of(checkpoint.state.carried[METRICS], sigma)

    def _rank_model(
        self,
        split: Split,
        progress: Callable[[int, int], None] | None = None,
        learner: Learner | None = None,
    ) -> Ranking:
        """Rank with the coalition's model and the stores' own rows after the last finished round."""
        checkpoint = self._finished()
        local = self._local(checkpoint, 0, self.split.train.customers)
        return rank((learner or self.learner).scorer(checkpoint.state, self.catalogue), split, local, progress)

    def _finished(self) -> Checkpoint:
        """The last finished round's."""
        checkpoint = load_checkpoint(self.coalition, self.plan_hash)
        if checkpoint is None:
            raise FedcartError(f"{self.coalition}: no round has finished; nothing was ranked")
        return checkpoint

    def _local(self, checkpoint: Checkpoint, start: int, stop: int) -> MappedTable:
        """The own rows of customers start..stop - 1 after the checkpoint's round."""
        rows = str(self.coalition / RECORDS / LOCAL)
        return MappedTable(rows, start, stop, self.split.train.customers, checkpoint.round_index + 1)

    def _round_ended(self, record: logging.LogRecord) -> None:
        fields = record.__dict__
        self._measure(int(fields["round"]))
        self.progress.step(int(fields["round"]) + 1, int(fields["rounds"]), "rounds")

    def _measure(self, index: int) -> None:
        """Add the model of the last finished round, `index`, to the curve where it is one of the curve's points."""
        rounds = len(self.plan.rounds(self.catalogue))
        every = self.config.evaluate.every
        step = max(1, rounds // CURVE_POINTS) if every is None else every
        if index in self.curve or not step or ((index + 1) % step and index + 1 < rounds):
            return
        small = self.split.measure_some(CURVE_CUSTOMERS, self.config.seed)
        values = metrics.several(small.held_out.indptr, self._rank_model(small).new).values["ndcg@10"]
        self.curve[index] = float(values.mean()) if len(values) else 0.0
        replace_bytes(self.coalition / CURVE, json.dumps(self.curve).encode())


def rank_pooled(
    learner: Learner,
    split: Split,
    catalogue: Catalogue,
    seed: int,
    customers_bound: int,
    progress: Callable[[int, int], None] | None = None,
    with_store: bool = False,
) -> Ranking:
    """Train on the split's customers as one store, without Flower, and rank them; with their co-occurrences beside the
    model if `with_store`."""
    pooled = MemoryCustomers(split.train)
    state = run_rounds(learner, [pooled], catalogue, seed, customers_bound, progress)
    scorer = learner.scorer(state, catalogue)
    return rank(beside_store(scorer, split.train) if with_store else scorer, split, pooled.local)


def empty_ranking(split: Split) -> Ranking:
    """A store without customers."""
    return Ranking(np.empty(0), np.empty(0), np.empty(0), np.empty((0, 10), np.int32))


class _Handler(logging.Handler):
    def __init__(self, listener: Callable[[logging.LogRecord], None]) -> None:
        super().__init__()
        self._listener = listener

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() == "round":
            self._listener(record)


@contextmanager
def on_rounds(listener: Callable[[logging.LogRecord], None]) -> Iterator[None]:
    """Call `listener` with the log record of every round the coordinator finishes."""
    logger = logging.getLogger("fedcart.rounds")
    handler, level = _Handler(listener), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
