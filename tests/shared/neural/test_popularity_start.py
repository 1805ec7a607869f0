"""`mf` that begins with a release of popularity: where its tables start, and what the first round costs."""

from __future__ import annotations

import numpy as np
import pytest

from fedcart.shared.errors import ConfigError
from fedcart.shared.learners.memory import round_totals, run_rounds
from fedcart.shared.learners.neural.mf import BIAS, VECTORS
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


@pytest.mark.parametrize("settings", [{"popularity_share": 1.0}, {"popularity_share": -0.1}, {"feature_scale": np.inf}])
def test_refuses(settings):
    with pytest.raises(ConfigError, match="nothing was run"):
        one_gradient(MatrixFactorization, **settings)


def test_learning_rates_fall_from_the_first_round_of_gradients_to_the_last():
    made = learner(round_count=4, final_learning_rate=0.03)
    falls = [made.fall(round_) for round_ in made.rounds(catalogue(), 100)[1:]]
    assert falls[0] == 1.0
    assert falls[-1] == pytest.approx(0.03)
