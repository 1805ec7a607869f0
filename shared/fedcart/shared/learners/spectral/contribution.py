"""What one customer gives: a unit row for popularity, then the centred, damped, unit history and its projection.

A pure function of the customer's own rows and of published arrays; clipping is the kernel's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedcart.shared.interactions import Histories

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Float64Array = npt.NDArray[np.float64]

DENSE_WORDS = 1 << 22
"""Most numbers of centred histories held at once."""
LEAST_FADE = 0.1
"""Share of a history's length below which fading is not made up for."""
ROUNDING = 1e-12
"""Of a history's squared length: what is left after centring below it is rounding."""
DAMPING, SOFTENING = 0.15, 0.05
"""z_i is divided by (items x q_i + SOFTENING)^DAMPING: popular items count less."""


def own_weights(histories: Histories, half_life_days: float) -> Float64Array:
    """[pairs] the pair's weight, faded by age; a pair without a time does not fade."""
    weights = histories.weights.astype(np.float64)
    if half_life_days == np.inf:
        return weights
    ages = np.where(np.isnan(histories.ages), 0.0, histories.ages).astype(np.float64)
    faded: Float64Array = weights * np.exp2(-np.maximum(ages, 0.0) / half_life_days)
    return faded


def unit_history(histories: Histories, half_life_days: float) -> csr_array:
    """[customers, items] x faded, at unit norm, so that everyone uses the whole clip whenever they were last there.

    Who has long been away is scaled up by at most 1 / LEAST_FADE, and so says less.
    """
    from scipy.sparse import csr_array

    values = own_weights(histories, half_life_days)
    plain = np.sqrt(_by_row(histories, histories.weights.astype(np.float64) ** 2))
    with np.errstate(invalid="ignore"):  # a weight that is not finite: the kernel counts the row as zero
        length = np.maximum(np.sqrt(_by_row(histories, values**2)), LEAST_FADE * plain)
        values /= np.repeat(np.where(length > 0, length, 1.0), histories.counts)
    return csr_array((values, histories.items, histories.indptr), shape=(histories.customers, histories.items_total))


@dataclass(frozen=True)
class Centring:
    """z_u = (x_u - min(|x_u|_1, 1 / max q) q) damped, unit norm: a history less what popularity alone would give.

    Attributes:
      q: [items] published popularity.
      damping: [items] what each item's cell is multiplied by.
      common: [items] q damped: the part that all customers share, up to a factor.
    """

    q: Float64Array
    damping: Float64Array
    common: Float64Array

    @classmethod
    def of(cls, q: Float64Array) -> Centring:
        """For popularity `q`."""
        damping = (len(q) * q + SOFTENING) ** -DAMPING
        return cls(q, damping, q * damping)

    def rows(self, histories: Histories, basis: Float64Array) -> tuple[csr_array, Float64Array]:
        """(z [customers, items] with every cell stored, its projections z V [customers, columns]).

        The projections come from the sparse half, customer by customer, so that no other row in the block can move
        their last bits. Customers without items, or with a weight that is not finite, give zeros.

        Args:
          basis: V [items, columns].
        """
        own, share, norm = self._parts(histories)
        scale = np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0)
        own.data *= np.repeat(scale, histories.counts)
        share = share * scale
        projections = own @ basis - share[:, None] * (self.common @ basis)
        z = share[:, None] * -self.common
        z[histories.row_of_pair(), histories.items] += own.data
        return full_rows(z), projections

    def _parts(self, histories: Histories) -> tuple[csr_array, Float64Array, Float64Array]:
        """Damped own cells; how often the common part is taken off; norm of the two together, 0 = nothing to give."""
        from scipy.sparse import csr_array

        weights = histories.weights.astype(np.float64)
        mass = _by_row(histories, weights)
        known = np.isfinite(mass) & (mass > 0)
        cells = np.where(np.repeat(known, histories.counts), weights, 0.0) * self.damping[histories.items]
        share = np.where(known, np.minimum(mass, 1.0 / self.q.max()), 0.0)
        overlap = _by_row(histories, cells * self.common[histories.items])
        with np.errstate(over="ignore", invalid="ignore"):
            own = _by_row(histories, cells**2)
            square = own - 2 * share * overlap + share**2 * (self.common @ self.common)
        norm = np.sqrt(np.where(np.isfinite(square) & (square > ROUNDING * own), square, 0.0))
        shape = (histories.customers, histories.items_total)
        return csr_array((cells, histories.items, histories.indptr), shape=shape), share, norm


def full_rows(z: Float64Array) -> csr_array:
    """A dense [customers, items] matrix as CSR with every cell stored."""
    from scipy.sparse import csr_array

    customers, items = z.shape
    columns = np.tile(np.arange(items, dtype=np.int32), customers)
    return csr_array((z.reshape(-1), columns, np.arange(customers + 1) * items), shape=z.shape)


def _by_row(histories: Histories, values: Float64Array) -> Float64Array:
    sums = np.bincount(histories.row_of_pair(), weights=values, minlength=histories.customers)
    return sums.astype(np.float64, copy=False)
