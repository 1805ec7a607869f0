"""Shamir's secret sharing: any t of the shares rebuild a secret, t - 1 say nothing about it (Shamir 1979).

A share is the value of a random polynomial of degree t - 1 at the point x = roster index + 1. The secret is the value
at 0, so x = 0 is refused wherever a point comes in, and so is a point that stands there twice.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from fedcart.shared.errors import ProtocolError
from fedcart.shared.secagg.field import P, inverse, to_bytes, to_int

MAX_POINT = 2**16
"""Largest x: more stores than any roster has."""


def split(
    secret: bytes, threshold: int, points: Sequence[int], below: Callable[[int], int] = secrets.randbelow
) -> dict[int, bytes]:
    """One share for each point.

    Args:
      secret: 32 bytes below p.
      threshold: t, 1 <= t <= len(points).
      points: distinct, each 1 .. MAX_POINT.
      below: below(p) is uniform on 0 .. p - 1; the operating system's source unless a vector is being made.
    """
    _check_points(points)
    if not 1 <= threshold <= len(points):
        raise ProtocolError(f"{threshold} shares of {len(points)} cannot rebuild a secret; it was not split")
    coefficients = [to_int(secret), *(below(P) for _ in range(threshold - 1))]
    return {x: to_bytes(_value(coefficients, x)) for x in points}


def combine(shares: Mapping[int, bytes], threshold: int) -> bytes:
    """The secret, from the `threshold` shares with the smallest points.

    Raises:
      ProtocolError: fewer shares than the threshold, a point of 0, a share that is no field element.
    """
    if threshold < 1 or len(shares) < threshold:
        raise ProtocolError(f"{len(shares)} shares are fewer than the {threshold} needed; the secret was not rebuilt")
    points = tuple(sorted(shares)[:threshold])
    return to_bytes(sum(w * to_int(shares[x]) for w, x in zip(weights(points), points, strict=True)) % P)


@lru_cache(maxsize=64)
def weights(points: tuple[int, ...]) -> tuple[int, ...]:
    """Lagrange's weights at 0: w_x = prod over y != x of y / (y - x) mod p. Cached: one set serves a whole round."""
    _check_points(points)
    found, product = [], math.prod(points)
    for x in points:
        below = math.prod([y - x for y in points if y != x])
        found.append(product // x * inverse(below % P) % P)
    return tuple(found)


def _value(coefficients: Sequence[int], x: int) -> int:
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * x + coefficient) % P
    return value


def _check_points(points: Sequence[int]) -> None:
    for x in points:
        if not 1 <= x <= MAX_POINT:
            raise ProtocolError(f"point {x} lies outside 1 .. {MAX_POINT} (the secret itself stands at 0); refused")
    if len(set(points)) != len(points):
        raise ProtocolError("a point stands twice among the shares; refused")
