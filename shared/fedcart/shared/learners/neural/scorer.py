"""Scores at the store: a customer's factor against the public item side, by fold-in where there is no factor yet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from fedcart.shared.learners.base import Block, LocalTable
from fedcart.shared.learners.neural.customer_rows import CustomerFit, fit, read_rows, row_width
from fedcart.shared.learners.neural.item_side import ItemSide
from fedcart.shared.learners.neural.sampling import Draw, UInt64, draw, parts

AT_ONCE = 64
"""Customers scored together: with the head's memory, at most AT_ONCE x items x widest layer numbers."""


@dataclass(frozen=True)
class NeuralScorer:
    """Deterministic: the samples of fold-in depend on the customer's own history and `when`.

    `newcomers` fits customers without a factor, `known` goes on from the factor of the others.
    """

    module: ItemSide
    factors_name: str
    samples: Draw
    newcomers: CustomerFit
    known: CustomerFit
    when: UInt64

    def score(self, block: Block, local: LocalTable | None) -> npt.NDArray[np.float32]:
        """[block customers, items] logits."""
        width = self.module.head.factor_width
        factors = self.factors(block, local)[:, :width]
        tables = [table.shared for table in self.module.item_tables()]
        with torch.no_grad():
            pieces = [
                self.module.head.catalogue(factors[start : start + AT_ONCE], *tables)
                for start in range(0, len(factors), AT_ONCE)
            ]
            return torch.cat(pieces).numpy() if pieces else np.zeros((0, len(tables[0])), np.float32)

    def factors(self, block: Block, local: LocalTable | None) -> torch.Tensor:
        """[block customers, row width] customers' rows, fitted to this item side."""
        count = block.histories.customers
        width = row_width(self.module.head.factor_width)
        rows, trained = torch.zeros(count, width), np.zeros(count, bool)
        if local is not None:
            trained = local.written(self.factors_name, block.rows, width)
            rows[trained] = read_rows(local, self.factors_name, block.rows, width)[trained]
        for who, how in ((~trained, self.newcomers), (trained, self.known)):
            for part in parts(block.histories, np.flatnonzero(who), self.samples) if how.steps else ():
                batch = draw(block.histories, part, self.when, self.samples)
                rows[part] = fit(self.module, batch, rows[part], how)
        return rows
