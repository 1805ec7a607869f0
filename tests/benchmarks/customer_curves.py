"""Accuracy against the number of customers: one market, more and more of its people, measured.

    OMP_NUM_THREADS=1 python tests/benchmarks/customer_curves.py                       # 2,400 to 72,000 people
    OMP_NUM_THREADS=1 python tests/benchmarks/customer_curves.py --people 240000       # adds that point
    python tests/benchmarks/customer_curves.py --people                                # the table of what is there
    OMP_NUM_THREADS=1 python tests/benchmarks/customer_curves.py --people 2400 --validation --file FILE \
        --set spectral.popularity_weight=2.0 --set content.popularity_weight=3.0       # to choose settings

Goods, shelves, tribes and shops are those of one marketplace, and so is its population: 240,000 people, of whom the
first 24,000 are simulated for the point 1x, and so on. Points below 1x are disjoint parts of these 24,000, so that as
many customers are measured there. Noise is that of eight stores with trust `distributed`, drawn by numpy;
alone is each store by itself with the same learner and no noise. Writes the rows that `coalition plan --what-if` reads.
With --validation the last weeks before the split are measured and test items stay unread.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from spectral import noised_rounds, train

from fedcart.shared import metrics
from fedcart.shared.interactions import Histories
from fedcart.shared.learners.memory import MemoryCustomers, run_rounds
from fedcart.shared.plan import build_learner
from fedcart.simulation import defaults
from fedcart.simulation.config import Config, DataConfig, PrivacyConfig
from fedcart.simulation.datasets.marketplace import World
from fedcart.simulation.datasets.marketplace.events import make_events
from fedcart.simulation.datasets.marketplace.goods import make_goods, public_catalogue
from fedcart.simulation.datasets.marketplace.people import People, make_people
from fedcart.simulation.datasets.marketplace.shops import make_shelves
from fedcart.simulation.datasets.marketplace.world import SIZES, stream
from fedcart.simulation.evaluate import rank
from fedcart.simulation.held_out import HeldOut
from fedcart.simulation.promise import customers_bound
from fedcart.simulation.run import divide
from fedcart.simulation.split import Split
from fedcart.simulation.validation import inner_split

FILE = Path(__file__).parents[2] / "server/fedcart/server/coalition/measured_curves.json"
SIZE, SEED, MOST_PEOPLE = "default", 0, 240_000
PARTS = {2_400: 10, 8_000: 3}
"""People -> disjoint parts of the 24,000."""
MOST_MEASURED = 5_000
EPSILONS = (1.0, 4.0, math.inf)
DRAWS = 3
"""Most parts of a number of people that are measured, each with a noise of its own."""


@dataclass(frozen=True)
class Part:
    """Some people of the market as customers of its stores.

    Attributes:
      split: train is everyone's; held_out is that of the same customers.
      person: [customers] number of the person in this chunk.
      store: [customers].
    """

    split: Split
    person: np.ndarray
    store: np.ndarray

    def take(self, rows):
        """The stated customers, in the stated order."""
        held = self.split.held_out
        counts = np.diff(held.indptr)[rows]
        indptr = np.concatenate([[0], np.cumsum(counts)])
        pairs = np.arange(indptr[-1]) + np.repeat(held.indptr[rows] - indptr[:-1], counts)
        split = replace(
            self.split,
            train=self.split.train.take(rows),
            held_out=HeldOut(indptr.astype(np.int64), held.items[pairs], held.is_new[pairs], None),
        )
        return Part(split, self.person[rows], self.store[rows])

    def measured(self):
        """At most MOST_MEASURED customers with a held-out item, by seeded draw; whom nobody else's number moves."""
        rows = self.split.held_out.measured
        drawn = np.random.default_rng(SEED).permutation(rows)[:MOST_MEASURED]
        return self.take(np.sort(drawn))


class Market:
    """One population of `MOST_PEOPLE`, made in parts of 24,000 people, as one part is what fits memory."""

    def __init__(self, validation=False):
        self.validation = validation
        self.step, items = SIZES[SIZE]
        self.goods = make_goods(stream(SIZE, SEED, "goods"), items)
        self.people = make_people(stream(SIZE, SEED, "people"), MOST_PEOPLE, self.goods)
        self.shelves = make_shelves(stream(SIZE, SEED, "shelves"), self.goods)
        self.catalogue = public_catalogue(stream(SIZE, SEED, "titles"), self.goods, "customer-curves")

    def chunk(self, number) -> Part:
        """People number x 24,000 and on; visits and whims of their own."""
        span = slice(number * self.step, (number + 1) * self.step)
        people = People(**{f.name: getattr(self.people, f.name)[span] for f in fields(People)})
        world = World(SIZE, SEED + number, self.goods, people, self.shelves, self.catalogue)
        prepared = divide(Config(data=DataConfig(name="marketplace")), make_events(world))
        split, stores = prepared.split, prepared.partition
        return Part(inner_split(split, stores, SEED, {}) if self.validation else split, stores.people, stores.store_of)


def joined(parts) -> Histories:
    """Histories one below the other."""
    some = [part.split.train for part in parts]
    ends = np.cumsum([0, *(len(x.items) for x in some)])
    indptr = np.concatenate([[0], *(x.indptr[1:] + end for x, end in zip(some, ends, strict=False))])
    arrays = {
        k: np.concatenate([getattr(x, k) for x in some]) for k in ("items", "weights", "behaviours", "ages", "visits")
    }
    return Histories(some[0].items_total, indptr.astype(np.int64), **arrays)


