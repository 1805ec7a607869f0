"""Rounding inside a radius, to the unit: the room that is left, rows that rounding carries over, huge rows, limits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fedcart.shared.errors import ConfigError
from fedcart.shared.privacy import quantise as module
from fedcart.shared.privacy.quantise import quantise, quantise_dense

OVER = np.array([12, 8, 12, 8, 11, 11, 9, 9, 9, *[10] * 7])
"""16 numbers whose squares add up to 40^2 + 1."""


def one_row(values, clip, radius):
    return quantise(np.array(values, float), np.array([0, len(values)]), clip, radius).tolist()


@pytest.mark.parametrize(
    ("radius", "count", "expected"),
    [
        (100, 1, 100),  # a number by itself is rounded to the radius, never over it
        (100, 2, 98),  # 98.499: 1.5 units of room, and count / 24 radius for what rounding adds to the norm
        (100, 2375, 98),  # 97.510
        (100, 2401, 97),  # 97.4996
        (6, 400, 3),  # no more room than half
    ],
)
def test_a_clipped_row_leaves_room_for_rounding(radius, count, expected):
    """One number holds all of the length, so that the room can be read off it."""
    assert one_row([2.0**20] + [0.0] * (count - 1), 1.0, radius) == [expected] + [0] * (count - 1)


def test_a_row_that_rounding_carries_over_is_shrunk_and_rounded_again():
    """Ten everywhere has length 100, over 99; shrunk by .99, the smaller numbers round to nine."""
    assert one_row([9.55] * 50 + [-9.8] * 50, 99.0, 99) == [9.0] * 50 + [-10.0] * 50


def test_a_row_that_shrinking_does_not_help_is_cut_towards_zero():
    """Each number rounds up by .4 to a length over the radius by 1 in 3,200: to round down would take 27 steps."""
    assert (OVER**2).sum() == 40**2 + 1
    signs = np.where(np.arange(16) % 2, 1, -1)
    found = one_row(signs * (OVER - 0.4), 40.0, 40)
    assert found == (signs * (OVER - 1)).tolist()


def test_whatever_the_scale_a_row_ends_inside_its_radius_or_at_zero():
    """Rows that cutting leaves over the radius, and not a number; one that fits exactly is not cut."""
    counts = np.array([16, 2, 2, 1])
    rows = module._Rows(np.cumsum([0, 16, 2, 2]), counts)
    numbers = np.concatenate([OVER + 0.4, [3.2, 3.9], [1.0, 2.0], [7.0]])
    scale, radius = np.array([1.0, 1.0, math.nan, 1.0]), np.array([40.0, 5.0, 5.0, 3.0])
    found = module._round_inside(numbers, rows, scale, radius, np.empty_like(numbers))
    assert found.tolist() == [0.0] * 16 + [3.0, 4.0, 0.0, 0.0, 3.0]


@pytest.mark.parametrize("clip", [1e-90, 1e-3, 1.0, 1e3, 1e90])
def test_a_row_too_long_to_square_keeps_its_direction_whatever_is_beside_it(clip):
    """(3, 4) / 5 of 998.4999; the short rows beside it, and those that vanish, are what they are alone."""
    rows = [[3e200, -4e200], [0.3 * clip], [0.0, 0.0], [math.nan, 1e200], [1e-100], [1e100], [math.inf, 1.0], []]
    rows += [[3e-300, 8e-201], [-1e307] * 4]
    found = quantise(np.concatenate(rows), np.cumsum([0, *map(len, rows)]), clip, 1000)
    expected = [[599, -799], [300], [0, 0], [0, 0], [0], [1000], [0, 0], [], [0, 0], [-499] * 4]
    assert found.tolist() == [q for row in expected for q in row]


def test_what_was_handed_in_is_left_alone():
    values = np.array([1e300, math.nan, 2.0, 3.0])
    quantise(values, np.array([0, 1, 2, 4]), 1.0, 10)
    np.testing.assert_array_equal(values, [1e300, math.nan, 2.0, 3.0])


def test_a_dense_matrix_is_read_by_rows_however_it_lies():
    x = np.arange(12.0).reshape(3, 4)
    expected = [one_row(x[:, column], 9.0, 100) for column in range(4)]
    assert quantise_dense(x.T, 9.0, 100).tolist() == expected
    assert quantise_dense(x.T.copy(), 9.0, 100).tolist() == expected


@pytest.mark.parametrize(
    ("clip", "radius", "fits"),
    [
        (1e-90, 1, True),
        (math.nextafter(1e-90, 0), 1, False),
        (1e90, 1, True),
        (math.nextafter(1e90, math.inf), 1, False),
        (1.0, 2**21, True),
        (1.0, 2**21 + 1, False),
        (1.0, 0, False),
    ],
)
def test_clips_and_radii_go_to_their_limits_and_no_further(clip, radius, fits):
    if fits:
        assert one_row([2 * clip], clip, radius) == [radius]
    else:
        with pytest.raises(ConfigError, match="nothing was added"):
            one_row([clip], clip, radius)
