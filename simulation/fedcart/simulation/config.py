"""Everything `fedcart simulate` can be told: one class a table of CONFIG.toml (DESIGN section 9)."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fedcart.shared.config import build, number, read_toml
from fedcart.shared.errors import ConfigError, did_you_mean
from fedcart.shared.interactions import BEHAVIOURS
from fedcart.shared.learners import BUILT_IN, learner_class

SCHEMA = 1
CONTENTS = "contents"
"""Key of config.json: SHA-256 of each file that a run reads by its path."""
OF_THE_MARKETPLACE = ("size", "events")
OF_TABLES = ("query", "columns", "behaviours", "behaviour", "items", "encoding", "separator", "max_bad_rows")
"""Keys of [data] that named sets have no use for."""
AUTO = ("gram", "als")
"""Learners that `auto` can mean."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """[data]: what is read. `name` is a named set, a path to CSV or Parquet, or a database URL (with `query`).

    `behaviour` is what every row means when no column says so; `encoding` and `separator` are those of CSV files.
    `size` and `events` are the marketplace's: events full = one row a page view, daily = one a person, item and day.
    """

    name: str = "marketplace"
    dir: Path | None = None
    query: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    behaviours: Mapping[str, str] = field(default_factory=dict)
    behaviour: str = "purchase"
    behaviour_weights: Mapping[str, float] = field(default_factory=dict)
    items: Path | None = None
    encoding: str = "utf-8"
    separator: str | None = None
    max_bad_rows: float = number(0.01, at_least=0.0, at_most=1.0)
    size: Literal["small", "default", "large"] = "default"
    events: Literal["daily", "full"] = "daily"

    def __post_init__(self) -> None:
        self._refuse_what_changes_nothing()
        for name, weight in self.behaviour_weights.items():
            if name not in BEHAVIOURS:
                raise ConfigError(f"[data] behaviour_weights: unknown {name!r}", did_you_mean(name, BEHAVIOURS))
            if not 0 <= weight < float("inf"):
                raise ConfigError(f"[data] behaviour_weights: {name} = {weight} must be at least 0 and finite")

    def _refuse_what_changes_nothing(self) -> None:
        """Refuse keys that only other data have: else `items` would seem to be a named set's public list."""
        from fedcart.shared.tables.source import shown
        from fedcart.simulation import datasets

        table = self.name not in datasets.names()
        for one in dataclasses.fields(self):
            usual = one.default_factory() if callable(one.default_factory) else one.default
            if getattr(self, one.name) == usual:
                continue
            if one.name in OF_THE_MARKETPLACE and self.name != "marketplace":
                whose, hint = "the marketplace's alone", f"leave {one.name} out, or use --data marketplace"
            elif one.name in OF_TABLES and not table:
                whose, hint = "for a file or database", f"leave {one.name} out, or name a file with --data"
            else:
                continue
            value = getattr(self, one.name)
            given = repr(str(value) if isinstance(value, Path) else value)
            raise ConfigError(
                f"[data] {one.name} = {given} is {whose}, and the data are {shown(self.name)!r}; nothing was read", hint
            )


@dataclass(frozen=True, kw_only=True)
class StoresConfig:
    """[stores]: how many and who goes where."""

    count: int | None = number(None, at_least=1)
    by: str = "auto"


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """[split]: what is held out. `at` is a day (YYYY-MM-DD) for rule `time`."""

    rule: Literal["auto", "leave-one-out", "last-basket", "time", "ncf"] = "auto"
    at: str | None = None


@dataclass(frozen=True, kw_only=True)
class LearnerConfig:
    """[learner]: a built-in learner and its own keys."""

    name: str = "auto"
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RoundsConfig:
    """[rounds]: how many, and how patient the coordinator is.

    `count` = rounds of `mf` and `ncf`, sweeps of `als`; None = the learner's own number. `quorum` = stores needed in a
    round; None = all of them, or with a drop_rate more than half. Epsilon pays for the dearest round once more for
    each of `attempts` beyond the first.
    """

    count: int | None = number(None, at_least=1)
    deadline_s: float = number(3600.0, above=0.0)
    quorum: int | None = number(None, at_least=1)
    attempts: int = number(1, at_least=1)


