"""What a store allows, in a file of its own that no message can change: policy.toml.

Every number a coordinator could lie about is checked here, against the plan before a run and against the ledger
before every charge. A refusal is PrivacyRefused (exit code 3) and says what was not released. Nothing is allowed
that the file does not allow: an epsilon over the whole life of the ledger must be named, and a plan without noise
is refused unless the file says trust = ["none"] in so many words.
"""

from __future__ import annotations

import hashlib
import math
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fedcart.shared.canonical import content_hash
from fedcart.shared.config import build, number, read_toml
from fedcart.shared.errors import ConfigError, PrivacyRefused
from fedcart.shared.installed import installed_app_hash

if TYPE_CHECKING:
    from fedcart.shared.learners.base import Round
    from fedcart.shared.ledger.ledger import Ledger
    from fedcart.shared.plan import Plan
    from fedcart.shared.privacy.cohort import Cohort


@dataclass(frozen=True, kw_only=True)
class Coordination:
    """[trust]: whose plans are looked at. Keys and fingerprints are 64 hex digits, obtained out of band.

    Attributes:
      coordinator_key: Ed25519 public key; empty = plans need no coordinator's signature (a simulation).
      roster_root: hash of the roster; empty = none is pinned.
      known_stores: fingerprints of stores known out of band; every other store counts as a colluder.
    """

    coordinator_key: str = ""
    roster_root: str = ""
    known_stores: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Limits:
    """[limits]: what may be spent. epsilon_total is for the whole life of the ledger, whatever coalition or plan."""

    epsilon_total: float = number(math.nan, at_least=0.0)
    epsilon_window: float = number(math.inf, at_least=0.0)
    window_days: int = number(365, at_least=1)
    delta: float = number(1e-5, above=0.0, at_most=0.1)
    rounds: int = number(10_000, at_least=1)
    attempts: int = number(3, at_least=1)

    def __post_init__(self) -> None:
        if math.isnan(self.epsilon_total):
            raise ConfigError("[limits] epsilon_total is missing; nothing is released without it")


@dataclass(frozen=True, kw_only=True)
class Require:
    """[require]: what a plan must be like. Empty learners = all built-in ones.

    Attributes:
      min_sigma_local: least standard deviation of this store's own noise, over the sensitivity D.
      min_noise_multiplier: least standard deviation of the noise that is certain, over D.
      max_h: most honest stores that a plan may count on.
    """

    trust: tuple[Literal["local", "distributed", "none"], ...] = ("local", "distributed")
    learners: tuple[str, ...] = ()
    min_survivors: int = number(3, at_least=1)
    min_colluders: int = number(1, at_least=1)
    max_h: int = number(1_000_000, at_least=1)
    min_noise_multiplier: float = number(0.3, at_least=0.0)
    min_sigma_local: float = number(0.05, at_least=0.0)
    catalogue: Literal["given", "any"] = "given"


@dataclass(frozen=True, kw_only=True)
class DataRules:
    """[data]: how the store's own data are read."""

    consent_column: str = ""
    retention_days: int | None = number(None, at_least=1)


