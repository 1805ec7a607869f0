"""Validation: a split inside the training view, on which settings are chosen; test items are in neither half."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fedcart.shared.draws import draws
from fedcart.shared.interactions import BEHAVIOURS, DAY, Histories
from fedcart.simulation import defaults
from fedcart.simulation.held_out import HeldOut
from fedcart.simulation.partition import Partition
from fedcart.simulation.split import Split, make_split

VALIDATION = 0x7A11D
"""Purpose of the seeded draw of validation items."""


def inner_split(
    split: Split, stores: Partition, seed: int, behaviour_weights: Mapping[str, float], *, latest: bool = False
) -> Split:
    """The split that settings are chosen on: by time the last 56 days before `split.at`, else one training item each.

    Args:
      behaviour_weights: behaviour -> weight where it is not the default one ([data] behaviour_weights).
      latest: as in `hold_out_for_validation`; a split by time is by time either way.

    Raises:
      DataError: fewer than two customers can be measured in it.
    """
    if split.rule == "time" and split.at is not None:
        rows = stores.interactions
        inner = make_split(
            rows.select(rows.time < split.at),
            split.train.customers,
            split.train.items_total,
            rule="time",
            seed=seed,
            at=split.at - defaults.VALIDATION_DAYS * DAY,
            behaviour_weights=tuple((defaults.BEHAVIOUR_WEIGHTS | dict(behaviour_weights)).values()),
            people=stores.people,
        )
    else:
        train, held_out = hold_out_for_validation(split.train, seed, split.target, stores.people, latest=latest)
        inner = replace(split, train=train, held_out=held_out)
    inner.refuse_too_few()
    return inner


def hold_out_for_validation(
    train: Histories,
    seed: int,
    behaviour: str,
    people: npt.NDArray[np.int64] | None = None,
    *,
    latest: bool = False,
) -> tuple[Histories, HeldOut]:
    """One training item of each customer by a seeded hash, for choosing settings; the test items stay untouched.

    The hash is of (seed, person, item) alone, so the choice looks at no other customer and at no store. The item
    leaves training in every behaviour. Customers with a single item keep it.

    Args:
      people: [customers] what identifies each in the draw; None = the customer's own number.
      latest: the most recent item instead, the hash among those tied and for who has no times: without it the order
        of a history cannot show, since a random item has what came after it beside it.
    """
    row = train.row_of_pair()
    mixed = draws(seed, VALIDATION, row if people is None else people[row], train.items)
    target = (train.behaviours >> BEHAVIOURS.index(behaviour)) & 1 == 1
    eligible = target & (train.counts[row] >= 2)
    order = np.lexsort((mixed, train.ages, row) if latest else (mixed, row))
    order = order[eligible[order]]
    first = order[np.flatnonzero(np.diff(row[order], prepend=-1) != 0)]
    kept = np.ones(len(row), np.bool_)
    kept[first] = False
    customers = train.customers
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row[first], minlength=customers))]).astype(np.int64)
    items = train.items[first]
    return train.only(kept), HeldOut(indptr, items, np.ones(len(items), np.bool_), None)
