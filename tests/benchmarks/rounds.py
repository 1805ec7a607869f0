"""Seconds and memory of a trivial round (popularity, two customers a store) with 10 to 10,000 stores.

    python tests/benchmarks/rounds.py [--stores 10,100,1000,10000] [--engine in-process] [--mode lazy]

Prints one JSON object: for each number of stores the best of the repeats in wall and processor seconds, and the
growth of the process's peak resident memory since before the first round. A fresh process for each number.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ITEMS = 100
CUSTOMERS_PER_STORE = 2


def write_run(directory: Path, stores: int) -> None:
    """A run's directory: plan, catalogue and records of `stores` stores."""
    from fedcart.client.records import write_records
    from fedcart.shared.agreement import CATALOGUE, PLAN
    from fedcart.shared.catalogue import Catalogue
    from fedcart.shared.interactions import Interactions, build_histories
    from fedcart.shared.plan import Plan

    customers = stores * CUSTOMERS_PER_STORE
    rng = np.random.default_rng(0)
    events = Interactions.build(np.repeat(np.arange(customers), 5), rng.integers(0, ITEMS, customers * 5))
    catalogue = Catalogue(tuple(map(str, range(ITEMS))), "given")
    write_records(
        directory,
        build_histories(events, customers, ITEMS),
        np.arange(0, customers + 1, CUSTOMERS_PER_STORE),
    )
    catalogue.save(directory / CATALOGUE)
    plan = Plan(
        catalogue_hash=catalogue.hash,
        catalogue_source="given",
        as_of=None,
        participants=stores,
        learner="popularity",
        hyper_parameters={"count_exponent": 0.5},
        customers_bound=customers,
        seed=0,
    )
    plan.save(directory / PLAN, catalogue)


def measure(stores: int, engine: str, mode: str, repeats: int) -> dict[str, float | int]:
    """Run the round `repeats` times in this process."""
    from fedcart.server.checkpoint import CHECKPOINT
    from fedcart.simulation.engines import EngineSettings, run

    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        write_run(directory, 10)
        run(directory, 10, EngineSettings())  # imports and caches
        (directory / CHECKPOINT).unlink()
        write_run(directory, stores)
        before = peak_bytes()
        wall, cpu = [], []
        for _ in range(repeats):
            (directory / CHECKPOINT).unlink(missing_ok=True)
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            run(directory, stores, EngineSettings(name=engine, mode=mode))  # type: ignore[arg-type]
            wall.append(time.perf_counter() - wall_start)
            cpu.append(time.process_time() - cpu_start)
        after = peak_bytes()
    return {
        "stores": stores,
        "seconds": round(min(wall), 4),
        "processor_seconds": round(min(cpu), 4),
        "peak_rss_mb": round(after / 1e6, 1),
        "peak_rss_growth_mb": round((after - before) / 1e6, 1),
    }


def peak_bytes() -> int:
    """Largest resident memory of this process so far (Linux counts it in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="seconds a trivial round")
    parser.add_argument("--stores", default="10,100,1000,10000")
    parser.add_argument("--engine", default="in-process")
    parser.add_argument("--mode", default="lazy")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one is not None:
        print(json.dumps(measure(asked.one, asked.engine, asked.mode, asked.repeats)))
        return
    rows = []
    for stores in asked.stores.split(","):
        arguments = ["--engine", asked.engine, "--mode", asked.mode, "--repeats", str(asked.repeats), "--one", stores]
        done = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
        rows.append(json.loads(done.stdout))
    print(json.dumps({"engine": asked.engine, "mode": asked.mode, "items": ITEMS, "rounds": rows}, indent=2))


if __name__ == "__main__":
    main()
