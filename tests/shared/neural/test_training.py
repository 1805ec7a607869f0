"""Local steps and averaging."""

from __future__ import annotations

import numpy as np
import pytest

from fedcart.shared.errors import ConfigError, PrivacyRefused, ProtocolError
from fedcart.shared.learners.base import Round, State
from fedcart.shared.learners.memory import run_rounds
from fedcart.shared.learners.neural.learner import FACTORS, seed_of
from fedcart.shared.learners.neural.mf import MatrixFactorization
from fedcart.shared.learners.neural.per_customer import CUSTOMERS, train_locally
from fedcart.shared.learners.neural.server import ServerStep
from fedcart.shared.plan import build_learner, hyper_parameters
from fedcart.shared.privacy.release import Release
from shared.neural.neural_cases import LEARNERS, catalogue, random_rows, small, store

ROWS = random_rows(11)


@pytest.mark.parametrize("kind", LEARNERS)
def test_a_store_sends_its_customers_times_the_change_and_their_number(kind):
    learner = small(kind)
    state, round_ = learner.initial_state(catalogue(), 0), learner.rounds(catalogue(), 100)[0]
    totals = train_locally(learner, state, round_, store(ROWS))
    assert set(totals) == {r.name for r in round_.releases} == (set(state.public) - {"seed"}) | {CUSTOMERS}
    assert totals[CUSTOMERS] == [11]
    after = learner.update(state, round_, totals)
    vectors = next(name for name in totals if name.startswith("tables."))
    change = totals[vectors] / 11
    assert np.abs(change).max() > 1e-3
    np.testing.assert_allclose(after.public[vectors], state.public[vectors] + change, atol=1e-6)


@pytest.mark.parametrize("kind", LEARNERS)
def test_nothing_about_one_customer_is_among_the_totals(kind):
    learner = small(kind)
    state, round_ = learner.initial_state(catalogue(), 0), learner.rounds(catalogue(), 100)[0]
    for customers in (5, 11):
        shapes = {n: a.shape for n, a in train_locally(learner, state, round_, store(ROWS[:customers])).items()}
        assert shapes == {r.name: r.shape for r in round_.releases}


@pytest.mark.parametrize("kind", LEARNERS)
def test_a_store_without_customers_has_no_say(kind):
    learner = small(kind)
    state, round_ = learner.initial_state(catalogue(), 0), learner.rounds(catalogue(), 100)[0]
    totals = train_locally(learner, state, round_, store([]))
    assert totals[CUSTOMERS] == [0]
    assert not any(total.any() for total in totals.values())
    assert learner.update(state, round_, totals) is state
    alone = run_rounds(learner, [store(ROWS)], catalogue(), 0, 100).public
    beside = run_rounds(learner, [store([]), store(ROWS)], catalogue(), 0, 100).public
    assert all((alone[name] == beside[name]).all() for name in alone)


@pytest.mark.parametrize("kind", LEARNERS)
def test_customers_without_items_and_fewer_customers_than_steps_are_fine(kind):
    learner = small(kind, steps_per_epoch=4)
    for rows in ([[]], [[], [3]], [[2, 5]]):
        public = run_rounds(learner, [store(rows)], catalogue(), 0, 100).public
        assert all(np.isfinite(array).all() for array in public.values())


@pytest.mark.parametrize("kind", LEARNERS)
def test_a_run_is_a_function_of_its_seed(kind):
    learner = small(kind)
    first = run_rounds(learner, [store(ROWS)], catalogue(), 7, 100).public
    again = run_rounds(learner, [store(ROWS)], catalogue(), 7, 100).public
    other = run_rounds(learner, [store(ROWS)], catalogue(), 8, 100).public
    assert all((first[name] == again[name]).all() for name in first)
    assert any((first[name] != other[name]).any() for name in first)


@pytest.mark.parametrize("kind", LEARNERS)
def test_a_round_that_is_run_again_gives_the_same_totals(kind):
    learner, customers = small(kind), store(ROWS)
    state, rounds = learner.initial_state(catalogue(), 0), learner.rounds(catalogue(), 100)
    customers.begin(0)
    state = learner.update(state, rounds[0], train_locally(learner, state, rounds[0], customers))
    customers.begin(1)
    first = train_locally(learner, state, rounds[1], customers)
    customers.begin(1)
    again = train_locally(learner, state, rounds[1], customers)
    assert all((first[name] == again[name]).all() for name in first)