@dataclass(frozen=True, kw_only=True)
class PrivacyConfig:
    """[privacy]: who adds noise and how much; epsilon infinite = nobody adds any.

    `trust` auto = `none` without epsilon, else `distributed`, or `local` below three stores. `delta` None = the largest
    power of ten below 1 / (10 N), N = `customers_bound`; None = the set's published number of customers.
    `colluders` and `min_survivors` belong to `distributed`; None = one store in ten, and four in five. `bounds` changes
    a release's clip_norm, weight_clip_norm or share. `rehearsal` draws noise from the seed, also on data of one's own.
    """

    trust: Literal["auto", "local", "distributed", "none"] = "auto"
    epsilon: float = number(float("inf"), above=0.0)
    delta: float | None = number(None, above=0.0, at_most=1.0)
    customers_bound: int | None = number(None, at_least=1)
    colluders: int | None = number(None, at_least=1)
    min_survivors: int | None = number(None, at_least=1)
    overlap: Literal["pair", "declared", "weights"] = "pair"
    bounds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    rehearsal: bool = False


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """[evaluate]: what is measured. `alone`, `pooled` and (under an epsilon) `no_noise` = train those comparisons;
    `private` = the stores measure too, in a noised release of its own;
    `baselines` None = all; `every` = rounds between points of the learning curve, 0 = none; `share` = part of the
    customers measured."""

    alone: bool = True
    pooled: bool = True
    no_noise: bool = True
    private: bool = False
    baselines: tuple[str, ...] | None = None
    every: int | None = number(None, at_least=0)
    share: float = number(1.0, above=0.0, at_most=1.0)
    replicates: int = number(1000, at_least=10)


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """[engine]: how the two apps are run. Changes speed and memory, never a result, but for `drop_rate`: the
    probability that a store misses a round, whose sum then lacks its customers. `aggregation` auto = SA1 for trust
    distributed; plain: stores' sums are added up in the clear, and seen one by one."""

    name: Literal["in-process", "ray", "deployment"] = "in-process"
    mode: Literal["copy", "wire", "lazy"] = "lazy"
    threads: int = number(1, at_least=1)
    drop_rate: float = number(0.0, at_least=0.0, at_most=0.9)
    aggregation: Literal["auto", "SA1", "plain"] = "auto"


@dataclass(frozen=True, kw_only=True)
class OutputConfig:
    """[output]: where results go; `keep_rows` keeps results.parquet (ranks of every held-out item)."""

    dir: Path | None = None
    keep_rows: bool = True


@dataclass(frozen=True, kw_only=True)
class Config:
    """One run of `simulate`."""

    schema: int = SCHEMA
    data: DataConfig = field(default_factory=DataConfig)
    stores: StoresConfig = field(default_factory=StoresConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    rounds: RoundsConfig = field(default_factory=RoundsConfig)
    privacy: PrivacyConfig = field(default_factory=PrivacyConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    output: OutputConfig = field(default_factory=OutputConfig)
    seed: int = number(0, at_least=0)

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ConfigError(f"configuration schema {self.schema}; this version reads {SCHEMA}")

    @classmethod
    def read(cls, path: Path | None, overrides: Mapping[str, Any]) -> Config:
        """The file's tables with `overrides` ("table.key" or "key" -> value) on top; None overrides nothing.

        Where both give a table (columns, a learner's settings), the override's keys are added to the file's. A file
        ending in .json is the config.json of an earlier run.
        """
        tables: dict[str, Any] = {} if path is None else read_tables(path)
        learner = tables.get("learner")
        if isinstance(learner, Mapping) and "settings" not in learner:
            own = {key: value for key, value in learner.items() if key != "name"}
            check_keys(own, learner.get("name", "auto"), f"{path}: learner")
            tables["learner"] = {key: learner[key] for key in learner if key == "name"} | {"settings": own}
        for key, value in overrides.items():
            if value is None:
                continue
            table, _, name = key.rpartition(".")
            inside = tables.setdefault(table, {}) if table else tables
            if isinstance(inside, dict):  # else `build` refuses the table
                before = inside.get(name)
                if isinstance(before, Mapping) and isinstance(value, Mapping):
                    inside[name] = {**before, **value}
                else:
                    inside[name] = value
        return build(cls, tables, f"{path}:" if path else "options:")

    def document(self) -> dict[str, Any]:
        """The configuration as JSON: paths as text, infinity as 'inf'."""
        return plain(dataclasses.asdict(self))  # type: ignore[no-any-return]

    def shown(self) -> dict[str, Any]:
        """`document` as results and reports may show it: a database URL without its password."""
        from fedcart.shared.tables.source import shown

        document = self.document()
        document["data"]["name"] = shown(self.data.name)
        return document


def read_tables(path: Path) -> dict[str, Any]:
    """The tables of CONFIG.toml, or of the config.json that a run left."""
    if path.suffix != ".json":
        return read_toml(path)
    try:
        tables = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(tables, dict):
        raise ConfigError(f"{path}: a table is needed")
    tables.pop(CONTENTS, None)
    privacy = tables.get("privacy")
    if isinstance(privacy, dict) and privacy.get("epsilon") == "inf":
        privacy["epsilon"] = math.inf
    return tables


def check_keys(own: Mapping[str, Any], learner: object, where: str) -> None:
    """Refuse a misspelt key of [learner] by its file, before data are read; an unknown learner is refused elsewhere."""
    names = AUTO if learner == "auto" else (learner,)
    if not own or any(name not in BUILT_IN for name in names):
        return
    known = {"name"} | {f.name for name in names for f in dataclasses.fields(learner_class(str(name)))}  # type: ignore[arg-type]
    for key in own:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}", did_you_mean(key, known))


def plain(value: Any) -> Any:
    """JSON values only."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [plain(inner) for inner in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and value == float("inf"):
        return "inf"
    return value
