"""Histories as a sparse matrix of customers by items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedcart.shared.interactions import Histories

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def weight_rows(histories: Histories) -> csr_array:
    """[customers, items] the pairs' weights, float32."""
    from scipy.sparse import csr_array

    shape = (histories.customers, histories.items_total)
    return csr_array((histories.weights, histories.items, histories.indptr), shape=shape)


def unit_rows(x: csr_array) -> csr_array:
    """`x` with every row at L2 norm 1; rows of zeros stay."""
    from scipy.sparse import csr_array

    norms = np.sqrt(np.asarray(x.multiply(x).sum(axis=1)).reshape(-1))
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    return csr_array((x.data * np.repeat(scale, np.diff(x.indptr)), x.indices, x.indptr), shape=x.shape)
