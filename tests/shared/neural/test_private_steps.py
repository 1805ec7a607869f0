"""Local steps under a guarantee: cost, sensitivity, dense noise, and the same training when the noise is tiny."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcart.shared.errors import ConfigError, PrivacyRefused, ProtocolError
from fedcart.shared.interactions import Histories, Interactions, build_histories
from fedcart.shared.learners.base import STEP, State
from fedcart.shared.learners.memory import MemoryCustomers
from fedcart.shared.learners.neural.local_steps import LocalOptimizer, LocalSteps, StepCustomers
from fedcart.shared.learners.neural.mf import MatrixFactorization
from fedcart.shared.learners.neural.per_customer import CUSTOMERS, gradient_words, train_locally
from fedcart.shared.privacy.accounting import dearest_charge, epsilon, event, release_rho, round_rho, run_rho
from fedcart.shared.privacy.clipped_sums import ClippedSums
from fedcart.shared.privacy.grid import grid
from fedcart.shared.privacy.release import Release
from fedcart.shared.privacy.terms import Bound, PrivacyTerms
from shared.neural.neural_cases import LEARNERS, catalogue, random_rows, small, store
from shared.neural.test_gradients import moved_state

ROWS = random_rows(9)
ITEMS = 600


def private_rounds(learner, target=4.0, items=24, attempts=1):
    terms = PrivacyTerms(epsilon=target, delta=1e-4, bounds=learner.bounds())
    return terms.apply(learner.rounds(catalogue(items), 100), honest=1, attempts=attempts, customers_bound=100)


def units(learner, state, round_, step, customers):
    """The integer sum of one step."""
    sums = ClippedSums([round_.step])
    learner.contribute_step(state, round_, step, customers, sums)
    return sums.units()[STEP]


@pytest.mark.parametrize("kind", LEARNERS)
@pytest.mark.parametrize("attempts", [1, 3])
def test_a_run_of_steps_is_calibrated_and_each_step_costs_the_same(kind, attempts):
    learner = small(kind)
    rounds = private_rounds(learner, attempts=attempts)
    spent = epsilon(run_rho(rounds, 1, attempts), 1e-4)
    assert 0.98 * 4 <= spent <= 4
    for round_ in rounds:
        assert [x.name for x in round_.charges] == [f"gradient.{t}" for t in range(4)]
        assert round_rho(round_, 1) == 4 * release_rho(round_.step, 1)
        assert round_.step.words == gradient_words(learner.module(24)) == sum(x.words for x in round_.releases)
        assert CUSTOMERS not in {x.name for x in round_.releases}
        assert not any(x.noise_multiplier for x in round_.releases)
    assert dearest_charge(rounds, 1) == release_rho(rounds[0].step, 1)
    costs = [Fraction(e.rho) for e in event(rounds, 1, attempts).events]
    assert len(costs) == 4 * (len(rounds) + attempts - 1)
    assert sum(costs) == pytest.approx(run_rho(rounds, 1, attempts), rel=1e-12)


def test_as_many_steps_as_rounds_of_one_gradient_need_the_same_noise():
    learner = small(MatrixFactorization, local_steps=4, round_count=3)
    single = small(MatrixFactorization, local_steps=0, round_count=12, server_optimizer="adam")
    steps, rounds = private_rounds(learner), private_rounds(single)
    assert steps[0].step == dataclasses.replace(rounds[0].releases[0], name=STEP)


def test_without_a_guarantee_nothing_changes_and_with_one_a_plain_trainer_refuses():
    learner = small(MatrixFactorization)
    (plain, *_), (private, *_) = learner.rounds(catalogue(), 100), private_rounds(learner)
    assert plain.step is None
    assert plain.charges == plain.releases
    with pytest.raises(PrivacyRefused, match="this trainer adds none"):
        train_locally(learner, learner.initial_state(catalogue(), 0), private, store(ROWS))


def test_refuses_shares_of_one_noise_and_a_round_without_parameters():
    learner = small(MatrixFactorization)
    terms = PrivacyTerms(epsilon=4.0, delta=1e-4, bounds=learner.bounds(), colluders=1, min_survivors=3)
    with pytest.raises(ConfigError, match="each store adds only a share"):
        terms.apply(learner.rounds(catalogue(), 100), honest=2, attempts=1, customers_bound=100)
    with pytest.raises(ConfigError, match="without a bound"):
        PrivacyTerms(epsilon=4.0, delta=1e-4, bounds={"x": Bound(clip_norm=1.0)}).apply(
            learner.rounds(catalogue(), 100), honest=1, attempts=1, customers_bound=100
        )


def one_customer(items, weights) -> Histories:
    """A customer with events that may repeat, of any weight."""
    interactions = Interactions.build(np.zeros(len(items), np.int64), np.array(items, np.int32))
    found = build_histories(interactions, 1, ITEMS)
    found.weights[:] = np.resize(np.array(weights, np.float32), len(found.weights))
    return found


HISTORIES = st.one_of(
    st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=4),
    st.just(list(range(500))),
    st.just([7] * 500),
    st.just(list(range(ITEMS - 1))),  # one item is left to be drawn: every negative is the same
)
WEIGHTS = st.lists(
    st.one_of(st.floats(width=32), st.sampled_from([0.0, 1.0, -1.0, 1e30, float("nan"), float("inf")])),
    min_size=1, max_size=3,
)  # fmt: skip


@pytest.mark.parametrize("kind", LEARNERS)
@given(items=HISTORIES, weights=WEIGHTS, negatives=st.sampled_from([1, 40]), step=st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_no_customer_moves_a_step_by_more_than_the_sensitivity(kind, items, weights, negatives, step):
    learner = small(kind, negatives=negatives, positives=0, customer_steps=1)
    state, round_ = moved_state(learner, items=ITEMS), private_rounds(learner, items=ITEMS)[0]
    moved = units(learner, state, round_, step, StepCustomers(MemoryCustomers(one_customer(items, weights))))
    assert sum(int(x) ** 2 for x in moved[moved != 0]) <= grid(round_.step).sensitivity ** 2


@pytest.mark.parametrize("kind", LEARNERS)
def test_a_customers_part_of_a_step_is_theirs_beside_any_others(kind):
    """Deleting one customer moves the sum by what they add alone, up to the last bits of floats in a batch."""
    learner = small(kind)
    state, round_ = moved_state(learner), private_rounds(learner)[1]
    alone = [units(learner, state, round_, 2, StepCustomers(store([row]))) for row in ROWS]
    together = units(learner, state, round_, 2, StepCustomers(store(ROWS)))
    assert np.abs(together).max() > 1000
    assert np.linalg.norm(together - sum(alone)) < 1e-5 * grid(round_.step).sensitivity * len(ROWS)
    assert all(sum(int(x) ** 2 for x in part) <= grid(round_.step).sensitivity ** 2 for part in alone)


@pytest.mark.parametrize("kind", LEARNERS)
def test_with_a_wide_clip_and_no_noise_a_round_is_the_plain_one_with_everybody_in_each_step(kind):
    """Plain gradient descent; the divisor is the store's number of customers here, as the plain trainer's is."""
    learner = small(kind, steps_per_epoch=1, regularization=0.02, local_optimizer="sgd", learning_rate=0.5)
    (round_, *_), state = private_rounds(learner), moved_state(learner)
    wide = dataclasses.replace(round_, step=dataclasses.replace(round_.step, clip_norm=20.0))
    customers, private = store(ROWS), StepCustomers(store(ROWS))
    steps = LocalSteps(learner.optimizer_of(round_), state, round_, divisor=len(ROWS))
    for number in range(round_.local_steps):
        steps.move(grid(wide.step).values(units(learner, steps.state(), wide, number, private)))
    plain = train_locally(learner, state, learner.rounds(catalogue(), 100)[0], customers)
    for name, change in steps.changes(1.0).items():
        expected = plain[name] / len(ROWS)
        assert np.linalg.norm(expected) > 0.05
        assert np.linalg.norm(change - expected) < 1e-3 * np.linalg.norm(expected)


def test_the_average_of_equal_stores_needs_no_count():
    learner = small(MatrixFactorization, server_momentum=0.0)
    state, round_ = learner.initial_state(catalogue(), 0), private_rounds(learner)[0]
    totals = {x.name: np.full(x.shape, 0.25) for x in round_.releases}
    after = learner.update(state, round_, totals)
    for name in totals:
        np.testing.assert_allclose(after.public[name] - state.public[name], 0.25, atol=1e-6)


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_noise_moves_every_number_of_every_parameter(name):
    """A table's row that no customer touched moves as far as any other: which rows were touched does not show."""
    learner = small(MatrixFactorization, local_optimizer=name)
    state, round_ = learner.initial_state(catalogue(), 0), private_rounds(learner)[0]
    steps = LocalSteps(learner.optimizer_of(round_), state, round_, divisor=10.0)
    noise = np.random.default_rng(0).integers(1, 1000, round_.step.shape).astype(float)
    steps.move(noise)
    changes = steps.changes(1.0)
    assert set(changes) == {x.name for x in round_.releases}
    flat = np.concatenate([change.ravel() for change in changes.values()])
    assert (flat < 0).all()
    if name == "sgd":
        np.testing.assert_allclose(flat, -learner.learning_rate * noise / 10, rtol=1e-3, atol=1e-6)