def learner_of(name, epsilon, bound, given=None):
    """The learner under the present defaults, `given` [name] on top: `spectral`, or content or popularity as a private
    run releases them."""
    more = (given or {}).get(name, {})
    if name == "spectral":
        settings = defaults.settings("marketplace", "spectral", epsilon=epsilon, customers_bound=bound)
        return build_learner("spectral", {**settings, **more})
    if name == "popularity":
        return build_learner("spectral", {"sketch_rounds": 0, "content_rank": 0})
    settings = {**defaults.settings("marketplace", "content"), **more}
    return build_learner("spectral", {"content_rank": settings.pop("rank"), **settings, "sketch_rounds": 0})


class Popularity:
    """The same order for everyone."""

    def __init__(self, q):
        self.q = np.log(q).astype(np.float32)

    def score(self, block, local):
        return np.tile(self.q, (block.histories.customers, 1))


def ndcg(scorer, split):
    """[customers] NDCG@10 on new items, full ranking; NaN for who has only repeats held out."""
    found = metrics.several(split.held_out.indptr, rank(scorer, split).new)
    values = np.full(split.train.customers, np.nan)
    values[found.rows] = found.values["ndcg@10"]
    return values


def alone(histories, store, some, catalogue, bound, given):
    """Each measured customer under the model of its own store, which learned from its own customers, without noise."""
    learner, values = learner_of("spectral", math.inf, bound, given), np.full(some.split.train.customers, np.nan)
    for one in np.unique(some.store):
        own = histories.take(np.flatnonzero(store == one))
        state = run_rounds(learner, [MemoryCustomers(own)], catalogue, SEED, bound)
        rows = np.flatnonzero(some.store == one)
        values[rows] = ndcg(learner.scorer(state, catalogue), some.take(rows).split)
    return values


def point(people, parts, market, seed, say, given):
    """Rows of one number of people: every method at every epsilon, and paired differences to the simple ones."""
    histories, store = joined(parts), np.concatenate([part.store for part in parts])
    some, stores = parts[0].measured(), len(np.unique(store))
    bound, _ = customers_bound(PrivacyConfig(), "", histories.customers)
    by_itself = alone(histories, store, some, market.catalogue, bound, given)
    say(f"alone {np.nanmean(by_itself):.4f}")
    shape = replace(some.split, train=histories)  # only its training view is read
    for epsilon in EPSILONS:
        found = {"alone": by_itself}
        for name in ("popularity", "content", "spectral"):
            learner = learner_of(name, epsilon, bound, given)
            rounds = noised_rounds(learner, market.catalogue, epsilon, "released", stores, bound)
            state = train(learner, shape, market.catalogue, rounds, seed)
            scorer = learner.scorer(state, market.catalogue)
            found[name] = ndcg(Popularity(state.public["popularity"]) if name == "popularity" else scorer, some.split)
        known = ~np.isnan(found["spectral"])
        values = {name: one[known] for name, one in found.items()}
        row = {
            "people": people,
            "draw": seed,
            "customers": histories.customers,
            "measured": int(known.sum()),
            "epsilon": None if epsilon == math.inf else epsilon,
            "ndcg": {name: round(float(one.mean()), 4) for name, one in values.items()},
            "error": {name: round(float(one.std() / math.sqrt(len(one))), 4) for name, one in values.items()},
            "difference_error": {
                name: round(float((values["spectral"] - one).std() / math.sqrt(len(one))), 4)
                for name, one in values.items()
                if name != "spectral"
            },
        }
        say(json.dumps(row))
        yield row


def table(rows):
    """docs/results/customers.md's."""
    yield "| customers | epsilon | together | alone | content | popularity | together - alone | together - content |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in rows:
        ndcg, error = row["ndcg"], row["difference_error"]
        means = [f"{ndcg[name]:.4f}" for name in ("spectral", "alone", "content", "popularity")]
        gains = [f"{ndcg['spectral'] - ndcg[x]:+.4f} ± {1.96 * error[x]:.4f}" for x in ("alone", "content")]
        epsilon = "none" if row["epsilon"] is None else f"{row['epsilon']:g}"
        yield f"| {row['customers']:,} | {epsilon} | {' | '.join([*means, *gains])} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--people", type=int, nargs="*", default=[2_400, 8_000, 24_000, 72_000], help="ascending")
    parser.add_argument("--file", type=Path, default=FILE)
    parser.add_argument("--validation", action="store_true", help="measure weeks before the split; wants a --file")
    parser.add_argument("--set", action="append", default=[], metavar="METHOD.KEY=JSON", help="wants a --file")
    given = parser.parse_args()
    if (given.validation or given.set) and given.file == FILE:
        parser.error("--validation and --set do not write the rows that are shipped: give another --file")
    more = {}
    for pair in given.set:
        path, _, value = pair.partition("=")
        method, _, key = path.partition(".")
        more.setdefault(method, {})[key] = json.loads(value)
    begun, market = time.monotonic(), Market(given.validation)

    def say(text):
        print(f"{time.monotonic() - begun:6.0f} s {text}", flush=True)

    rows = json.loads(given.file.read_text())["rows"] if given.file.exists() else []
    chunks = [market.chunk(0)] if given.people else []
    for people in given.people:
        rows = [row for row in rows if row["people"] != people]
        if people in PARTS:
            count = PARTS[people]
            for number in range(min(count, DRAWS)):
                part = chunks[0].take(np.flatnonzero(chunks[0].person % count == number))
                rows += point(people, [part], market, number, say, more)
        else:
            chunks += [market.chunk(number) for number in range(len(chunks), people // market.step)]
            say(f"{people} people made")
            rows += point(people, chunks, market, SEED, say, more)
        rows.sort(key=lambda row: (row["people"], row["epsilon"] or math.inf))
        lines = ",\n".join("  " + json.dumps(row) for row in rows)
        given.file.write_text(f'{{"rows": [\n{lines}\n]}}\n')
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
