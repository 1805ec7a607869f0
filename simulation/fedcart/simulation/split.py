"""Training view and held-out items: the rules, applied per customer, with seeded ties (DESIGN section 10).

A customer's split depends on its own rows and the seed alone: not on other customers, nor on the order of rows.
Only events of the target behaviour (purchase, or rating where there are no purchases) are held out. An event
that is held out is seen by no learner and no baseline; what the customer did at the same time with the same item
in other behaviours goes with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fedcart.shared.errors import ConfigError, DataError
from fedcart.shared.interactions import BEHAVIOURS, DAY, NO_TIME, Histories, Interactions, build_histories
from fedcart.simulation.datasets.dataset import GivenSplit
from fedcart.simulation.draws import draws

RULES = ("ncf", "leave-one-out", "last-basket", "time")
TIES, CANDIDATES = 0x5B117, 0xCA9D
"""Purposes of seeded draws."""


@dataclass(frozen=True)
class HeldOut:
    """Each customer's held-out items, CSR, distinct and in catalogue order.

    Attributes:
      indptr: int64 [customers + 1].
      items: int32 [pairs].
      is_new: bool [pairs], the customer has no training event of the target behaviour with the item.
      candidates: int32 [customers, 1 + negatives] for sampled ranking, the held-out item first, -1 = no candidate
        (a customer without held-out item has a row of -1); None where the rule has no single test item.
    """

    indptr: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    is_new: npt.NDArray[np.bool_]
    candidates: npt.NDArray[np.int32] | None

    @property
    def measured(self) -> npt.NDArray[np.intp]:
        """Customers that have a held-out item, ascending."""
        return np.flatnonzero(np.diff(self.indptr) > 0)

    @property
    def owner(self) -> npt.NDArray[np.int64]:
        """[pairs] customer of each pair."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))

    def slice(self, start: int, stop: int) -> HeldOut:
        """Customers start..stop - 1."""
        low, high = int(self.indptr[start]), int(self.indptr[stop])
        candidates = None if self.candidates is None else self.candidates[start:stop]
        return HeldOut(self.indptr[start : stop + 1] - low, self.items[low:high], self.is_new[low:high], candidates)

    def only(self, customers: npt.NDArray[np.intp]) -> HeldOut:
        """The same customers, of whom only `customers` are measured."""
        chosen = np.zeros(len(self.indptr) - 1, np.bool_)
        chosen[customers] = True
        kept = chosen[self.owner]
        indptr = np.concatenate([[0], np.cumsum(np.where(chosen, np.diff(self.indptr), 0))]).astype(np.int64)
        candidates = None
        if self.candidates is not None:
            candidates = np.where(chosen[:, None], self.candidates, np.int32(-1))
        return HeldOut(indptr, self.items[kept], self.is_new[kept], candidates)


@dataclass(frozen=True)
class Split:
    """What learners see, what is measured, and what counts as seen.

    Attributes:
      train: the training view, [customers].
      held_out: the same customers.
      target: behaviour that is held out.
      as_of: seconds; the split's reference time for ages; None without times.
      at: for rule `time`, the first held-out second.
    """

    train: Histories
    held_out: HeldOut
    target: str
    rule: str
    as_of: int | None
    at: int | None = None

    @property
    def seen(self) -> npt.NDArray[np.bool_]:
        """[training pairs] the pair has the target behaviour: masked when only new items are ranked."""
        found: npt.NDArray[np.bool_] = (self.train.behaviours >> BEHAVIOURS.index(self.target)) & 1 == 1
        return found

    def slice(self, start: int, stop: int) -> Split:
        """Customers start..stop - 1."""
        return replace(self, train=self.train.slice(start, stop), held_out=self.held_out.slice(start, stop))

    def measure_only(self, customers: npt.NDArray[np.intp]) -> Split:
        """The same training view, with only `customers` measured."""
        return replace(self, held_out=self.held_out.only(customers))

    def measure_some(self, count: int, seed: int) -> Split:
        """At most `count` of the measured customers, by seeded draw."""
        measured = self.held_out.measured
        if len(measured) <= count:
            return self
        generator = np.random.default_rng([seed, 0x5A3E])
        return self.measure_only(np.sort(generator.choice(measured, count, replace=False)))


