"""Choose settings on validation items: `python -m fedcart.simulation.tune --data online-retail`.

Sets split by time hold out the last weeks *before* the split; others hold out one training item of each customer by
seeded hash. Held-out test items are removed before anything is fitted. Prints the TOML that settings.toml holds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedcart.shared import metrics
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import ConfigError, did_you_mean
from fedcart.shared.learners import BUILT_IN
from fedcart.shared.plan import build_learner
from fedcart.simulation import baselines
from fedcart.simulation.config import Config, DataConfig, StoresConfig
from fedcart.simulation.evaluate import rank
from fedcart.simulation.methods import rank_pooled
from fedcart.simulation.run import prepare
from fedcart.simulation.split import Split
from fedcart.simulation.validation import inner_split

MOST_MEASURED = 3000

GRID: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "als": {
        "embedding_dim": (64,),
        "unobserved_weight": (0.003, 0.03, 0.1, 0.3, 1.0, 3.0),
        "regularization": (0.001, 0.003, 0.01),
    },
    "ease": {"regularization": (30.0, 100.0, 200.0, 300.0, 500.0, 1000.0, 2000.0)},
    "itemknn": {"shrink": (0.0, 10.0, 30.0, 100.0), "neighbours": (50, 200, 1000)},
    "userknn": {"neighbours": (50, 100, 200, 500, 1000)},
    "content": {
        "unobserved_weight": (1.0,),
        "regularization": (100.0, 1000.0, 10000.0),
        "popularity_weight": (0.0, 1.0, 3.0, 8.0),
        "half_life_days": (21.0, 1e9),
    },
    "recent": {"half_life_days": (7.0, 14.0, 21.0, 30.0, 60.0, 120.0, 1e9)},
    "recent_own": {
        "half_life_days": (7.0, 14.0, 21.0, 30.0, 60.0, 120.0, 1e9),
        "own_half_life_days": (7.0, 21.0, 60.0, 180.0, 1e9),
    },
}
"""Values tried a setting; all combinations."""


def candidates(method: str, fixed: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every combination of the method's grid, `fixed` on top."""
    grid = {key: values for key, values in GRID[method].items() if key not in fixed}
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True)) | dict(fixed)


def validation_split(config: Config) -> tuple[Split, Catalogue]:
    """A split inside the training view of `config`; its test items are in neither half."""
    prepared = prepare(config)
    stores = prepared.partition
    inner = inner_split(prepared.split, stores, config.seed, config.data.behaviour_weights)
    return inner.measure_some(MOST_MEASURED, config.seed, stores.people), prepared.dataset.catalogue


def score(
    method: str, settings: Mapping[str, Any], split: Split, catalogue: Catalogue, seed: int, *, repeats: bool = False
) -> float:
    """Validation NDCG@10, full ranking of new items, or of all items where `repeats` count."""
    if method in BUILT_IN and method not in baselines.NAMES:
        learner = build_learner(method, settings)
        ranking = rank_pooled(learner, split, catalogue, seed, split.train.customers)
    else:
        ranking = rank(baselines.fit(method, split.train, catalogue, seed=seed, **settings), split)
    ranks = ranking.all if repeats else ranking.new
    return float(metrics.several(split.held_out.indptr, ranks).values["ndcg@10"].mean())


def main(arguments: Sequence[str] | None = None) -> None:
    """Tune the methods of one data set, one after another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--methods", default=",".join(GRID))
    parser.add_argument("--stores", type=int, help="stores of the column partition, where fewer than all count")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=JSON", help="fix a setting")
    parser.add_argument("--all-items", action="store_true", help="choose on all held-out items, repeats counted")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    methods = given.methods.split(",")
    for method in methods:
        if method not in GRID:
            raise ConfigError(f"--methods: {method!r} has no grid; nothing was read", did_you_mean(method, GRID))
    fixed = {key: json.loads(value) for key, _, value in (pair.partition("=") for pair in given.set)}
    config = Config(
        data=DataConfig(name=given.data, dir=given.data_dir), stores=StoresConfig(count=given.stores), seed=given.seed
    )
    split, catalogue = validation_split(config)
    for method in methods:
        tried = []
        for settings in candidates(method, fixed):
            begun = time.monotonic()
            value = score(method, settings, split, catalogue, given.seed, repeats=given.all_items)
            tried.append((value, settings))
            print(f"{method} {settings} {value:.4f} {time.monotonic() - begun:.1f} s", file=sys.stderr)
        value, best = max(tried, key=lambda pair: pair[0])
        print(f"[{given.data}.{method}]  # validation NDCG@10 {value:.4f}, {len(split.held_out.measured)} customers")
        for key, chosen in best.items():
            print(f"{key} = {json.dumps(chosen)}")
        print(flush=True)


if __name__ == "__main__":
    main()
