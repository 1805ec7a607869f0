"""What part of a run secure aggregation takes: one run with it and one without, in processor seconds of its rounds.

    OMP_NUM_THREADS=1 python tests/benchmarks/secagg_share.py [--size large] [--stores 8] [--learner L] [--repeats 3]

The marketplace (large: 120,000 people, 12,000 items) at epsilon 4, trust distributed, in process; one thread. Each run
is a process of its own; the best of the repeats stands. Reading data and measuring what is held out are not in it.
Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def rounds_of(aggregation: Any, size: Any, stores: int, learner: str) -> dict[str, Any]:
    """One run's rounds, from the plan on disk to the last state."""
    from fedcart.simulation import Config, engines, simulate
    from fedcart.simulation.config import (
        DataConfig,
        EngineConfig,
        EvaluateConfig,
        LearnerConfig,
        OutputConfig,
        PrivacyConfig,
        StoresConfig,
    )

    spent: list[float] = []
    real = engines.run

    def timed(*arguments: Any, **more: Any) -> None:
        begun = time.process_time()
        real(*arguments, **more)
        spent.append(time.process_time() - begun)

    engines.run = timed
    with tempfile.TemporaryDirectory() as temporary:
        result = simulate(
            Config(
                data=DataConfig(name="marketplace", size=size),
                stores=StoresConfig(count=stores),
                learner=LearnerConfig(name=learner),
                privacy=PrivacyConfig(epsilon=4.0, trust="distributed"),
                evaluate=EvaluateConfig(
                    alone=False, pooled=False, no_noise=False, baselines=(), every=0, share=0.1, replicates=10
                ),
                engine=EngineConfig(aggregation=aggregation),
                output=OutputConfig(dir=Path(temporary) / "run", keep_rows=False),
            )
        )
        document = result.document
    (seconds,) = spent
    return {"seconds": seconds, "customers": document["data"]["customers"]}


def main() -> None:
    """Both ways, in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="large", choices=("small", "default", "large"))
    parser.add_argument("--stores", type=int, default=8)
    parser.add_argument("--learner", default="spectral")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", choices=("SA1", "plain"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(rounds_of(given.one, given.size, given.stores, given.learner)))
        return
    best: dict[str, dict[str, Any]] = {}
    for _ in range(given.repeats):
        for way in ("plain", "SA1"):
            command = [sys.executable, *sys.argv, "--one", way]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            best[way] = min(best.get(way, found), found, key=lambda run: run["seconds"])
    share = 1 - best["plain"]["seconds"] / best["SA1"]["seconds"]
    print(json.dumps({"stores": given.stores, "learner": given.learner, **best, "share": round(share, 3)}, indent=2))


if __name__ == "__main__":
    main()
