"""Processor seconds and memory of secure aggregation, at a store and at the coordinator, one thread.

    OMP_NUM_THREADS=1 python tests/benchmarks/secagg.py [--stores 50] [--words 10000000] [--drops 0,0.2] [--bits 32]
                                                        [--check on|off]

Prints one JSON object: means over the stores, totals at the coordinator. Every message is real and the sum is compared
with the plain one. `drops` are stores missing after BOXES, before their upload (the dearest case: one mask for each
pair with a survivor). `--check off` leaves out the coordinator's comparison of each upload with its signed hash.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from fedcart.shared.privacy.cohort import Cohort
from fedcart.shared.secagg.aggregator import Aggregator
from fedcart.shared.secagg.graph import reach_of
from fedcart.shared.secagg.masks import to_words
from fedcart.shared.secagg.wire import CHECKED
from secagg_kit import COORDINATOR, MODEL, Coalition, identity, make_pins

T = TypeVar("T")


class Clock:
    """Processor seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    def __call__(self, name: str, call: Callable[..., T], *arguments: Any) -> T:
        CHECKED.clear()  # each party is a process of its own, where no other has checked a signature before
        begun = time.process_time()
        answer = call(*arguments)
        self.seconds.setdefault(name, []).append(time.process_time() - begun)
        return answer


def measure(n: int, length: int, share: float, bits: Any, checked: bool) -> dict[str, Any]:
    """One epoch of one round."""
    colluders = max(1, n // 10)
    minimum = max((n + colluders) // 2 + 1, int(0.8 * n))
    cohort = Cohort(participants=n, colluders=colluders, min_survivors=minimum)
    made = Coalition(make_pins(n, colluders, minimum, length=length, bits=bits, reach=reach_of(cohort)))
    clock = Clock()
    epoch = Aggregator(made.pins, identity(COORDINATOR), made.own, check_vectors=checked)
    for store in made.stores.values():
        clock("coordinator keys and boxes", epoch.add_keys, clock("store keys", store.keys, epoch.keys_request()))
    shown = clock("coordinator keys and boxes", epoch.boxes_request)
    for store in made.stores.values():
        clock("coordinator keys and boxes", epoch.add_boxes, clock("store boxes", store.boxes, shown))
    for i, store in made.stores.items():
        clock("store deliver", store.deliver, clock("coordinator keys and boxes", epoch.delivery, i))
    begun = clock("coordinator begin", epoch.begin, 0, 0, MODEL)
    gone = set(range(n - int(share * n), n))
    values = np.arange(length, dtype=np.int64) % 1000 - 500
    expected = np.zeros(length, np.int64)
    for i, store in made.stores.items():
        if i in gone:
            continue
        words = clock("store quantised to words", to_words, values, bits)
        upload = clock("store train", store.train, begun.train_request(), MODEL, lambda _, w=words: w)
        clock("coordinator add", begun.add, upload.vector, upload.word)
        store._round.upload = None  # its memory is another machine's
        expected += values
    request = clock("coordinator confirm", begun.confirm_request)
    for i, store in made.stores.items():
        if i not in gone:
            clock("coordinator confirm", begun.add_confirm, clock("store confirm", store.confirm, request))
    asked = clock("coordinator unmask", begun.unmask_request)
    for i, store in made.stores.items():
        if i not in gone:
            clock("coordinator unmask", begun.add_unmask, clock("store unmask", store.unmask, asked))
    total = clock("coordinator open", begun.total)
    assert np.array_equal(total, expected)
    about = {"stores": n, "neighbours": 2 * made.pins.reach or n - 1, "words": length, "bits": bits}
    return report(clock, about | {"dropped": len(gone), "check": checked})


def report(clock: Clock, about: dict[str, Any]) -> dict[str, Any]:
    """Means a store, sums at the coordinator."""
    stores = {k: sum(v) / len(v) for k, v in clock.seconds.items() if k.startswith("store")}
    parts = {k: sum(v) for k, v in clock.seconds.items() if k.startswith("coordinator")}
    each_round = sum(seconds for k, seconds in parts.items() if k != "coordinator keys and boxes")
    return about | {
        "store_seconds": {k.removeprefix("store "): round(v, 4) for k, v in stores.items()},
        "store_mask_and_quantise": round(stores["store train"] + stores["store quantised to words"], 3),
        "coordinator_seconds": {k.removeprefix("coordinator "): round(v, 4) for k, v in parts.items()},
        "coordinator_round": round(each_round, 3),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    """Measure each drop rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stores", type=int, default=50)
    parser.add_argument("--words", type=int, default=10_000_000)
    parser.add_argument("--drops", default="0,0.2")
    parser.add_argument("--bits", type=int, default=32, choices=(32, 64))
    parser.add_argument("--check", default="on", choices=("on", "off"))
    given = parser.parse_args()
    found = [
        measure(given.stores, given.words, float(share), given.bits, given.check == "on")
        for share in given.drops.split(",")
    ]
    print(json.dumps({"threads": os.environ.get("OMP_NUM_THREADS"), "runs": found}, indent=2))


if __name__ == "__main__":
    main()
