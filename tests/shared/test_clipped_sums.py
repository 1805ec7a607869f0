"""The integer sums: no customer moves a total by more than D, exactly; batch = one by one; what is refused."""

from __future__ import annotations

import dataclasses
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.sparse import csr_array

from clipped_kit import (
    CLIP,
    ITEMS,
    NUMBERS,
    RELEASES,
    WEIGHT,
    WIDTH,
    add,
    block_of,
    factors,
    sparse,
    squared_norm,
)
from fedcart.shared.errors import ConfigError, PrivacyRefused, ProtocolError
from fedcart.shared.privacy import clipped_sums as module
from fedcart.shared.privacy import grid as grid_module
from fedcart.shared.privacy.clipped_sums import ClippedSums, unclipped
from fedcart.shared.privacy.grid import grid, share_variance
from fedcart.shared.privacy.quantise import quantise, quantise_dense, quantise_rows
from fedcart.shared.privacy.release import Release
from fedcart.shared.privacy.sums import PlainSums


def units(kind, z, a, one_by_one=False):
    sums = ClippedSums([RELEASES[kind]])
    if one_by_one:
        for row in range(len(z)):
            add(sums, kind, block_of(1, row, row), z[row : row + 1], a[row : row + 1])
    else:
        add(sums, kind, block_of(len(z)), z, a)
    return sums.units()["x"]


@pytest.mark.parametrize("kind", RELEASES)
@given(st.integers(1, 5).flatmap(factors), st.data())
@settings(max_examples=150, deadline=None)
def test_no_customer_moves_the_sum_by_more_than_the_sensitivity(kind, given_factors, data):
    z, a = given_factors
    gone = data.draw(st.integers(0, len(z) - 1))
    kept = np.arange(len(z)) != gone
    moved = units(kind, z, a) - units(kind, z[kept], a[kept])
    assert squared_norm(moved) <= grid(RELEASES[kind]).sensitivity ** 2
    assert np.abs(moved).max(initial=0) <= grid(RELEASES[kind]).largest


@pytest.mark.parametrize("kind", RELEASES)
def test_the_neighbour_test_would_catch_a_factor_that_is_not_cut(kind, monkeypatch):
    monkeypatch.setattr(module, "quantise_rows", lambda x, clip, radius: np.rint(x * (radius / clip)))
    monkeypatch.setattr(module, "quantise_dense", lambda x, clip, radius: np.rint(x * (radius / clip)))
    z, a = np.full((1, ITEMS), 2.0), np.full((1, WIDTH), 2.0)
    assert squared_norm(units(kind, z, a)) > grid(RELEASES[kind]).sensitivity ** 2


@pytest.mark.parametrize("kind", RELEASES)
@given(st.integers(1, 6).flatmap(factors))
@settings(max_examples=60, deadline=None)
def test_a_batch_is_its_customers_one_by_one_bit_for_bit(kind, given_factors):
    z, a = given_factors
    np.testing.assert_array_equal(units(kind, z, a, one_by_one=True), units(kind, z, a))


def test_a_long_history_is_the_same_alone_and_in_a_batch():
    """Norms are added up by length alone, wherever the row stands in memory."""
    generator = np.random.default_rng(3)
    counts = generator.integers(1, 400, 200)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    values = generator.normal(size=indptr[-1])
    together = quantise(values, indptr, CLIP, 4096)
    for start, stop in itertools.pairwise(indptr):
        alone = quantise(values[start:stop].copy(), np.array([0, stop - start]), CLIP, 4096)
        np.testing.assert_array_equal(together[start:stop], alone)


@pytest.mark.parametrize("kind", RELEASES)
def test_what_fits_the_clip_adds_up_as_the_plain_sums_do(kind):
    release, customers = RELEASES[kind], 40
    generator = np.random.default_rng(5)
    z = generator.normal(size=(customers, ITEMS))
    a = generator.normal(size=(customers, WIDTH))
    bound = {"outer": math.sqrt(CLIP), "cross": 1.0, "rows": CLIP}.get(kind, WEIGHT)
    z *= 0.9 * bound / np.linalg.norm(z, axis=1, keepdims=True)
    a *= 0.9 * CLIP / np.linalg.norm(a, axis=1, keepdims=True)
    plain = PlainSums([unclipped(release)])
    add(plain, kind, block_of(customers), z, a)
    found = grid(release).values(units(kind, z, a))
    assert found.shape == release.shape
    np.testing.assert_allclose(found, plain.totals["x"], atol=customers * 0.01 * release.sensitivity())


