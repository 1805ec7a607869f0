"""What coordinator and store must hold alike before a round: plan, catalogue, learner, rounds.

Each side reads its own files; a message carries only the plan's hash. Files of one run, in one directory:

    plan.json  catalogue.json         both sides
    records/                          a store's customers (simulation: all stores', one after another)
    checkpoint/  rounds.jsonl         the coordinator's
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from fedcart.shared.canonical import canonical_bytes
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import ConfigError
from fedcart.shared.evaluation import Measuring
from fedcart.shared.learners.base import Learner, Round
from fedcart.shared.plan import Plan
from fedcart.shared.storage import FileVersion, file_version

PLAN = "plan.json"
CATALOGUE = "catalogue.json"
ROUNDS = "rounds.jsonl"


@dataclass(frozen=True)
class Agreement:
    """One run, as its files say.

    Attributes:
      directory: where they are.
      plan_hash: SHA-256 of the plan's canonical bytes, 64 hex digits.
      rounds: the whole run; position = index.
    """

    directory: Path
    plan: Plan
    plan_hash: str
    catalogue: Catalogue
    learner: Learner
    rounds: tuple[Round, ...]

    @classmethod
    def open(cls, directory: Path | str) -> Agreement:
        """Read and check a run's files; the same object again while the plan stays as it is.

        Raises:
          InputError: a file is missing or unreadable.
          ConfigError: the catalogue is not the plan's, or the plan says other rounds than its learner makes here.
        """
        return _open(str(directory), file_version(f"{directory}/{PLAN}"))


@functools.lru_cache(maxsize=8)
def _open(place: str, version: FileVersion) -> Agreement:
    directory = Path(place)
    path = directory / PLAN
    plan = Plan.load(path)
    catalogue = Catalogue.load(directory / CATALOGUE)
    rounds = plan.rounds(catalogue)
    written = path.read_bytes()
    if canonical_bytes(plan.document(catalogue)) != written:
        raise ConfigError(
            f"{path}: says other rounds or hyper-parameters than learner {plan.learner!r} has here; nothing was run"
        )
    digest = hashlib.sha256(written).hexdigest()
    learner = plan.build_learner()
    if plan.evaluation is not None:
        learner = cast(Learner, Measuring(learner, catalogue, plan.evaluation))
    return Agreement(directory, plan, digest, catalogue, learner, rounds)
