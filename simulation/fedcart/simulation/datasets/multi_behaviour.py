"""jdata, tmall and taobao as shipped with MuLe (CIKM 2024): purchases, carts and favourites, without time.

Lines are 'user item'. `buy` is purchase, `cart` is cart, `collect` is favourite; valid.txt is contained in buy.
Published user counts include people who only viewed (jdata 93,334); view files are not read.

The published test file (jdata: 11,500 purchases) is left out. It is held-out data, so it must not be learned
from; and it is no `GivenSplit`, since it covers one customer in eight and comes without candidate lists. A split
of fedcart's own (leave one purchase out, by seed) covers everyone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import BEHAVIOURS, Interactions
from fedcart.simulation.datasets.dataset import Dataset, Reading
from fedcart.simulation.datasets.files import find, read_integers

BEHAVIOUR_OF_FILE: Mapping[str, str] = {"buy": "purchase", "cart": "cart", "collect": "favourite"}


def read(folder: Path) -> Dataset:
    """All events of buy, cart and collect; the item list is `derived`, a repeated line of a file is dropped.

    A customer is a person with at least one such event (jdata: 92,131), an item likewise (24,624).
    """
    parts, rows = [], 0
    for stem, behaviour in BEHAVIOUR_OF_FILE.items():
        names = [f"{prefix}{stem}.txt{suffix}" for prefix in (f"{folder.name}_", "") for suffix in (".gz", "")]
        if folder.name == "taobao" and stem == "collect":
            continue  # it has none
        path = find(folder, *names)
        table = read_integers(path, {"user": 0, "item": 1}, separator=" ")
        pairs = np.column_stack([table["user"], table["item"]])
        _, first = np.unique(pairs, axis=0, return_index=True)
        rows += len(pairs)
        code = np.full(len(first), BEHAVIOURS.index(behaviour))
        parts.append(np.column_stack([pairs[np.sort(first)], code]))
    events = np.concatenate(parts)  # [rows, (user, item, behaviour)]
    people, customer = np.unique(events[:, 0], return_inverse=True)
    goods, item = np.unique(events[:, 1], return_inverse=True)
    catalogue = Catalogue(tuple(map(str, goods.tolist())), "derived")
    interactions = Interactions.build(customer, item, behaviour=events[:, 2])
    dropped = {"duplicate": rows - len(events)} if rows > len(events) else {}
    return Dataset(folder.name, interactions, len(people), catalogue, (), Reading(rows, len(events), dropped))
