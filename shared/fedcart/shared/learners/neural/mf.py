"""`mf`: matrix factorisation with item biases; the score of item i for customer u is u . v_i + b_i."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from fedcart.shared.learners.neural.item_side import Head, ItemSide, ItemTable
from fedcart.shared.learners.neural.learner import NeuralLearner


@dataclass(frozen=True, kw_only=True)
class MatrixFactorization(NeuralLearner):
    """Item vectors and biases are learned together, customer vectors stay at the store."""

    name: ClassVar[str] = "mf"
    summary: ClassVar[str] = "matrix factorisation by gradients, customer factors stay at the store; many rounds"

    positives: int = 60
    local_steps: int = 10
    steps_per_epoch: int = 10
    round_count: int = 140

    def module(self, items: int) -> ItemSide:
        """Tables `vectors` [items, embedding_dim] and `bias` [items, 1]."""
        tables = {"vectors": ItemTable(items, self.embedding_dim), "bias": ItemTable(items, 1)}
        return ItemSide(tables, Dot(self.embedding_dim), self.loss, self.regularization)

    def initialise(self, module: ItemSide, generator: torch.Generator) -> None:
        """Normal vectors, zero biases."""
        super().initialise(module, generator)
        torch.nn.init.zeros_(module.tables["bias"].weight)  # type: ignore[arg-type]


class Dot(Head):
    """u . v + b; no parameters of its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.factor_width = width

    def forward(self, factors: torch.Tensor, *rows: torch.Tensor) -> torch.Tensor:
        vectors, bias = rows
        # This orientation is eight times as fast as vectors @ factor, forward and backward.
        return torch.bmm(factors.unsqueeze(1), vectors.transpose(1, 2)).squeeze(1) + bias.squeeze(-1)

    def catalogue(self, factors: torch.Tensor, *tables: torch.Tensor) -> torch.Tensor:
        vectors, bias = tables
        return factors @ vectors.T + bias.T
