"""Every built-in learner keeps the shared kit; every seeded mistake fails the check that is there for it."""

from __future__ import annotations

import importlib.util

import pytest

import learner_mistakes as mistakes
from fedcart.shared.errors import ConfigError
from fedcart.shared.learners import BUILT_IN, conformance, conformance_private, learner_class
from fedcart.shared.learners.als import Als
from fedcart.shared.learners.conformance import CHECKS, Case, NotConforming
from fedcart.shared.learners.conformance_private import PRIVATE_CHECKS
from fedcart.shared.learners.gram import Gram
from fedcart.shared.learners.popularity import Popularity
from fedcart.shared.learners.spectral import Spectral

DELETING = conformance.deleting_a_customer_from_the_raw_table_changes_only_their_contribution
MOVED = conformance_private.no_customer_moves_a_clipped_total_by_more_than_its_sensitivity

LEARNERS = {
    "popularity": Case(Popularity),
    "popularity, unit rows": Case(lambda: Popularity(count_exponent=0.5)),
    "gram, ease": Case(lambda: Gram(regularization=2.0)),
    "gram, itemknn on a head": Case(lambda: Gram(model="itemknn", max_items=8, neighbours=3, count_exponent=0.5)),
    "spectral": Case(lambda: Spectral(embedding_dim=3, first_dim=4, sketch_rounds=2)),
    "spectral, faded, by order": Case(lambda: Spectral(half_life_days=30.0, order_weight=9.0, popularity_weight=1.0)),
    "spectral, no sketch": Case(lambda: Spectral(sketch_rounds=0)),
    "als": Case(lambda: Als(embedding_dim=4, sweeps=3)),
    "als, public start": Case(
        lambda: Als(embedding_dim=4, sweeps=2, shared_curvature=True, public_start=True, solve_regularization=5.0)
    ),
    "als, plain ridge": Case(lambda: Als(embedding_dim=3, sweeps=2, regularization_exponent=0.0, regularization=0.1)),
}


def check_id(check):
    return check.__name__


@pytest.mark.parametrize("check", CHECKS + PRIVATE_CHECKS, ids=check_id)
@pytest.mark.parametrize("learner", LEARNERS)
def test_a_built_in_learner_conforms(learner, check):
    check(LEARNERS[learner])


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="the extra `neural` is not installed")
@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS + PRIVATE_CHECKS, ids=check_id)
@pytest.mark.parametrize("local_steps", [0, 2], ids=["one gradient", "local steps"])
@pytest.mark.parametrize(
    ("name", "more"), [("mf", {}), ("ncf", {}), ("mf", {"popularity_share": 0.2, "solve_regularization": 5.0})]
)
def test_a_neural_learner_conforms(name, more, local_steps, check):
    server = "adam" if local_steps == 0 else "average"
    settings = {"embedding_dim": 4, "round_count": 2, "local_steps": local_steps, "server_optimizer": server} | more
    check(Case(lambda: learner_class(name)(**settings), tolerance=1e-5, model_tolerance=1e-3))


def test_every_built_in_learner_is_under_the_kit():
    ours = {name for name, place in BUILT_IN.items() if place.startswith("fedcart.")}  # tests may register others
    assert ours == {name.split(",")[0] for name in LEARNERS} | {"mf", "ncf"}


@pytest.mark.parametrize(
    ("case", "check"),
    [
        (Case(mistakes.IdfOverCustomers), DELETING),
        (Case(mistakes.KCore), DELETING),
        (Case(mistakes.ScaledByTheStoresLargestCount), DELETING),
        (Case(mistakes.CentredInTheBlock), DELETING),
        (Case(lambda: mistakes.CentredByOwnCounts(sketch_rounds=1, first_dim=4)), DELETING),
        (Case(Popularity, read=mistakes.k_core_reader), DELETING),
        (Case(Gram, read=mistakes.last_event_reader), DELETING),
        (Case(lambda: Als(embedding_dim=2, sweeps=1), read=mistakes.last_event_reader), DELETING),
        (Case(mistakes.CentredInTheBlock), conformance.a_batch_is_its_customers_one_by_one),
        (Case(mistakes.IdfOverCustomers), conformance.two_stores_are_one_merged_store),
        (Case(mistakes.ShareOfTheStore), conformance.two_stores_are_one_merged_store),
        (Case(mistakes.CountsEmptyHistories), conformance.a_customer_without_interactions_contributes_nothing),
        (Case(mistakes.NeedsCarriedState), conformance.a_saved_state_goes_on_as_if_it_had_stayed),
        (Case(mistakes.RoundsFromData), conformance.rounds_do_not_depend_on_data),
        (Case(mistakes.DrawsWithoutASeed), conformance.a_seed_fixes_the_run),
        (Case(mistakes.ScoresNaN), conformance.scores_are_numbers_for_customers_never_seen),
        (Case(mistakes.NotFrozen), conformance.is_a_frozen_set_of_hyper_parameters),
        (Case(mistakes.ForgottenBound), conformance_private.bounds_name_every_release_and_no_other),
        (Case(mistakes.KCore), MOVED),
        (Case(mistakes.CentredByTheBlock), conformance_private.clipped_totals_are_those_of_customers_one_by_one),
        (Case(Popularity, read=mistakes.careless_reader), conformance.an_item_outside_the_catalogue_is_refused),
    ],
    ids=lambda value: value.__name__ if callable(value) else getattr(value.make, "__name__", None),
)
def test_a_seeded_mistake_fails(case, check):
    with pytest.raises((NotConforming, ConfigError)):
        check(case)
