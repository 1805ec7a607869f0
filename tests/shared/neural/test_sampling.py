"""Training samples: uniform over what the customer does not have, and the same wherever the customer is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcart.shared.learners.neural import sampling
from fedcart.shared.learners.neural.sampling import Draw, draw, parts, stamp
from shared.neural.neural_cases import histories, random_rows

ROWS = st.lists(st.lists(st.integers(0, 9), unique=True, max_size=10), min_size=1, max_size=6)


@given(rows=ROWS, most=st.integers(0, 4), negatives=st.integers(1, 4), seed=st.integers(0, 1 << 70))
def test_positives_are_own_items_and_negatives_never_are(rows, most, negatives, seed):
    batch = draw(histories(rows, 10), np.arange(len(rows)), stamp(seed), Draw(most, negatives, 0.0))
    for row, items, mask in zip(rows, batch.items.numpy(), batch.mask.numpy(), strict=True):
        real = items[mask > 0]
        wanted = 0 if len(row) in (0, 10) else min(len(row), most or len(row))
        assert len(real) == wanted
        assert len(set(real[:, 0])) == wanted
        assert set(real[:, 0]) <= set(row)
        assert not set(real[:, 1:].ravel()) & set(row)
        assert (real < 10).all()
        assert (items[mask == 0] == 10).all()


@given(rows=ROWS, seed=st.integers(0, 1000))
def test_a_customers_samples_do_not_depend_on_the_others(rows, seed):
    how = Draw(3, 2, 0.0)
    together = draw(histories(rows, 10), np.arange(len(rows)), stamp(seed), how)
    for u, row in enumerate(rows):
        alone = draw(histories([[1, 2], row], 10), np.array([1]), stamp(seed), how)
        width = alone.items.shape[1]
        assert (together.items[u, :width] == alone.items[0]).all()
        assert (together.mask[u, :width] == alone.mask[0]).all()


def test_negatives_are_uniform_over_the_rest_of_the_catalogue():
    """Chi-square over 20,000 draws, 6 absent items: a fair stream fails with probability below 1e-6."""
    counts = np.zeros(10)
    for step in range(50):
        items = draw(histories([[1, 3, 6, 9]], 10), np.zeros(1, np.int64), stamp(0, step), Draw(0, 100, 0.0)).items
        counts += np.bincount(items[0, :, 1:].ravel(), minlength=10)
    absent = counts[[0, 2, 4, 5, 7, 8]]
    assert absent.sum() == counts.sum() == 20_000
    expected = absent.sum() / 6
    assert ((absent - expected) ** 2 / expected).sum() < 36


def test_the_uniformity_test_would_catch_a_stream_that_avoids_one_item_a_tenth_of_the_time():
    absent = np.array([3000, *[3400] * 5])
    expected = absent.sum() / 6
    assert ((absent - expected) ** 2 / expected).sum() > 36


def test_another_step_or_seed_draws_other_samples():
    rows, how = histories(random_rows(5), 24), Draw(0, 3, 0.0)
    first = draw(rows, np.arange(5), stamp(0, 0), how).items
    assert (first != draw(rows, np.arange(5), stamp(0, 1), how).items).any()
    assert (first != draw(rows, np.arange(5), stamp(1, 0), how).items).any()


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_a_customers_loss_weighs_as_its_number_of_items_to_the_power(exponent):
    rows = histories([[0, 1], [0, 1, 2, 3, 4, 5, 6, 7]])
    scale = draw(rows, np.arange(2), stamp(0), Draw(2, 1, exponent)).scale * 2
    np.testing.assert_allclose(scale, [2 ** (1 - exponent), 8 ** (1 - exponent)], rtol=1e-6)


def test_parts_hold_every_customer_once_and_stay_below_the_limit(monkeypatch):
    monkeypatch.setattr(sampling, "MOST_SAMPLES", 30)
    rows = histories(random_rows(40, most=12))
    pieces = list(parts(rows, np.arange(40)[::-1], Draw(0, 1, 0.0)))
    assert sorted(np.concatenate(pieces)) == list(range(40))
    assert all(len(p) == 1 or len(p) * rows.counts[p].max() * 2 <= 30 for p in pieces)
