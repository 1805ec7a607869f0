"""The plan: everything about a run that both sides fix before anything is computed. Canonical bytes, hash.

Numbers are integers or decimal strings, never floats, so that two readers hash the same bytes.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from fedcart.shared.canonical import canonical_bytes, content_hash, decimal_string
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.config import build
from fedcart.shared.errors import ConfigError
from fedcart.shared.evaluation import Evaluation, with_evaluation
from fedcart.shared.evaluation import document as evaluation_document
from fedcart.shared.learners import learner_class
from fedcart.shared.learners.base import Learner, Round
from fedcart.shared.privacy.cohort import Cohort
from fedcart.shared.privacy.grid import grid, share_variance
from fedcart.shared.privacy.release import Release
from fedcart.shared.privacy.terms import PrivacyTerms
from fedcart.shared.storage import named_failures, replace_bytes

VERSION = 1
Trust = Literal["local", "distributed", "none"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run of one learner over one catalogue.

    Attributes:
      catalogue_hash: of the public item list.
      catalogue_source: `given` or `derived`.
      as_of: seconds since 1970 UTC that ages are relative to, or None when the data has no times.
      participants: n, the number of stores on the roster.
      learner: name of a built-in learner.
      hyper_parameters: field -> value of that learner; the document spells out all of them.
      trust: who adds noise (`privacy.cohort`); `none` = nobody: no guarantee.
      privacy: what each customer is promised; None with trust `none` and only then.
      customers_bound: N, a public bound on the number of customers of the coalition.
      seed: of the initial state and the training order.
      evaluation: how every store measures what it holds out, in a last round of its own; None = no such round.
      attempts: tries of the whole run; a round that fails below quorum is repeated within them. epsilon pays for the
        dearest round again for each beyond the first.
      coalition, coordinator_key: name and public key (64 hex digits) of whom the run belongs to; None in a simulation.
      app_hash: `installed.installed_app_hash` of the code that all stores run; None = any.
      not_before, not_after: seconds since 1970 UTC between which a store answers; None = no limit.
    """

    catalogue_hash: str
    catalogue_source: Literal["given", "derived"]
    as_of: int | None
    participants: int
    learner: str
    hyper_parameters: Mapping[str, Any]
    trust: Trust = "none"
    privacy: PrivacyTerms | None = None
    customers_bound: int
    seed: int
    attempts: int = 1
    evaluation: Evaluation | None = None
    coalition: str | None = None
    coordinator_key: str | None = None
    app_hash: str | None = None
    not_before: int | None = None
    not_after: int | None = None

    def __post_init__(self) -> None:
        if (self.trust == "none") != (self.privacy is None):
            raise ConfigError(
                f"trust {self.trust!r} {'with' if self.privacy else 'without'} privacy terms; nothing was planned",
                "trust none promises nothing; local and distributed need epsilon, delta and bounds",
            )
        if self.attempts < 1:
            raise ConfigError(f"{self.attempts} attempts; at least 1 is needed; nothing was planned")
        if None not in (self.not_before, self.not_after) and self.not_before >= self.not_after:  # type: ignore[operator]
            raise ConfigError(
                f"not_before {self.not_before} is not before not_after {self.not_after}; nothing was planned"
            )
        self.cohort()

    def cohort(self) -> Cohort | None:
        """Who shares one noise; None unless trust is `distributed`."""
        if self.trust != "distributed" or self.privacy is None:
            return None
        c, m = self.privacy.colluders, self.privacy.min_survivors
        if c is None or m is None:
            raise ConfigError("trust distributed needs colluders and min_survivors; nothing was planned")
        return Cohort(participants=self.participants, colluders=c, min_survivors=m)

    @property
    def honest(self) -> int:
        """h: stores whose noise is certain to stand in every total; 1 where each adds all of it."""
        cohort = self.cohort()
        return 1 if cohort is None else cohort.honest

    def out_of_time(self, at: int) -> str:
        """Why it does not hold at `at`, seconds since 1970 UTC, with both times in ISO form; empty when it does."""
        if self.not_before is not None and at < self.not_before:
            return f"it does not hold before {_utc(self.not_before)}, and the time here is {_utc(at)}"
        if self.not_after is not None and at > self.not_after:
            return f"it does not hold after {_utc(self.not_after)}, and the time here is {_utc(at)}"
        return ""

    def build_learner(self) -> Learner:
        """The learner with the plan's hyper-parameters."""
        return build_learner(self.learner, self.hyper_parameters)

    def rounds(self, catalogue: Catalogue) -> tuple[Round, ...]:
        """All rounds of the run, clipped and with noise as its privacy terms say.

        Raises:
          ConfigError: `catalogue` is not the plan's, or the terms do not fit the learner's releases.
          PrivacyRefused: delta is too large for that many customers, or epsilon for the grid.
        """
        if catalogue.hash != self.catalogue_hash:
            raise ConfigError(
                f"the catalogue {catalogue.hash[:16]}… is not the plan's {self.catalogue_hash[:16]}…; nothing was run"
            )
        rounds = self.build_learner().rounds(catalogue, self.customers_bound)
        if self.evaluation is not None:
            rounds = with_evaluation(rounds)
        if self.privacy is None:
            return rounds
        made = self.privacy.apply(
            rounds, honest=self.honest, attempts=self.attempts, customers_bound=self.customers_bound
        )
        excess = math.sqrt(self.participants / self.honest)
        return tuple(dataclasses.replace(round_, noise_excess=excess) for round_ in made)

    def document(self, catalogue: Catalogue) -> dict[str, Any]:
        """The plan as canonical JSON can hold it, with every release of every round spelled out."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        fields["hyper_parameters"] = {
            key: exact(value) for key, value in hyper_parameters(self.build_learner()).items()
        }
        fields["privacy"] = None if self.privacy is None else self.privacy.document()
        fields["evaluation"] = evaluation_document(self.evaluation)
        rounds = [
            {
                "index": r.index,
                "stage": r.stage,
                "local_steps": r.local_steps,
                "releases": [describe(x, self.honest) for x in r.releases],
                **({} if r.step is None else {"step": describe(r.step, self.honest)}),
            }
            for r in self.rounds(catalogue)
        ]
        return {"version": VERSION, **fields, "rounds": rounds}

    def save(self, path: Path, catalogue: Catalogue) -> str:
        """Write the canonical bytes to `path`, durably, and return their SHA-256."""
        document = self.document(catalogue)
        replace_bytes(path, canonical_bytes(document))
        return content_hash(document)

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read a plan. Raises ConfigError on an unknown version, field, type or hyper-parameter."""
        with named_failures(path, "read"):
            raw = path.read_bytes()
        try:
            document = json.loads(raw)
        except ValueError as error:
            raise ConfigError(f"{path}: not a plan ({error}); nothing was run") from None
        if not isinstance(document, dict) or document.pop("version", None) != VERSION:
            raise ConfigError(f"{path}: not a plan of version {VERSION}; nothing was run")
        known = {f.name for f in dataclasses.fields(cls)}
        if set(document) != known | {"rounds"}:
            odd = sorted(set(document) ^ (known | {"rounds"}))
            raise ConfigError(f"{path}: unknown or missing fields {odd}; nothing was run")
        document.pop("rounds")
        if document["privacy"] is not None:
            document["privacy"] = PrivacyTerms.read(document["privacy"], f"{path}: privacy")
        if document["evaluation"] is not None:
            document["evaluation"] = build(Evaluation, document["evaluation"], f"{path}: evaluation:")
        plan = build(cls, document, f"{path}:")
        fields = {f.name: f.default for f in dataclasses.fields(learner_class(plan.learner))}  # type: ignore[arg-type]
        settings = {key: inexact(value, fields.get(key)) for key, value in plan.hyper_parameters.items()}
        return dataclasses.replace(plan, hyper_parameters=hyper_parameters(build_learner(plan.learner, settings)))


