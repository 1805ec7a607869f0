"""What a customer's own times say: how much each own item counts in the taste, and how likely it is bought again.

Read at the store from that customer's rows alone, after training; nothing of it leaves, so no epsilon is spent.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedcart.shared.interactions import Histories

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]


def order_weights(histories: Histories, order_weight: float, order_items: float) -> Float32Array:
    """[pairs] 1 + order_weight exp(-rank / order_items) among the customer's own items; 1 without a time."""
    ranks = recency_ranks(histories)
    lift = np.where(np.isnan(ranks), 0.0, np.exp(-np.nan_to_num(ranks) / order_items))
    return (1.0 + order_weight * lift).astype(np.float32)


def recency_ranks(histories: Histories) -> Float64Array:
    """[pairs] 0 = the customer's most recent item; ties share their mean rank; NaN where the pair has no time."""
    row, ages = histories.row_of_pair(), histories.ages
    order = np.lexsort((ages, row))  # NaN last in its row
    position = np.arange(len(order)) - np.repeat(histories.indptr[:-1], histories.counts)
    tied = (np.diff(row[order]) == 0) & (np.diff(ages[order]) == 0)  # NaN is never tied
    group = np.concatenate([[0], np.cumsum(~tied)])[: len(order)]
    mean = np.bincount(group, weights=position) / np.maximum(np.bincount(group), 1)
    ranks = np.empty(len(order))
    ranks[order] = mean[group]
    ranks[np.isnan(ages)] = np.nan
    return ranks


def fading(histories: Histories, half_life_days: float) -> Float64Array:
    """[pairs] 2^(-age / half-life); 1 where the pair has no time."""
    ages = np.where(np.isnan(histories.ages), 0.0, histories.ages).astype(np.float64)
    faded: Float64Array = np.exp2(-np.maximum(ages, 0.0) / half_life_days)
    return faded


def own_bonus(histories: Histories, half_life_days: float) -> Float32Array:
    """[pairs] weight x days with it x 2^(-age / half-life): what was bought often and lately is bought again.

    A pair without a time has not faded, one that is not finite gives 0.
    """
    bonus = histories.weights * fading(histories, half_life_days)
    if histories.visits is not None:
        bonus *= histories.visits
    return np.where(np.isfinite(bonus), bonus, 0.0).astype(np.float32)
