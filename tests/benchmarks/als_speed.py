"""`als` against `implicit` on ML-1M (ncf-split), one thread: seconds a sweep, all in one run.

    python tests/benchmarks/als_speed.py [--sweeps 12] [--stores 10]

Prints one JSON object. `pooled` and `stores` are the learner over stores in memory, the stores' totals added up;
`engine` is the whole federated run, Flower messages included. `implicit` trains on pooled data with its own code
(AlternatingLeastSquares, one thread). Processor seconds, since all run on one thread; the best of the repeats.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sweeps", type=int, default=12)
    parser.add_argument("--stores", type=int, default=10)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--mode", default="lazy", choices=("lazy", "copy", "wire"))
    given = parser.parse_args()
    with threadpool_limits(1):
        print(json.dumps(measure(given), indent=2))


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Seconds a sweep of each, and the ratios."""
    from fedcart.shared.learners.als import Als
    from fedcart.simulation.datasets import load
    from fedcart.simulation.split import make_split

    dataset = load("ncf-split")
    items = len(dataset.catalogue)
    train = make_split(
        dataset.interactions, dataset.customers, items, rule="ncf", seed=0, given=dataset.given_split
    ).train
    learner = Als(embedding_dim=given.dim, sweeps=given.sweeps)
    edges = [train.customers * store // given.stores for store in range(given.stores + 1)]
    runs: dict[str, Callable[[], float]] = {
        "implicit_direct": lambda: implicit_seconds(train, learner, use_cg=False),
        "implicit_cg": lambda: implicit_seconds(train, learner, use_cg=True),
        "pooled": lambda: memory_seconds(learner, train, dataset.catalogue, [0, train.customers]),
        "stores": lambda: memory_seconds(learner, train, dataset.catalogue, edges),
        "engine": lambda: engine_seconds(learner, train, dataset.catalogue, edges, given.mode),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(given.repeats):
        for name, run in runs.items():
            seconds[name].append(run() / given.sweeps)
            print(f"repeat {repeat}: {name} {seconds[name][-1]:.3f} s a sweep", file=sys.stderr)
    best = {name: min(values) for name, values in seconds.items()}
    report: dict[str, Any] = {
        "customers": train.customers,
        "items": items,
        "dim": given.dim,
        "stores": given.stores,
        "sweeps": given.sweeps,
        "mode": given.mode,
        "seconds_per_sweep": {name: round(value, 4) for name, value in best.items()},
    }
    for name in ("pooled", "stores", "engine"):
        report[f"{name}_over_implicit_direct"] = round(best[name] / best["implicit_direct"], 3)
        report[f"{name}_over_implicit_cg"] = round(best[name] / best["implicit_cg"], 3)
    return report


def implicit_seconds(train: Any, learner: Any, use_cg: bool) -> float:
    """A whole fit of `implicit`, its default number of conjugate gradient steps where it uses them."""
    from implicit.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    shape = (train.customers, train.items_total)
    # Its confidence is 1 + (alpha - 1) on what was observed and 1 elsewhere: alpha = 1 / alpha0 is our ratio.
    x = csr_matrix((np.ones(len(train.items), np.float32), train.items, train.indptr), shape=shape)
    model = AlternatingLeastSquares(
        factors=learner.embedding_dim,
        alpha=1.0 / learner.unobserved_weight,
        iterations=learner.sweeps,
        use_cg=use_cg,
        use_gpu=False,
        num_threads=1,
        random_state=0,
    )
    begun = time.process_time()
    model.fit(x, show_progress=False)
    return time.process_time() - begun


def memory_seconds(learner: Any, train: Any, catalogue: Any, edges: list[int]) -> float:
    """The learner over stores in memory; customers edges[k] to edges[k + 1] are store k's."""
    from fedcart.shared.learners.memory import MemoryCustomers, run_rounds

    stores = [MemoryCustomers(train.slice(a, b)) for a, b in itertools.pairwise(edges)]
    begun = time.process_time()
    run_rounds(learner, stores, catalogue, 0, train.customers)
    return time.process_time() - begun


def engine_seconds(learner: Any, train: Any, catalogue: Any, edges: list[int], mode: str) -> float:
    """The same through both Flower apps in one process, from plan and records on disk."""
    from fedcart.client.records import write_records
    from fedcart.shared.agreement import CATALOGUE, PLAN
    from fedcart.shared.plan import Plan, hyper_parameters
    from fedcart.simulation.engines import EngineSettings, run

    plan = Plan(
        catalogue_hash=catalogue.hash,
        catalogue_source=catalogue.source,
        as_of=None,
        participants=len(edges) - 1,
        learner="als",
        hyper_parameters=hyper_parameters(learner),
        customers_bound=train.customers,
        seed=0,
    )
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write_records(directory, train, np.array(edges))
        plan.save(directory / PLAN, catalogue)
        catalogue.save(directory / CATALOGUE)
        begun = time.process_time()
        run(directory, len(edges) - 1, EngineSettings(mode=mode))  # type: ignore[arg-type]
        return time.process_time() - begun


if __name__ == "__main__":
    main()
