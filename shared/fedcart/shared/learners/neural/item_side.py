"""The part of a neural model that stores learn together, as one module: customers in, one loss a customer out.

Per-sample clipping (Opacus) wraps this module as it is: one row of the batch is one customer with all their
samples, every table and layer is used once in a forward pass, padding looks up a sink row that the mask silences.
Customer factors are inputs, not parameters: they never enter the module's state and so can never be sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.functional import softplus

from fedcart.shared.errors import ProtocolError
from fedcart.shared.learners.neural.sampling import CustomerBatch

Loss = Literal["bce", "bpr", "mse"]
Public = Mapping[str, npt.NDArray[np.float32]]


class ItemTable(nn.Embedding):
    """[items + 1, width]; the last row is the sink: zero, never sent, never trained."""

    def __init__(self, items: int, width: int) -> None:
        super().__init__(items + 1, width)
        nn.init.zeros_(self.weight)

    @property
    def shared(self) -> torch.Tensor:
        """[items, width] the rows that are learned and sent: a view without the sink."""
        return self.weight[:-1]

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """nn.Embedding's map by index_select: its backward pass is three times as fast on a processor."""
        return self.weight.index_select(0, input.flatten()).view(*input.shape, self.embedding_dim)


class Head(nn.Module):
    """Logits from a customer's factor and the gathered rows of each table. `factor_width` numbers a customer."""

    factor_width: int

    def forward(self, factors: torch.Tensor, *rows: torch.Tensor) -> torch.Tensor:
        """[B, L] logits; factors [B, factor_width], rows [B, L, width of the table] in the order of the tables."""
        raise NotImplementedError

    def catalogue(self, factors: torch.Tensor, *tables: torch.Tensor) -> torch.Tensor:
        """[B, items] logits of every item; tables [items, width]."""
        raise NotImplementedError


class ItemSide(nn.Module):
    """Tables, head and loss of one learner.

    The loss of customer u is scale_u sum_p mask_up (l(s_p0; s_p1 .. s_pn) + r_up), with s_p0 the logit of the
    positive, the others those of its negatives, and r = regularization / 2 times the squared lengths of the rows
    and of the factor, once a sample, as in Rendle et al. 2020 (arXiv:2005.09683), section 3.
    """

    def __init__(self, tables: Mapping[str, ItemTable], head: Head, loss: Loss, regularization: float) -> None:
        super().__init__()
        self.tables = nn.ModuleDict(dict(tables))
        self.head = head
        self._loss = loss
        self._regularization = regularization

    def forward(self, batch: CustomerBatch, factors: torch.Tensor) -> torch.Tensor:
        """[B] losses; factors [B, factor_width]."""
        return self.losses(batch, factors, self.gather(batch.items))

    def gather(self, items: torch.Tensor) -> list[torch.Tensor]:
        """One [B, L, width] for each table; items [B, P, 1 + n], L = P (1 + n)."""
        flat = items.flatten(1)
        return [table(flat) for table in self.item_tables()]

    def item_tables(self) -> list[ItemTable]:
        """The tables, in the order in which the head takes their rows."""
        return [cast(ItemTable, table) for table in self.tables.values()]

    def losses(self, batch: CustomerBatch, factors: torch.Tensor, rows: list[torch.Tensor]) -> torch.Tensor:
        """[B] losses from gathered rows."""
        fitted = self.factor_losses(batch, factors, rows)
        if not self._regularization:
            return fitted
        squares = torch.stack([r.square().sum(-1) for r in rows]).sum(0).view(batch.items.shape)
        return fitted + self._regularization / 2 * batch.total(squares.sum(-1))

    def factor_losses(self, batch: CustomerBatch, factors: torch.Tensor, rows: list[torch.Tensor]) -> torch.Tensor:
        """[B] `losses` less what does not depend on the factors, the rows' lengths."""
        logits = self.head(factors, *rows).view(batch.items.shape)
        each = sample_losses(logits, self._loss)
        if self._regularization:
            penalty = self._regularization / 2 * batch.items.shape[-1]
            each = each + penalty * torch.linalg.vecdot(factors, factors)[:, None]
        return batch.total(each)


def sample_losses(logits: torch.Tensor, loss: Loss) -> torch.Tensor:
    """[B, P] from [B, P, 1 + n]: cross entropy, pairwise logistic (BPR, Rendle et al. 2009) or squared error."""
    positive, negative = logits[..., :1], logits[..., 1:]
    if loss == "bce":
        return softplus(-positive).squeeze(-1) + softplus(negative).sum(-1)
    if loss == "bpr":
        return softplus(negative - positive).sum(-1)
    return (1 - positive).square().squeeze(-1) + negative.square().sum(-1)


def public_views(module: ItemSide) -> dict[str, npt.NDArray[np.float32]]:
    """Parameter name -> its values, tables without their sink row; they change as the module does."""
    return {name: shared_rows(module, name, p).detach().numpy() for name, p in module.named_parameters()}


def public_arrays(module: ItemSide) -> dict[str, npt.NDArray[np.float32]]:
    """Copies of `public_views`."""
    return {name: values.copy() for name, values in public_views(module).items()}


def shared_rows(module: ItemSide, name: str, values: torch.Tensor) -> torch.Tensor:
    """A parameter's values (or gradient) without the sink row, as a view."""
    return values[:-1] if name.startswith("tables.") else values


def load_public(module: ItemSide, public: Public) -> None:
    """Set every parameter from `public`; other names in it are ignored. Refuses a wrong shape or NaN."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            target = shared_rows(module, name, parameter)
            if name not in public or public[name].shape != tuple(target.shape):
                found = public[name].shape if name in public else "missing"
                raise ProtocolError(
                    f"the published model's {name!r} is {found}, not {tuple(target.shape)}; nothing was computed"
                )
            if not np.isfinite(public[name]).all():
                raise ProtocolError(f"the published model's {name!r} is not finite; nothing was computed")
            target.copy_(torch.from_numpy(np.array(public[name], np.float32)))
