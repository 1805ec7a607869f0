"""Histories as a sparse matrix of customers by items."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcart.shared.interactions import Histories

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def weight_rows(histories: Histories) -> csr_array:
    """[customers, items] the pairs' weights, float32."""
    from scipy.sparse import csr_array

    shape = (histories.customers, histories.items_total)
    return csr_array((histories.weights, histories.items, histories.indptr), shape=shape)
