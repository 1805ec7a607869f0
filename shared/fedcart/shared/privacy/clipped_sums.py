"""The four sums over customers under a guarantee: clip, round to integers, add exactly.

No customer moves a total by more than the grid's integer D, whatever its numbers are. Additions are exact, so the
totals depend on no order, block size or machine. Noise is added after, by the gate; these totals never leave.

With overlap `weights` a person's customers at several stores share one clip: each has a part w of it, the parts of a
person add up to at most 1, and one factor of the customer's term is cut to w of its radius (`outer`, which is of degree
2: to sqrt w). So the customer's term is at most w D long, and all of the person's, added up over the stores, D.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedcart.shared.errors import ConfigError, PrivacyRefused, ProtocolError
from fedcart.shared.interactions import WHOLE
from fedcart.shared.learners.base import Block, Float64Array
from fedcart.shared.privacy.grid import EXACT, Grid, grid
from fedcart.shared.privacy.quantise import quantise_dense, quantise_rows
from fedcart.shared.privacy.release import Release
from fedcart.shared.privacy.sums import PlainSums

if TYPE_CHECKING:
    from scipy.sparse import csr_array


class ClippedSums:
    """Integer totals of one round at one store; see `fedcart.shared.learners.base.Sums` for the four sums."""

    def __init__(self, releases: Sequence[Release], *, parted: bool = False) -> None:
        """Sums for `releases`, all of them clipped.

        Args:
          parted: whether each customer has only its part of the clip, `Histories.parts` (overlap `weights`).

        Raises:
          ConfigError: a release is not clipped or is no sum.
          PrivacyRefused: a release samples customers, for which no bound is built.
        """
        for release in releases:
            if release.sampling_rate != 1:
                raise PrivacyRefused(
                    f"release {release.name!r} samples customers at {release.sampling_rate}, and no bound for sampled "
                    "discrete noise is built; nothing was released",
                    "use sampling_rate 1: full participation is never worse here",
                )
        self._releases = {release.name: release for release in releases}
        self._grids: Mapping[str, Grid] = {release.name: grid(release) for release in releases}
        self._sums = PlainSums([unclipped(release) for release in releases], finite=True)
        self._customers = dict.fromkeys(self._grids, 0)
        self._parted = parted

    def rows(self, name: str, block: Block, x: csr_array) -> None:
        """Add sum_u q_u with |q_u| <= S."""
        release, found = self._count(name, block)
        self._sums.rows(name, block, self._cut(block, x, release.clip_norm, found.radii[0]))

    def outer(self, name: str, block: Block, z: csr_array) -> None:
        """Add sum_u q_u q_u^T with |q_u| <= S; z_u is cut to the root of the release's bound on |z|^2."""
        release, found = self._count(name, block)
        self._sums.outer(name, block, self._cut(block, z, math.sqrt(release.clip_norm), found.radii[0], degree=2))

    def cross(self, name: str, block: Block, z: csr_array, a: Float64Array) -> None:
        """Add sum_u q_u p_u^T, z cut to norm 1 and a to the release's bound."""
        release, found = self._count(name, block)
        cut = self._cut(block, z, 1.0, found.radii[0])
        self._sums.cross(name, block, cut, quantise_dense(a, release.clip_norm, found.radii[1]))

    def per_item(self, name: str, block: Block, w: csr_array, u: Float64Array) -> None:
        """Add sum_u w_uj u_u or w_uj u_u u_u^T, the weights cut over the whole catalogue."""
        release, found = self._count(name, block)
        weights = self._cut(block, w, release.weight_clip_norm, found.radii[0])
        self._sums.per_item(name, block, weights, quantise_dense(u, release.clip_norm, found.radii[1]))

    def units(self) -> dict[str, npt.NDArray[np.int64]]:
        """The totals in units of each release's grid. They are exact, and not yet fit to leave."""
        return {name: self._grids[name].units(total) for name, total in self._sums.totals.items()}

    def _cut(self, block: Block, x: csr_array, clip_norm: float, radius: int, degree: int = 1) -> csr_array:
        """The first factor, in units; of degree 2 when the term is its square."""
        if not self._parted:
            return quantise_rows(x, clip_norm, radius)
        parts = block.histories.parts
        if parts is None:
            raise PrivacyRefused(
                "the plan gives a person's stores one clip, and this store does not know its customers' parts of it; "
                "nothing was released"
            )
        return quantise_rows(x, clip_norm, radius, part_radii(parts, radius, degree))

    def _count(self, name: str, block: Block) -> tuple[Release, Grid]:
        """Refuse what the float64 accumulators could not add exactly."""
        if name not in self._releases:
            raise ProtocolError(f"the round has no release {name!r}; nothing was added")
        self._customers[name] += block.histories.customers
        if self._customers[name] * self._grids[name].largest * 2 >= EXACT:
            raise ProtocolError(
                f"release {name!r}: {self._customers[name]} customers are more than one store can add exactly; "
                "nothing was added"
            )
        return self._releases[name], self._grids[name]


def part_radii(parts: npt.NDArray[np.int32], radius: int, degree: int = 1) -> npt.NDArray[np.int64]:
    """[customers] floor(radius w), or floor(radius sqrt w) of degree 2, with w = parts / WHOLE; exact.

    Args:
      radius: at most `LARGEST_RADIUS`, so the squares are below 2^52. Below k^2 the correctly rounded root is below k
        there: its distance from k, 1 / 2k and more, is over the rounding.

    Raises:
      ConfigError: a part is not in 0 .. WHOLE.
    """
    if len(parts) and not 0 <= parts.min() <= parts.max() <= WHOLE:
        raise ConfigError(f"a part of a clip outside 0 .. {WHOLE}; nothing was added")
    whole = parts.astype(np.int64)
    if degree == 1:
        return whole * radius // WHOLE
    square = whole * radius**2 // WHOLE
    return np.sqrt(square).astype(np.int64)


def unclipped(release: Release) -> Release:
    """The same sum of integers that are cut already."""
    return dataclasses.replace(release, clip_norm=math.inf, weight_clip_norm=math.inf, noise_multiplier=0.0)