def test_parameters_handed_out_are_copies_that_refuse_to_be_written():
    learner = small(MatrixFactorization)
    state, round_ = learner.initial_state(catalogue(), 0), private_rounds(learner)[0]
    steps = LocalSteps(LocalOptimizer("sgd", 1.0), state, round_, divisor=1.0)
    handed = steps.state().public
    with pytest.raises(ValueError, match="read-only"):
        handed["tables.bias.weight"][0] = 1
    for array in handed.values():
        array.setflags(write=True)
        array[:] = 7
    assert not any(change.any() for change in steps.changes(1.0).values())
    assert not (state.public["tables.bias.weight"] == 7).any()


def test_a_step_reads_the_rows_that_the_step_before_wrote_and_a_repeated_round_starts_anew():
    customers = store(ROWS)
    customers.begin(0)
    first = StepCustomers(customers)
    first.local.write("rows", slice(2, 4), np.ones((2, 3), np.float32))
    assert first.local.read("rows", slice(1, 4), 3)[:, 0].tolist() == [0, 1, 1]
    assert first.local.written("rows", slice(1, 4), 3).tolist() == [False, True, True]
    customers.begin(0)
    assert not StepCustomers(customers).local.read("rows", slice(0, 9), 3).any()
    again = StepCustomers(customers)
    again.local.write("rows", slice(0, 1), np.full((1, 3), 2, np.float32))
    again.local.write("rows", slice(0, 1), np.full((1, 3), 5, np.float32))
    customers.begin(1)
    later = StepCustomers(customers)
    assert later.local.read("rows", slice(0, 2), 3)[:, 0].tolist() == [5, 0]
    assert later.local.written("rows", slice(0, 2), 3).tolist() == [True, False]
    assert later.count == 9


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda public: {n: a for n, a in public.items() if n != "tables.bias.weight"}, "missing"),
        (lambda public: {**public, "tables.bias.weight": np.zeros((24, 2), np.float32)}, r"\(24, 2\), not \(24, 1\)"),
        (lambda public: {**public, "tables.bias.weight": np.full((24, 1), np.inf, np.float32)}, "not finite"),
    ],
)
def test_refuses_a_published_model_that_is_not_the_plans(spoil, told):
    learner = small(MatrixFactorization)
    state, round_ = learner.initial_state(catalogue(), 0), private_rounds(learner)[0]
    with pytest.raises(ProtocolError, match=told):
        LocalSteps(LocalOptimizer("adam", 0.1), State(spoil(state.public)), round_, divisor=1.0)


def test_refuses_a_step_of_another_size_and_an_unknown_optimiser():
    learner = small(MatrixFactorization)
    state, round_ = learner.initial_state(catalogue(), 0), private_rounds(learner)[0]
    with pytest.raises(ProtocolError, match="a step of 200 numbers for 120 parameters"):
        LocalSteps(LocalOptimizer("adam", 0.1), state, round_, divisor=1.0).move(np.zeros(200))
    with pytest.raises(ConfigError, match="local_optimizer is 'lion'"):
        small(MatrixFactorization, local_optimizer="lion")


def test_a_step_that_is_too_large_for_one_release_is_refused_by_name():
    with pytest.raises(ConfigError, match="release 'gradient'"):
        Release(name=STEP, shape=((1 << 24) + 1,))
