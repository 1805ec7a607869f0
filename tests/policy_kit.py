"""A policy file, and a plan that it allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.plan import Plan, build_learner
from fedcart.shared.policy import Policy
from fedcart.shared.privacy.terms import PrivacyTerms

CATALOGUE = Catalogue(("a", "b", "c"), "given", {"price": np.array([1.0, 2.5, np.nan])})
FULL = """
[trust]
known_stores = ["aa", "bb", "cc", "dd"]
[limits]
epsilon_total = 8.0
epsilon_window = 6.0
window_days = 30
delta = 1e-4
rounds = 30
attempts = 2
[require]
trust = ["distributed"]
learners = ["popularity", "gram"]
min_survivors = 4
min_colluders = 1
max_h = 3
min_noise_multiplier = 0.5
min_sigma_local = 0.2
[data]
consent_column = "opted_out"
[approve]
auto = true
"""


def write(directory: Path, text: str = FULL, mode: int = 0o600) -> Path:
    path = directory / "policy.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def plan(**changes: Any) -> Plan:
    terms = {"epsilon": 4.0, "delta": 1e-4, "colluders": 1, "min_survivors": 4}
    terms |= {key: changes.pop(key) for key in tuple(changes) if key in terms}
    learner = changes.get("learner", "popularity")
    bounds = build_learner(learner, {}).bounds()
    given = {
        "catalogue_hash": CATALOGUE.hash,
        "catalogue_source": "given",
        "as_of": None,
        "participants": 5,
        "learner": learner,
        "hyper_parameters": {},
        "trust": "distributed",
        "privacy": PrivacyTerms(bounds=bounds, **terms),
        "customers_bound": 100,
        "seed": 0,
    }
    return Plan(**{**given, **changes})


def check(policy: Policy, wanted: Plan) -> None:
    policy.check_plan(wanted, wanted.rounds(CATALOGUE))
