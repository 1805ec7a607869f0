"""What part of a run's rounds secure aggregation takes, in processor seconds of one process and thread.

    OMP_NUM_THREADS=1 python tests/benchmarks/secagg_share.py [--size large] [--stores 8] [--learner spectral]

The marketplace (large: 120,000 people, 12,000 items) at epsilon 4, trust distributed, in process. Counted: everything
that stores and coordinator do for SA1, from parsing a request to opening the sum, and the words' making. Not counted:
the sums that are masked, their noise and charges. Reading data and measuring what is held out are no part of the
rounds. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedcart.client import app, masking
from fedcart.shared.secagg import aggregator, collection
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

COUNTED = {
    masking.StoreMasks: ("answer",),
    aggregator.Aggregator: ("keys_request", "add_keys", "boxes_request", "add_boxes", "delivery", "begin"),
    collection.RoundSum: (
        "train_request",
        "add",
        "confirm_request",
        "add_confirm",
        "unmask_request",
        "add_unmask",
        "total",
    ),
}


class Clock:
    """Processor seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str, sign: int = 1) -> Iterator[None]:
        begun = time.process_time()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + sign * (time.process_time() - begun)

    def around(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, on the clock."""

        def timed(*arguments: Any, **more: Any) -> Any:
            with self(name):
                return call(*arguments, **more)

        return timed


def listen(clock: Clock) -> None:
    """Put the clock around every entrance of the protocol, and around the engine."""
    for kind, names in COUNTED.items():
        side = "store" if kind is masking.StoreMasks else "coordinator"
        for name in names:
            setattr(kind, name, clock.around(side, getattr(kind, name)))
    train = masking.StoreMasks.train

    def masked(self: Any, raw: bytes, model: bytes, vector: Callable[..., Any]) -> Any:
        def unmasked(request: Any) -> Any:
            with clock("store", -1):
                return vector(request)

        with clock("store"):
            return train(self, raw, model, unmasked)

    masking.StoreMasks.train = masked  # type: ignore[method-assign]
    app.join = clock.around("store", app.join)
    engines.run = clock.around("rounds", engines.run)


def main() -> None:
    """One run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="large", choices=("small", "default", "large"))
    parser.add_argument("--stores", type=int, default=8)
    parser.add_argument("--learner", default="spectral")
    given = parser.parse_args()
    clock = Clock()
    listen(clock)
    quick = EvaluateConfig(alone=False, pooled=False, no_noise=False, baselines=(), every=0, share=0.1, replicates=10)
    with tempfile.TemporaryDirectory() as temporary:
        config = Config(
            data=DataConfig(name="marketplace", size=given.size),
            stores=StoresConfig(count=given.stores),
            learner=LearnerConfig(name=given.learner),
            privacy=PrivacyConfig(epsilon=4.0, trust="distributed"),
            evaluate=quick,
            engine=EngineConfig(aggregation="SA1"),
            output=OutputConfig(dir=Path(temporary) / "run", keep_rows=False),
        )
        customers = simulate(config).document["data"]["customers"]
    found = {name: round(seconds, 3) for name, seconds in clock.seconds.items()}
    share = (clock.seconds["store"] + clock.seconds["coordinator"]) / clock.seconds["rounds"]
    about = {"stores": given.stores, "learner": given.learner, "customers": customers, "seconds": found}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({**about, "share": round(share, 4), "peak_rss_mib": peak}, indent=2))


if __name__ == "__main__":
    main()
