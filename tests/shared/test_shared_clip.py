"""Overlap `weights`: a person's customers at several stores share one clip, so a person moves the sum by D at most."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipped_kit import ITEMS, RELEASES, WIDTH, add, block_of, factors, squared_norm
from fedcart.shared.errors import ConfigError, DataError, PrivacyRefused
from fedcart.shared.interactions import WHOLE
from fedcart.shared.privacy.clipped_sums import ClippedSums, part_radii
from fedcart.shared.privacy.grid import grid
from fedcart.shared.privacy.quantise import LARGEST_RADIUS, quantise
from fedcart.shared.privacy.terms import Bound, PrivacyTerms


def parted_block(parts):
    block = block_of(len(parts))
    return dataclasses.replace(block, histories=dataclasses.replace(block.histories, parts=np.array(parts, np.int32)))


def units(kind, z, a, parts):
    sums = ClippedSums([RELEASES[kind]], parted=True)
    add(sums, kind, parted_block(parts), z, a)
    return sums.units()["x"]


def divided(cuts):
    """Parts that add up to WHOLE or less."""
    edges = sorted(cuts)
    return [b - a for a, b in zip([0, *edges], [*edges, WHOLE], strict=True)]


PARTS = st.lists(st.integers(0, WHOLE), min_size=1, max_size=4).map(divided)


@pytest.mark.parametrize("kind", RELEASES)
@given(PARTS.flatmap(lambda parts: st.tuples(st.just(parts), factors(len(parts)))))
@settings(max_examples=150, deadline=None)
def test_a_person_at_several_stores_moves_the_sum_by_no_more_than_the_sensitivity(kind, person):
    """Each row is the same person at another store, with whatever numbers; the sum over stores is what is opened."""
    parts, (z, a) = person
    assert squared_norm(units(kind, z, a, parts)) <= grid(RELEASES[kind]).sensitivity ** 2


@pytest.mark.parametrize("kind", RELEASES)
def test_without_parts_two_stores_move_it_by_more(kind):
    z, a = np.full((2, ITEMS), 2.0), np.full((2, WIDTH), 2.0)
    sums = ClippedSums([RELEASES[kind]])
    add(sums, kind, block_of(2), z, a)
    assert squared_norm(sums.units()["x"]) > grid(RELEASES[kind]).sensitivity ** 2
    assert squared_norm(units(kind, z, a, [WHOLE // 2] * 2)) <= grid(RELEASES[kind]).sensitivity ** 2


@pytest.mark.parametrize("kind", RELEASES)
@given(st.integers(1, 4).flatmap(factors))
@settings(max_examples=60, deadline=None)
def test_who_has_all_of_the_clip_adds_what_they_add_without_parts(kind, numbers):
    z, a = numbers
    sums = ClippedSums([RELEASES[kind]])
    add(sums, kind, block_of(len(z)), z, a)
    np.testing.assert_array_equal(units(kind, z, a, [WHOLE] * len(z)), sums.units()["x"])


@pytest.mark.parametrize("kind", RELEASES)
def test_half_a_clip_is_used_up_to_its_rounding(kind):
    """Not only bounded: a contribution longer than its part keeps at least 98 % of it."""
    z, a = np.full((1, ITEMS), 2.0), np.full((1, WIDTH), 2.0)
    whole, half = units(kind, z, a, [WHOLE]), units(kind, z, a, [WHOLE // 2])
    ratio = (squared_norm(half) / squared_norm(whole)) ** 0.5
    assert 0.49 < ratio <= 0.5 * 1.01


@given(PARTS, st.integers(1, LARGEST_RADIUS))
def test_the_radii_of_a_person_fit_in_one(parts, radius):
    one, two = part_radii(np.array(parts, np.int32), radius), part_radii(np.array(parts, np.int32), radius, degree=2)
    assert one.sum() <= radius
    assert (two**2).sum() <= radius**2
    assert all(((r + 1) * WHOLE > p * radius) for r, p in zip(one.tolist(), parts, strict=True))
    assert all(((r + 1) ** 2 * WHOLE > p * radius**2) for r, p in zip(two.tolist(), parts, strict=True))


def test_a_radius_of_degree_two_is_the_whole_root_next_to_every_square_that_it_can_meet():
    """floor(radius^2 p / WHOLE) for the p next to k^2: the root is k - 1 just below k^2, where rounding would show."""
    k = np.arange(1, 1 << 10, dtype=np.int64)
    for radius in (1 << 10, 1 << 20, LARGEST_RADIUS):
        for parts in (k**2 - 1, k**2, k**2 + 1):
            found = part_radii(parts, radius, degree=2)
            assert found.tolist() == [math.isqrt(int(p) * radius**2 // WHOLE) for p in parts]
    for k_largest in range(LARGEST_RADIUS - 1000, LARGEST_RADIUS + 1):  # by itself: sqrt as the module takes it
        assert int(np.sqrt(np.int64(k_largest**2 - 1))) == k_largest - 1


@pytest.mark.parametrize("parts", [[-1], [WHOLE + 1]])
def test_a_part_outside_the_clip_is_refused(parts):
    with pytest.raises(ConfigError, match="outside 0"):
        part_radii(np.array(parts, np.int64), 8)


@pytest.mark.parametrize("radii", [[1, 2, 3], [-1, 1], [1, 9]])
def test_radii_of_other_rows_or_over_the_bound_are_refused(radii):
    with pytest.raises(ConfigError, match="radii"):
        quantise(np.ones(2), np.array([0, 1, 2]), 1.0, 8, np.array(radii))


def test_a_store_that_knows_no_parts_adds_nothing():
    sums = ClippedSums([RELEASES["rows"]], parted=True)
    with pytest.raises(PrivacyRefused, match="does not know its customers' parts"):
        add(sums, "rows", block_of(1), np.ones((1, ITEMS)), None)


def test_parts_go_with_their_customers():
    block = parted_block([1, 2, 3])
    assert block.histories.slice(1, 3).parts.tolist() == [2, 3]
    assert block.histories.take(np.array([2, 0])).parts.tolist() == [3, 1]
    assert block.histories.only(np.zeros(0, np.bool_)).parts.tolist() == [1, 2, 3]
    with pytest.raises(DataError, match="2 parts of a clip for 3 customers"):
        dataclasses.replace(block.histories, parts=np.array([1, 2], np.int32))


def test_a_clip_is_divided_under_one_noise_only():
    terms = PrivacyTerms(epsilon=1.0, delta=1e-5, overlap="weights", bounds={"x": Bound(clip_norm=1.0)})
    with pytest.raises(ConfigError, match="under one noise"):
        terms.apply((), honest=1, attempts=1, customers_bound=100)
