"""The `privacy` table of run.json: what was promised, what each release cost, and what no epsilon covers."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from fedcart.shared.learners.base import Round
from fedcart.shared.plan import Plan
from fedcart.shared.privacy.accounting import OVERLAPS, epsilon, overlap_rho, release_rho, run_rho

FLOAT_FACTORS = ("als", "mf", "ncf")
"""Learners that solve or fit something before the kernel rounds it."""
ACCOUNTANT = "zCDP of the discrete Gaussian"
PARAMETERS = "parameters"
"""Row of what leaves after local steps."""


def privacy_table(
    plan: Plan,
    rounds: tuple[Round, ...],
    rounds_done: int,
    *,
    person_is_unit: bool,
    uncovered: list[str],
    aggregation: str = "plain",
) -> dict[str, Any]:
    """The table of a run of which `rounds_done` rounds are over.

    Args:
      rounds: of the plan, with clips and noise.
      person_is_unit: whether nobody is a customer of two stores, or a person's stores divide one clip.
      uncovered: sentences about the data and the evaluation.
      aggregation: `SA1` where every total was opened by secure aggregation; else `plain`.
    """
    terms, cohort = plan.privacy, plan.cohort()
    return {
        "unit": "customer" if person_is_unit else "customer_store_pair",
        "relation": "add_or_remove_one",
        "trust": plan.trust,
        "aggregation": aggregation,
        "epsilon": None if terms is None else terms.epsilon,
        "delta": None if terms is None else terms.delta,
        "accountant": None if terms is None else ACCOUNTANT,
        **noise(plan, rounds),
        "overlap": None if terms is None else terms.overlap,
        "colluders": None if cohort is None else cohort.colluders,
        "min_survivors": None if cohort is None else cohort.min_survivors,
        **({} if terms is None or person_is_unit else {"epsilon_in_stores": in_stores(plan, rounds)}),
        "releases": releases(plan, rounds, rounds_done),
        "uncovered": [*limits(plan, aggregation), *uncovered],
        "ledger": None if terms is None else "ledger/",
    }


def noise(plan: Plan, rounds: tuple[Round, ...]) -> dict[str, float | None]:
    """Of the whole run, as if it were one release: standard deviation over sensitivity."""
    if plan.privacy is None:
        return {"noise_multiplier": None, "noise_effective": None}
    rho = float(run_rho(rounds, plan.honest, plan.attempts))
    effective = math.sqrt(0.5 / rho)
    return {"noise_multiplier": effective * math.sqrt(plan.participants / plan.honest), "noise_effective": effective}


def in_stores(plan: Plan, rounds: tuple[Round, ...]) -> dict[str, float]:
    """Epsilon of a person who is a customer of 2, 3 and 5 stores."""
    assert plan.privacy is not None
    rho, delta = run_rho(rounds, plan.honest, plan.attempts), plan.privacy.delta
    local = plan.trust == "local"
    return {
        str(stores): epsilon(overlap_rho(rho, stores, own_noise=local), delta)
        for stores in OVERLAPS
        if stores <= plan.participants
    }


def releases(plan: Plan, rounds: tuple[Round, ...], rounds_done: int) -> list[dict[str, Any]]:
    """One row a name: how often it left each store so far, its size, its clip, and what all of it cost.

    The parameters of a trained round under epsilon are one row, `PARAMETERS`: together they have as many numbers as
    one step's sum, whose clip the row shows, and cost what all steps do.
    """
    rows: dict[str, dict[str, Any]] = {}
    spent: dict[str, Fraction] = {}
    for round_ in rounds[:rounds_done]:
        trained = round_.step is not None
        for release in round_.releases if round_.step is None else (round_.step,):
            name, kind = (PARAMETERS, "trained") if trained else (release.name, release.kind)
            clip = None if math.isinf(release.clip_norm) else release.clip_norm
            first = {"name": name, "kind": kind, "rounds": 0, "words": 0, "bytes": 0, "clip_norm": clip}
            row = rows.setdefault(name, {**first, "epsilon": None})
            row["rounds"] += 1
            row["words"] = max(row["words"], release.words)
            row["bytes"] += 8 * release.words
            if plan.privacy is not None:
                times = round_.local_steps if trained else 1
                spent[name] = spent.get(name, Fraction(0)) + times * release_rho(release, plan.honest)
                row["epsilon"] = epsilon(spent[name], plan.privacy.delta)
    return list(rows.values())


def limits(plan: Plan, aggregation: str) -> list[str]:
    """What the mechanism itself does not cover."""
    if plan.privacy is None:
        return ["Nothing is covered: no noise was added, and the coordinator saw every store's sum."]
    found = []
    if plan.learner in FLOAT_FACTORS:
        found.append(
            "Customers' factors are computed in floats, in batches, before they are clipped: their last bits may "
            "depend on who else is in the batch."
        )
    if plan.trust == "distributed" and aggregation == "plain":
        found.append(
            "The stores' sums were added in the clear: each holds only its share of the noise, and whoever saw them "
            "singly learned more than epsilon says. A coalition hides them by secure aggregation."
        )
    if plan.catalogue_source == "derived":
        found.append("The item list was derived from the interactions.")
    return found
