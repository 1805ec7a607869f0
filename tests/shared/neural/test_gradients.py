"""One gradient a customer and round: what it is, and that it depends on that customer alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedcart.shared.learners.memory import round_totals, run_rounds, store_totals
from fedcart.shared.learners.neural.item_side import load_public
from fedcart.shared.learners.neural.learner import GRADIENT
from fedcart.shared.learners.neural.per_customer import customer_gradients, split_gradient
from fedcart.shared.learners.neural.sampling import draw, stamp
from shared.neural.neural_cases import LEARNERS, catalogue, histories, one_gradient, random_rows, store

ROWS = random_rows(7)


def moved_state(learner, seed=3, items=24):
    """A state in which no parameter is at a special value."""
    state = learner.initial_state(catalogue(items), seed)
    generator = np.random.default_rng(seed)
    public = {
        n: a if n == "seed" else (a + 0.3 * generator.standard_normal(a.shape)).astype(np.float32)
        for n, a in state.public.items()
    }
    return type(state)(public, state.carried)


def batch_of(learner, state, rows):
    module = learner.module(24)
    load_public(module, state.public)
    batch = draw(histories(rows), np.arange(len(rows)), stamp(9, 0), learner.samples)
    factors = torch.from_numpy(
        np.random.default_rng(5).standard_normal((len(rows), module.head.factor_width)).astype(np.float32)
    )
    return module, batch, factors


@pytest.mark.parametrize("kind", LEARNERS)
@pytest.mark.parametrize("loss", ["bce", "bpr", "mse"])
def test_customers_gradients_add_up_to_autograd_of_the_pooled_loss(kind, loss):
    learner = one_gradient(kind, loss=loss, regularization=0.02, history_exponent=0.5)
    module, batch, factors = batch_of(learner, moved_state(learner), ROWS)
    total = np.asarray(customer_gradients(module, batch, factors).sum(axis=0)).ravel()
    module(batch, factors).sum().backward()
    for name, piece in split_gradient(module, total).items():
        expected = dict(module.named_parameters())[name].grad.numpy()
        expected = expected[:-1] if name.startswith("tables.") else expected
        assert np.abs(expected).max() > 1e-3
        np.testing.assert_allclose(piece, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", LEARNERS)
def test_a_customers_gradient_is_that_of_their_own_loss(kind):
    learner = one_gradient(kind, regularization=0.02)
    module, batch, factors = batch_of(learner, moved_state(learner), ROWS)
    each = customer_gradients(module, batch, factors).toarray()
    for u in range(len(ROWS)):
        module.zero_grad()
        module(batch, factors)[u].backward()
        for name, piece in split_gradient(module, each[u]).items():
            grad = dict(module.named_parameters())[name].grad.numpy()
            np.testing.assert_allclose(piece, grad[:-1] if name.startswith("tables.") else grad, atol=1e-5)


@pytest.mark.parametrize("kind", LEARNERS)
def test_two_stores_release_what_one_merged_store_does(kind):
    learner = one_gradient(kind)
    state = moved_state(learner)
    round_ = learner.rounds(catalogue(), 100)[0]
    merged = round_totals(learner, state, round_, [store(ROWS)])[GRADIENT]
    parted = round_totals(learner, state, round_, [store(ROWS[:3]), store(ROWS[3:])])[GRADIENT]
    assert np.abs(merged).max() > 1e-3
    np.testing.assert_allclose(parted, merged, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", LEARNERS)
def test_whole_runs_over_two_stores_and_one_end_in_the_same_model(kind):
    learner = one_gradient(kind)
    merged = run_rounds(learner, [store(ROWS)], catalogue(), 1, 100).public
    parted = run_rounds(learner, [store(ROWS[:3]), store(ROWS[3:])], catalogue(), 1, 100).public
    for name, array in merged.items():
        np.testing.assert_allclose(parted[name], array, atol=2e-3)


@pytest.mark.parametrize("kind", LEARNERS)
def test_a_customers_contribution_is_the_same_alone_and_in_a_batch(kind):
    learner = one_gradient(kind)
    state, round_ = moved_state(learner), learner.rounds(catalogue(), 100)[0]
    together = store_totals(learner, state, round_, store(ROWS))[GRADIENT]
    alone = sum(store_totals(learner, state, round_, store([row]))[GRADIENT] for row in ROWS)
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", LEARNERS)
def test_a_store_without_customers_and_a_customer_without_items_add_nothing(kind):
    learner = one_gradient(kind)
    state, round_ = moved_state(learner), learner.rounds(catalogue(), 100)[0]
    for rows in ([], [[]], [list(range(24))]):
        assert not store_totals(learner, state, round_, store(rows))[GRADIENT].any()


@pytest.mark.parametrize("kind", LEARNERS)
def test_gradient_rounds_reduce_the_loss(kind):
    rows = [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 6, 7], [12, 13, 14, 15, 16, 17], [12, 13, 14, 15, 18, 19]] * 4
    learner = one_gradient(kind, round_count=12, customer_learning_rate=0.2)
    customers = store(rows)
    start = learner.initial_state(catalogue(), 0)
    end = run_rounds(learner, [customers], catalogue(), 0, 100)

    def loss(state):
        module, batch, _ = batch_of(learner, state, rows)
        factors = learner.scorer(state, catalogue()).factors(next(customers.blocks()), None)
        return module(batch, factors[:, : module.head.factor_width]).sum().item()

    assert loss(end) < 0.8 * loss(start)


@pytest.mark.parametrize("kind", LEARNERS)
def test_opacus_sees_the_same_gradient_of_each_customer(kind):
    """The module can be wrapped as it is: one row = one customer, every layer used once, the sink silent."""
    opacus = pytest.importorskip("opacus", reason="the extra `neural` is not installed")
    learner = one_gradient(kind, regularization=0.02)
    module, batch, factors = batch_of(learner, moved_state(learner), ROWS)
    expected = customer_gradients(module, batch, factors).toarray()
    wrapped = opacus.GradSampleModule(module, loss_reduction="sum")
    wrapped(batch, factors).sum().backward()
    start = 0
    for name, parameter in module.named_parameters():
        sample = parameter.grad_sample.numpy()
        if name.startswith("tables."):
            assert not sample[:, -1].any()
            sample = sample[:, :-1]
        flat = sample.reshape(len(ROWS), -1)
        np.testing.assert_allclose(flat, expected[:, start : start + flat.shape[1]], atol=1e-5)
        start += flat.shape[1]
    assert start == expected.shape[1]
