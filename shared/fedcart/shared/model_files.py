"""A run's public model in a folder: what every store received, and nothing else. Written whole or not at all.

plan.json  catalogue.json     what was run, over which items
state.npz                     the public arrays after the last round
model.json                    hashes of both, and whether noise came from a seed
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedcart.shared.agreement import CATALOGUE, PLAN, Agreement
from fedcart.shared.canonical import canonical_bytes, model_hash
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import ConfigError, InputError
from fedcart.shared.folders import placed
from fedcart.shared.learners.base import Scorer, State
from fedcart.shared.plan import Plan
from fedcart.shared.storage import load_arrays, named_failures, replace_bytes, save_arrays

STATE, ABOUT = "state.npz", "model.json"
FILES = (PLAN, CATALOGUE, STATE, ABOUT)
VERSION = 1


@dataclass(frozen=True)
class Model:
    """A public model as its folder holds it.

    Attributes:
      model_hash: SHA-256 of the public arrays, 64 hex digits.
      rehearsal: whether the run's noise came from a seed: then epsilon is no evidence.
    """

    agreement: Agreement
    state: State
    model_hash: str
    rehearsal: bool

    @property
    def name(self) -> str:
        """Learner and the first digits of the hash: the same arrays have the same name."""
        return f"{self.agreement.plan.learner}-{self.model_hash[:12]}"

    def scorer(self) -> Scorer:
        """Public state and a history -> scores."""
        return self.agreement.learner.scorer(self.state, self.agreement.catalogue)


def save_model(directory: Path, plan: Plan, catalogue: Catalogue, state: State, *, rehearsal: bool) -> None:
    """Write the folder; another model there goes. Carried arrays stay out."""
    with named_failures(directory, "create"):
        directory.parent.mkdir(parents=True, exist_ok=True)
    with placed(directory) as part:
        plan_hash = plan.save(part / PLAN, catalogue)
        catalogue.save(part / CATALOGUE)
        save_arrays(part / STATE, state.public)
        about = {"version": VERSION, "plan_hash": plan_hash, "model_hash": model_hash(state.public)}
        replace_bytes(part / ABOUT, canonical_bytes({**about, "rehearsal": rehearsal}))
        part.chmod(0o755)


def load_model(directory: Path) -> Model:
    """Read a model's folder and check it against its hashes.

    Raises:
      InputError: a file is missing or damaged.
      ConfigError: plan, catalogue and arrays do not belong together, or the version is unknown.
    """
    with named_failures(directory / ABOUT, "read"):
        raw = (directory / ABOUT).read_bytes()
    about = _about(directory / ABOUT, raw)
    agreement = Agreement.open(directory)
    arrays = load_arrays(directory / STATE)
    if any(array.dtype != np.float32 for array in arrays.values()) or model_hash(arrays) != about["model_hash"]:
        raise ConfigError(f"{directory / STATE}: not the model that {ABOUT} names; it was not used")
    if agreement.plan_hash != about["plan_hash"]:
        raise ConfigError(f"{directory / PLAN}: not the plan that {ABOUT} names; the model was not used")
    if any(not np.isfinite(array).all() for array in arrays.values()):
        raise ConfigError(f"{directory / STATE}: holds numbers that are not finite; it was not used")
    return Model(agreement, State(arrays), about["model_hash"], about["rehearsal"])


def _about(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        about = json.loads(raw)
        known = {"version", "plan_hash", "model_hash", "rehearsal"}
        if not isinstance(about, dict) or set(about) != known or about["version"] != VERSION:
            raise ValueError("unknown version or fields")
    except ValueError as error:
        raise InputError(f"{path}: not a model of version {VERSION} ({error}); it was not used") from None
    return about
