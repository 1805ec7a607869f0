"""What a store's own co-occurrences are worth beside the coalition's model, on validation items: how they were chosen.

    OMP_NUM_THREADS=1 python tests/benchmarks/store_cooccurrences.py --data online-retail
    OMP_NUM_THREADS=1 python tests/benchmarks/store_cooccurrences.py --data ncf-split --stores 10 --measured 3000 \
        --regularization 100 300 --weight 10 20 [--scaled .25 .5]

`spectral` over all stores with the noise of trust `distributed`, drawn by numpy since nothing leaves, and each store by
itself without noise; beside both, the store's own. `--scaled` brings the own predictions to spread 1 as well. Prints
NDCG@10 of new items, its mean over stores, all items, and the paired difference to the model without, with 95 %.
"""

from __future__ import annotations

import argparse
import itertools
import math
from dataclasses import dataclass

import numpy as np
from spectral import noised_rounds, train

from fedcart.shared import metrics
from fedcart.shared.learners.base import Block, LocalTable, Scorer
from fedcart.shared.learners.memory import MemoryCustomers, run_rounds
from fedcart.shared.learners.store_cooccurrences import BesideStore, StoreCooccurrences, spread
from fedcart.shared.plan import build_learner
from fedcart.simulation import defaults
from fedcart.simulation.alone import by_store
from fedcart.simulation.config import Config, DataConfig, PrivacyConfig, StoresConfig
from fedcart.simulation.evaluate import Ranking, join, rank
from fedcart.simulation.promise import customers_bound
from fedcart.simulation.run import prepare
from fedcart.simulation.summarise import macro
from fedcart.simulation.validation import inner_split


@dataclass(frozen=True)
class Scaled:
    """The own predictions brought to spread 1, which few customers do not shrink."""

    scorer: Scorer
    store: StoreCooccurrences
    weight: float

    def score(self, block: Block, local: LocalTable | None) -> np.ndarray:
        """[block customers, items]."""
        model, own = np.array(self.scorer.score(block, local), np.float32), self.store.score(block.histories)
        scaled = [x / spread(x, block.histories)[:, None] for x in (model, own)]
        return scaled[0] + np.float32(self.weight) * scaled[1]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--stores", type=int)
    parser.add_argument("--epsilon", type=float, default=4.0)
    parser.add_argument("--measured", type=int, help="at most so many customers, by seeded draw")
    parser.add_argument("--regularization", type=float, nargs="*", default=[100.0])
    parser.add_argument("--weight", type=float, nargs="*", default=[10.0, 20.0, 40.0])
    parser.add_argument("--scaled", type=float, nargs="*", default=[])
    given = parser.parse_args()
    config = Config(data=DataConfig(name=given.data), stores=StoresConfig(count=given.stores))
    prepared = prepare(config)
    catalogue, names = prepared.dataset.catalogue, prepared.partition.names
    split = inner_split(prepared.split, prepared.partition, config.seed, {})
    if given.measured:
        split = split.measure_some(given.measured, config.seed)
    bound, _ = customers_bound(PrivacyConfig(), given.data, split.train.customers)

    def learner_at(epsilon: float):
        found = defaults.settings(
            given.data, "spectral", private=epsilon < math.inf, epsilon=epsilon, customers_bound=bound
        )
        return build_learner("spectral", dict(found))

    private, alone = learner_at(given.epsilon), learner_at(math.inf)
    rounds = noised_rounds(private, catalogue, given.epsilon, "released", len(names), bound)
    together = private.scorer(train(private, split, catalogue, rounds, config.seed), catalogue)
    found: dict[str, list[Ranking]] = {}
    for part in by_store(split, prepared.partition):
        state = run_rounds(alone, [MemoryCustomers(part.train)], catalogue, config.seed, bound)
        models = {"together": together, "alone": alone.scorer(state, catalogue)}
        for name, model in models.items():
            found.setdefault(name, []).append(rank(model, part))
        for regularization in given.regularization:
            own = StoreCooccurrences.of(part.train, regularization)
            tried = [("weight", BesideStore, x) for x in given.weight] + [("scaled", Scaled, x) for x in given.scaled]
            for (name, model), (kind, make, weight) in itertools.product(models.items(), tried):
                label = f"{name} + own, lambda {regularization:g}, {kind} {weight:g}"
                found.setdefault(label, []).append(rank(make(model, own, weight), part))
    show(split.held_out.indptr, prepared.partition.store_of, {name: join(parts) for name, parts in found.items()})


def show(indptr: np.ndarray, store_of: np.ndarray, rankings: dict[str, Ranking]) -> None:
    """One line a method."""
    plain: dict[str, np.ndarray] = {}
    for name, ranking in rankings.items():
        new, every = metrics.several(indptr, ranking.new), metrics.several(indptr, ranking.all)
        values = plain[name] = new.values["ndcg@10"]
        change = values - plain[name.partition(" ")[0]]
        print(
            f"{name:45} new {values.mean():.4f} mean over stores {macro(new, store_of):.4f} "
            f"all {every.values['ndcg@10'].mean():.4f} change {change.mean():+.4f} "
            f"± {1.96 * change.std() / math.sqrt(len(change)):.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
