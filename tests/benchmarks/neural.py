"""Accuracy and time of `mf` and `ncf`, pooled and over stores: customers at random, no noise, no Flower.

    python tests/benchmarks/neural.py --learner mf --stores 1,10,21 [--data ncf-split] [--set KEY=JSON ...]
        [--store-set KEY=JSON ...] [--validation] [--every 10] [--seed 0] [--epsilon 4 --clip 3]

One store is the same learner on pooled data. `--set` changes hyper-parameters of every run, `--store-set` those of
the runs over several stores only. `--validation` measures one training item of each customer (held out by seeded
hash) and never the test items: for choosing settings. `--epsilon` takes the settings of private runs, clips each
customer's gradient to --clip and adds the noise of 10 stores of which 7 are certain, delta 1e-5.
Prints one JSON object: settings, figures, processor seconds. Run it with OMP_NUM_THREADS=1; the products are too small
for more threads to help.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcart.shared import metrics
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import Histories
from fedcart.shared.learners.base import Learner, Round, State
from fedcart.shared.learners.memory import MemoryCustomers, round_totals
from fedcart.shared.learners.neural.learner import GRADIENT
from fedcart.shared.plan import build_learner, hyper_parameters
from fedcart.shared.privacy.clipped_sums import ClippedSums
from fedcart.shared.privacy.discrete_gaussian import add_discrete_gaussian
from fedcart.shared.privacy.grid import grid, share_variance
from fedcart.shared.privacy.keystream import KEY_BYTES, Keystream
from fedcart.shared.privacy.terms import PrivacyTerms, with_changes
from fedcart.simulation import defaults
from fedcart.simulation.config import Config, DataConfig, StoresConfig
from fedcart.simulation.evaluate import Ranking, join, rank
from fedcart.simulation.held_out import HeldOut
from fedcart.simulation.run import prepare
from fedcart.simulation.split import Split
from fedcart.simulation.validation import hold_out_for_validation

STORES, CERTAIN, DELTA = 10, 7, 1e-5
"""Whose noise `--epsilon` adds."""


def noisy_totals(
    learner: Learner, state: State, round_: Round, stores: Sequence[MemoryCustomers]
) -> Mapping[str, npt.NDArray[np.float64]]:
    """What the coordinator of a coalition would open: clipped integer sums and every store's share of noise."""
    totals = {release.name: np.zeros(release.shape, np.int64) for release in round_.releases}
    for customers in stores:
        customers.begin(round_.index)
        sums = ClippedSums(round_.releases)
        learner.contribute(state, round_, customers, sums)
        for name, units in sums.units().items():
            totals[name] += units
    for release in round_.releases:
        for _ in range(STORES):
            stream = Keystream(os.urandom(KEY_BYTES))
            add_discrete_gaussian(totals[release.name], share_variance(release, CERTAIN), stream)
    return {release.name: grid(release).values(totals[release.name]) for release in round_.releases}


def run(
    learner: Learner, parts: Sequence[Split], catalogue: Catalogue, seed: int, every: int, terms: PrivacyTerms | None
) -> dict[str, Any]:
    """Train over the stores of `parts` and rank; the figures of the last round."""
    stores = [MemoryCustomers(part.train) for part in parts]
    bound = sum(part.train.customers for part in parts)
    state, rounds, seconds = learner.initial_state(catalogue, seed), learner.rounds(catalogue, bound), 0.0
    if terms is not None:
        rounds = terms.apply(rounds, honest=CERTAIN, attempts=1, customers_bound=bound)
    totals = round_totals if terms is None else noisy_totals
    figures: dict[str, Any] = {}
    for round_ in rounds:
        begun = time.process_time()
        state = learner.update(state, round_, totals(learner, state, round_, stores))
        seconds += time.process_time() - begun
        last = round_.index + 1 == len(rounds)
        if last or (every and (round_.index + 1) % every == 0):
            for store in stores:
                store.begin(round_.index + 1)
            figures = measure(learner, state, stores, parts, catalogue)
            print(f"round {round_.index + 1}/{len(rounds)}: {seconds:.0f} s, {figures}", file=sys.stderr, flush=True)
    upload = 4 * sum(release.words for release in rounds[-1].releases)
    return {
        **figures, "rounds": len(rounds), "training_seconds": round(seconds, 1), "upload_bytes_per_round": upload,
    }  # fmt: skip