def make_split(
    rows: Interactions,
    customers: int,
    items_total: int,
    *,
    rule: str,
    seed: int,
    at: int | None = None,
    given: GivenSplit | None = None,
    negatives: int = 99,
    behaviour_weights: tuple[float, ...] = (1.0,) * len(BEHAVIOURS),
    people: npt.NDArray[np.int64] | None = None,
) -> Split:
    """Split `rows` (customers 0..customers - 1) by `rule`; every choice among ties is drawn from `seed`.

    Args:
      people: [customers] what identifies each in seeded draws, so that giving the same people to other stores
        splits them alike; None = the customer's own number.

    Raises:
      ConfigError: the rule needs times or files that the data does not have.
      DataError: there is nothing to hold out.

    Rules: `ncf` = the data's own files; `leave-one-out` = the latest event of each customer with at least two
    distinct items; `last-basket` = all target events of the latest basket of customers with at least two (without
    basket numbers, the latest day); `time` = everything from second `at` on.
    """
    if rule not in RULES:
        raise ConfigError(f"unknown split rule {rule!r}", f"known: {', '.join(RULES)}")
    if rule == "ncf":
        return _given(rows, customers, items_total, given, behaviour_weights)
    target = _target(rows, behaviour_weights)
    wanted = rows.behaviour == BEHAVIOURS.index(target)
    identity = np.arange(customers, dtype=np.int64) if people is None else people
    if rule == "time":
        if at is None or not rows.timed.all():
            raise ConfigError("split by time needs times and [split] at; nothing was run", "use leave-one-out")
        test, train = wanted & (rows.time >= at), rows.time < at
        as_of: int | None = at
    else:
        if rule == "leave-one-out":
            test = _latest_events(rows, np.flatnonzero(wanted), identity, seed)
        else:
            test = _latest_baskets(rows, np.flatnonzero(wanted), customers)
        train = ~_same_visit(rows, test, items_total)
        timed = rows.time[train & rows.timed]
        as_of = int(timed.max()) + 1 if len(timed) else None
    if not test.any():
        raise DataError(f"split {rule} finds nothing to hold out; nothing was run", NOTHING_TO_HOLD_OUT[rule])
    if not train.any():
        raise DataError(
            f"split {rule} leaves nothing to train on; nothing was run", "choose a later first held-out day"
        )
    histories = build_histories(
        rows.select(train), customers, items_total, as_of=as_of, behaviour_weights=behaviour_weights
    )
    held_out = _held_out(rows.select(test), histories, target)
    if rule == "leave-one-out":
        held_out = replace(
            held_out, candidates=_sample_candidates(held_out, rows, items_total, negatives, identity, seed)
        )
    return Split(histories, held_out, target, rule, as_of, at)


def _target(rows: Interactions, weights: tuple[float, ...]) -> str:
    """The behaviour that is held out: purchase, or rating where there are no purchases."""
    for target in ("purchase", "rating"):
        if (rows.behaviour == BEHAVIOURS.index(target)).any():
            if weights[BEHAVIOURS.index(target)] == 0:
                raise ConfigError(f"behaviour_weights: {target}, which is held out, counts 0", "weigh it above 0")
            return target
    raise DataError("no purchase or rating to hold out; nothing was run", "map behaviours with --columns")


NOTHING_TO_HOLD_OUT = {
    "leave-one-out": "a customer needs two distinct items",
    "last-basket": "a customer needs two baskets",
    "time": "choose an earlier first held-out day: --split time:YYYY-MM-DD",
}


def _given(
    rows: Interactions, customers: int, items_total: int, given: GivenSplit | None, weights: tuple[float, ...]
) -> Split:
    if given is None:
        raise ConfigError("this data set brings no split of its own; nothing was run", "use --split leave-one-out")
    if not len(given.held_out):
        raise DataError("the data's own split holds out nothing; nothing was run", "use --split leave-one-out")
    target = BEHAVIOURS[int(given.held_out.behaviour[0])]
    histories = build_histories(rows, customers, items_total, behaviour_weights=weights)
    held_out = replace(_held_out(given.held_out, histories, target), candidates=given.candidates)
    return Split(histories, held_out, target, "ncf", None)


def _latest_events(
    rows: Interactions, wanted: npt.NDArray[np.intp], people: npt.NDArray[np.int64], seed: int
) -> npt.NDArray[np.bool_]:
    """[rows] one target event of each customer with two or more distinct items: the latest, ties by seeded draw
    among the distinct items."""
    customer, item, time = rows.customer[wanted], rows.item[wanted], rows.time[wanted]
    order = np.lexsort((draws(seed, TIES, people[customer], item, time), time, customer))
    last = np.flatnonzero(np.diff(customer[order], append=-1) != 0)
    pairs = np.unique(np.stack([customer, item]), axis=1)[0]
    enough = np.bincount(pairs, minlength=len(people)) >= 2
    chosen = wanted[order[last]]
    test = np.zeros(len(rows), np.bool_)
    test[chosen[enough[rows.customer[chosen]]]] = True
    return test


