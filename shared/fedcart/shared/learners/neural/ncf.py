"""`ncf`: neural collaborative filtering (NeuMF, He et al. 2017, arXiv:1708.05031): GMF + MLP in one output layer.

Public: two item tables, the layers and the output. Local: two factors a customer, side by side in one row.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from fedcart.shared.errors import ConfigError
from fedcart.shared.learners.neural.item_side import Head, ItemSide, ItemTable
from fedcart.shared.learners.neural.learner import NeuralLearner


@dataclass(frozen=True, kw_only=True)
class NeuralCollaborativeFiltering(NeuralLearner):
    """logit = w . [g_u * g_i ; MLP([m_u ; m_i])] + b_i, with embedding_dim numbers for each of g and m.

    Attributes:
      layers: widths of the MLP's layers after its input, each followed by ReLU.
    """

    name: ClassVar[str] = "ncf"
    summary: ClassVar[str] = "NeuMF: matrix factorisation and a small network, customer factors stay; many rounds"

    embedding_dim: int = 32
    positives: int = 60
    negatives: int = 8
    learning_rate: float = 0.015
    refine_steps: int = 10
    layers: tuple[int, ...] = (32, 16)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.layers or any(width < 1 for width in self.layers):
            raise ConfigError(f"layers are {self.layers!r}; one or more positive widths are needed; nothing was run")

    def module(self, items: int) -> ItemSide:
        """Tables `gmf`, `mlp` [items, embedding_dim] and `bias` [items, 1]; the layers in the head."""
        tables = {"gmf": ItemTable(items, self.embedding_dim), "mlp": ItemTable(items, self.embedding_dim)}
        return ItemSide(
            {**tables, "bias": ItemTable(items, 1)},
            NeuMF(self.embedding_dim, self.layers),
            self.loss,
            self.regularization,
        )

    def initialise(self, module: ItemSide, generator: torch.Generator) -> None:
        """Normal tables, zero biases; layers as He et al. 2015 (ReLU); the output starts as plain GMF plus MLP mean."""
        super().initialise(module, generator)
        torch.nn.init.zeros_(module.tables["bias"].weight)  # type: ignore[arg-type]
        head = module.head
        assert isinstance(head, NeuMF)
        for layer in (head.from_item, head.from_customer, *head.deeper):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
        for name, parameter in head.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
        nn.init.ones_(head.out_gmf.weight)
        nn.init.constant_(head.out_mlp.weight, 1 / head.out_mlp.in_features)


class NeuMF(Head):
    """The MLP's first layer is written as two, one for the customer's half of its input and one for the item's:
    the same map as on the joined input, with the customer's half computed once a customer."""

    def __init__(self, width: int, layers: tuple[int, ...]) -> None:
        super().__init__()
        self.factor_width = 2 * width
        self.from_customer = nn.Linear(width, layers[0], bias=False)
        self.from_item = nn.Linear(width, layers[0])
        self.deeper = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(layers))
        self.out_gmf = nn.Linear(width, 1, bias=False)
        self.out_mlp = nn.Linear(layers[-1], 1, bias=False)

    def forward(self, factors: torch.Tensor, *rows: torch.Tensor) -> torch.Tensor:
        gmf, mlp, bias = rows
        own_gmf, own_mlp = factors.chunk(2, dim=-1)
        hidden = torch.relu(self.from_item(mlp) + self.from_customer(own_mlp).unsqueeze(1))
        for layer in self.deeper:
            hidden = torch.relu(layer(hidden))
        together = self.out_gmf(gmf * own_gmf.unsqueeze(1)) + self.out_mlp(hidden) + bias
        logits: torch.Tensor = together.squeeze(-1)
        return logits

    def catalogue(self, factors: torch.Tensor, *tables: torch.Tensor) -> torch.Tensor:
        """One customer at a time: memory of items x widest layer."""
        rows = [table.unsqueeze(0) for table in tables]
        return torch.cat([self(factor.unsqueeze(0), *rows) for factor in factors])
