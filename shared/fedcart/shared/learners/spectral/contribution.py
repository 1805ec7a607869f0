"""What one customer gives: a unit row for popularity, then the centred, damped, unit history and its projection.

A pure function of the customer's own rows and of published arrays; clipping is the kernel's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedcart.shared.interactions import Histories
from fedcart.shared.learners.spectral.own_history import fading

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


def unit_history(histories: Histories, half_life_days: float) -> csr_array:
    """[customers, items] x faded, at unit norm, so that everyone uses the whole clip whenever they were last there.

    Who has long been away is scaled up by at most 1 / LEAST_FADE, and so says less.
    """
    from scipy.sparse import csr_array

    values = histories.weights * fading(histories, half_life_days)
    plain = np.sqrt(_by_row(histories, histories.weights.astype(np.float64) ** 2))
    with np.errstate(invalid="ignore"):  # a weight that is not finite: the kernel counts the row as zero
        length = np.maximum(np.sqrt(_by_row(histories, values**2)), LEAST_FADE * plain)
        values /= np.repeat(np.where(length > 0, length, 1.0), histories.counts)
    return csr_array((values, histories.items, histories.indptr), shape=(histories.customers, histories.items_total))


@dataclass(frozen=True)
class Centring:
    """z_u = (x_u - min(|x_u|_1 q, 1)) damped, unit norm: a history less what popularity alone would give.

    The part taken off is 1 for the `head` most popular items and |x_u|_1 q for the others, so its length and its
    projections are read off running sums over items in the order of popularity.

    Attributes:
      q: [items] published popularity.
      damping: [items] what each item's cell is multiplied by.
      order: [items] items, most popular first.
    """

    q: Float64Array
    damping: Float64Array
    order: npt.NDArray[np.intp]

    @classmethod
    def of(cls, q: Float64Array) -> Centring:
        """For popularity `q`."""
        return cls(q, (len(q) * q + SOFTENING) ** -DAMPING, np.argsort(-q, kind="stable"))

    def rows(self, histories: Histories, basis: Float64Array) -> tuple[csr_array, Float64Array]:
        """(z [customers, items] with every cell stored, its projections z V [customers, columns]).

        The projections come from the sparse half and from running sums, customer by customer, so that no other row
        in the block can move their last bits. Customers without items, or with a weight that is not finite, give zeros.

        Args:
          basis: V [items, columns].
        """
        own, mass = self._own(histories)
        norm = self._length(histories, own, mass)
        scale = np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0)
        projections = (own @ basis - self._taken_off(mass, basis * self.damping[:, None], 1)) * scale[:, None]
        z = -np.minimum(mass[:, None] * self.q, 1.0) * self.damping
        z[histories.row_of_pair(), histories.items] += own.data
        z *= scale[:, None]
        return full_rows(z), projections

    def _own(self, histories: Histories) -> tuple[csr_array, Float64Array]:
        """(damped own cells [customers, items], sums of weights [customers]); 0 for a row that is not finite."""
        from scipy.sparse import csr_array

        weights = histories.weights.astype(np.float64)
        mass = _by_row(histories, weights)
        known = np.isfinite(mass)
        cells = np.where(np.repeat(known, histories.counts), weights, 0.0) * self.damping[histories.items]
        shape = (histories.customers, histories.items_total)
        return csr_array((cells, histories.items, histories.indptr), shape=shape), np.where(known, mass, 0.0)

    def _length(self, histories: Histories, own: csr_array, mass: Float64Array) -> Float64Array:
        """[customers] |z| before it is scaled; 0 where nothing but rounding is left."""
        items = histories.items
        taken = np.minimum(np.repeat(mass, histories.counts) * self.q[items], 1.0) * self.damping[items]
        with np.errstate(over="ignore", invalid="ignore"):
            length = _by_row(histories, own.data**2)
            rest = self._taken_off(mass, self.damping[:, None] ** 2, 2)[:, 0]
            square = length - 2.0 * _by_row(histories, own.data * taken) + rest
        return np.sqrt(np.where(np.isfinite(square) & (square > ROUNDING * length), square, 0.0))

    def _taken_off(self, mass: Float64Array, values: Float64Array, power: int) -> Float64Array:
        """[customers, columns] sum over items of min(mass q, 1)^power values; values [items, columns]."""
        sorted_q, sorted_values = self.q[self.order], values[self.order]
        head = np.searchsorted(-sorted_q, -1.0 / np.maximum(mass, 1e-300))
        nothing = np.zeros((1, values.shape[1]))
        ones = np.concatenate([nothing, np.cumsum(sorted_values, axis=0)])
        shares = np.cumsum((sorted_q[:, None] ** power * sorted_values)[::-1], axis=0)[::-1]
        shares = np.concatenate([shares, nothing])
        found: Float64Array = ones[head] + mass[:, None] ** power * shares[head]
        return found


def full_rows(z: Float64Array) -> csr_array:
    """A dense [customers, items] matrix as CSR with every cell stored."""
    from scipy.sparse import csr_array

    customers, items = z.shape
    columns = np.tile(np.arange(items, dtype=np.int32), customers)
    return csr_array((z.reshape(-1), columns, np.arange(customers + 1) * items), shape=z.shape)


def _by_row(histories: Histories, values: Float64Array) -> Float64Array:
    sums = np.bincount(histories.row_of_pair(), weights=values, minlength=histories.customers)
    return sums.astype(np.float64, copy=False)
