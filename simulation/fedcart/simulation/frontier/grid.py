"""The cells of a frontier: which learner, epsilon, trust, seed and size, and the configuration of each one's run.

Every cell is one run of `fedcart simulate`. Nothing here depends on what a learner is called, but for `FLOOR`, the
honest floor of every private table. Baselines without epsilon are runs of their own: one a data set and split. Those
that know popularity alone are held to the run's epsilon, so they are in the floor's cells, and there only.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from fedcart.shared.config import number
from fedcart.shared.errors import ConfigError, did_you_mean
from fedcart.shared.learners import BUILT_IN
from fedcart.simulation import defaults
from fedcart.simulation.baselines import POPULARITY_ALONE
from fedcart.simulation.config import Config, LearnerConfig

FLOOR = "popularity"
"""Under every epsilon of the grid, asked for or not: what learning together is worth begins above it."""
REFERENCES = ("popularity", "recent", "recent_own", "content", "ease", "ials")
"""Baselines that every frontier is drawn against, unless [evaluate] baselines says otherwise."""
SIZES = ("small", "default", "large")
Trust = Literal["local", "distributed", "none"]
Size = Literal["small", "default", "large"]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """[grid] of an experiment: the product of its lists.

    Attributes:
      epsilons: above 0; inf = without noise, once whatever the trust.
      sizes: of the marketplace; empty = the one of [data].
    """

    learners: tuple[str, ...]
    epsilons: tuple[float, ...] = (1.0, 4.0, math.inf)
    trust: tuple[Literal["local", "distributed"], ...] = ("distributed",)
    seeds: tuple[int, ...] = (0,)
    sizes: tuple[Size, ...] = ()

    def __post_init__(self) -> None:
        for name in ("learners", "epsilons", "trust", "seeds"):
            if not getattr(self, name):
                raise ConfigError(f"[grid] {name}: an empty list; nothing was run", "give at least one")
        for name in ("learners", "epsilons", "trust", "seeds", "sizes"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ConfigError(f"[grid] {name}: {', '.join(map(str, values))} has one twice; nothing was run")
        if not all(epsilon > 0 for epsilon in self.epsilons):
            raise ConfigError(f"[grid] epsilons: {min(self.epsilons):g} must be above 0; nothing was run")
        if min(self.seeds) < 0:
            raise ConfigError(f"[grid] seeds: {min(self.seeds)} must be at least 0; nothing was run")
        for learner in self.learners:
            if learner != "auto" and learner not in BUILT_IN:
                raise ConfigError(f"[grid] learners: unknown {learner!r}", did_you_mean(learner, BUILT_IN))

    @property
    def private(self) -> bool:
        """Whether any epsilon is finite."""
        return min(self.epsilons) < math.inf


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run. `learner` None = the baselines of a data set and split; `trust` none = without noise."""

    learner: str | None
    epsilon: float = number(math.inf, above=0.0)
    trust: Trust = "none"
    seed: int = 0
    size: Size | None = None

    @property
    def name(self) -> str:
        """Of its folder."""
        size = f"-{self.size}" if self.size else ""
        if self.learner is None:
            return f"baselines-seed{self.seed}{size}"
        short = f"{self.epsilon:g}"
        epsilon = short if float(short) == self.epsilon else repr(self.epsilon)
        return f"{self.learner}-eps{epsilon}-{self.trust}-seed{self.seed}{size}"

    @property
    def words(self) -> str:
        """For people."""
        size = f" {self.size}" if self.size else ""
        if self.learner is None:
            return f"baselines seed {self.seed}{size}"
        trust = "without noise" if self.trust == "none" else f"eps {self.epsilon:g} {self.trust}"
        return f"{self.learner} {trust} seed {self.seed}{size}"


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A grid over one configuration.

    Attributes:
      base: what all cells share; its learner, epsilon, trust and seed are those of no cell.
      settings: learner -> its own keys, in each of its cells.
    """

    grid: Grid
    base: Config = field(default_factory=Config)
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    title: str = ""

    def __post_init__(self) -> None:
        if self.grid.sizes and self.base.data.name != "marketplace":
            raise ConfigError(
                f"[grid] sizes: data {self.base.data.name!r} has one size; nothing was run",
                "sizes are the marketplace's",
            )
        if self.base.rounds.count is not None:
            raise ConfigError(
                "[rounds] count in a frontier: its learners have different rounds; nothing was run",
                "write it as the learner's own key: [learners.mf] round_count",
            )
        for learner in self.settings:
            if learner not in self.learners:
                raise ConfigError(
                    f"[learners.{learner}]: not in the grid; nothing was run", did_you_mean(learner, self.learners)
                )

    @property
    def learners(self) -> tuple[str, ...]:
        """Those asked for, and the floor."""
        asked = self.grid.learners
        return asked if not self.grid.private or FLOOR in asked else (FLOOR, *asked)

    @property
    def sizes(self) -> tuple[Size | None, ...]:
        """None = that of [data]."""
        return self.grid.sizes or (None,)

    def cells(self) -> tuple[Cell, ...]:
        """All cells, in the order in which they run: baselines first, then seed by seed, cheap sizes first."""
        found = [self.reference(seed, size) for size in self.sizes for seed in self.grid.seeds]
        axes = itertools.product(self.sizes, self.grid.seeds, self.learners, self.grid.epsilons, self.grid.trust)
        for size, seed, learner, epsilon, trust in axes:
            who: Trust = trust if epsilon < math.inf else "none"
            found.append(Cell(learner=learner, epsilon=epsilon, trust=who, seed=seed, size=size))
        return tuple(dict.fromkeys(found))

    def reference(self, seed: int, size: Size | None) -> Cell:
        """The baselines that a cell of this seed and size is compared with."""
        return Cell(learner=None, seed=self.grid.seeds[0] if self.one_split else seed, size=size)

    @property
    def one_split(self) -> bool:
        """Whether all seeds hold out the same items: then baselines are computed once. Only where that is certain;
        the pairing of customers (`pairing.paired`) checks it again on the files."""
        base = self.base
        if base.data.name == "marketplace" or base.evaluate.share < 1:
            return False
        if base.split.rule == "auto":
            return base.data.name == "ncf-split" or base.data.name in defaults.FIRST_HELD_OUT_DAY
        return base.split.rule in ("ncf", "time")

    @property
    def baselines(self) -> tuple[str, ...]:
        """Those that are measured, without epsilon and (`POPULARITY_ALONE`) under each."""
        return REFERENCES if self.base.evaluate.baselines is None else self.base.evaluate.baselines

    def config(self, cell: Cell) -> Config:
        """What `simulate` is told for a cell; `output.dir` is the folder's business."""
        base, evaluate = self.base, self.base.evaluate
        data = base.data if cell.size is None else replace(base.data, size=cell.size)
        if cell.learner is None:
            evaluate = replace(evaluate, baselines=self.baselines, alone=False, pooled=False, every=0)
        else:
            private_floor = cell.learner == FLOOR and cell.epsilon < math.inf
            evaluate = replace(
                evaluate,
                baselines=tuple(x for x in self.baselines if private_floor and x in POPULARITY_ALONE),
                alone=evaluate.alone and cell.epsilon == math.inf,
                pooled=False,
                no_noise=False,
                every=evaluate.every or 0,
            )
        learner = LearnerConfig(name=cell.learner or FLOOR, settings=self.settings.get(cell.learner or "", {}))
        privacy = replace(base.privacy, epsilon=cell.epsilon, trust=cell.trust)
        if cell.trust != "distributed":
            privacy = replace(privacy, colluders=None, min_survivors=None)
        if cell.trust == "none":
            privacy = replace(privacy, bounds={})
        return replace(
            base, data=data, learner=learner, privacy=privacy, evaluate=evaluate, seed=cell.seed,
            output=replace(base.output, dir=None, keep_rows=True),
        )  # fmt: skip
