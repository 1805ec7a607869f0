"""The plan: everything about a run that both sides fix before anything is computed. Canonical bytes, hash.

Numbers are integers or decimal strings, never floats, so that two readers hash the same bytes.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fedcart.shared.canonical import canonical_bytes, content_hash, decimal_string
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import ConfigError
from fedcart.shared.learners import learner_class
from fedcart.shared.learners.base import Learner, Round
from fedcart.shared.privacy.release import Release

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
      hyper_parameters: field -> value of that learner, all of them.
      trust: who adds noise (DESIGN section 5); `none` = no guarantee.
      customers_bound: N, a public bound on the number of customers of the coalition.
      seed: of the initial state and the training order.
      attempts: tries of the whole run; a round that fails below quorum is repeated within them.
    """

    catalogue_hash: str
    catalogue_source: Literal["given", "derived"]
    as_of: int | None
    participants: int
    learner: str
    hyper_parameters: Mapping[str, Any]
    trust: Trust = "none"
    customers_bound: int
    seed: int
    attempts: int = 1

    def build_learner(self) -> Learner:
        """The learner with the plan's hyper-parameters."""
        return build_learner(self.learner, self.hyper_parameters)

    def rounds(self, catalogue: Catalogue) -> tuple[Round, ...]:
        """All rounds of the run. Raises ConfigError when `catalogue` is not the plan's."""
        if catalogue.hash != self.catalogue_hash:
            raise ConfigError(
                f"the catalogue {catalogue.hash[:16]}… is not the plan's {self.catalogue_hash[:16]}…; nothing was run"
            )
        return self.build_learner().rounds(catalogue, self.customers_bound)

    def document(self, catalogue: Catalogue) -> dict[str, Any]:
        """The plan as canonical JSON can hold it, with every release of every round spelled out."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        fields["hyper_parameters"] = {key: exact(value) for key, value in self.hyper_parameters.items()}
        rounds = [
            {
                "index": r.index,
                "stage": r.stage,
                "local_steps": r.local_steps,
                "releases": [describe(x) for x in r.releases],
            }
            for r in self.rounds(catalogue)
        ]
        return {"version": VERSION, **fields, "rounds": rounds}

    def save(self, path: Path, catalogue: Catalogue) -> str:
        """Write the canonical bytes to `path` and return their SHA-256."""
        document = self.document(catalogue)
        temporary = path.with_suffix(".part")
        temporary.write_bytes(canonical_bytes(document))
        os.replace(temporary, path)
        return content_hash(document)

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read a plan. Raises ConfigError on an unknown version or field."""
        document = json.loads(path.read_bytes())
        if document.pop("version", None) != VERSION:
            raise ConfigError(f"{path}: not a plan of version {VERSION}; nothing was run")
        document.pop("rounds")
        known = {f.name for f in dataclasses.fields(cls)}
        if set(document) != known:
            raise ConfigError(
                f"{path}: unknown or missing fields {sorted(set(document) ^ known)}; nothing was run"
            )
        learner = learner_class(document["learner"])
        document["hyper_parameters"] = {
            key: inexact(value, learner, key) for key, value in document["hyper_parameters"].items()
        }
        return cls(**document)


def build_learner(name: str, hyper_parameters: Mapping[str, Any]) -> Learner:
    """A learner from its name and (some of) its fields; the others keep their defaults."""
    found: Any = learner_class(name)
    known = {f.name for f in dataclasses.fields(found)}
    for key in hyper_parameters:
        if key not in known:
            raise ConfigError(
                f"learner {name!r} has no hyper-parameter {key!r}", f"known: {', '.join(sorted(known))}"
            )
    learner: Learner = found(**hyper_parameters)
    return learner


def hyper_parameters(learner: Learner) -> dict[str, Any]:
    """All fields of a learner."""
    return {f.name: getattr(learner, f.name) for f in dataclasses.fields(learner)}  # type: ignore[arg-type]


def exact(value: Any) -> Any:
    """Floats as decimal strings (infinity as 'inf'), tuples as lists."""
    if isinstance(value, float):
        return "inf" if math.isinf(value) else decimal_string(value)
    if isinstance(value, tuple | list):
        return [exact(inner) for inner in value]
    return value


def inexact(value: Any, learner: Any, key: str) -> Any:
    """Undo `exact`, by the type of the learner's default."""
    default = {f.name: f.default for f in dataclasses.fields(learner)}[key]
    if isinstance(default, float):
        return float(value)
    if isinstance(default, tuple):
        return tuple(
            float(x) if isinstance(x, str) and default and isinstance(default[0], float) else x for x in value
        )
    return value


def describe(release: Release) -> dict[str, Any]:
    """A release as the plan lists it."""
    return {
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
