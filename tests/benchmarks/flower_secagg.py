"""Processor seconds of Flower's own secagg+ (its workflow and its client mod), on the grid of `secagg.py`'s figures.

    OMP_NUM_THREADS=1 python tests/benchmarks/flower_secagg.py [--stores 50] [--words 1000000] [--drops 0,0.2]

Prints one JSON object: means over the stores, totals at the coordinator, as `secagg.py` does; run that with the same
--stores and --words beside it. Every store shares with every other. `drops` are stores whose upload does not come. The
grid calls the client mod in this process, so neither side pays for a transport.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from typing import Any

import fedcart.shared.flower_compat as fc

# isort: split
# After flower_compat, which sets what Flower reads when it is first imported.
import numpy as np
from fake_grid import FakeGrid
from flwr.client.mod import secaggplus_mod
from flwr.common import FitIns, FitRes, Parameters, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.typing import Code
from flwr.compat.common import recorddict_compat as compat
from flwr.server.compat.legacy_context import LegacyContext
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key


class Node:
    """What the workflow wants of a client proxy."""

    def __init__(self, node: int) -> None:
        self.node_id = node


class Strategy:
    """All nodes, every round; keeps what was aggregated."""

    def __init__(self, nodes: int) -> None:
        self.nodes, self.found = [Node(i + 1) for i in range(nodes)], None

    def configure_fit(self, _: int, parameters: Parameters, __: Any) -> list[tuple[Node, FitIns]]:
        return [(node, FitIns(parameters, {})) for node in self.nodes]

    def aggregate_fit(self, _: int, results: list[tuple[Node, FitRes]], __: Any) -> tuple[None, dict[str, Any]]:
        self.found = results[0][1].parameters
        return None, {}


class Manager:
    """What the workflow asks of a client manager."""

    def __init__(self, nodes: int) -> None:
        self._nodes = nodes

    def num_available(self) -> int:
        return self._nodes


class Stores:
    """Flower's client mod at each node."""

    def __init__(self, values: np.ndarray[Any, Any]) -> None:
        self._values = values
        self._contexts: dict[int, fc.Context] = {}

    def answer(self, message: fc.Message, node: int) -> fc.Message:
        """The mod's reply."""
        context = self._contexts.setdefault(node, fc.Context(1, node, {}, fc.RecordDict(), {}))
        reply: fc.Message = secaggplus_mod(message, context, self._train)
        return reply

    def _train(self, message: fc.Message, _: fc.Context) -> fc.Message:
        result = FitRes(Status(Code.OK, ""), ndarrays_to_parameters([self._values]), 1, {})
        return fc.Message(compat.fitres_to_recorddict(result, False), reply_to=message)


def measure(stores: int, length: int, share: float) -> dict[str, Any]:
    """One round."""
    fc.become_coordinator(1)
    gone = set(range(stores - int(share * stores) + 1, stores + 1))
    values = (np.arange(length) % 1000 - 500) / 100.0
    grid, strategy = FakeGrid(Stores(values).answer, gone, missing_from=2), Strategy(stores)
    context = LegacyContext(
        context=fc.Context(1, 1, {}, fc.RecordDict(), {}), strategy=strategy, client_manager=Manager(stores)
    )
    context.state.config_records[MAIN_CONFIGS_RECORD] = fc.ConfigRecord({Key.CURRENT_ROUND: 1})
    context.state.array_records[MAIN_PARAMS_RECORD] = compat.parameters_to_arrayrecord(
        ndarrays_to_parameters([np.zeros(1)]), True
    )
    workflow = SecAggPlusWorkflow(1.0, max(2, stores // 2 + 1), max_weight=1.0)
    begun = time.process_time()
    workflow(grid, context)
    whole = time.process_time() - begun
    assert strategy.found is not None, "no sum was opened"
    assert np.abs(parameters_to_ndarrays(strategy.found)[0] - values).max() < 1e-4, "another mean than the stores'"
    spent = {node: sum(kinds.values()) for node, kinds in grid.seconds.items()}
    alive = [seconds for node, seconds in spent.items() if node not in gone]
    return {
        "stores": stores,
        "words": length,
        "dropped": len(gone),
        "store_seconds": round(sum(alive) / len(alive), 3),
        "coordinator_seconds": round(whole - sum(spent.values()) - grid.carried, 3),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    """Measure each drop rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stores", type=int, default=50)
    parser.add_argument("--words", type=int, default=1_000_000)
    parser.add_argument("--drops", default="0,0.2")
    given = parser.parse_args()
    found = [measure(given.stores, given.words, float(share)) for share in given.drops.split(",")]
    print(json.dumps({"threads": os.environ.get("OMP_NUM_THREADS"), "runs": found}, indent=2))


if __name__ == "__main__":
    main()