@pytest.mark.parametrize("kind", RELEASES)
def test_a_longer_customer_is_scaled_down_not_cut_off(kind):
    release = RELEASES[kind]
    z, a = np.random.default_rng(1).normal(size=(1, ITEMS)), np.random.default_rng(2).normal(size=(1, WIDTH))
    once, much = (grid(release).values(units(kind, scale * z, scale * a)) for scale in (1e3, 1e200))
    np.testing.assert_allclose(once, much, atol=0.01 * release.sensitivity())
    whole = math.sqrt(squared_norm(units(kind, 1e3 * z, 1e3 * a)))
    least = 0.9 if kind != "curve" else 0.5  # this release is a band of the catalogue
    assert whole >= least * grid(release).sensitivity


@given(hnp.arrays(np.float64, st.integers(0, 300), elements=NUMBERS), st.integers(1, 5000), st.floats(1e-80, 1e80))
@settings(max_examples=200, deadline=None)
def test_integers_stay_inside_the_radius_exactly(values, radius, clip):
    found = quantise(values, np.array([0, len(values)]), clip, radius)
    assert (found == np.rint(found)).all()
    assert sum(int(q) ** 2 for q in found) <= radius**2


def test_rows_that_rounding_would_carry_over_the_radius_are_shrunk_not_dropped():
    values = np.tile(np.full(97, 1.0), 50)
    found = quantise(values, np.arange(51) * 97, 1.0, 12)
    assert (np.square(found.reshape(50, 97)).sum(axis=1) <= 144).all()
    assert np.square(found.reshape(50, 97)).sum(axis=1).min() > 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_row_with_a_number_that_is_not_finite_counts_as_zero(bad):
    found = quantise(np.array([1.0, bad, 2.0, 1.0]), np.array([0, 3, 4]), 1.0, 100)
    np.testing.assert_array_equal(found, [0, 0, 0, 100])


@pytest.mark.parametrize("kind", ["cross", "pull", "curve"])
@pytest.mark.parametrize("where", ["z", "a"])
def test_a_customer_with_one_bad_factor_adds_nothing(kind, where):
    z, a = np.ones((1, ITEMS)), np.ones((1, WIDTH))
    (z if where == "z" else a)[0, 1] = math.nan
    assert not units(kind, z, a).any()


def test_a_cell_stored_twice_counts_as_its_sum():
    """Else two cells of .7 would pass a clip of 1 and add 1.4."""
    twice = csr_array((np.array([0.7, 0.7]), np.array([2, 2]), np.array([0, 2])), shape=(1, ITEMS))
    found = quantise_rows(twice, 1.0, 1000)
    assert found.toarray().tolist() == [[0, 0, 1000, 0, 0, 0]]
    assert twice.nnz == 2  # what was handed in is left alone


def test_empty_blocks_and_rows_are_fine():
    assert quantise(np.zeros(0), np.array([0]), 1.0, 5).shape == (0,)
    assert quantise_dense(np.zeros((0, 3)), 1.0, 5).shape == (0, 3)
    np.testing.assert_array_equal(quantise(np.array([3.0]), np.array([0, 0, 1, 1]), 1.0, 5), [5])


