"""Shares over p = 2^256 - 189: any t rebuild, t - 1 fit every secret."""

from __future__ import annotations

import itertools
import random

import pytest

from fedcart.shared.errors import ConfigError, ProtocolError
from fedcart.shared.privacy.cohort import Cohort
from fedcart.shared.secagg.field import P, draw_secret, inverse, to_bytes, to_int
from fedcart.shared.secagg.shamir import combine, split, weights
from secagg_kit import make_pins


def test_any_threshold_of_the_shares_rebuilds_the_secret() -> None:
    secret = draw_secret()
    shares = split(secret, 4, range(1, 8))
    for chosen in itertools.combinations(shares, 4):
        assert combine({x: shares[x] for x in chosen}, 4) == secret


def test_one_share_less_than_the_threshold_fits_every_secret() -> None:
    """For each candidate one polynomial of degree t - 1 passes through it and the t - 1 shares: nothing is excluded."""
    shares = split(draw_secret(), 3, [1, 2, 3])
    for candidate in (0, 1, P - 1, 12345):
        at_3 = (candidate - sum(w * to_int(shares[x]) for w, x in zip(weights((1, 2, 3)), (1, 2), strict=False))) % P
        third = to_bytes(at_3 * inverse(weights((1, 2, 3))[2]) % P)
        assert to_int(combine({1: shares[1], 2: shares[2], 3: third}, 3)) == candidate


def test_shares_follow_the_polynomial_in_plain_integers() -> None:
    rng = random.Random(5)
    coefficients = [rng.randrange(P) for _ in range(3)]
    rest = iter(coefficients[1:])
    shares = split(to_bytes(coefficients[0]), 3, [1, 9, 40], below=lambda _: next(rest))
    assert {x: to_int(s) for x, s in shares.items()} == {
        x: sum(a * x**k for k, a in enumerate(coefficients)) % P for x in (1, 9, 40)
    }


@pytest.mark.parametrize("points", [[0, 1, 2], [1, 1, 2], [-1, 1, 2], [1, 2, 2**16 + 1]])
def test_refuses_zero_repeated_and_foreign_points(points: list[int]) -> None:
    with pytest.raises(ProtocolError, match="refused"):
        split(draw_secret(), 2, points)
    with pytest.raises(ProtocolError, match="refused"):
        weights(tuple(points))


def test_refuses_too_few_shares_and_words_outside_the_field() -> None:
    with pytest.raises(ProtocolError, match="not rebuilt"):
        combine({1: bytes(32)}, 2)
    with pytest.raises(ProtocolError, match="not below p"):
        to_int(to_bytes(P - 1)[:-1] + b"\xff")
    with pytest.raises(ProtocolError, match="31 bytes"):
        to_int(bytes(31))
    with pytest.raises(ProtocolError, match="not split"):
        split(draw_secret(), 3, [1, 2])


def test_a_secret_of_p_or_above_is_drawn_again() -> None:
    draws = iter([b"\xff" * 32, P.to_bytes(32, "big"), bytes(31) + b"\x07"])
    assert draw_secret(lambda _: next(draws)) == bytes(31) + b"\x07"


@pytest.mark.parametrize(
    ("n", "c", "m", "t", "h"),
    [(3, 1, 3, 3, 2), (5, 1, 4, 4, 3), (10, 3, 7, 7, 4), (50, 10, 40, 31, 30), (100, 20, 80, 61, 60)],
)
def test_the_table_of_cohorts_is_what_the_rules_give(n: int, c: int, m: int, t: int, h: int) -> None:
    cohort = Cohort(participants=n, colluders=c, min_survivors=m)
    assert (cohort.threshold, cohort.quorum, cohort.honest, cohort.min_survivors) == (t, t, h, m)
    assert 2 * cohort.threshold > n + c


@pytest.mark.parametrize(("n", "c", "m"), [(2, 1, 2), (5, 0, 4), (10, 3, 6), (10, 3, 11), (3, 3, 3)])
def test_refuses_cohorts_that_promise_nothing(n: int, c: int, m: int) -> None:
    with pytest.raises(ConfigError, match="planned"):
        Cohort(participants=n, colluders=c, min_survivors=m)


def test_a_complete_graph_holds_a_hundred_stores() -> None:
    assert make_pins(100, 10, 80).cohort.participants == 100
    with pytest.raises(ConfigError, match="101 participants are over a complete graph's 100"):
        make_pins(101, 10, 80)
