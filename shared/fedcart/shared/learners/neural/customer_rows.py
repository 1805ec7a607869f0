"""Customers' factors: fitted at the store against a frozen item side, kept in the store's LocalTable, never sent.

One row of the table = factor, first and second moment of Adam, number of steps. A factor starts at zero, so a new
customer's row depends on nothing but their own history.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from fedcart.shared.interactions import Histories
from fedcart.shared.learners.base import Customers, LocalTable
from fedcart.shared.learners.neural.item_side import ItemSide
from fedcart.shared.learners.neural.sampling import CustomerBatch

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True, slots=True)
class CustomerFit:
    """Adam steps (Kingma & Ba 2015) on each customer's own loss."""

    steps: int
    learning_rate: float


def row_width(factor_width: int) -> int:
    """Numbers kept for one customer."""
    return 3 * factor_width + 1


def fit(module: ItemSide, batch: CustomerBatch, rows: torch.Tensor, how: CustomerFit) -> torch.Tensor:
    """[B, row_width] the customers' rows after `how.steps` steps with the item side frozen; `rows` is kept."""
    width = module.head.factor_width
    edges = (0, width, 2 * width, 3 * width, 3 * width + 1)
    factor, first, second, steps = (rows[:, a:b].clone() for a, b in itertools.pairwise(edges))
    with torch.no_grad():
        gathered = module.gather(batch.items)
    for _ in range(how.steps):
        factor.requires_grad_()
        (gradient,) = torch.autograd.grad(module.factor_losses(batch, factor, gathered).sum(), factor)
        with torch.no_grad():
            steps += 1
            first.lerp_(gradient, 1 - BETA1)
            second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
            root = (second / (1 - BETA2**steps)).sqrt_().add_(EPSILON)
            factor = factor - how.learning_rate * (first / (1 - BETA1**steps)) / root
    return torch.cat([factor, first, second, steps], dim=1)


def read_rows(local: LocalTable, name: str, rows: slice, width: int) -> torch.Tensor:
    """[rows, width] from the store's table; zeros where nothing was written yet."""
    return torch.from_numpy(np.array(local.read(name, rows, width), np.float32))


def all_histories(customers: Customers) -> Histories:
    """Every customer of the store in one object, so that a step can pick any of them."""
    blocks = [block.histories for block in customers.blocks(most_customers=max(customers.count, 1))]
    if len(blocks) == 1:
        return blocks[0]
    ends = np.cumsum([0] + [block.indptr[-1] for block in blocks])
    starts = [block.indptr[:-1] + end for block, end in zip(blocks, ends, strict=False)]

    def joined(field: str, dtype: type[np.generic]) -> npt.NDArray[np.generic]:
        return np.concatenate([np.zeros(0, dtype)] + [getattr(block, field) for block in blocks])

    return Histories(
        blocks[0].items_total if blocks else 0,
        np.concatenate([*starts, ends[-1:]]).astype(np.int64),
        joined("items", np.int32),  # type: ignore[arg-type]
        joined("weights", np.float32),  # type: ignore[arg-type]
        joined("behaviours", np.uint8),  # type: ignore[arg-type]
        joined("ages", np.float32),  # type: ignore[arg-type]
    )
