"""A plan's privacy terms, and what they make of a learner's releases.

A learner says what it releases; the terms say how long one customer's part may be, and which share of the budget
each release gets. Applied to the same rounds, coordinator, store and auditor come to the same clips and noise. So
adding privacy changes no learner.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fedcart.shared.errors import ConfigError, PrivacyRefused, did_you_mean
from fedcart.shared.privacy.accounting import epsilon as epsilon_of
from fedcart.shared.privacy.accounting import run_rho
from fedcart.shared.privacy.conversion import refuse_large_delta, zcdp_rho
from fedcart.shared.privacy.quantise import LARGEST_CLIP, LEAST_CLIP
from fedcart.shared.privacy.release import Release

if TYPE_CHECKING:
    from fedcart.shared.learners.base import Round

Overlap = Literal["pair", "declared", "weights"]
CLOSER = 1e-12
"""Relative step towards more noise, where rounding left a run above its epsilon."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """How far one customer may move a release, and what it may cost.

    Attributes:
      clip_norm: as in `Release`.
      weight_clip_norm: as in `Release`; `per_item` only.
      share: of the run's rho, over all rounds that have this release; relative to the other shares.
    """

    clip_norm: float
    weight_clip_norm: float = math.inf
    share: float = 1.0

    def __post_init__(self) -> None:
        weights = self.weight_clip_norm == math.inf or LEAST_CLIP <= self.weight_clip_norm <= LARGEST_CLIP
        if not (LEAST_CLIP <= self.clip_norm <= LARGEST_CLIP and weights and 0 < self.share < math.inf):
            raise ConfigError(
                f"clip_norm {self.clip_norm}, weight_clip_norm {self.weight_clip_norm}, share {self.share}: positive "
                f"numbers are needed, clips in {LEAST_CLIP} .. {LARGEST_CLIP}; nothing was planned"
            )


def with_changes(bounds: Mapping[str, Bound], changes: Mapping[str, Mapping[str, float]]) -> dict[str, Bound]:
    """A learner's bounds with the numbers replaced that a configuration names under [privacy] bounds.

    Raises:
      ConfigError: no such release, an unknown key, or a number out of range.
    """
    found, known = dict(bounds), {f.name for f in dataclasses.fields(Bound)}
    for name, numbers in changes.items():
        if name not in found:
            raise ConfigError(f"[privacy] bounds: no release {name!r}; nothing was planned", did_you_mean(name, found))
        for key in numbers:
            if key not in known:
                raise ConfigError(
                    f"[privacy] bounds.{name}: unknown key {key!r}; nothing was planned", did_you_mean(key, known)
                )
        found[name] = dataclasses.replace(found[name], **numbers)
    return found


@dataclass(frozen=True, kw_only=True)
class PrivacyTerms:
    """What a plan promises each customer.

    Attributes:
      epsilon, delta: of the whole run with all its attempts, customers added or removed one at a time.
      overlap: `pair`: the unit is one customer at one store. `declared`: every customer has one home store.
        `weights`: one person, whose stores each use their part of one clip, by a linkage that the plan trusts.
      colluders: c, stores that may collude with the coordinator; None with trust `local`.
      min_survivors: m, least number of stores in an opened sum; None with trust `local`.
      bounds: name of a release -> its bound.
    """

    epsilon: float
    delta: float
    overlap: Overlap = "pair"
    colluders: int | None = None
    min_survivors: int | None = None
    bounds: Mapping[str, Bound]

    def __post_init__(self) -> None:
        if not 0 < self.epsilon < math.inf:
            raise ConfigError(f"epsilon {self.epsilon} must be positive and finite; nothing was planned")
        if not 0 < self.delta < 1:
            raise ConfigError(f"delta {self.delta} must lie between 0 and 1; nothing was planned")

    def apply(self, rounds: Sequence[Round], *, honest: int, attempts: int, customers_bound: int) -> tuple[Round, ...]:
        """The same rounds, every release clipped and with the noise that makes the run cost epsilon at delta.

        rho is shared out in proportion to the bounds' shares; a release that comes back in many rounds divides its
        share among them, as do the steps of trained rounds, each of which is one release of `STEP`. The cost is then
        computed from the integers, and the noise raised until it fits.

        Raises:
          ConfigError: a release has no bound, a bound no release, stores would train on shares of one noise, or
            divide a clip without one noise.
          PrivacyRefused: delta is too large for that many customers, or epsilon for the grid.
        """
        refuse_large_delta(self.delta, customers_bound)
        if self.overlap == "weights" and self.colluders is None:
            raise ConfigError(
                "overlap weights divides one clip among a person's stores under one noise, and with trust local each "
                "store adds its own; nothing was planned",
                "use trust distributed, or overlap pair or declared",
            )
        if self.colluders is not None and any(round_.local_steps for round_ in rounds):
            raise ConfigError(
                "rounds that train at the store need all of the noise in every step there, before any sum over stores, "
                "and with trust distributed each store adds only a share; nothing was planned",
                "use trust local, or set local_steps = 0: one clipped gradient of each customer a round",
            )
        rounds = [with_step(round_) if round_.local_steps else round_ for round_ in rounds]
        sums = [round_.releases if round_.step is None else (round_.step,) * round_.local_steps for round_ in rounds]
        counts = Counter(release.name for each in sums for release in each)
        if set(counts) != set(self.bounds):
            odd = sorted(set(counts) ^ set(self.bounds))
            raise ConfigError(f"releases without a bound, or bounds without a release: {odd}; nothing was planned")
        if not counts:
            return tuple(rounds)
        weights = [[self.bounds[x.name].share / counts[x.name] for x in each] for each in sums]
        total = sum(map(sum, weights)) + (attempts - 1) * max(map(sum, weights))
        rho = zcdp_rho(self.epsilon, self.delta)
        for step in range(16):
            unit = rho / total * (1 - CLOSER * step)
            made = tuple(
                self._bounded_round(round_, [unit * weight for weight in each])
                for round_, each in zip(rounds, weights, strict=True)
            )
            if epsilon_of(run_rho(made, honest, attempts), self.delta) <= self.epsilon:
                return made
        raise PrivacyRefused(
            f"no noise was found for epsilon {self.epsilon} at delta {self.delta}; nothing was planned"
        )

    def _bounded_round(self, round_: Round, rhos: Sequence[float]) -> Round:
        if round_.step is not None:
            return dataclasses.replace(round_, step=self._bounded(round_.step, rhos[0]))
        return dataclasses.replace(round_, releases=tuple(map(self._bounded, round_.releases, rhos)))

    def _bounded(self, release: Release, rho: float) -> Release:
        bound = self.bounds[release.name]
        return dataclasses.replace(
            release,
            clip_norm=bound.clip_norm,
            weight_clip_norm=bound.weight_clip_norm,
            noise_multiplier=math.sqrt(0.5 / rho),
        )

    def document(self) -> dict[str, Any]:
        """As the plan lists them: exact decimal strings for floats."""
        from fedcart.shared.plan import exact

        fields = {f.name: exact(getattr(self, f.name)) for f in dataclasses.fields(self)}
        fields["bounds"] = {
            name: {f.name: exact(float(getattr(bound, f.name))) for f in dataclasses.fields(bound)}
            for name, bound in self.bounds.items()
        }
        return fields

    @classmethod
    def read(cls, document: Any, where: str) -> PrivacyTerms:
        """Undo `document`. Raises ConfigError on an unknown or missing field, a wrong type or a number out of range."""
        from fedcart.shared.config import build
        from fedcart.shared.plan import inexact

        if not isinstance(document, Mapping) or not isinstance(document.get("bounds"), Mapping):
            raise ConfigError(f"{where}: a table with bounds is needed; nothing was planned")
        numbers = {**document, "epsilon": inexact(document.get("epsilon"), 0.0)}
        numbers["delta"] = inexact(document.get("delta"), 0.0)
        numbers["bounds"] = {
            name: {key: inexact(value, 0.0) for key, value in bound.items()} if isinstance(bound, Mapping) else bound
            for name, bound in document["bounds"].items()
        }
        try:
            return build(cls, numbers, where)
        except ConfigError as error:
            told = error.message if error.message.startswith(where) else f"{where}: {error.message}"
            raise ConfigError(told, error.hint) from None


def with_step(round_: Round) -> Round:
    """A trained round under a guarantee, not bounded yet: each step is one sum over customers, and parameters leave.

    Nothing else does. The number of customers, by which stores are weighted without a guarantee, is private.
    """
    from fedcart.shared.learners.base import STEP

    lanes = tuple(release for release in round_.releases if release.kind == "trained")
    words = sum(lane.words for lane in lanes)
    return dataclasses.replace(round_, releases=lanes, step=Release(name=STEP, shape=(words,)))
