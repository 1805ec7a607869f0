"""Item-to-item models from a co-occurrence (Gram) matrix alone: EASE and cosine item-kNN. Pure post-processing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedcart.shared.errors import InputError
from fedcart.shared.learners.base import Float64Array

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def ease(gram: Float64Array, regularization: float) -> Float64Array:
    """[n, n] B = I - P diag(P)^-1 with P = (gram + lambda I)^-1, zero diagonal (Steck 2019, arXiv:1905.03375, eq. 8).

    Score of item j = sum over the history's items i of B_ij.
    """
    from scipy.linalg.lapack import dpotrf, dpotri

    n = len(gram)
    system = np.array(gram, order="F")
    system.reshape(-1, order="F")[:: n + 1] += regularization
    factor, failed = dpotrf(system, lower=1, overwrite_a=1)
    if not failed:
        inverse, failed = dpotri(factor, lower=1, overwrite_c=1)
    if failed:
        raise InputError(
            f"EASE: the co-occurrences plus lambda {regularization} on the diagonal are not positive definite; "
            "nothing was learned",
            "raise regularization",
        )
    lower = np.tril(inverse)
    precision = lower + np.tril(lower, -1).T
    weights: Float64Array = -precision / np.diag(precision)[None, :]
    np.fill_diagonal(weights, 0.0)
    return weights


def ease_by_rows(rows: csr_array, regularization: float) -> tuple[Float64Array, Float64Array]:
    """The same B from rows X [customers, items], fewer than items: (W [customers, items], own [items]).

    h B = (h X^T) W + h * own. With K = (X X^T + lambda I)^-1, lambda P = I - X^T K X (Woodbury), so lambda leaves the
    quotient: with d = 1 - diag(X^T K X), W = K X / d and own = 1 - 1 / d. K is [customers, customers].
    """
    gram = np.asarray((rows @ rows.T).toarray(), np.float64)
    kernel = np.asarray(np.linalg.inv(gram + regularization * np.eye(len(gram))) @ rows, np.float64)
    d = 1.0 - np.asarray(rows.multiply(kernel).sum(axis=0)).reshape(-1)
    return kernel / d, 1.0 - 1.0 / d


def cosine_neighbours(gram: Float64Array, shrink: float, neighbours: int) -> Float64Array:
    """[n, n] S_ij = gram_ij / (sqrt(gram_ii gram_jj) + shrink), kept for the `neighbours` items i nearest to each j.

    Diagonal zero. Score of item j = sum over the history's items i of S_ij.
    """
    n = len(gram)
    norms = np.sqrt(np.maximum(np.diag(gram), 0.0))
    similarity: Float64Array = gram / np.maximum(np.outer(norms, norms) + shrink, 1e-12)
    np.fill_diagonal(similarity, 0.0)
    if neighbours < n - 1:
        edge = np.partition(similarity, n - neighbours, axis=0)[n - neighbours]
        similarity[similarity < edge[None, :]] = 0.0
    return similarity