def measure(
    learner: Learner, state: State, stores: Sequence[MemoryCustomers], parts: Sequence[Split], catalogue: Catalogue
) -> dict[str, Any]:
    """Sampled and full HR@10 and NDCG@10 of all stores' customers."""
    scorer = learner.scorer(state, catalogue)
    ranking: Ranking = join([rank(scorer, p, s.local) for p, s in zip(parts, stores, strict=True)])
    indptr = np.concatenate([[0], np.cumsum(np.concatenate([np.diff(p.held_out.indptr) for p in parts]))])
    found = {"full": metrics.several(indptr, ranking.new).values}
    if not np.isnan(ranking.sampled).all():
        found["sampled"] = metrics.single(ranking.sampled).values
    return {
        kind: {name: round(float(values[name].mean()), 4) for name in ("hr@10", "ndcg@10")}
        for kind, values in found.items()
    }


def parts_of(name: str, stores: int, seed: int, validation: bool) -> tuple[list[Split], Catalogue]:
    """The data set's split, cut by store, customers at random."""
    config = Config(data=DataConfig(name=name), stores=StoresConfig(count=stores, by="random"), seed=seed)
    prepared = prepare(config)
    split = prepared.split
    if validation:
        train, held_out = hold_out_for_validation(split.train, seed, split.target)
        held_out = dataclasses.replace(held_out, candidates=candidates(split.train, held_out, seed))
        split = dataclasses.replace(split, train=train, held_out=held_out)
    offsets = prepared.partition.offsets
    cut = [split.slice(int(a), int(b)) for a, b in itertools.pairwise(offsets)]
    return cut, prepared.dataset.catalogue


def candidates(train: Histories, held_out: HeldOut, seed: int) -> npt.NDArray[np.int32]:
    """[customers, 100] each validation item and 99 items drawn from those not in the customer's training history."""
    found = np.full((train.customers, 100), -1, np.int32)
    found[held_out.owner, 0] = held_out.items
    generator = np.random.default_rng([seed, 99])
    for row in held_out.owner:
        own = train.items[train.indptr[row] : train.indptr[row + 1]]
        found[row, 1:] = generator.choice(np.delete(np.arange(train.items_total), own), 99, replace=False)
    return found


def pairs(given: Sequence[str]) -> Mapping[str, Any]:
    """KEY=JSON arguments."""
    return {key: json.loads(value) for key, _, value in (pair.partition("=") for pair in given)}


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--learner", choices=("mf", "ncf"), default="mf")
    parser.add_argument("--data", default="ncf-split")
    parser.add_argument("--stores", default="1,10,21")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=JSON")
    parser.add_argument("--store-set", action="append", default=[], metavar="KEY=JSON")
    parser.add_argument("--validation", action="store_true")
    parser.add_argument("--every", type=int, default=0, help="measure every so many rounds too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epsilon", type=float)
    parser.add_argument("--clip", type=float, default=1.0)
    given = parser.parse_args()
    runs = {}
    for count in map(int, given.stores.split(",")):
        private = {} if given.epsilon is None else defaults.settings(given.data, given.learner, private=True)
        settings = {**private, **pairs(given.set), **(pairs(given.store_set) if count > 1 else {})}
        learner = build_learner(given.learner, settings)
        cut, catalogue = parts_of(given.data, count, given.seed, given.validation)
        terms = None
        if given.epsilon is not None:
            bounds = with_changes(learner.bounds(), {GRADIENT: {"clip_norm": given.clip}})
            terms = PrivacyTerms(epsilon=given.epsilon, delta=DELTA, bounds=bounds)
        runs[str(count)] = run(learner, cut, catalogue, given.seed, given.every, terms) | {
            "settings": hyper_parameters(learner)
        }
    measured = "one training item of each customer" if given.validation else "test items"
    print(json.dumps({"learner": given.learner, "data": given.data, "measured": measured, "stores": runs}, indent=1))


if __name__ == "__main__":
    main()
