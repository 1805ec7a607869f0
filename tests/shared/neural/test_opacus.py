"""Opacus, in one place and with all customers pooled, comes to the sum that stores come to apart.

One sample = one customer. Opacus' own traps (RESEARCH: a module used twice, padding rows, means over the batch) are
avoided by how the item side is written; each has a test here.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

opacus = pytest.importorskip("opacus", reason="the extra `neural` is not installed")
torch = pytest.importorskip("torch")

from opacus.grad_sample import GradSampleModule  # noqa: E402 (after the check for opacus)
from opacus.grad_sample.embedding import compute_embedding_norm_sample  # noqa: E402
from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import (  # noqa: E402
    GradSampleModuleFastGradientClipping,
)
from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping  # noqa: E402
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping  # noqa: E402

from fedcart.shared.learners.base import STEP, State  # noqa: E402
from fedcart.shared.learners.neural.customer_rows import row_width  # noqa: E402
from fedcart.shared.learners.neural.item_side import ItemSide, ItemTable, load_public, shared_rows  # noqa: E402
from fedcart.shared.learners.neural.learner import FACTORS  # noqa: E402
from fedcart.shared.learners.neural.local_steps import StepCustomers  # noqa: E402
from fedcart.shared.learners.neural.per_customer import customer_gradients  # noqa: E402
from fedcart.shared.learners.neural.sampling import CustomerBatch, draw, stamp  # noqa: E402
from fedcart.shared.privacy.clipped_sums import ClippedSums  # noqa: E402
from fedcart.shared.privacy.grid import grid  # noqa: E402
from shared.neural.neural_cases import LEARNERS, histories, random_rows, small, store  # noqa: E402
from shared.neural.test_gradients import moved_state  # noqa: E402
from shared.neural.test_private_steps import private_rounds  # noqa: E402

ROWS = [*random_rows(14), [3], list(range(20))]
CUTS = (0, 5, 5, 12, len(ROWS))
"""Four stores, the second without customers."""

pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook:UserWarning", "ignore:In CPU autocast:UserWarning")


def federated(learner: Any, state: State, step: int, clip: float = 1.0) -> tuple[Any, Any]:
    """The clipped sum over all stores as the kernel makes it, without noise; and the pooled customers' factors."""
    round_ = private_rounds(learner)[1]
    round_ = dataclasses.replace(round_, step=dataclasses.replace(round_.step, clip_norm=clip))
    total, factors = 0.0, []
    for start, stop in itertools.pairwise(CUTS):
        customers = store(ROWS[start:stop])
        sums = ClippedSums([round_.step])
        learner.contribute_step(state, round_, step, StepCustomers(customers), sums)
        total = total + grid(round_.step).values(sums.units()[STEP])
        customers.begin(99)  # so that the table shows what was written
        width = learner.module(24).head.factor_width
        factors.append(customers.local.read(FACTORS, slice(0, stop - start), row_width(width))[:, :width])
    return total, torch.from_numpy(np.concatenate(factors))


def pooled(learner: Any, state: State, step: int) -> tuple[ItemSide, CustomerBatch]:
    """Module and samples of all customers in one batch, at the moment of the round's step."""
    module = learner.module(24)
    load_public(module, state.public)
    seed = int(state.public["seed"][0])
    when = stamp(seed, 1 * learner.local_steps + step)
    return module, draw(histories(ROWS), np.arange(len(ROWS)), when, learner.samples)


def in_a_row(module: Any, each: str) -> Any:
    """A tensor attribute of every parameter side by side, tables without the sink."""
    pieces = []
    for name, parameter in module.named_parameters():
        pieces.append(shared_rows(module, name.removeprefix("_module."), getattr(parameter, each)).detach().ravel())
    return torch.cat(pieces).numpy().astype(np.float64)


def by_dp_optimizer(module: ItemSide, batch: CustomerBatch, factors: Any, clip: float) -> Any:
    """Opacus' DPOptimizer: flat clipping, noise multiplier 0, sums."""
    wrapped = GradSampleModule(module, loss_reduction="sum")
    optimizer = DPOptimizer(
        torch.optim.SGD(module.parameters(), lr=0.0), noise_multiplier=0.0, max_grad_norm=clip,
        expected_batch_size=None, loss_reduction="sum",
    )  # fmt: skip
    wrapped(batch, factors).sum().backward()
    optimizer.step()
    return in_a_row(module, "grad")


def by_ghost_clipping(module: ItemSide, batch: CustomerBatch, factors: Any, clip: float) -> Any:
    """Opacus' ghost clipping: norms without per-sample gradients, then a second backward pass of the scaled losses."""
    kept = dict(GradSampleModuleFastGradientClipping.NORM_SAMPLERS)
    try:
        GradSampleModuleFastGradientClipping.NORM_SAMPLERS[ItemTable] = compute_embedding_norm_sample
        wrapped = GradSampleModuleFastGradientClipping(
            module, max_grad_norm=clip, use_ghost_clipping=True, loss_reduction="sum"
        )
        optimizer = DPOptimizerFastGradientClipping(
            torch.optim.SGD(module.parameters(), lr=0.0), noise_multiplier=0.0, max_grad_norm=clip,
            expected_batch_size=None, loss_reduction="sum",
        )  # fmt: skip

        def per_customer(losses: Any, _: Any) -> Any:
            return losses

        per_customer.reduction = "sum"  # type: ignore[attr-defined]
        criterion = DPLossFastGradientClipping(wrapped, optimizer, per_customer, loss_reduction="sum")
        criterion(wrapped(batch, factors), torch.zeros(len(factors))).backward()
        optimizer.step()
        return in_a_row(module, "grad")
    finally:
        GradSampleModuleFastGradientClipping.NORM_SAMPLERS.clear()
        GradSampleModuleFastGradientClipping.NORM_SAMPLERS.update(kept)


