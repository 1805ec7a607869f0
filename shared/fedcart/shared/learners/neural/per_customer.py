"""Trained rounds and per-customer gradients: one sample = one customer, with all their interactions.

`train_locally` is the store's half of a round with local_steps > 0 and no guarantee (with one: `local_steps`). The
learner brings the module and one loss a customer; the `Trainer` owns the parameters, takes the optimiser's steps and
alone decides what is sent: for each named parameter n_k (theta_k - theta), and n_k itself, so that the coordinator can
average (McMahan et al. 2017, arXiv:1602.05629, Alg. 1). Customer factors are no parameters of the module and cannot be
sent from here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
import torch

from fedcart.shared.errors import PrivacyRefused, ProtocolError
from fedcart.shared.learners.base import Customers, LocalLearner, Round, State, Totals
from fedcart.shared.learners.neural.item_side import Head, ItemSide, load_public, public_views, shared_rows
from fedcart.shared.learners.neural.sampling import CustomerBatch

if TYPE_CHECKING:
    from scipy.sparse import csr_array

CUSTOMERS = "customers"
"""The lane that carries n_k, the number of customers of the store."""
Float32Array = npt.NDArray[np.float32]
Optimizer = Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]


def train_locally(learner: LocalLearner, state: State, round_: Round, customers: Customers) -> Totals:
    """One store's totals of a trained round: n_k times the change of each parameter, and n_k.

    A store without customers returns zeros: it adds nothing to the sum and has no say in the average.
    """
    for release in (*round_.releases, *round_.charges):
        if release.noise_multiplier:
            raise PrivacyRefused(
                f"release {release.name!r} promises noise multiplier {release.noise_multiplier}, and this trainer "
                "adds none; nothing was released"
            )
    if round_.local_steps < 1:
        raise ProtocolError(f"round {round_.index} has no local steps to train; nothing was released")
    trainer = Trainer(state)
    if customers.count:
        learner.train(state, round_, customers, trainer)
    wanted = {release.name: release.shape for release in round_.releases}
    if not customers.count:
        return {name: np.zeros(shape) for name, shape in wanted.items()}
    totals = {**trainer.changes(), CUSTOMERS: np.ones(1)}
    for name, shape in wanted.items():
        if name not in totals or totals[name].shape != shape:
            raise ProtocolError(f"release {name!r} of shape {shape} was not trained; nothing was released")
        totals[name] *= customers.count
    return {name: totals[name] for name in wanted}


class Trainer:
    """Owns the item side's parameters during one store's round."""

    def __init__(self, state: State) -> None:
        self._published = state.public
        self._module: ItemSide | None = None
        self._optimizer: torch.optim.Optimizer | None = None
        self._customers = 0

    def own(self, module: ItemSide, optimizer: Optimizer) -> ItemSide:
        """Load the published model into `module`; call the module that comes back, not the one given."""
        load_public(module, self._published)
        self._module, self._optimizer = module, optimizer(module.parameters())
        return module

    def add(self, losses: torch.Tensor) -> None:
        """Some of a step's customers, [B] one loss each; a step may be added up in parts to bound memory."""
        losses.sum().backward()  # type: ignore[no-untyped-call]
        self._customers += len(losses)

    def step(self) -> None:
        """One step along the mean gradient of the customers added since the last; none added, no step."""
        if self._module is None or self._optimizer is None:
            raise ProtocolError("the trainer owns no module; nothing was trained")
        if self._customers:
            for parameter in self._module.parameters():
                if parameter.grad is not None:
                    parameter.grad /= self._customers
            self._optimizer.step()
            self._optimizer.zero_grad()
        self._customers = 0

    def changes(self) -> dict[str, npt.NDArray[np.float64]]:
        """Parameter name -> trained minus published; empty before `own`."""
        if self._module is None:
            return {}
        return {
            name: np.subtract(trained, self._published[name], dtype=np.float64)
            for name, trained in public_views(self._module).items()
        }


def gradient_words(module: ItemSide) -> int:
    """Length of one customer's gradient: all parameters in `named_parameters` order, tables without the sink."""
    return sum(shared_rows(module, name, p).numel() for name, p in module.named_parameters())


