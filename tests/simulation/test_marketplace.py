"""The built-in marketplace: determinism, shape, and every trait of its band table."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fedcart.shared.errors import ConfigError
from fedcart.shared.interactions import BEHAVIOURS, DAY, Interactions
from fedcart.simulation.datasets.dataset import Dataset
from fedcart.simulation.datasets.marketplace import choice, make, make_world, pooling, traits
from fedcart.simulation.datasets.marketplace.events import LOOKING, page_views
from fedcart.simulation.datasets.marketplace.shops import MONTHS, month_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def market() -> Dataset:
    return make("default", 0)


@pytest.fixture(scope="session")
def values(market: Dataset) -> dict[str, float]:
    return traits.measure(market)


@pytest.fixture(scope="session")
def little() -> Dataset:
    return make("small", 0)


@pytest.mark.parametrize("band", traits.BANDS, ids=lambda band: band.trait)
def test_the_trait_lies_in_its_band(band: traits.Band, values: dict[str, float]) -> None:
    assert band.low <= values[band.trait] <= band.high


def test_each_shop_has_its_share_of_the_people(market: Dataset) -> None:
    share = np.bincount(make_world("default", 0).people.store) / market.customers
    np.testing.assert_allclose(share, [0.34, 0.22, 0.15, 0.10, 0.08, 0.05, 0.04, 0.02], atol=0.01)


def test_the_same_size_and_seed_give_the_same_data(little: Dataset) -> None:
    make_world.cache_clear()
    again = make("small", 0)
    assert again.catalogue.hash == little.catalogue.hash
    for name in ("customer", "item", "behaviour", "time", "value", "basket", "store"):
        np.testing.assert_array_equal(getattr(again.interactions, name), getattr(little.interactions, name))


def test_another_seed_is_another_marketplace(little: Dataset) -> None:
    other = make("small", 1)
    assert other.catalogue.hash != little.catalogue.hash
    assert len(other.interactions) != len(little.interactions)


def test_size_seed_and_version_stand_in_every_item_id(little: Dataset) -> None:
    assert all(item.startswith("m1-small-0-") for item in little.catalogue.ids)


def test_a_small_marketplace_is_made_at_once() -> None:
    make_world.cache_clear()
    begin = time.process_time()
    make("small", 5)
    assert time.process_time() - begin < 1.5


def test_the_rows_are_ordered_by_time_and_lie_in_the_year(little: Dataset) -> None:
    times = little.interactions.time
    assert (np.diff(times) >= 0).all()
    assert times[0] >= 1_735_689_600
    assert times[-1] < 1_735_689_600 + 365 * DAY


def test_nothing_is_sold_before_its_first_day_after_its_last_or_where_it_is_not_listed(
    little: Dataset,
) -> None:
    goods = make_world("small", 0).goods
    events = little.interactions
    day = (events.time - 1_735_689_600) // DAY
    assert (goods.birth[events.item] <= day).all()
    assert (day < goods.death[events.item]).all()
    assert goods.listed[events.store, events.item].all()


def test_views_come_once_a_person_item_and_day(little: Dataset) -> None:
    views = little.interactions.select(little.interactions.behaviour == BEHAVIOURS.index("view"))
    rows = np.stack([views.customer, views.item, views.time // DAY], axis=1)
    assert len(np.unique(rows, axis=0)) == len(rows)
    assert views.value.min() >= 1


@pytest.fixture(scope="session")
def every_view() -> Dataset:
    return make("small", 0, "full")


def test_the_default_rows_are_those_of_this_version(little: Dataset) -> None:
    """Changed on purpose only, together with VERSION."""
    digest = hashlib.sha256()
    for name in ("customer", "item", "behaviour", "time", "value", "basket", "store"):
        digest.update(getattr(little.interactions, name).tobytes())
    assert digest.hexdigest() == "11fbee15e605adaaadb029ae5c3f591d772fcd3babff9e1c7271846d7c135c88"


def per_day(views: Interactions) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Distinct (customer, item, day, shop) and the page views of each."""
    rows = np.stack([views.customer, views.item, views.time // DAY, views.store], axis=1)
    found, where = np.unique(rows, axis=0, return_inverse=True)
    return found, np.bincount(where.ravel(), views.value)


def test_full_events_have_one_row_a_page_view_with_the_totals_of_every_day(
    little: Dataset, every_view: Dataset
) -> None:
    view = BEHAVIOURS.index("view")
    daily = little.interactions.select(little.interactions.behaviour == view)
    full = every_view.interactions.select(every_view.interactions.behaviour == view)
    assert len(full) == daily.value.sum(dtype=np.float64) > len(daily)
    assert (full.value == 1).all()
    for found, wanted in zip(per_day(full), per_day(daily), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_page_views_of_one_item_on_one_day_have_distinct_seconds(every_view: Dataset) -> None:
    events = every_view.interactions
    views = events.select(events.behaviour == BEHAVIOURS.index("view"))
    assert len(np.unique(np.stack([views.customer, views.item, views.time], axis=1), axis=0)) == len(views)
    assert (np.diff(events.time) >= 0).all()


def test_full_events_change_views_alone(little: Dataset, every_view: Dataset) -> None:
    view = BEHAVIOURS.index("view")
    rest, others = (each.interactions.select(each.interactions.behaviour != view) for each in (little, every_view))
    for name in ("customer", "item", "behaviour", "time", "value", "basket", "store"):
        np.testing.assert_array_equal(getattr(rest, name), getattr(others, name))
    assert every_view.catalogue.hash == little.catalogue.hash
    assert every_view.reading.kept == len(every_view.interactions)


def test_page_views_begin_earlier_where_the_day_ends() -> None:
    midnight = 1_735_689_600 + DAY
    times = [midnight - 1, midnight - 1000, midnight]
    told = Interactions.build([0, 1, 2], [5, 6, 7], behaviour="view", time=times, value=[500, 3, 1], store=[0, 1, 2])
    rows = page_views(np.random.default_rng(0), told)
    assert np.bincount(rows.customer).tolist() == [500, 3, 1]
    first, second = rows.time[rows.customer == 0], rows.time[rows.customer == 1]
    assert np.diff(first).min() == np.diff(first).max() == 1  # more views than seconds at hand: one a second
    assert first[-1] == midnight - 1
    assert second[0] == midnight - 1000
    assert 2 <= second[-1] - second[0] <= LOOKING
    assert rows.time[rows.customer == 2].tolist() == [midnight]


def test_what_was_bought_was_looked_at_before_it_was_paid(every_view: Dataset) -> None:
    """All its page views of that day, but where they are more than the seconds at hand."""
    events = every_view.interactions
    key = (events.customer.astype(np.int64) * 800 + events.item) * 366 + (events.time // DAY - 20_089)
    bought, view = (events.behaviour == BEHAVIOURS.index(name) for name in ("purchase", "view"))
    looks, count = np.unique(key[view], return_counts=True)
    last = dict(zip(key[view].tolist(), events.time[view].tolist(), strict=True))  # rows are in the order of time
    few = set(looks[count <= LOOKING].tolist())
    paid = [(one, when) for one, when in zip(key[bought].tolist(), events.time[bought].tolist(), strict=True)]
    assert sum(one in few for one, _ in paid) > 0.99 * len(paid)
    assert all(last[one] <= when for one, when in paid if one in few)


def test_everything_that_was_bought_was_looked_at_that_day(little: Dataset) -> None:
    events = little.interactions
    key = (events.customer.astype(np.int64) * 800 + events.item) * 366 + (events.time // DAY - 20_089)
    bought = events.behaviour == BEHAVIOURS.index("purchase")
    assert np.isin(key[bought], key[events.behaviour == BEHAVIOURS.index("view")]).all()


def test_a_basket_is_one_person_in_one_shop_without_an_item_twice(little: Dataset) -> None:
    bought = little.interactions.select(little.interactions.behaviour == BEHAVIOURS.index("purchase"))
    who = np.unique(np.stack([bought.basket, bought.customer, bought.store], axis=1), axis=0)
    assert len(who) == len(np.unique(bought.basket))
    assert len(np.unique(bought.basket * 800 + bought.item)) == len(bought)


def test_titles_read_like_a_shop(little: Dataset) -> None:
    titles = [t for t in little.catalogue.columns["title"] if t]
    assert all(re.fullmatch(r"[A-Z3][\w&'., -]+", t) for t in titles)
    assert not any("  " in t for t in titles)
    assert len(set(titles)) > 0.95 * len(titles)


def test_complements_are_bought_together_more_often_than_chance(little: Dataset) -> None:
    goods = make_world("small", 0).goods
    bought = little.interactions.select(little.interactions.behaviour == BEHAVIOURS.index("purchase"))
    own = np.zeros((little.customers, 800), np.float32)
    own[bought.customer, bought.item] = 1
    together = own.T @ own
    share = own.sum(axis=0)
    expected = np.outer(share, share) / little.customers
    items = np.arange(800)[:, None]
    rng = np.random.default_rng(0)
    pairs, any_pairs = (items, goods.complements), (items, rng.permutation(goods.complements))
    assert together[pairs].sum() / expected[pairs].sum() > 1.5 * together[any_pairs].sum() / expected[any_pairs].sum()


def test_consumables_are_bought_again_more_often_than_other_things(market: Dataset) -> None:
    goods = make_world("default", 0).goods
    bought = market.interactions.select(market.interactions.behaviour == BEHAVIOURS.index("purchase"))
    key = bought.customer.astype(np.int64) * len(goods) + bought.item
    first = np.zeros(len(key), bool)
    first[np.unique(key, return_index=True)[1]] = True
    used_up = goods.categories.interval[goods.category[bought.item]] > 0
    assert (~first[used_up]).mean() > 2 * (~first[~used_up]).mean()


def test_sixty_four_dimensions_do_not_hold_the_lasting_utilities() -> None:
    world = make_world("default", 0)
    person, item = np.broadcast_arrays(
        np.arange(0, 24_000, 24, dtype=np.int32)[:, None], np.arange(0, 4_000, 4, dtype=np.int32)
    )
    wanted = choice.utility(world.people, world.goods, person, item, world.whim_seed).astype(np.float64)
    wanted = wanted - wanted.mean(axis=0) - wanted.mean(axis=1, keepdims=True)
    energy = np.linalg.svd(wanted, compute_uv=False) ** 2
    assert energy[:64].sum() / energy.sum() < 0.75


def test_months_begin_where_the_calendar_says() -> None:
    days = np.array([0, 30, 31, 58, 59, 364])
    assert month_of(days).tolist() == [0, 0, 1, 1, 2, MONTHS - 1]


@pytest.mark.parametrize(
    ("size", "seed", "message", "hint"),
    [
        ("smal", 0, "the marketplace has no size 'smal'; nothing was made", "did you mean 'small'?"),
        ("small", -1, "marketplace seed -1 is below 0; nothing was made", "give a seed of 0 or more"),
    ],
)
def test_refuses(size: str, seed: int, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make(size, seed)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_refuses_events_that_it_does_not_have() -> None:
    with pytest.raises(ConfigError) as caught:
        make("small", 0, "ful")
    assert caught.value.message == "the marketplace has no events 'ful'; nothing was made"
    assert caught.value.hint == "did you mean 'full'?"


def test_the_page_in_the_documentation_prints_the_measured_values(values: dict[str, float]) -> None:
    page = (ROOT / "docs" / "marketplace.md").read_text()
    assert traits.table(values) in page


@pytest.fixture(scope="session")
def model_values(market: Dataset) -> dict[str, float]:
    return pooling.measure_models(make_world("default", 0), market)


@pytest.mark.slow
@pytest.mark.parametrize("band", pooling.MODEL_BANDS, ids=lambda band: band.trait)
def test_what_learners_make_of_it_lies_in_its_band(band: pooling.ModelBand, model_values: dict[str, float]) -> None:
    assert band.low <= model_values[band.trait] <= band.high


@pytest.mark.slow
def test_the_page_in_the_documentation_prints_what_learners_make_of_it(
    model_values: dict[str, float],
) -> None:
    page = (ROOT / "docs" / "marketplace.md").read_text()
    for band in pooling.MODEL_BANDS:
        (printed,) = re.findall(rf"^\| {re.escape(band.trait)} \|.*\| (\S+) \|$", page, re.M)
        assert float(printed) == pytest.approx(model_values[band.trait], abs=0.005)
