"""Which customer belongs to which store: the person-store pairs a simulation trains and measures on.

People who opted out are left out of everything. After this step a *customer* is a person at one store, numbered
store by store, as a real store would see it. With overlap `declared` a person counts at its one home store and its
events elsewhere are left out; with `pair` a person in k stores is k customers, which know nothing of each other; with
`weights` they are k customers who share one clip, in equal parts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fedcart.shared.errors import ConfigError, DataError
from fedcart.shared.interactions import WHOLE, Interactions
from fedcart.simulation.datasets.dataset import Dataset, GivenSplit, home_stores


@dataclass(frozen=True)
class Partition:
    """Interactions renumbered by store.

    Attributes:
      interactions: `customer` is 0..customers - 1 in store order, `store` the store's index.
      people: [customers] the data set's customer index of each.
      offsets: int64 [stores + 1], customers of store s are offsets[s]..offsets[s + 1] - 1.
      names: [stores].
      left_out: events at other stores than the person's home store (overlap `declared`) or at no chosen store.
      given_split: the data's own split, renumbered alike.
    """

    interactions: Interactions
    people: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    names: tuple[str, ...]
    left_out: int = 0
    given_split: GivenSplit | None = None

    def parts(self) -> npt.NDArray[np.int32]:
        """[customers] each one's part of a person's clip, of WHOLE: equal at each of the person's stores, rounded down.

        A person's parts depend on their own stores alone.
        """
        _, person, stores = np.unique(self.people, return_inverse=True, return_counts=True)
        return (WHOLE // stores[person]).astype(np.int32)

    @property
    def one_store_each(self) -> bool:
        """Whether nobody is a customer of two stores."""
        return len(np.unique(self.people)) == len(self.people)

    @property
    def store_of(self) -> npt.NDArray[np.int64]:
        """[customers] store of each customer."""
        return np.repeat(np.arange(len(self.names)), np.diff(self.offsets))


def partition(dataset: Dataset, count: int | None, by: str, overlap: str, seed: int) -> Partition:
    """Give every person of the data set to stores.

    Args:
      count: number of stores; None = the shops the data knows, or 8.
      by: `column` (the data's own shops, largest `count` of them), `random`, `dirichlet:A` (store sizes drawn
        from a symmetric Dirichlet with concentration A), `customer` (one store a person), or `auto` (column
        where the data knows shops, random elsewhere).
      overlap: `pair`, `declared` or `weights`; matters for `column` only.
    """
    by = resolved(by, dataset)
    rows = dataset.interactions
    if dataset.opted_out is not None:
        rows = rows.select(~dataset.opted_out[rows.customer])
        dataset = replace(dataset, interactions=rows)
    if by == "column":
        if not dataset.store_names:
            raise ConfigError(f"{dataset.name} knows no shops, so stores cannot go by column", "use --stores-by random")
        return _by_column(dataset, count, overlap)
    people = np.arange(dataset.customers)
    if dataset.opted_out is not None:
        people = people[~dataset.opted_out]
    stores = _count(len(people), count, by)
    store_of = np.arange(len(people)) if by == "customer" else _random(len(people), stores, by, seed)  # [people]
    names = tuple(f"store {index + 1}" for index in range(stores))
    by_store = np.argsort(store_of, kind="stable")
    order = people[by_store]
    position = np.full(dataset.customers, -1)
    position[order] = np.arange(len(order))
    store = np.full(dataset.customers, -1)
    store[people] = store_of
    renumbered = replace(
        rows, customer=position[rows.customer].astype(np.int32), store=store[rows.customer].astype(np.int32)
    )
    offsets = np.concatenate([[0], np.cumsum(np.bincount(store_of, minlength=stores))]).astype(np.int64)
    given = None
    if dataset.given_split is not None:
        held_out = dataset.given_split.held_out
        held_out = held_out.select(position[held_out.customer] >= 0)
        given = GivenSplit(
            replace(held_out, customer=position[held_out.customer].astype(np.int32)),
            dataset.given_split.candidates[order],
        )
    return Partition(renumbered, order.astype(np.int64), offsets, names, given_split=given)


def resolved(by: str, dataset: Dataset) -> str:
    """How stores are made: `auto` as what it is for this data set."""
    return by if by != "auto" else "column" if dataset.store_names else "random"


def _count(people: int, count: int | None, by: str) -> int:
    """How many stores `by` makes of so many people."""
    if people == 0:
        raise DataError("no customer is left to give to stores; nothing was run", "look at the opt-outs")
    if by == "customer":
        if count not in (None, people):
            raise ConfigError(
                f"one store a customer makes {people} stores, not {count}; nothing was run", "drop --stores"
            )
        return people
    stores = 8 if count is None else count
    if not 1 <= stores <= people:
        known = "1 customer" if people == 1 else f"{people} customers"
        hint = "use --stores 1" if people == 1 else f"use --stores 1 to {people}"
        raise ConfigError(f"{stores} stores for {known}; nothing was run", hint)
    return stores


def _random(customers: int, stores: int, by: str, seed: int) -> npt.NDArray[np.int64]:
    generator = np.random.default_rng([seed, 0x5702E])
    order = generator.permutation(customers)
    if by == "random":
        shares = np.full(stores, 1.0 / stores)
    elif by.startswith("dirichlet:"):
        try:
            concentration = float(by.removeprefix("dirichlet:"))
        except ValueError:
            concentration = float("nan")
        if not 0 < concentration < float("inf"):
            raise ConfigError(f"stores by {by!r}: the concentration must be a positive number", "dirichlet:0.5")
        shares = generator.dirichlet(np.full(stores, concentration))
    else:
        raise ConfigError(f"unknown way {by!r} to make stores", "known: auto, column, random, dirichlet:A, customer")
    bounds = np.round(np.cumsum(shares) * customers).astype(np.int64)
    bounds[-1] = customers
    store = np.empty(customers, np.int64)
    store[order] = np.searchsorted(bounds, np.arange(customers), side="right")
    return store


def _by_column(dataset: Dataset, count: int | None, overlap: str) -> Partition:
    rows = dataset.interactions
    known = rows.store >= 0
    kept = rows.select(known)
    sizes = np.bincount(kept.store, minlength=len(dataset.store_names))
    wanted = len(sizes) if count is None else count
    if not 1 <= wanted <= len(sizes):
        raise ConfigError(f"{wanted} stores asked for, {dataset.name} knows {len(sizes)}", "use --stores N")
    chosen = np.sort(np.argsort(-sizes, kind="stable")[:wanted])
    left_out = int((~known).sum())
    if overlap == "declared":
        home = home_stores(kept, dataset.customers) if dataset.homes is None else dataset.homes
        at_home = kept.store == home[kept.customer]
        left_out += int((~at_home).sum())
        kept = kept.select(at_home)
    elif overlap not in ("pair", "weights"):
        raise ConfigError(f"overlap {overlap!r} cannot be simulated", "known: pair, declared, weights")
    new_store = np.full(len(sizes), -1)
    new_store[chosen] = np.arange(wanted)
    inside = new_store[kept.store] >= 0
    left_out += int((~inside).sum())
    kept = kept.select(inside)
    if not len(kept):
        raise DataError(
            f"{dataset.name}: no event is left at the {wanted} stores; nothing was run", "use --overlap pair"
        )
    store = new_store[kept.store].astype(np.int64)
    pairs, customer = np.unique(store * dataset.customers + kept.customer, return_inverse=True)
    offsets = np.searchsorted(pairs // dataset.customers, np.arange(wanted + 1)).astype(np.int64)
    renumbered = replace(kept, customer=customer.astype(np.int32), store=store.astype(np.int32))
    names = tuple(dataset.store_names[index] for index in chosen)
    return Partition(renumbered, pairs % dataset.customers, offsets, names, left_out)