def split_gradient(module: ItemSide, flat: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
    """Parameter name -> its piece of a flat gradient, in the parameter's shape."""
    pieces, start = {}, 0
    for name, parameter in module.named_parameters():
        target = shared_rows(module, name, parameter)
        pieces[name] = flat[start : start + target.numel()].reshape(target.shape)
        start += target.numel()
    return pieces


def customer_gradients(module: ItemSide, batch: CustomerBatch, factors: torch.Tensor) -> csr_array:
    """[B, gradient_words] the gradient of each customer's own loss, sparse over the items it touches.

    The tables' part is the gradient with respect to the gathered rows (row u of the batch is customer u alone, so one
    backward pass gives all of them: no [B, items, width] ever exists), the layers' part Opacus' per-sample gradients
    of the same pass.
    """
    with torch.no_grad():
        rows = [r.requires_grad_() for r in module.gather(batch.items)]
    layers, given = (
        list(module.head.parameters()),
        factors.detach().requires_grad_(),
    )  # hooks want inputs with gradients
    with per_sample(module.head):
        loss = module.losses(batch, given, rows).sum()
        by_row = torch.autograd.grad(loss, [*rows, *layers, given])[: len(rows)]
        by_layer = [cast(torch.Tensor, vars(layer)["grad_sample"]).flatten(1).numpy() for layer in layers]
    catalogue = len(module.item_tables()[0].shared)
    return in_one_row([part.numpy() for part in by_row], by_layer, batch.items.flatten(1).numpy(), catalogue)


@contextmanager
def per_sample(head: Head) -> Iterator[None]:
    """Inside, one backward pass leaves [B, ...] in `grad_sample` of each parameter of `head`."""
    if next(head.parameters(), None) is None:
        yield
        return
    quiet = logging.NullHandler()  # opacus gives the root logger a handler when it has none: every line would be shown
    logging.getLogger().addHandler(quiet)
    try:
        from opacus.grad_sample import GradSampleHooks  # seconds to import, and only heads with layers need it
    finally:
        logging.getLogger().removeHandler(quiet)
    hooks = GradSampleHooks(head, loss_reduction="sum")
    try:
        yield
    finally:
        hooks.cleanup()


def in_one_row(
    by_sample: list[Float32Array], layers: list[Float32Array], items: npt.NDArray[np.int64], catalogue: int
) -> csr_array:
    """[B, numbers] each customer's gradients side by side: samples of one item added up, then the layers'.

    Sorted and without a cell twice, so that a clip sees every number once. What a customer's row holds depends on
    their own samples alone.

    Args:
      by_sample: for each table [B, L, width].
      layers: for each layer [B, numbers].
      items: [B, L]; `catalogue` and above is padding.
    """
    from scipy.sparse import csr_array

    count, samples = items.shape
    order = (np.argsort(items, axis=1, kind="stable") + np.arange(count)[:, None] * samples).reshape(-1)
    item = items.reshape(-1)[order]
    real = item < catalogue
    order, item, owner = order[real], item[real], np.repeat(np.arange(count), samples)[real]
    first = np.flatnonzero(np.diff(item, prepend=-1) | np.diff(owner, prepend=-1))
    item, owner = item[first], owner[first]
    per_customer = np.bincount(owner, minlength=count)
    widths = [part.shape[-1] for part in by_sample]
    tail = sum(layer.shape[1] for layer in layers)
    indptr = np.concatenate([[0], np.cumsum(per_customer * sum(widths) + tail)])
    columns, values = np.empty(indptr[-1], np.int64), np.empty(indptr[-1])
    rank = np.arange(len(item)) - np.repeat(np.cumsum(per_customer) - per_customer, per_customer)
    before, start = 0, 0
    for part, width in zip(by_sample, widths, strict=True):
        place = (indptr[owner] + per_customer[owner] * before + rank * width)[:, None] + np.arange(width)
        if len(first):
            values[place] = np.add.reduceat(part.reshape(-1, width)[order].astype(np.float64), first, axis=0)
        columns[place] = start + item[:, None] * width + np.arange(width)
        before, start = before + width, start + catalogue * width
    for layer in layers:
        place = (indptr[1:] - tail)[:, None] + np.arange(layer.shape[1])
        values[place], columns[place] = layer, start + np.arange(layer.shape[1])
        tail, start = tail - layer.shape[1], start + layer.shape[1]
    return csr_array((values, columns, indptr), shape=(count, start))
