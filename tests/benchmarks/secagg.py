"""Processor seconds and memory of secure aggregation, at a store and at the coordinator, one thread.

    OMP_NUM_THREADS=1 python tests/benchmarks/secagg.py [--stores 50] [--words 10000000] [--drops 0,0.2] [--bits 32]
                                                        [--check on|off]

Prints one JSON object: means over the stores, totals at the coordinator. Every message is real, rides on the grid that
`flower_secagg.py` uses, and the sum is compared with the plain one. `drops` are stores missing after BOXES, before
their upload (the dearest case: one mask for each pair with a survivor). `--check off` leaves out the coordinator's
comparison of each upload with its signed hash.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from fake_grid import FakeGrid

import fedcart.shared.flower_compat as fc
from fedcart.server.exchange import Replies, gather
from fedcart.shared.privacy.cohort import Cohort
from fedcart.shared.secagg.aggregator import Aggregator
from fedcart.shared.secagg.graph import reach_of
from fedcart.shared.secagg.masks import to_words
from fedcart.shared.secagg.wire import CHECKED
from fedcart.shared.secagg_wire import Flow, message_type, read_query, read_upload, write_query, write_upload
from secagg_kit import COORDINATOR, MODEL, Coalition, identity, make_pins

DEADLINE_S = 86_400.0


class Measured:
    """A coalition on the grid. Roster index i is node i + 1."""

    def __init__(self, made: Coalition, values: np.ndarray[Any, Any], gone: set[int]) -> None:
        self.made, self._values = made, values
        self._grid = FakeGrid(self._answer, {i + 1 for i in gone}, missing_from=3)
        self.coordinator: dict[str, float] = {}

    def flow(self, name: Flow, contents: Mapping[int, bytes], take: Callable[[fc.RecordDict], object]) -> None:
        """Ask each store (by index) as the coordinator's app does."""

        def request() -> None:
            rides: dict[bytes, fc.RecordDict] = {}
            for raw in contents.values():
                rides.setdefault(raw, write_query(raw))
            asked = {store + 1: rides[raw] for store, raw in contents.items()}
            gather(
                self._grid,
                asked,
                lambda _, content: take(content),
                replies,
                kind=message_type(name),
                group=name,
                deadline_s=DEADLINE_S,
            )

        replies = Replies()
        self.clock(name, request)
        assert set(replies.failures.values()) <= {"NodeUnavailable"}, replies.failure_classes

    def clock(self, name: str, call: Callable[[], Any]) -> Any:
        """A step's processor seconds at the coordinator: all but the stores' and the grid's."""
        CHECKED.clear()  # each party is a process of its own, where no other has checked a signature before
        begun = time.process_time() - self._elsewhere()
        answer = call()
        seconds = time.process_time() - self._elsewhere() - begun
        self.coordinator[name] = self.coordinator.get(name, 0.0) + seconds
        return answer

    def stores(self) -> dict[str, float]:
        """Message type -> mean processor seconds of a store that answered it."""
        kinds = [list(kinds.items()) for kinds in self._grid.seconds.values()]
        found: dict[str, list[float]] = {}
        for kind, seconds in (pair for pairs in kinds for pair in pairs):
            found.setdefault(kind, []).append(seconds)
        return {kind: sum(seconds) / len(seconds) for kind, seconds in found.items()}

    def _elsewhere(self) -> float:
        return self._grid.carried + sum(sum(kinds.values()) for kinds in self._grid.seconds.values())

    def _answer(self, message: fc.Message, node: int) -> fc.Message:
        CHECKED.clear()
        store, raw = self.made.stores[node - 1], read_query(message.content)
        flow = message.metadata.message_type
        if flow == message_type("train"):
            upload = store.train(raw, MODEL, lambda _: to_words(self._values, self.made.pins.bits))
            store.forget_upload()
            content = write_upload(upload.vector, upload.word)
        elif flow == message_type("deliver"):
            assert store.deliver(raw) == {}
            content = write_query(b"")
        else:
            content = write_query(getattr(store, flow.removeprefix("query."))(raw))
        CHECKED.clear()
        return fc.Message(content, reply_to=message)


def measure(n: int, length: int, share: float, bits: Any, checked: bool) -> dict[str, Any]:
    """One epoch of one round."""
    fc.become_coordinator(1)
    colluders = max(1, n // 10)
    minimum = max((n + colluders) // 2 + 1, int(0.8 * n))
    cohort = Cohort(participants=n, colluders=colluders, min_survivors=minimum)
    made = Coalition(make_pins(n, colluders, minimum, length=length, bits=bits, reach=reach_of(cohort)))
    gone = set(range(n - int(share * n), n))
    values = np.arange(length, dtype=np.int64) % 1000 - 500
    on = Measured(made, values, gone)
    epoch = Aggregator(made.pins, identity(COORDINATOR), made.own, check_vectors=checked)
    on.flow("keys", dict.fromkeys(made.stores, epoch.keys_request()), lambda c: epoch.add_keys(read_query(c)))
    shown = on.clock("boxes", epoch.boxes_request)
    on.flow("boxes", dict.fromkeys(made.stores, shown), lambda c: epoch.add_boxes(read_query(c)))
    rows = on.clock("deliver", lambda: {i: epoch.delivery(i) for i in made.stores})
    on.flow("deliver", rows, read_query)
    begun = on.clock("train", lambda: epoch.begin(0, 0, MODEL))
    asked = dict.fromkeys(made.stores, begun.train_request())
    on.flow("train", asked, lambda c: begun.add(*read_upload(c)))
    request = on.clock("confirm", begun.confirm_request)
    on.flow("confirm", dict.fromkeys(begun.survivors, request), lambda c: begun.add_confirm(read_query(c)))
    request = on.clock("unmask", begun.unmask_request)
    on.flow("unmask", dict.fromkeys(begun.survivors, request), lambda c: begun.add_unmask(read_query(c)))
    total = on.clock("open", begun.total)
    assert np.array_equal(total, (n - len(gone)) * values)
    return {
        "stores": n,
        "neighbours": 2 * made.pins.reach or n - 1,
        "words": length,
        "bits": bits,
        "dropped": len(gone),
        "check": checked,
        **report(on),
    }


def report(on: Measured) -> dict[str, Any]:
    """Means a store, sums at the coordinator. TRAIN at a store: words, masks, H(y) and the record that travels."""
    stores, parts = on.stores(), on.coordinator
    once = ("keys", "boxes", "deliver")
    return {
        "store_seconds": {kind: round(seconds, 4) for kind, seconds in stores.items()},
        "store_mask_and_quantise": round(stores[message_type("train")], 3),
        "coordinator_seconds": {name: round(seconds, 4) for name, seconds in parts.items()},
        "coordinator_epoch": round(sum(parts[name] for name in once), 3),
        "coordinator_round": round(sum(seconds for name, seconds in parts.items() if name not in once), 3),
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