@dataclass(frozen=True, kw_only=True)
class Approve:
    """[approve]: whether a plan that fits is approved without asking a person."""

    auto: bool = False


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A store's policy; `digest` is the hash of its file."""

    limits: Limits
    trust: Coordination = field(default_factory=Coordination)
    require: Require = field(default_factory=Require)
    data: DataRules = field(default_factory=DataRules)
    approve: Approve = field(default_factory=Approve)
    digest: str = ""

    @classmethod
    def load(cls, path: Path) -> Policy:
        """Read policy.toml.

        Raises:
          ConfigError: missing, not TOML, an unknown key, a number out of range, no epsilon_total, or a file that
            others than its owner may write.
        """
        tables = read_toml(path)
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o022:
            raise ConfigError(
                f"{path} has mode {mode:04o}: others may write it; nothing was released", f"chmod go-w {path}"
            )
        if "digest" in tables:
            raise ConfigError(f"{path}: unknown key 'digest'")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return build(cls, {"limits": {}, **tables, "digest": digest}, f"{path}:")

    def check_plan(self, plan: Plan, rounds: tuple[Round, ...]) -> None:
        """Refuse a plan that this policy does not allow. `rounds` are the plan's.

        Raises:
          PrivacyRefused: the first thing that does not fit, its value, and the policy's limit.
        """
        for wrong in self.objections(plan, rounds):
            raise PrivacyRefused(f"{wrong}; nothing was released", advice(plan))

    def objections(self, plan: Plan, rounds: tuple[Round, ...]) -> Iterator[str]:
        """Everything in a plan that does not fit: its value, and the policy's limit. Rounds alike object alike."""
        limits, require = self.limits, self.require
        yield from self._origin_objections(plan)
        if plan.trust not in require.trust:
            yield f"trust {plan.trust} is not among [require] trust {', '.join(require.trust)}"
        if require.learners and plan.learner not in require.learners:
            yield f"learner {plan.learner} is not among [require] learners {', '.join(require.learners)}"
        if require.catalogue == "given" and plan.catalogue_source != "given":
            yield "the item list was derived from interactions, and [require] catalogue is 'given'"
        if len(rounds) > limits.rounds:
            yield f"{len(rounds)} rounds are over [limits] rounds {limits.rounds}"
        if plan.attempts > limits.attempts:
            yield f"{plan.attempts} attempts are over [limits] attempts {limits.attempts}"
        if plan.privacy is not None:
            yield from self._noise_objections(plan, rounds)

    def _origin_objections(self, plan: Plan) -> Iterator[str]:
        """Whose plan it is, when it holds, and for which code."""
        pinned = self.trust.coordinator_key
        if plan.coordinator_key is not None and pinned and plan.coordinator_key != pinned:
            yield f"it is coordinator {plan.coordinator_key[:16]}…'s, and [trust] coordinator_key is {pinned[:16]}…"
        if plan.app_hash is not None and plan.app_hash != (own := installed_app_hash()):
            yield f"it is for the code {plan.app_hash[:16]}…, and {own[:16]}… is installed here"
        if wrong := plan.out_of_time(int(time.time())):
            yield wrong

    def _noise_objections(self, plan: Plan, rounds: tuple[Round, ...]) -> Iterator[str]:
        limits, terms = self.limits, plan.privacy
        assert terms is not None
        if terms.epsilon > limits.epsilon_total:
            yield f"epsilon {terms.epsilon:g} is over [limits] epsilon_total {limits.epsilon_total:g}"
        if terms.delta > limits.delta:
            yield f"delta {terms.delta:g} is over [limits] delta {limits.delta:g}"
        cohort = plan.cohort()
        if cohort is not None:
            yield from self._cohort_objections(cohort)
        for release in (x for round_ in rounds for x in round_.charges):
            own = release.noise_multiplier / math.sqrt(plan.honest)
            for key, value in (("min_noise_multiplier", release.noise_multiplier), ("min_sigma_local", own)):
                if value < (least := getattr(self.require, key)):
                    yield f"release {release.name!r} has noise {value:.3g}, under [require] {key} {least:g}"

    def _cohort_objections(self, cohort: Cohort) -> Iterator[str]:
        require, known = self.require, self.trust.known_stores
        if cohort.min_survivors < require.min_survivors:
            least = require.min_survivors
            yield f"{cohort.min_survivors} stores in a sum are fewer than [require] min_survivors {least}"
        if cohort.colluders < require.min_colluders:
            yield f"{cohort.colluders} colluders are fewer than [require] min_colluders {require.min_colluders}"
        if cohort.honest > require.max_h:
            yield f"{cohort.honest} honest stores are more than [require] max_h {require.max_h}"
        strangers = cohort.participants - 1 - len(known)
        if known and strangers > cohort.colluders:
            yield f"{strangers} stores are not among [trust] known_stores, more than the {cohort.colluders} colluders"

    def check_within_plan(self, ledger: Ledger, plan_hash: str, rho: Fraction, allowed: Fraction) -> None:
        """Refuse to charge `rho` more where the plan's own cost, repeats included, would be passed.

        A coordinator may repeat any round, but not more of them than the plan's epsilon pays for.

        Raises:
          PrivacyRefused: nothing was charged.
        """
        if ledger.plan_rho(plan_hash) + rho > allowed:
            raise PrivacyRefused(
                "the round was repeated more often than the plan's epsilon pays for; nothing was released",
                "the coordinator must make a new plan",
            )

    def check_charge(self, ledger: Ledger, rho: Fraction, at: int) -> None:
        """Refuse to charge `rho` more where a cap would be passed.

        Args:
          at: now, seconds.

        Raises:
          PrivacyRefused: the epsilon it would come to, and the cap. Nothing was charged.
        """
        for name, would, cap in self.over_caps(ledger, rho, at):
            raise PrivacyRefused(
                f"the round would bring the {name} to epsilon {would:.4f} at delta {self.limits.delta:g}, over the cap "
                f"of {cap:g}; nothing was released",
                "raise the cap in policy.toml, or stop here",
            )

    def over_caps(self, ledger: Ledger, rho: Fraction, at: int) -> Iterator[tuple[str, float, float]]:
        """(which, epsilon with `rho` more, cap) of each cap that would be passed. `at` is now."""
        limits = self.limits
        caps: tuple[tuple[str, float, Callable[[], float]], ...] = (
            ("total", limits.epsilon_total, lambda: ledger.would_spend(rho, limits.delta)),
            (
                f"window of {limits.window_days} days",
                limits.epsilon_window,
                lambda: ledger.window_epsilon(limits.window_days, limits.delta, at, and_rho=rho),
            ),
        )
        for name, cap, spent in caps:
            if cap < math.inf and (would := spent()) > cap:
                yield name, would, cap


def advice(plan: Plan) -> str:
    """What to do about a plan that a policy does not allow: a hint."""
    if plan.out_of_time(int(time.time())):
        return "ask the coordinator for a new plan, or set this machine's clock right"
    return "change policy.toml, or ask for another plan"


def simulated() -> Policy:
    """Of a store in a simulation, where one person holds all the data: everything is allowed. It has no file; its
    digest is that of what it says."""
    require = Require(
        trust=("local", "distributed", "none"),
        min_survivors=1,
        min_noise_multiplier=0,
        min_sigma_local=0,
        catalogue="any",
    )
    limits = Limits(epsilon_total=math.inf, rounds=1_000_000, attempts=1_000_000, delta=0.1)
    policy = Policy(limits=limits, require=require)
    return replace(policy, digest=content_hash({"simulated": repr(policy)}))
