"""Customers that a report shows. Only of made-up data: the caller sees to it that nobody is behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import BEHAVIOURS, Histories
from fedcart.simulation.evaluate import Ranking
from fedcart.simulation.methods import Trainings


def examples(trainings: Trainings, alone: Ranking, together: Ranking) -> list[dict[str, Any]]:
    """Three made-up customers with short histories: what they bought, and the first five of both lists of new items."""
    train, store = trainings.split.train, trainings.partition.store_of
    bought = (train.behaviours >> BEHAVIOURS.index(trainings.split.target)) & 1 == 1
    counts = np.bincount(train.row_of_pair()[bought], minlength=train.customers)
    fit = trainings.split.held_out.measured
    fit = fit[(counts[fit] >= 4) & (counts[fit] <= 9)]
    if len(fit) < 3:
        return []
    generator = np.random.default_rng([trainings.config.seed, 0xE])
    chosen = np.sort(generator.choice(fit, 3, replace=False))
    return [
        {
            "title": f"Customer {letter} of {trainings.partition.names[store[customer]]}",
            "history": [item(trainings.catalogue, x) for x in items_of(train, customer, bought)],
            "alone": [item(trainings.catalogue, x) for x in alone.top[customer, :5] if x >= 0],
            "together": [item(trainings.catalogue, x) for x in together.top[customer, :5] if x >= 0],
        }
        for letter, customer in zip("ABC", chosen.tolist(), strict=True)
    ]


def items_of(train: Histories, customer: int, wanted: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """A customer's items among the wanted ones of all pairs."""
    own = slice(int(train.indptr[customer]), int(train.indptr[customer + 1]))
    found: npt.NDArray[np.int32] = train.items[own][wanted[own]]
    return found


def item(catalogue: Catalogue, position: int) -> dict[str, Any]:
    """A public item as a page shows it."""
    title, category, price = catalogue.text("title"), catalogue.text("category"), catalogue.number("price")
    known_price = None if price is None or np.isnan(price[position]) else round(float(price[position]), 2)
    return {
        "title": (str(title[position]) if title is not None else "") or None,
        "price": known_price,
        "category": None if category is None else str(category[position]) or None,
    }