def build_learner(name: str, hyper_parameters: Mapping[str, Any]) -> Learner:
    """A learner from its name and (some of) its fields; the others keep their defaults.

    Values get the fields' exact types (1 becomes 1.0 where a float is meant), so that equal settings hash alike.

    Raises:
      ConfigError: unknown learner or key, a value of the wrong type or out of range.
    """
    return build(learner_class(name), hyper_parameters, f"learner {name!r}:")


def hyper_parameters(learner: Learner) -> dict[str, Any]:
    """All fields of a learner."""
    return {f.name: getattr(learner, f.name) for f in dataclasses.fields(learner)}  # type: ignore[arg-type]


def _utc(at: int) -> str:
    """A time in ISO form; of one that no calendar holds, its seconds since 1970."""
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return str(at)


def exact(value: Any) -> Any:
    """Floats as decimal strings (infinity as 'inf'), tuples as lists."""
    if isinstance(value, float):
        return str(value) if math.isinf(value) else decimal_string(value)
    if isinstance(value, tuple | list):
        return [exact(inner) for inner in value]
    return value


def inexact(value: Any, default: Any) -> Any:
    """Undo `exact`, by the type of the field's default; what cannot be undone stays, for `build_learner` to refuse."""
    if isinstance(default, float) and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(inexact(inner, default[0] if default else None) for inner in value)
    return value


def describe(release: Release, honest: int = 1) -> dict[str, Any]:
    """A release as the plan lists it: with noise also its integer sensitivity D, the variance of one store's noise
    (both in units) and what a unit is worth."""
    noise: dict[str, Any] = {}
    if release.noise_multiplier:
        found = grid(release)
        noise = {
            "sensitivity": found.sensitivity,
            "variance": str(share_variance(release, honest)),
            "unit": exact(found.unit),
        }
    return noise | {
        "name": release.name,
        "shape": list(release.shape),
        "kind": release.kind,
        "order": release.order,
        "first_item": release.first_item,
        "clip_norm": exact(float(release.clip_norm)),
        "weight_clip_norm": exact(float(release.weight_clip_norm)),
        "noise_multiplier": exact(float(release.noise_multiplier)),
        "sampling_rate": exact(float(release.sampling_rate)),
    }
