"""Training view and held-out items: the rules, applied per customer, with seeded ties (DESIGN section 10).

A customer's split depends on its own rows, its number and the seed alone: not on other customers' rows, nor on the
order of rows. Numbers are places in the data set: taking a customer out shifts others', and ties are drawn by them.
Only events of the target behaviour (purchase, or rating where there are no purchases) are held out. An event
that is held out is seen by no learner and no baseline. Rules that leave an item out (`leave-one-out`, `last-basket`)
take with it what the customer did with the same item at that time or later and, where the item is new, all that
came before: a new item has no trace in training. The rule `time` keeps everything before its second.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fedcart.shared.draws import draws
from fedcart.shared.errors import ConfigError, DataError
from fedcart.shared.evaluation import Evaluation
from fedcart.shared.interactions import BEHAVIOURS, Histories, Interactions, build_histories
from fedcart.simulation.datasets.dataset import GivenSplit
from fedcart.simulation.held_out import HeldOut, held_out_pairs, sample_candidates
from fedcart.simulation.split_rules import earlier_traces, latest_baskets, latest_events, same_visit

RULES = ("ncf", "leave-one-out", "last-basket", "time")
MEASURED = 0x5A3E
"""Purpose of the seeded draw of customers to measure."""
FEWEST_MEASURED = 2
"""Customers with a new held-out item without whom a mean says nothing."""


@dataclass(frozen=True)
class Split:
    """What learners see, what is measured, and what counts as seen.

    Attributes:
      train: the training view, [customers].
      held_out: the same customers.
      target: behaviour that is held out.
      as_of: seconds; the split's reference time for ages; None without times.
      as_of_derived: `as_of` is the latest training time, so it looks across customers and is no public constant.
      at: for rule `time`, the first held-out second.
    """

    train: Histories
    held_out: HeldOut
    target: str
    rule: str
    as_of: int | None
    at: int | None = None
    as_of_derived: bool = False

    @property
    def seen(self) -> npt.NDArray[np.bool_]:
        """[training pairs] masked when only new items are ranked; as `Evaluation.seen`, so as at a store."""
        return Evaluation(rule=self.rule, target=self.target).seen(self.train)

    def refuse_too_few(self) -> None:
        """Raise DataError where fewer than two customers have a new held-out item to be measured on."""
        count = len(np.unique(self.held_out.owner[self.held_out.is_new]))
        if count < FEWEST_MEASURED:
            raise DataError(
                f"split {self.rule}: {count} of {self.train.customers} customers can be measured on a new item, and at "
                f"least {FEWEST_MEASURED} are needed; nothing was run",
                TOO_FEW_TO_MEASURE[self.rule],
            )

    def slice(self, start: int, stop: int) -> Split:
        """Customers start..stop - 1."""
        return replace(self, train=self.train.slice(start, stop), held_out=self.held_out.slice(start, stop))

    def measure_only(self, customers: npt.NDArray[np.intp]) -> Split:
        """The same training view, with only `customers` measured."""
        return replace(self, held_out=self.held_out.only(customers))

    def measure_some(self, count: int, seed: int, people: npt.NDArray[np.int64] | None = None) -> Split:
        """At most `count` of the measured customers, by seeded draw.

        Args:
          people: [customers] what identifies each in the draw, whatever its store; None = the customer's own number.
        """
        measured = self.held_out.measured
        if len(measured) <= count:
            return self
        drawn = draws(seed, MEASURED, measured if people is None else people[measured])
        return self.measure_only(np.sort(measured[np.argsort(drawn, kind="stable")[:count]]))


def make_split(
    rows: Interactions,
    customers: int,
    items_total: int,
    *,
    rule: str,
    seed: int,
    at: int | None = None,
    as_of: int | None = None,
    given: GivenSplit | None = None,
    negatives: int = 99,
    behaviour_weights: tuple[float, ...] = (1.0,) * len(BEHAVIOURS),
    people: npt.NDArray[np.int64] | None = None,
) -> Split:
    """Split `rows` (customers 0..customers - 1) by `rule`; every choice among ties is drawn from `seed`.

    Args:
      as_of: public reference time of ages for rules without `at`; None = the latest training time of all customers.
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
        return _given(rows, customers, items_total, given, behaviour_weights, as_of)
    derived = False
    target = _target(rows, behaviour_weights)
    wanted = rows.behaviour == BEHAVIOURS.index(target)
    identity = np.arange(customers, dtype=np.int64) if people is None else people
    if rule == "time":
        if at is None or not rows.timed.all():
            raise ConfigError("split by time needs times and [split] at; nothing was run", "use leave-one-out")
        test, train = wanted & (rows.time >= at), rows.time < at
        as_of = at
    else:
        if rule == "leave-one-out":
            test = latest_events(rows, np.flatnonzero(wanted), identity, seed)
        else:
            test = latest_baskets(rows, np.flatnonzero(wanted), customers)
        train = ~same_visit(rows, test, items_total)
        train &= ~earlier_traces(rows, test, train, wanted, items_total)
        timed = rows.time[train & rows.timed]
        if as_of is None and len(timed):
            as_of, derived = int(timed.max()) + 1, True
    if not test.any():
        raise DataError(f"split {rule} finds nothing to hold out; nothing was run", NOTHING_TO_HOLD_OUT[rule])
    if not train.any():
        raise DataError(
            f"split {rule} leaves nothing to train on; nothing was run", "choose a later first held-out day"
        )
    histories = build_histories(
        rows.select(train), customers, items_total, as_of=as_of, behaviour_weights=behaviour_weights
    )
    held_out = held_out_pairs(rows.select(test), histories, target)
    if rule == "leave-one-out":
        held_out = replace(
            held_out, candidates=sample_candidates(held_out, rows, items_total, negatives, identity, seed)
        )
    return Split(histories, held_out, target, rule, as_of, at, derived)


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

TOO_FEW_TO_MEASURE = {
    "ncf": "use --split leave-one-out",
    "leave-one-out": "a customer needs two distinct items, of which the latest is no repeat",
    "last-basket": "a customer needs two baskets, with something new in the latest",
    "time": "choose another first held-out day: --split time:YYYY-MM-DD",
}


def _given(
    rows: Interactions,
    customers: int,
    items_total: int,
    given: GivenSplit | None,
    weights: tuple[float, ...],
    as_of: int | None,
) -> Split:
    if given is None:
        raise ConfigError("this data set brings no split of its own; nothing was run", "use --split leave-one-out")
    if not len(given.held_out):
        raise DataError("the data's own split holds out nothing; nothing was run", "use --split leave-one-out")
    target = BEHAVIOURS[int(given.held_out.behaviour[0])]
    histories = build_histories(rows, customers, items_total, as_of=as_of, behaviour_weights=weights)
    held_out = replace(held_out_pairs(given.held_out, histories, target), candidates=given.candidates)
    return Split(histories, held_out, target, "ncf", as_of)
