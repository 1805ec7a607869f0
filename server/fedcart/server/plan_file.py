"""PLAN.toml, what a coordinator writes, into a plan; and a plan into a directory for the stores.

Nothing here reads a customer. Whatever the file leaves out gets the learner's or the kernel's default, and the plan
spells it out.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fedcart.shared.agreement import CATALOGUE, PLAN
from fedcart.shared.canonical import canonical_bytes
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.config import build, number, read_toml
from fedcart.shared.errors import ConfigError
from fedcart.shared.folders import new_folder
from fedcart.shared.identity import Identity
from fedcart.shared.installed import installed_app_hash
from fedcart.shared.plan import Plan, Trust, build_learner, hyper_parameters
from fedcart.shared.privacy.cohort import Cohort
from fedcart.shared.privacy.conversion import auto_delta
from fedcart.shared.privacy.terms import Bound, PrivacyTerms, with_changes
from fedcart.shared.signatures import SIGNATURES, PlanSignatures
from fedcart.shared.storage import named_failures, replace_bytes


@dataclass(frozen=True, kw_only=True)
class PrivacyFile:
    """[privacy]: epsilon is needed unless trust is none; delta is a number or 'auto'."""

    trust: Trust
    customers_bound: int = number(dataclasses.MISSING, at_least=1)
    epsilon: float | None = None
    delta: float | Literal["auto"] = "auto"
    overlap: Literal["pair", "declared"] = "pair"
    colluders: int | None = None
    min_survivors: int | None = None
    bounds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PlanFile:
    """The whole file. [learner] holds its name and its own keys."""

    participants: int
    learner: Mapping[str, Any]
    privacy: PrivacyFile
    attempts: int = 1
    seed: int = 0
    as_of: int | None = None
    not_before: int | None = number(None, at_least=0)
    not_after: int | None = number(None, at_least=0)


def read_plan(path: Path, catalogue: Catalogue, *, coalition: str | None = None, key: str | None = None) -> Plan:
    """The plan that a PLAN.toml describes over a catalogue.

    Args:
      coalition, key: name and coordinator's public key of a real coalition; its plan also names the code that is
        installed here, which stores must have too.

    Raises:
      ConfigError: missing, not TOML, an unknown key, a number out of range, or terms that fit no cohort or release.
    """
    tables = read_toml(path)
    if isinstance(found := tables.get("learner"), dict) and "name" not in found:
        raise ConfigError(f"{path}: learner: key 'name' is missing; nothing was planned", "it says which algorithm")
    file = build(PlanFile, tables, f"{path}:")
    settings = {key: value for key, value in file.learner.items() if key != "name"}
    try:
        made = _plan(file, str(file.learner["name"]), settings, catalogue)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}", error.hint) from None
    if key is None:
        return made
    return dataclasses.replace(made, coalition=coalition, coordinator_key=key, app_hash=installed_app_hash())


def _plan(file: PlanFile, name: str, settings: Mapping[str, Any], catalogue: Catalogue) -> Plan:
    learner = build_learner(name, settings)
    return Plan(
        catalogue_hash=catalogue.hash,
        catalogue_source=catalogue.source,
        as_of=file.as_of,
        participants=file.participants,
        learner=name,
        hyper_parameters=hyper_parameters(learner),
        trust=file.privacy.trust,
        privacy=_terms(file, learner.bounds()),
        customers_bound=file.privacy.customers_bound,
        seed=file.seed,
        attempts=file.attempts,
        not_before=file.not_before,
        not_after=file.not_after,
    )


def _terms(file: PlanFile, bounds: Mapping[str, Bound]) -> PrivacyTerms | None:
    said = file.privacy
    if said.trust == "none":
        if said.epsilon is not None or said.bounds:
            raise ConfigError("[privacy] epsilon or bounds with trust none: nobody adds noise; nothing was planned")
        return None
    if said.epsilon is None:
        raise ConfigError(f"[privacy] trust {said.trust} without epsilon; nothing was planned")
    cohort: dict[str, Any] = {"colluders": said.colluders, "min_survivors": said.min_survivors}
    if said.trust == "distributed":
        found = Cohort.default(file.participants, said.colluders, said.min_survivors)
        cohort = {"colluders": found.colluders, "min_survivors": found.min_survivors}
    elif cohort != {"colluders": None, "min_survivors": None}:
        raise ConfigError(
            f"[privacy] colluders and min_survivors have no meaning with trust {said.trust}; nothing was planned"
        )
    return PrivacyTerms(
        epsilon=said.epsilon,
        delta=auto_delta(said.customers_bound) if said.delta == "auto" else said.delta,
        overlap=said.overlap,
        bounds=with_changes(bounds, said.bounds),
        **cohort,
    )


def write_plan(directory: Path, plan: Plan, catalogue: Catalogue, coordinator: Identity) -> bool:
    """Write plan, catalogue and signatures into a new (or empty) directory: all three, or none.

    Returns:
      False when this very plan stands there already; then nothing is touched, countersignatures stay.

    Raises:
      ConfigError: another plan or other files are there. Nothing was written.
      PrivacyRefused: this plan is there, with signatures that are not this coordinator's or no store's.
    """
    document = canonical_bytes(plan.document(catalogue))
    with named_failures(directory, "read"):
        there = {path.name for path in directory.iterdir()} if directory.exists() else set()
    if there:
        return _stands_already(directory, there, document, catalogue, coordinator)
    with new_folder(directory, "name a new directory") as part, named_failures(directory, "create"):
        part.chmod(0o755)
        digest = plan.save(part / PLAN, catalogue)
        replace_bytes(part / CATALOGUE, canonical_bytes(catalogue.document()))
        PlanSignatures.sign(digest, coordinator).save(part / SIGNATURES)
    return True


def _stands_already(
    directory: Path, there: set[str], document: bytes, catalogue: Catalogue, coordinator: Identity
) -> bool:
    if PLAN not in there:
        raise ConfigError(f"{directory} holds other files and no plan; nothing was written", "name a new directory")
    same = (directory / PLAN).read_bytes() == document and CATALOGUE in there
    if not same or Catalogue.load(directory / CATALOGUE).hash != catalogue.hash:
        raise ConfigError(
            f"{directory} holds another plan; it was not overwritten and nothing was written", "name a new directory"
        )
    digest = hashlib.sha256(document).hexdigest()
    path = directory / SIGNATURES
    PlanSignatures.load(path).check(path, digest, coordinator.public.hex())
    return False