def _latest_baskets(rows: Interactions, wanted: npt.NDArray[np.intp], customers: int) -> npt.NDArray[np.bool_]:
    """[rows] the target events of each customer's latest basket, for customers with two or more baskets."""
    basket = np.where(rows.basket >= 0, rows.basket, rows.time // DAY)[wanted]
    customer = rows.customer[wanted]
    order = np.lexsort((basket, rows.time[wanted], customer))
    last = np.flatnonzero(np.diff(customer[order], append=-1) != 0)
    latest = np.full(customers, np.iinfo(np.int64).min)
    latest[customer[order[last]]] = basket[order[last]]
    pairs = np.unique(np.stack([customer, basket]), axis=1)[0]
    enough = np.bincount(pairs, minlength=customers) >= 2
    test = np.zeros(len(rows), np.bool_)
    test[wanted[(basket == latest[customer]) & enough[customer]]] = True
    return test


def _same_visit(rows: Interactions, test: npt.NDArray[np.bool_], items_total: int) -> npt.NDArray[np.bool_]:
    """[rows] events of a held-out (customer, item) pair that are not earlier than the held-out event."""
    key = rows.customer.astype(np.int64) * items_total + rows.item
    held, first = np.unique(key[test], return_inverse=True)
    since = np.full(len(held), np.iinfo(np.int64).max)
    np.minimum.at(since, first, rows.time[test])
    position = np.searchsorted(held, key)
    position = np.minimum(position, max(len(held) - 1, 0))
    if len(held) == 0:
        return test
    match = held[position] == key
    untimed = rows.time == NO_TIME
    same: npt.NDArray[np.bool_] = match & (untimed | (rows.time >= since[position]))
    return same


def _held_out(test: Interactions, train: Histories, target: str) -> HeldOut:
    """The distinct (customer, item) pairs of `test`, without candidates."""
    items_total, customers = train.items_total, train.customers
    pairs = np.unique(test.customer.astype(np.int64) * items_total + test.item)
    owner = pairs // items_total
    indptr = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=customers))]).astype(np.int64)
    seen = (train.behaviours >> BEHAVIOURS.index(target)) & 1 == 1
    known = (train.row_of_pair() * items_total + train.items)[seen]
    return HeldOut(indptr, (pairs % items_total).astype(np.int32), ~np.isin(pairs, known), None)


def _sample_candidates(
    held: HeldOut,
    rows: Interactions,
    items_total: int,
    negatives: int,
    people: npt.NDArray[np.int64],
    seed: int,
) -> npt.NDArray[np.int32]:
    """Each measured customer's test item, then distinct items it has no event with; -1 where there are too few."""
    owner = held.owner
    everything = np.unique(rows.customer.astype(np.int64) * items_total + rows.item)
    candidates = np.full((len(people), 1 + negatives), -1, np.int32)
    candidates[owner, 0] = held.items
    low = np.searchsorted(everything, owner * items_total)
    high = np.searchsorted(everything, (owner + 1) * items_total)
    for row, start, stop in zip(owner, low, high, strict=True):
        unseen = np.ones(items_total, np.bool_)
        unseen[everything[start:stop] - row * items_total] = False
        free = np.flatnonzero(unseen)
        generator = np.random.default_rng([seed, CANDIDATES, int(people[row])])
        drawn = generator.choice(free, min(negatives, len(free)), replace=False)
        candidates[row, 1 : 1 + len(drawn)] = drawn
    return candidates


def hold_out_for_validation(train: Histories, seed: int, behaviour: str) -> tuple[Histories, HeldOut]:
    """One training item of each customer by a seeded hash, for choosing settings; the test items stay untouched.

    The hash is of (seed, customer, item) alone, so the choice looks at no other customer. Customers with a single
    item keep it.
    """
    row = train.row_of_pair()
    mixed = (row.astype(np.uint64) << np.uint64(32)) ^ train.items.astype(np.uint64)
    mixed = (mixed + np.uint64(seed)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(32)
    target = (train.behaviours >> BEHAVIOURS.index(behaviour)) & 1 == 1
    eligible = target & (train.counts[row] >= 2)
    order = np.lexsort((mixed, row))
    order = order[eligible[order]]
    first = order[np.flatnonzero(np.diff(row[order], prepend=-1) != 0)]
    kept = np.ones(len(row), np.bool_)
    kept[first] = False
    customers = train.customers
    counts = np.bincount(row[kept], minlength=customers)
    remaining = Histories(
        train.items_total,
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        train.items[kept],
        train.weights[kept],
        train.behaviours[kept],
        train.ages[kept],
    )
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row[first], minlength=customers))]).astype(np.int64)
    items = train.items[first]
    return remaining, HeldOut(indptr, items, np.ones(len(items), np.bool_), None)
