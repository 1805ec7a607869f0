"""What each safety costs, and how settings are chosen: a learner (`spectral`) pooled, with a choice of noise.

    OMP_NUM_THREADS=1 python tests/benchmarks/spectral.py --data-dir ../shared/data --epsilon 1 4 8 --noise ideal
    OMP_NUM_THREADS=1 python tests/benchmarks/spectral.py --data-dir ../shared/data --epsilon 4 --validation \
        --set regularization=300.0,1000.0
    OMP_NUM_THREADS=1 python tests/benchmarks/spectral.py --data-dir ../shared/data --stores 10 --validation \
        --measured 2000 --learner gram

`released`: the noise of a run of `--stores` stores with trust distributed, integers and zCDP accounting. `ideal`: one
continuous Gaussian at exact accounting (Balle, Wang 2018, arXiv:1805.06530), no colluder and no dropout: a reference
that is not released. Both are drawn by numpy here, since nothing leaves. Prints one row a setting: mean over seeds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from fedcart.shared import metrics
from fedcart.shared.learners.memory import MemoryCustomers, store_totals
from fedcart.shared.learners.store_cooccurrences import beside_store
from fedcart.shared.plan import build_learner
from fedcart.shared.privacy.clipped_sums import ClippedSums
from fedcart.shared.privacy.cohort import Cohort
from fedcart.shared.privacy.conversion import auto_delta, gdp_mu
from fedcart.shared.privacy.grid import grid
from fedcart.shared.privacy.terms import PrivacyTerms
from fedcart.simulation import defaults
from fedcart.simulation.alone import by_store
from fedcart.simulation.config import Config, DataConfig, PrivacyConfig, StoresConfig
from fedcart.simulation.evaluate import join, rank
from fedcart.simulation.held_out import HeldOut
from fedcart.simulation.promise import customers_bound
from fedcart.simulation.run import divide, read
from fedcart.simulation.validation import inner_split

DELTA = 1e-5
"""Where the number of customers allows it."""
SCORING = {
    "factor_weight",
    "factor_exponent",
    "content_rank",
    "unobserved_weight",
    "regularization",
    "popularity_weight",
    "order_weight",
    "order_items",
    "own_weight",
    "own_half_life_days",
}
"""Settings that only the local solve reads: one training serves all of them."""


def noised_rounds(learner, catalogue, epsilon, noise, stores, bound, delta=DELTA):
    """The rounds with clips and noise, and the standard deviation of what is really added, over what they say."""
    rounds = learner.rounds(catalogue, bound)
    if epsilon == math.inf:
        return rounds
    cohort = Cohort.default(stores)
    delta = min(delta, auto_delta(bound))
    terms = PrivacyTerms(epsilon=epsilon, delta=delta, bounds=learner.bounds())
    made = terms.apply(rounds, honest=1, attempts=1, customers_bound=bound)
    if noise == "released":
        return tuple(replace(r, noise_excess=math.sqrt(stores / cohort.honest)) for r in made)
    rho = sum(0.5 / release.noise_multiplier**2 for r in made for release in r.releases)
    factor = math.sqrt(2 * rho) / gdp_mu(epsilon, delta)  # the same split, at mu instead of sqrt(2 rho)
    return tuple(
        replace(r, releases=tuple(replace(x, noise_multiplier=x.noise_multiplier * factor) for x in r.releases))
        for r in made
    )


def noised(units, release, excess, draw):
    """What units with noise are worth. The noise is added to units, as stores do: off the diagonal of a triangle a
    unit is worth 5/7 of one on it, and so is its noise."""
    steps = grid(release)
    deviation = release.noise_multiplier * steps.sensitivity * excess
    return steps.values(units + deviation * draw.standard_normal(units.shape))


def train(learner, split, catalogue, rounds, seed):
    """The state after the last round."""
    return train_with_rows(learner, split, catalogue, rounds, seed)[0]


def train_with_rows(learner, split, catalogue, rounds, seed):
    """(state, the customers' own rows, which `als` keeps at the stores)."""
    store = MemoryCustomers(split.train)
    draw = np.random.default_rng(seed)
    state = learner.initial_state(catalogue, seed)
    for round_ in rounds:
        store.begin(round_.index)
        if round_.releases[0].noise_multiplier == 0:
            totals = store_totals(learner, state, round_, store)
        else:
            sums = ClippedSums(round_.releases)
            learner.contribute(state, round_, store, sums)
            totals = {}
            for release in round_.releases:
                totals[release.name] = noised(sums.units()[release.name], release, round_.noise_excess, draw)
        state = learner.update(state, round_, totals)
    return state, store.local


def figures(ranking):
    """HR and NDCG at 10 of the sampled candidates, then of the full ranking."""
    return [*hits(ranking.sampled), *hits(ranking.new)]


def hits(ranks):
    known = ranks[~np.isnan(ranks)]
    if not len(known):
        return [math.nan, math.nan]
    top = known[known < 10]
    return [len(top) / len(known), float((1 / np.log2(top + 2)).sum()) / len(known)]


def with_candidates(split, seed=0):
    """Each validation item among 99 items drawn from all that the customer has not had; test items may be
    among them, as nothing here knows which those are."""
    held, train = split.held_out, split.train
    draw, candidates = np.random.default_rng(seed), np.full((train.customers, 100), -1, np.int32)
    for customer in held.measured:
        own = held.items[held.indptr[customer]]
        had = np.append(train.items[train.indptr[customer] : train.indptr[customer + 1]], own)
        others = np.setdiff1d(draw.permutation(train.items_total)[: 100 + len(had)], had)
        candidates[customer, 0] = own
        candidates[customer, 1:] = draw.permutation(others)[:99]
    return replace(split, held_out=replace(held, candidates=candidates))


def customer_ndcg(split, ranks):
    """NDCG@10: mean over measured customers, and over those of them who have a history."""
    found = metrics.several(split.held_out.indptr, ranks)
    values = found.values["ndcg@10"]
    warm = split.train.counts[found.rows] > 0
    return [float(values.mean()), float(values[warm].mean())]


def timed(split):
    """The same, with only customers measured whose training items have times."""
    known = np.bincount(split.train.row_of_pair()[~np.isnan(split.train.ages)], minlength=split.train.customers) > 0
    measured = split.held_out.measured
    return split.measure_only(measured[known[measured]])


def only_sold_before(split):
    """The same, with only items held out that someone had in training, and customers with a history measured."""
    train, held = split.train, split.held_out
    sold = np.bincount(train.items, minlength=train.items_total) > 0
    kept = sold[held.items] & (train.counts > 0)[held.owner]
    indptr = np.append(0, np.cumsum(np.bincount(held.owner[kept], minlength=train.customers)))
    return replace(split, held_out=HeldOut(indptr, held.items[kept], held.is_new[kept], None))


def who_is_measured(split, given, seed):
    """As the command line says."""
    if given.timed:
        split = timed(split)
    if given.sold_before:
        split = only_sold_before(split)
    return split.measure_some(given.measured, seed) if given.measured else split


def ranked(scorer, split, local, stores):
    """All customers by the model; with `stores`, each store's own co-occurrences beside it."""
    if stores is None:
        return rank(scorer, split, local)
    return join([rank(beside_store(scorer, part.train), part) for part in by_store(split, stores)])


def parse(pairs):
    return {key: [json.loads(x) for x in values.split(",")] for key, _, values in (p.partition("=") for p in pairs)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--learner", default="spectral", choices=("spectral", "gram", "als", "popularity"))
    parser.add_argument("--data", default="ncf-split")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--stores", type=int)
    parser.add_argument("--stores-by", default="auto")
    parser.add_argument("--epsilon", type=float, nargs="+", default=[1.0, 4.0, 8.0])
    parser.add_argument("--noise", choices=("ideal", "released"), default="released")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--validation", nargs="?", const="hash", choices=("hash", "latest"), help="what is held out")
    parser.add_argument("--least-rating", type=float, help="leave out ratings below it, before anything else")
    parser.add_argument("--delta", type=float, default=DELTA, help="where the number of customers allows it")
    parser.add_argument("--timed", action="store_true", help="measure only customers whose items have times")
    parser.add_argument("--with-store", action="store_true", help="each store's own co-occurrences beside the model")
    parser.add_argument("--sold-before", action="store_true", help="measure only items that someone had in training")
    parser.add_argument("--measured", type=int, help="at most so many customers, by seeded draw")
    parser.add_argument("--overlap", default="pair", choices=("pair", "declared"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=A,B", help="values to try; all combinations")
    given = parser.parse_args()
    config = Config(
        data=DataConfig(name=given.data, dir=given.data_dir),
        stores=StoresConfig(count=given.stores, by=given.stores_by),
        privacy=PrivacyConfig(overlap=given.overlap),
    )
    dataset = read(config.data, config.seed)
    if given.least_rating is not None:
        kept = dataset.interactions.value >= given.least_rating
        dataset = replace(dataset, interactions=dataset.interactions.select(kept))
    prepared = divide(config, dataset)
    split, catalogue, stores = prepared.split, prepared.dataset.catalogue, len(prepared.partition.names)
    bound, _ = customers_bound(PrivacyConfig(), given.data, split.train.customers)
    if given.validation:
        split = inner_split(split, prepared.partition, 0, {}, latest=given.validation == "latest")
        if split.rule != "time":
            split = with_candidates(split)
    split = who_is_measured(split, given, config.seed)
    tried, scoring = parse(given.set), SCORING if given.learner == "spectral" else set()
    first = {k: v for k, v in tried.items() if k not in scoring}
    second = {k: v for k, v in tried.items() if k in scoring}
    for epsilon in given.epsilon:
        for a in itertools.product(*first.values()):
            trained = dict(zip(first, a, strict=True))
            default = defaults.settings(
                given.data, given.learner, private=epsilon < math.inf, epsilon=epsilon, customers_bound=bound
            )
            base = build_learner(given.learner, {**default, **trained})
            begun = time.monotonic()
            rounds = noised_rounds(base, catalogue, epsilon, given.noise, stores, bound, given.delta)
            states = [train_with_rows(base, split, catalogue, rounds, seed) for seed in range(given.seeds)]
            seconds = time.monotonic() - begun
            for b in itertools.product(*second.values()):
                learner = build_learner(given.learner, {**default, **trained, **dict(zip(second, b, strict=True))})
                rows = []
                for state, local in states:
                    beside = prepared.partition if given.with_store else None
                    ranking = ranked(learner.scorer(state, catalogue), split, local, beside)
                    rows.append(
                        [*figures(ranking), *customer_ndcg(split, ranking.new), *customer_ndcg(split, ranking.all)]
                    )
                mean = np.mean(rows, axis=0)
                told = {**trained, **dict(zip(second, b, strict=True))}
                row = "S {:.4f}/{:.4f} F {:.4f}/{:.4f} N {:.4f} with a history {:.4f} all {:.4f} / {:.4f}".format(*mean)
                print(f"eps {epsilon:g} {row} {json.dumps(told)} {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