@pytest.mark.parametrize("kind", LEARNERS)
@pytest.mark.parametrize("central", [by_dp_optimizer, by_ghost_clipping])
@pytest.mark.parametrize("step", [0, 2])
def test_the_federated_clipped_sum_is_what_opacus_computes_on_the_pooled_customers(kind, central, step):
    learner = small(kind, regularization=0.02)
    state = moved_state(learner)
    (_, factors), (module, batch) = federated(learner, state, step), pooled(learner, state, step)
    norms = np.linalg.norm(customer_gradients(module, batch, factors).toarray(), axis=1)
    clip = float(np.median(norms))  # half of the customers are clipped
    total, _ = federated(learner, state, step, clip)
    expected = central(module, batch, factors, clip)
    assert np.linalg.norm(total - expected) < 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("kind", LEARNERS)
def test_the_test_above_would_catch_clipping_by_layer_and_samples_instead_of_customers(kind):
    learner = small(kind, regularization=0.02)
    state = moved_state(learner)
    total, factors = federated(learner, state, 0)
    module, batch = pooled(learner, state, 0)
    each = customer_gradients(module, batch, factors).toarray()
    start, layers = 0, np.zeros(each.shape[1])
    for name, parameter in module.named_parameters():
        piece = each[:, start : start + shared_rows(module, name, parameter).numel()]
        norms = np.linalg.norm(piece, axis=1, keepdims=True)
        layers[start : start + piece.shape[1]] = (piece * np.minimum(1, 1 / norms)).sum(0)
        start += piece.shape[1]
    assert np.linalg.norm(total - layers) > 0.01 * np.linalg.norm(total)
    assert np.linalg.norm(total - each.sum(0)) > 0.01 * np.linalg.norm(total)


@pytest.mark.parametrize("kind", LEARNERS)
def test_padding_and_the_sink_take_no_part_in_any_norm(kind):
    """A customer of one item beside one of twenty is padded nineteen times; their norm is as if they were alone."""
    learner = small(kind, regularization=0.02)
    state = moved_state(learner)
    _, factors = federated(learner, state, 0)
    module, batch = pooled(learner, state, 0)
    for table in module.item_tables():
        assert not table.weight[-1].any()
    width = batch.items.shape[1]
    short = int(np.flatnonzero((batch.mask > 0).sum(1) == 1)[0])
    assert width >= 19

    def norms(part: CustomerBatch, own: Any) -> Any:
        wrapped = GradSampleModule(copy.deepcopy(module), loss_reduction="sum")
        wrapped(part, own).sum().backward()
        samples = [p.grad_sample.flatten(1) for p in wrapped.parameters()]
        for name, parameter in wrapped.named_parameters():
            if name.startswith("_module.tables."):
                assert not parameter.grad_sample[:, -1].any()
        return torch.cat(samples, dim=1).norm(dim=1).numpy()

    together = norms(batch, factors)
    one = slice(short, short + 1)
    alone = CustomerBatch(batch.items[one, :1], batch.mask[one, :1], batch.scale[one])
    np.testing.assert_allclose(norms(alone, factors[one]), together[one], rtol=1e-5)
    ours = np.linalg.norm(customer_gradients(module, batch, factors).toarray(), axis=1)
    np.testing.assert_allclose(ours, together, rtol=1e-5)
    assert customer_gradients(module, batch, factors).shape[1] == sum(
        p.numel() - (p.shape[1] if n.startswith("tables.") else 0) for n, p in module.named_parameters()
    )


@pytest.mark.parametrize("kind", LEARNERS)
def test_a_sink_that_the_loss_reached_would_eat_the_clip(kind):
    """What the test above is for: with the mask left open, padding alone makes a norm."""
    learner = small(kind)
    state = moved_state(learner)
    _, factors = federated(learner, state, 0)
    module, batch = pooled(learner, state, 0)
    wrapped = GradSampleModule(module, loss_reduction="sum")
    wrapped(CustomerBatch(batch.items, torch.ones_like(batch.mask), batch.scale), factors).sum().backward()
    reached = [p.grad_sample[:, -1].norm().item() for n, p in wrapped.named_parameters() if ".tables." in n]
    assert max(reached) > 0.1


@pytest.mark.parametrize("kind", LEARNERS)
def test_nothing_of_opacus_stays_on_a_module_and_a_second_call_gives_the_same(kind):
    learner = small(kind)
    state = moved_state(learner)
    _, factors = federated(learner, state, 0)
    module, batch = pooled(learner, state, 0)
    first, second = (customer_gradients(module, batch, factors) for _ in range(2))
    assert not (first != second).nnz
    assert not any(vars(parameter) for parameter in module.parameters())
    assert not any(layer._forward_hooks or layer._backward_hooks for layer in module.modules())
    assert not factors.requires_grad


def test_opacus_gives_nobody_a_log_handler():
    """Its import calls logging.basicConfig, after which every line of our loggers would be printed."""
    program = """
import logging
import torch
from fedcart.shared.learners.neural.per_customer import per_sample
with per_sample(torch.nn.Linear(1, 1)):
    pass
import sys
assert "opacus.utils.module_utils" in sys.modules
print(logging.getLogger().handlers)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
