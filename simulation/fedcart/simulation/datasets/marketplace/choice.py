"""How much a person wants an item: the one utility of the marketplace, and the random choice that follows it.

utility = appeal + style of that department + price + loved brand + stage of life + a lasting private whim,
all before season, exposure, complements and replenishment, which `visits` adds where they arise.
The whim is a fixed number for each (person, item) pair: nobody but that person's own purchases tells it.
"""

from __future__ import annotations

import numpy as np

from fedcart.simulation.datasets.marketplace.goods import Floats, Goods, Ints
from fedcart.simulation.datasets.marketplace.people import People

APPEAL = 0.4
STYLE = 3.6
STYLE2 = 2.6
BRAND = 0.9
WRONG_STAGE = 2.5
WHIM = 0.7
NOISE = 0.7


def utility(people: People, goods: Goods, person: Ints, item: Ints, whim_seed: int) -> Floats:
    """The lasting utility of item[r] for person[r] of every row; any equal shapes."""
    department = goods.department[item]
    style = goods.style[item]
    wanted = APPEAL * goods.appeal[item]
    wanted += np.float32(STYLE) * (people.style[person, department] == style)
    wanted += np.float32(STYLE2) * (people.style2[person, department] == style)
    wanted += np.float32(BRAND) * people.loyalty[person] * (people.loyal[person, department] == goods.brand[item])
    wanted -= people.price_sense[person] * np.abs(goods.dearness[item] - people.target[person])
    category = goods.category[item]
    wanted += people.habit[person, category]
    stage = goods.categories.stage[category]
    wanted -= np.float32(WRONG_STAGE) * ((stage >= 0) & (stage != people.stage[person]))
    wanted += np.float32(WHIM) * whim(person, item, whim_seed)
    return np.asarray(wanted, np.float32)


def whim(person: Ints, item: Ints, seed: int) -> Floats:
    """A lasting private taste, standard Gumbel, a hash of (person, item, seed): the same whenever it is asked."""
    word = person.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    word += item.astype(np.uint64) * np.uint64(0xD1B54A32D192ED03) + np.uint64(seed % (1 << 63))
    word ^= word >> np.uint64(32)
    word *= np.uint64(0xD6E8FEB86659FD93)
    word ^= word >> np.uint64(32)
    word *= np.uint64(0xD6E8FEB86659FD93)
    uniform = ((word >> np.uint64(41)).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-23)
    return np.asarray(-np.log(-np.log(uniform)), np.float32)


def gumbel(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Gumbel noise of scale NOISE: taking the highest utility + noise is a multinomial-logit choice."""
    uniform = rng.random(shape, dtype=np.float32) * np.float32(1 - 2e-7) + np.float32(1e-7)
    return np.asarray(np.float32(-NOISE) * np.log(-np.log(uniform)), np.float32)