@pytest.mark.parametrize("side", [1, 2, 7, 40])
def test_a_triangle_has_the_norm_of_its_square_at_most(side):
    """25 sum q_i^4 + 49 sum_(i<j) (q_i q_j)^2 <= (5 |q|^2)^2; a weight of 10 : 7 would break it at q = (1, 1)."""
    release = Release(name="x", shape=(side * (side + 1) // 2,), kind="outer", clip_norm=1.0)
    q = np.random.default_rng(side).integers(-50, 50, side)
    triangle = np.outer(q, q)[np.triu_indices(side)].astype(float)
    assert squared_norm(grid(release).units(triangle)) <= (grid_module.DIAGONAL * int(q @ q)) ** 2
    back = grid(release).values(grid(release).units(triangle))
    np.testing.assert_allclose(back, triangle * grid(release).unit * grid_module.DIAGONAL, rtol=1e-14)


def test_the_off_diagonal_weight_is_below_the_root_of_two():
    assert 1.39 < grid_module.OFF_DIAGONAL / grid_module.DIAGONAL < math.sqrt(2)


@pytest.mark.parametrize("kind", RELEASES)
def test_one_units_worth_times_the_sensitivity_is_the_sensitivity(kind):
    found = grid(RELEASES[kind])
    assert found.sensitivity * found.unit == pytest.approx(RELEASES[kind].sensitivity(), rel=1e-12)


@pytest.mark.parametrize(
    ("kind", "radii", "sensitivity"),
    [
        ("rows", (2**20,), 2**20),
        ("cross", (2**12, 2**12), 2**24),
        ("outer", (2**11,), 5 * 2**22),
        ("pull", (2**12, 2**12), 2**24),
        ("curve", (2**8, 2**7), 5 * 2**22),
    ],
)
def test_plans_and_ledgers_hold_these_radii_and_sensitivities(kind, radii, sensitivity):
    """Others would be another format: an auditor computes D from the kind alone."""
    found = grid(RELEASES[kind])
    assert (found.radii, found.sensitivity, found.largest) == (radii, sensitivity, sensitivity)
    assert (grid_module.DIAGONAL, grid_module.OFF_DIAGONAL, grid_module.EXACT) == (5, 7, 2**53)


@given(st.floats(1e-3, 1e3), st.integers(1, 100), st.sampled_from(sorted(RELEASES)))
def test_shares_of_noise_add_up_to_the_whole_and_never_less(multiplier, honest, kind):
    release = dataclasses.replace(RELEASES[kind], noise_multiplier=multiplier)
    whole = (Fraction(multiplier) * grid(release).sensitivity) ** 2
    share = share_variance(release, honest)
    assert whole <= honest * share < whole + honest


def test_refuses_what_has_no_grid():
    with pytest.raises(ConfigError, match="not clipped"):
        ClippedSums([Release(name="x", shape=(3,))])
    with pytest.raises(ConfigError, match="no sum"):
        ClippedSums([Release(name="x", shape=(3,), kind="trained", clip_norm=1.0)])
    with pytest.raises(ConfigError, match="no triangle"):
        ClippedSums([Release(name="x", shape=(4,), kind="outer", clip_norm=1.0)])
    with pytest.raises(PrivacyRefused, match=r"samples customers at 0\.5"):
        ClippedSums([Release(name="x", shape=(3,), clip_norm=1.0, sampling_rate=0.5)])
    with pytest.raises(ConfigError, match="0 honest stores"):
        share_variance(RELEASES["rows"], 0)


@pytest.mark.parametrize("clip", [0.0, -1.0, math.nan, math.inf, 1e-95])
def test_refuses_a_clip_that_cannot_be_used(clip):
    with pytest.raises(ConfigError, match="must lie in"):
        quantise(np.ones(1), np.array([0, 1]), clip, 10)
    with pytest.raises(ConfigError, match="must lie in"):
        quantise(np.ones(1), np.array([0, 1]), 1.0, 0)


def test_refuses_an_unknown_release_and_a_block_twice():
    sums = ClippedSums([RELEASES["rows"]])
    with pytest.raises(ProtocolError, match="no release 'y'"):
        sums.rows("y", block_of(1), sparse(np.ones((1, ITEMS))))
    sums.rows("x", block_of(1), sparse(np.ones((1, ITEMS))))
    with pytest.raises(ProtocolError, match="added before"):
        sums.rows("x", block_of(1), sparse(np.ones((1, ITEMS))))


def test_refuses_more_customers_than_can_be_added_exactly(monkeypatch):
    monkeypatch.setattr(module, "EXACT", 2 * grid_module.VECTOR * 3)
    sums = ClippedSums([RELEASES["rows"]])
    sums.rows("x", block_of(2), sparse(np.ones((2, ITEMS))))
    with pytest.raises(ProtocolError, match="3 customers are more"):
        sums.rows("x", block_of(1, 1, 2), sparse(np.ones((1, ITEMS))))


@pytest.mark.parametrize("kind", ["cross", "pull", "curve"])
def test_each_factor_is_cut_to_its_own_clip_and_radius(kind, monkeypatch):
    seen = []
    uneven = dataclasses.replace(grid(RELEASES[kind]), radii=(5, 7))
    monkeypatch.setattr(module, "grid", lambda release: uneven)
    monkeypatch.setattr(module, "quantise_rows", lambda x, *bound: (seen.append(bound), x)[1])
    monkeypatch.setattr(module, "quantise_dense", lambda x, *bound: (seen.append(bound), x)[1])
    units(kind, np.ones((1, ITEMS)), np.ones((1, WIDTH)))
    assert seen == [(1.0 if kind == "cross" else WEIGHT, 5), (CLIP, 7)]
