"""`mf` that begins with a release of popularity: where its tables start, and what the first round costs."""

from __future__ import annotations

import numpy as np
import pytest

from fedcart.shared.errors import ConfigError
from fedcart.shared.learners.memory import round_totals, run_rounds
from fedcart.shared.learners.neural.mf import BIAS, VECTORS
from fedcart.shared.learners.spectral.table import item_vectors
from fedcart.shared.privacy.terms import PrivacyTerms
from shared.neural.neural_cases import ITEMS, MatrixFactorization, catalogue, one_gradient, random_rows, store

ROWS = random_rows(40, seed=3)


def learner(**settings):
    return one_gradient(MatrixFactorization, popularity_share=0.2, **settings)


def first_state(made):
    state, round_ = made.initial_state(catalogue(), 0), made.rounds(catalogue(), 100)[0]
    return made.update(state, round_, round_totals(made, state, round_, [store(ROWS)]))


def test_biases_start_at_the_popularity_of_unit_rows():
    total = np.zeros(ITEMS)
    for row in ROWS:
        total[row] += 1 / np.sqrt(len(row))
    q = np.maximum(total, 0.25) / np.maximum(total, 0.25).sum()
    state = first_state(learner(negatives=2))
    np.testing.assert_allclose(state.public[BIAS][:, 0], np.log(ITEMS * q / 2), rtol=1e-5)


def test_vectors_start_at_the_stated_scale():
    vectors = first_state(learner(feature_scale=3.0)).public[VECTORS].astype(np.float64)
    assert np.sqrt((vectors**2).sum(axis=1).mean()) == pytest.approx(3.0, rel=1e-5)
    assert not first_state(learner(feature_scale=0.0)).public[VECTORS].any()


def test_federated_is_pooled():
    made = learner()
    pooled = run_rounds(made, [store(ROWS)], catalogue(), 0, 100)
    stores = run_rounds(made, [store(ROWS[:7]), store(ROWS[7:])], catalogue(), 0, 100)
    for name, values in pooled.public.items():
        np.testing.assert_allclose(stores.public[name], values, atol=2e-4)


def test_the_first_round_gets_its_share_and_the_gradients_the_rest():
    made = learner(round_count=4)
    rounds = made.rounds(catalogue(), 100)
    assert [round_.index for round_ in rounds] == [0, 1, 2, 3, 4]
    terms = PrivacyTerms(epsilon=2.0, delta=1e-4, bounds=made.bounds())
    noised = terms.apply(rounds, honest=1, attempts=1, customers_bound=100)
    costs = [round_.releases[0].noise_multiplier ** -2 for round_ in noised]
    assert costs[0] / sum(costs) == pytest.approx(0.2)
    assert costs[1] / sum(costs) == pytest.approx(0.2)  # a fourth of the rest


@pytest.mark.parametrize(
    "settings",
    [{"popularity_share": 1.0}, {"popularity_share": -0.1}, {"feature_scale": np.inf}, {"solve_regularization": -1.0}],
)
def test_refuses(settings):
    with pytest.raises(ConfigError, match="nothing was run"):
        one_gradient(MatrixFactorization, **settings)


def test_learning_rates_fall_from_the_first_round_of_gradients_to_the_last():
    made = learner(round_count=4, final_learning_rate=0.03)
    falls = [made.fall(round_) for round_ in made.rounds(catalogue(), 100)[1:]]
    assert falls[0] == 1.0
    assert falls[-1] == pytest.approx(0.03)


def test_the_local_solve_reads_the_public_tables_and_the_customers_own_items_alone():
    made, plain = learner(solve_regularization=50.0), learner()
    state = run_rounds(made, [store(ROWS)], catalogue(), 0, 100)
    for name, values in run_rounds(plain, [store(ROWS)], catalogue(), 0, 100).public.items():
        np.testing.assert_array_equal(state.public[name], values, name)  # training does not depend on the scoring
    popularity = np.exp(state.public[BIAS][:, 0].astype(np.float64))
    table = item_vectors(state.public[VECTORS].astype(np.float64), popularity / popularity.sum()).astype(np.float64)
    block = next(store(ROWS).blocks())
    own = table[block.histories.items[: len(ROWS[0])]]
    gram = own.T @ own + table.T @ table + 50.0 * np.eye(table.shape[1])
    wanted = table @ np.linalg.solve(gram, own.sum(axis=0))
    found = made.scorer(state, catalogue()).score(block, None)
    np.testing.assert_allclose(found[0], wanted, rtol=1e-3, atol=1e-5)
    assert np.abs(plain.scorer(state, catalogue()).score(block, None) - found).max() > 0.01
