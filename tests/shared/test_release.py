"""A release says what one customer can move and what that costs."""

from __future__ import annotations

import math

import dp_accounting
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedcart.shared.errors import ConfigError
from fedcart.shared.privacy.release import MOST_WORDS, Release

NUMBERS = st.floats(-10, 10)


def test_the_event_of_a_noised_release_is_a_gaussian_of_its_multiplier():
    release = Release(name="r", shape=(3,), clip_norm=2.0, noise_multiplier=1.5)
    assert release.event() == dp_accounting.GaussianDpEvent(1.5)


def test_a_sampled_release_costs_a_poisson_sampled_gaussian():
    release = Release(name="r", shape=(3,), clip_norm=2.0, noise_multiplier=1.5, sampling_rate=0.1)
    assert release.event() == dp_accounting.PoissonSampledDpEvent(0.1, dp_accounting.GaussianDpEvent(1.5))


@pytest.mark.parametrize(
    "release",
    [
        Release(name="r", shape=(3,), clip_norm=2.0),
        Release(name="r", shape=(3,), noise_multiplier=1.0),
        Release(name="r", shape=(3, 3), kind="per_item", clip_norm=1.0, noise_multiplier=1.0),
    ],
    ids=["no noise", "no clip", "weights not clipped"],
)
def test_without_both_clip_and_noise_nothing_is_promised(release):
    assert release.event() == dp_accounting.NonPrivateDpEvent()


@given(hnp.arrays(float, 5, elements=NUMBERS), hnp.arrays(float, 3, elements=NUMBERS))
def test_no_per_item_contribution_exceeds_the_sensitivity(w, u):
    clip, weight_clip = float(np.linalg.norm(u)) or 1.0, float(np.linalg.norm(w)) or 1.0
    for order, contribution in ((1, np.outer(w, u)), (2, np.multiply.outer(w, np.outer(u, u)))):
        release = Release(
            name="r", shape=(5, 3), kind="per_item", order=order, clip_norm=clip, weight_clip_norm=weight_clip
        )
        assert np.linalg.norm(contribution) <= release.sensitivity() * (1 + 1e-9)


@given(hnp.arrays(float, 6, elements=NUMBERS))
def test_no_outer_contribution_exceeds_the_sensitivity(z):
    release = Release(name="r", shape=(21,), kind="outer", clip_norm=float(z @ z) or 1.0)
    assert np.linalg.norm(np.outer(z, z)) <= release.sensitivity() * (1 + 1e-9)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"name": ""}, "a name and positive sizes"),
        ({"shape": (0, 3)}, "a name and positive sizes"),
        ({"shape": (MOST_WORDS + 1,)}, "over the limit of 16777216"),
        ({"clip_norm": 0.0}, "clip norms must be positive"),
        ({"clip_norm": math.nan}, "clip norms must be positive"),
        ({"weight_clip_norm": 0.0}, "clip norms must be positive"),
        ({"noise_multiplier": -1.0}, "noise_multiplier"),
        ({"noise_multiplier": math.inf}, "noise_multiplier"),
        ({"sampling_rate": 0.0}, "sampling_rate"),
        ({"sampling_rate": 1.5}, "sampling_rate"),
    ],
)
def test_refuses_a_release_that_makes_no_sense(fields, told):
    with pytest.raises(ConfigError, match=told):
        Release(**{"name": "r", "shape": (3,), **fields})


def test_refuses_an_unknown_neighbouring_relation():
    with pytest.raises(ConfigError, match="unknown neighbouring relation"):
        Release(name="r", shape=(3,)).sensitivity("replace_one")  # type: ignore[arg-type]


def test_the_largest_release_is_allowed():
    assert Release(name="r", shape=(1 << 12, 1 << 12)).words == MOST_WORDS


def test_a_release_is_one_plain_sum_over_every_customer_and_item_unless_it_says_more():
    """And the smallest total is one number: sizes are positive."""
    bare = Release(name="r", shape=(1,))
    assert (bare.kind, bare.order, bare.first_item) == ("rows", 1, 0)
    assert (bare.noise_multiplier, bare.sampling_rate, bare.words) == (0.0, 1.0, 1)
    assert bare.clip_norm == bare.weight_clip_norm == bare.sensitivity() == math.inf
