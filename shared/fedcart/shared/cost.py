"""What a plan will cost before anything is spent: one row for each release of each round, and the run as a whole.

Everything follows from the plan and its catalogue; no customer is read. Epsilon is that of the discrete Gaussian that
is really drawn, rounded up (`privacy.accounting`). The second opinions are beside it, never in its place.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from fedcart.shared.canonical import decimal_string
from fedcart.shared.learners.base import Round
from fedcart.shared.plan import Plan
from fedcart.shared.privacy.accounting import (
    OVERLAPS,
    epsilon,
    event,
    overlap_rho,
    release_rho,
    round_rho,
    run_rho,
    upward,
)
from fedcart.shared.privacy.exact_gaussian import run_cost
from fedcart.shared.privacy.grid import grid, share_variance
from fedcart.shared.privacy.release import Release
from fedcart.shared.wire import reply_bytes

ACCOUNTANT = "zCDP of the discrete Gaussian"
RDP = "dp_accounting: RDP over its ZCDpEvent, on its own orders"
GDP = "exact Gaussian (proven): of this very noise, docs/proofs/exact-gaussian.md"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseCost:
    """One release of one round, or the sum behind each local step of a trained round.

    What needs noise is None without it; so is a clip that is none. Parameters that trained rounds send have no noise
    of their own: they follow from the steps.

    Attributes:
      words, bytes: numbers in the total, and their size on the way up; 0 bytes when it stays at the store.
      times: how often it is charged in the round: once, or at every local step.
      clip_norm, weight_clip_norm: as in `Release`.
      sensitivity: D, how far one customer moves the integers.
      unit: what one integer is worth.
      sigma: standard deviation of the noise that is certain in the total, in the release's own units.
      sigma_store: of one store's share of it.
      rho: of all `times`, exact.
      epsilon: of this release alone, all `times`.
    """

    name: str
    words: int
    bytes: int
    clip_norm: float | None
    weight_clip_norm: float | None
    times: int = 1
    sensitivity: int | None = None
    unit: float | None = None
    sigma: float | None = None
    sigma_store: float | None = None
    rho: Fraction | None = None
    epsilon: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundCost:
    """One round.

    Attributes:
      bytes: of one store's upload.
      epsilon: of the round alone; None without noise.
      epsilon_after: of the run up to and with it, each round once.
    """

    index: int
    stage: str
    bytes: int
    releases: tuple[ReleaseCost, ...]
    rho: Fraction | None = None
    epsilon: float | None = None
    epsilon_after: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """A whole run. Epsilons are None under trust `none`: then nobody is promised anything.

    Attributes:
      catalogue: `given`, or `derived` from interactions: then epsilon does not cover the item list.
      cohort: n, c, m, h, t; None unless stores share one noise.
      upload_bytes: of one store over all rounds, each once, before masks and framing.
      rho: exact, with all attempts.
      promised: the plan's own epsilon.
      epsilon: of all rounds and all attempts, at delta; never above `promised`.
      epsilon_once: of all rounds once.
      in_stores: number of stores -> epsilon of one person who is a customer of that many; None where stores divide one
        clip, and the person has the run's.
      opinions: accountant -> its epsilon.
    """

    trust: str
    catalogue: str
    delta: float | None
    attempts: int
    customers_bound: int
    overlap: str | None
    cohort: Mapping[str, int] | None
    upload_bytes: int
    rounds: tuple[RoundCost, ...]
    rho: Fraction | None = None
    promised: float | None = None
    epsilon: float | None = None
    epsilon_once: float | None = None
    in_stores: Mapping[int, float] | None = None
    opinions: Mapping[str, float] | None = None

    def document(self) -> dict[str, Any]:
        """For --json. Epsilons are rounded up, rho is a float that is not below it, D a decimal string."""
        return {
            "trust": self.trust,
            "catalogue": self.catalogue,
            "delta": self.delta,
            "attempts": self.attempts,
            "customers_bound": self.customers_bound,
            "overlap": self.overlap,
            "cohort": self.cohort and dict(self.cohort),
            "upload_bytes_per_store": self.upload_bytes,
            "accountant": None if self.epsilon is None else ACCOUNTANT,
            "rho": _above(self.rho),
            "promised": self.promised,
            "epsilon": self.epsilon,
            "epsilon_of_one_attempt": self.epsilon_once,
            "epsilon_in_stores": self.in_stores and {str(k): value for k, value in self.in_stores.items()},
            "second_opinions": self.opinions and dict(self.opinions),
            "rounds": [_round_document(x) for x in self.rounds],
        }


def plan_cost(plan: Plan, rounds: Sequence[Round], *, opinions: bool = True) -> Cost:
    """The cost of a plan; `rounds` are the plan's. Second opinions take a second: they load dp_accounting and scipy.

    Raises:
      PrivacyRefused: a release has too little or too much noise for its integers.
    """
    terms, cohort = plan.privacy, plan.cohort()
    common: dict[str, Any] = {
        "trust": plan.trust,
        "catalogue": plan.catalogue_source,
        "attempts": plan.attempts,
        "customers_bound": plan.customers_bound,
        "cohort": cohort
        and {
            "n": cohort.participants,
            "c": cohort.colluders,
            "m": cohort.min_survivors,
            "h": cohort.honest,
            "t": cohort.threshold,
        },
        "upload_bytes": sum(reply_bytes(x.releases) for x in rounds),
    }
    if terms is None:
        free = tuple(_round_cost(x, plan.honest, None, None) for x in rounds)
        return Cost(delta=None, overlap=None, rounds=free, **common)
    spent, rows = Fraction(0), []
    for round_ in rounds:
        spent += round_rho(round_, plan.honest)
        rows.append(_round_cost(round_, plan.honest, terms.delta, spent))
    rho = run_rho(rounds, plan.honest, plan.attempts)
    return Cost(
        delta=terms.delta,
        overlap=terms.overlap,
        rounds=tuple(rows),
        rho=rho,
        promised=terms.epsilon,
        epsilon=epsilon(rho, terms.delta),
        epsilon_once=epsilon(spent, terms.delta),
        in_stores=None
        if terms.overlap == "weights"
        else {
            k: epsilon(overlap_rho(rho, k, own_noise=plan.trust == "local"), terms.delta)
            for k in OVERLAPS
            if k <= plan.participants
        },
        opinions=second_opinions(plan, rounds, terms.delta) if opinions else None,
        **common,
    )


def second_opinions(plan: Plan, rounds: Sequence[Round], delta: float) -> dict[str, float]:
    """What others' formulae say of the same noise. Shown beside ours; noise, caps and ledgers never go by them.

    Gaussian DP by the reduction of `privacy.exact_gaussian`; left out where noise is too coarse for it.
    """
    import dp_accounting

    accountant = dp_accounting.rdp.RdpAccountant().compose(event(rounds, plan.honest, plan.attempts))
    proven = run_cost(rounds, plan.honest, plan.attempts).epsilon(delta)
    found = {RDP: float(accountant.get_epsilon(delta))}
    return found if math.isinf(proven) else {**found, GDP: proven}


def _round_cost(round_: Round, honest: int, delta: float | None, spent: Fraction | None) -> RoundCost:
    if round_.step is None:
        releases = tuple(_release_cost(x, honest, delta) for x in round_.releases)
    else:
        inside = dataclasses.replace(_release_cost(round_.step, honest, delta, round_.local_steps), bytes=0)
        releases = (inside, *(_release_cost(x, honest, None) for x in round_.releases))
    size = reply_bytes(round_.releases)
    if delta is None or spent is None:
        return RoundCost(index=round_.index, stage=round_.stage, bytes=size, releases=releases)
    rho = round_rho(round_, honest)
    return RoundCost(
        index=round_.index,
        stage=round_.stage,
        bytes=size,
        releases=releases,
        rho=rho,
        epsilon=epsilon(rho, delta),
        epsilon_after=epsilon(spent, delta),
    )


def _release_cost(release: Release, honest: int, delta: float | None, times: int = 1) -> ReleaseCost:
    plain: dict[str, Any] = {
        "name": release.name,
        "words": release.words,
        "bytes": reply_bytes((release,)),
        "clip_norm": _finite(release.clip_norm),
        "weight_clip_norm": _finite(release.weight_clip_norm),
    }
    if delta is None:
        return ReleaseCost(**plain)
    found, variance, rho = grid(release), share_variance(release, honest), times * release_rho(release, honest)
    return ReleaseCost(
        **plain,
        times=times,
        sensitivity=found.sensitivity,
        unit=found.unit,
        sigma=math.sqrt(honest * variance) * found.unit,
        sigma_store=math.sqrt(variance) * found.unit,
        rho=rho,
        epsilon=epsilon(rho, delta),
    )


def _round_document(cost: RoundCost) -> dict[str, Any]:
    return {
        "index": cost.index,
        "stage": cost.stage,
        "upload_bytes": cost.bytes,
        "rho": _above(cost.rho),
        "epsilon": cost.epsilon,
        "epsilon_after": cost.epsilon_after,
        "releases": [
            {
                "name": x.name,
                "words": x.words,
                "bytes": x.bytes,
                "times": x.times,
                "clip_norm": x.clip_norm,
                "weight_clip_norm": x.weight_clip_norm,
                "sensitivity": None if x.sensitivity is None else str(x.sensitivity),
                "unit": x.unit and decimal_string(x.unit),
                "sigma": x.sigma,
                "sigma_store": x.sigma_store,
                "rho": _above(x.rho),
                "epsilon": x.epsilon,
            }
            for x in cost.releases
        ],
    }


def _above(rho: Fraction | None) -> float | None:
    return None if rho is None else upward(rho)


def _finite(clip: float) -> float | None:
    return clip if math.isfinite(clip) else None
