"""What one customer gives: a unit row for popularity, then the centred, damped, unit history and its projection.

A pure function of the customer's own rows and of published arrays; clipping is the kernel's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedcart.shared.interactions import Histories

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Float64Array = npt.NDArray[np.float64]

DENSE_WORDS = 1 << 22
"""Most numbers of centred histories held at once."""
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
    """[customers, items] x / |x|, faded: x_i fade_i / |x|, so that a customer of long ago says less."""
    from scipy.sparse import csr_array

    plain = histories.weights.astype(np.float64)
    length = np.sqrt(_by_row(histories, plain**2))
    with np.errstate(invalid="ignore"):  # a weight that is not finite: the kernel counts the row as zero
        values = own_weights(histories, half_life_days) / np.repeat(np.where(length > 0, length, 1.0), histories.counts)
    return csr_array((values, histories.items, histories.indptr), shape=(histories.customers, histories.items_total))


def centred_history(histories: Histories, q: Float64Array) -> Float64Array:
    """[customers, items] z: x less what popularity alone would give, min(|x|_1 q, 1), damped, unit norm.

    Rows of customers without items, or with a weight that is not finite, are zero.
    """
    weights = histories.weights.astype(np.float64)
    mass = _by_row(histories, weights)
    z = -np.minimum(mass[:, None] * q, 1.0)
    z[histories.row_of_pair(), histories.items] += weights
    z *= (len(q) * q + SOFTENING) ** -DAMPING
    norm = np.sqrt(np.einsum("ui,ui->u", z, z))
    known = (mass > 0) & np.isfinite(norm)
    z[~known] = 0.0
    z /= np.where(known & (norm > 0), norm, 1.0)[:, None]
    return z


def _by_row(histories: Histories, values: Float64Array) -> Float64Array:
    sums = np.bincount(histories.row_of_pair(), weights=values, minlength=histories.customers)
    return sums.astype(np.float64, copy=False)