@pytest.mark.parametrize("kind", LEARNERS)
@pytest.mark.parametrize("stores", [1, 3])
def test_training_finds_a_checkerboard(kind, stores):
    """Customers of two kinds take even or odd items; held-out items of the own kind must rank above the others."""
    generator = np.random.default_rng(0)
    rows = [(2 * generator.choice(12, 7, replace=False) + u % 2).tolist() for u in range(60)]
    learner = small(
        kind, embedding_dim=8, round_count=25, local_steps=4, steps_per_epoch=4, learning_rate=0.05,
        customer_learning_rate=0.2,
    )  # fmt: skip
    held = [store(rows[s::stores]) for s in range(stores)]
    state = run_rounds(learner, held, catalogue(), 0, 100)
    scorer, right, pairs = learner.scorer(state, catalogue()), 0.0, 0
    for customers in held:
        block = next(customers.blocks())
        scores = scorer.score(block, customers.local)
        for u in range(customers.count):
            own = block.histories.items[block.histories.indptr[u] : block.histories.indptr[u + 1]]
            absent = np.setdiff1d(np.arange(24), own)
            same = absent[absent % 2 == own[0] % 2]
            other = absent[absent % 2 != own[0] % 2]
            right += (scores[u, same][:, None] > scores[u, other]).sum()
            pairs += len(same) * len(other)
    assert right / pairs > 0.8  # 0.5 by chance


@pytest.mark.parametrize("kind", LEARNERS)
def test_scores_survive_saving_and_loading(kind, tmp_path):
    learner, customers = small(kind), store(ROWS)
    state = run_rounds(learner, [customers], catalogue(), 0, 100)
    np.savez(tmp_path / "model.npz", **state.public)
    loaded = State(dict(np.load(tmp_path / "model.npz")))
    again = build_learner(learner.name, hyper_parameters(learner))
    block = next(customers.blocks())
    for local in (customers.local, None):
        expected = learner.scorer(state, catalogue()).score(block, local)
        assert (again.scorer(loaded, catalogue()).score(block, local) == expected).all()


@pytest.mark.parametrize("kind", LEARNERS)
def test_scores_are_the_same_alone_and_in_a_batch(kind):
    learner, customers = small(kind), store(ROWS)
    scorer = learner.scorer(run_rounds(learner, [customers], catalogue(), 0, 100), catalogue())
    together = scorer.score(next(customers.blocks()), None)
    assert together.shape == (11, 24)
    assert together.dtype == np.float32
    alone = np.concatenate([scorer.score(block, None) for block in customers.blocks(most_customers=1)])
    np.testing.assert_allclose(alone, together, atol=1e-4)
    assert scorer.score(next(store([[]]).blocks()), None).shape == (1, 24)


def test_a_customer_who_was_never_trained_on_is_folded_in():
    learner, customers = small(MatrixFactorization), store(ROWS)
    scorer = learner.scorer(run_rounds(learner, [customers], catalogue(), 0, 100), catalogue())
    newcomer = store([[0, 2, 4]])
    block = next(newcomer.blocks())
    assert not newcomer.local.written(FACTORS, slice(0, 1), 13).any()
    assert (scorer.score(block, newcomer.local) == scorer.score(block, None)).all()
    assert np.abs(scorer.factors(block, None)[:, :4].numpy()).max() > 0.01


def test_the_published_seed_is_the_plans():
    learner = small(MatrixFactorization)
    for seed in (0, 12345678901234567, (1 << 64) - 1):
        assert seed_of(learner.initial_state(catalogue(), seed)) == seed


def test_server_steps_do_what_their_papers_say():
    state, push = State({"x": np.zeros(2, np.float32)}), {"x": np.array([1.0, -2.0])}
    plain = ServerStep("average", 0.5, 0.0).apply(state, push)
    np.testing.assert_allclose(plain.public["x"], [0.5, -1.0])
    heavy = ServerStep("average", 1.0, 0.5)
    np.testing.assert_allclose(heavy.apply(heavy.apply(state, push), push).public["x"], [2.5, -5.0])
    adam = ServerStep("adam", 0.1, 0.9).apply(state, push)
    np.testing.assert_allclose(adam.public["x"], [0.1, -0.1], rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"embedding_dim": 0}, "embedding_dim is 0; it must be from 1 to 4096"),
        ({"embedding_dim": 100_000_000}, "embedding_dim is 100000000; it must be from 1 to 4096"),
        ({"negatives": 0}, "negatives is 0"),
        ({"loss": "hinge"}, "loss is 'hinge'"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"history_exponent": 1.5}, "it must be from 0 to 1"),
        ({"local_steps": 0}, "server_optimizer 'average' with local_steps 0"),
    ],
)
def test_refuses_settings_out_of_range(settings, message):
    with pytest.raises(ConfigError, match=message):
        MatrixFactorization(**settings)


def test_refuses_to_stand_in_for_a_private_trainer():
    learner = small(MatrixFactorization)
    state = learner.initial_state(catalogue(), 0)
    release = Release(name="tables.bias.weight", shape=(24, 1), kind="trained", noise_multiplier=1.0)
    noisy = Round(0, "train", (release,), 2)
    with pytest.raises(PrivacyRefused, match="promises noise multiplier 1"):
        train_locally(learner, state, noisy, store(ROWS))


def test_refuses_a_published_model_of_another_shape():
    learner = small(MatrixFactorization)
    round_ = learner.rounds(catalogue(), 100)[0]
    other = small(MatrixFactorization, embedding_dim=5).initial_state(catalogue(), 0)
    with pytest.raises(ProtocolError, match=r"vectors.weight' is \(24, 5\), not \(24, 4\)"):
        train_locally(learner, other, round_, store(ROWS))
