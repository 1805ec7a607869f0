"""`simulate`: read, give to stores, split, train together, alone and pooled, compare, and write it all down."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import platform
import resource
import shlex
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy.typing as npt

from fedcart.shared.canonical import content_hash, model_hash
from fedcart.shared.errors import FedcartError
from fedcart.shared.evaluation import Evaluation
from fedcart.shared.learners.base import Learner
from fedcart.shared.plan import Plan, build_learner, hyper_parameters
from fedcart.shared.storage import named_failures
from fedcart.shared.tables.options import TableOptions
from fedcart.simulation import datasets, defaults
from fedcart.simulation.config import CONTENTS, Config, DataConfig
from fedcart.simulation.datasets.dataset import Dataset
from fedcart.simulation.document import write_results, write_run
from fedcart.simulation.evaluate import Ranking
from fedcart.simulation.methods import Trainings
from fedcart.simulation.partition import Partition, partition
from fedcart.simulation.progress import Progress, Silent
from fedcart.simulation.promise import check_promise, customers_bound, terms, trust_of
from fedcart.simulation.public_model import keep_model
from fedcart.simulation.simulated_stores import SimulatedStores
from fedcart.simulation.split import Split, make_split
from fedcart.simulation.workspace import CONFIG, Workspace

MOST_STORES_ALONE = 500
"""Above this many stores each is too small for 'alone' to mean anything, or for what it has together."""


@dataclass(frozen=True)
class Prepared:
    """Data, stores and split of one run."""

    dataset: Dataset
    partition: Partition
    split: Split


@dataclass(frozen=True)
class Result:
    """What a run left: `document` is run.json."""

    directory: Path
    document: dict[str, Any]


def simulate(config: Config, progress: Progress | None = None, command: str | None = None) -> Result:
    """Run a simulation to its end, or go on where the same configuration stopped.

    Args:
      config: everything; `config.output.dir` None makes runs/<utc>-<data>.
      progress: told of stages and steps; None is silent.
      command: the line to print in the report; None writes the Python call.

    Raises:
      PrivacyRefused: the configuration asks for a guarantee that cannot be given.
      InputError: data, configuration or output directory cannot be used.
    """
    check_promise(config.privacy, measured=config.evaluate.private)
    if config.learner.name != "auto":
        learner_of(config, config.data.name, config.learner.name)  # refused before data are read
    baseline_names(config)
    shown = progress or Silent()
    directory = config.output.dir or Path("runs") / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{Path(config.data.name).stem}"
    document = config.document()
    document["output"]["dir"] = None
    contents = file_hashes(config.data)
    workspace = Workspace(directory, document | ({CONTENTS: contents} if contents else {}))
    finished = workspace.finished()
    if finished is not None:
        shown.note(f"{directory}: already complete, from {workspace.completed():%Y-%m-%d %H:%M} UTC; nothing was run")
        return Result(directory, finished)
    workspace.begin_sitting()
    command = command or shell_line(["simulate", str(directory / CONFIG), "--out", str(directory)])
    shown.stage("reading data", 1, 1)
    try:
        prepared = prepare(config)
        trainings = plan_trainings(config, prepared, workspace, shown)
        workspace.bind(fingerprint(prepared, trainings.plan_hash))
    except FedcartError:
        workspace.abandon()
        raise
    rankings: dict[str, Ranking] = {}
    status, message = "failed", None
    try:
        for number, (name, make) in enumerate(stages := list(methods(config, prepared, trainings).items()), 1):
            shown.stage(describe(name, prepared), number, len(stages))
            twin = name == "ials" and "same" in rankings and is_ials(trainings.learner, prepared.dataset.name)
            rankings[name] = rankings["same"] if twin else workspace.ranking(name, make)
            workspace.note_time()
        status = "complete"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    except Exception as error:
        message = (str(error) or type(error).__name__).splitlines()[0]
        raise
    finally:
        written = write_run(
            workspace,
            trainings,
            prepared.dataset,
            rankings,
            status=status,
            command=command,
            seconds=workspace.seconds,
            sittings=workspace.sittings,
            versions=versions(),
            peak_rss=peak_rss(),
            message=message,
        )
    if config.output.keep_rows:
        write_results(workspace, trainings, rankings)
    from fedcart.simulation.report import write_report

    keep_model(workspace, trainings)
    shown.stage("writing the report", len(stages), len(stages))
    write_report(directory)
    workspace.clean()
    return Result(directory, written)


def prepare(config: Config) -> Prepared:
    """Read the data, give people to stores and split. The same configuration prepares the same bytes."""
    return divide(config, read(config.data, config.seed))


def divide(config: Config, dataset: Dataset) -> Prepared:
    """Give a data set's people to stores and split."""
    stores = partition(dataset, config.stores.count, config.stores.by, config.privacy.overlap, config.seed)
    rule, at = defaults.split_rule(dataset, config.split)
    weights = defaults.BEHAVIOUR_WEIGHTS | dict(config.data.behaviour_weights)
    split = make_split(
        stores.interactions,
        len(stores.people),
        len(dataset.catalogue),
        rule=rule,
        seed=config.seed,
        at=at,
        as_of=defaults.as_of(dataset.name),
        given=stores.given_split,
        behaviour_weights=tuple(weights.values()),
        people=stores.people,
    )
    if config.privacy.overlap == "weights":
        train = dataclasses.replace(split.train, parts=stores.parts())
        split = dataclasses.replace(split, train=train)
    if config.evaluate.share < 1:
        split = split.measure_some(round(len(split.held_out.measured) * config.evaluate.share), config.seed)
    split.refuse_too_few()
    return Prepared(dataset, stores, split)


def read(data: DataConfig, seed: int) -> Dataset:
    """The data set a configuration names."""
    options = None
    if data.name not in datasets.names():
        options = TableOptions(
            columns=data.columns,
            items=data.items,
            max_bad_rows=data.max_bad_rows,
            behaviour=data.behaviour,
            behaviours=data.behaviours,
            query=data.query,
            encoding=data.encoding,
            separator=data.separator,
        )
    return datasets.load(data.name, directory=data.dir, options=options, size=data.size, seed=seed, events=data.events)


def file_hashes(data: DataConfig) -> dict[str, str]:
    """SHA-256 of the files that are read by their path: a changed one makes another run. Sets by name have none."""
    found = {}
    named = data.name in datasets.names()
    for key, path in (("data", None if named else Path(data.name)), ("items", data.items)):
        if path is not None and path.is_file():
            with named_failures(path, "read"), path.open("rb") as file:
                found[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def plan_trainings(config: Config, prepared: Prepared, workspace: Workspace, progress: Progress) -> Trainings:
    """The plan of the run: learner, settings, catalogue, bound."""
    stores = len(prepared.partition.names)
    name = defaults.learner_name(config.learner.name, len(prepared.dataset.catalogue), config.privacy.epsilon)
    catalogue = prepared.dataset.catalogue
    split = prepared.split
    bound, derived = customers_bound(config.privacy, prepared.dataset.name, len(prepared.partition.people))
    learner = learner_of(config, prepared.dataset.name, name, bound)
    plan = Plan(
        catalogue_hash=catalogue.hash,
        catalogue_source=catalogue.source,
        as_of=prepared.split.as_of,
        participants=stores,
        learner=name,
        hyper_parameters=hyper_parameters(learner),
        trust=trust_of(config.privacy, stores),
        privacy=terms(config.privacy, learner, stores, bound, measured=config.evaluate.private),
        evaluation=Evaluation(rule=split.rule, target=split.target) if config.evaluate.private else None,
        customers_bound=bound,
        seed=config.seed,
        attempts=config.rounds.attempts,
    )
    rehearsal = config.privacy.rehearsal or prepared.dataset.name in datasets.names()
    around = SimulatedStores(workspace.directory.resolve(), config.seed if rehearsal else None)
    return Trainings(
        config, plan, catalogue, prepared.partition, prepared.split, workspace.coalition, progress, around, derived
    )


def learner_of(config: Config, dataset: str, name: str, bound: int = 1) -> Learner:
    """The learner `name` with the settings chosen for the set, and what the configuration says on top.

    Args:
      bound: on the number of customers; before it is known any number tells whether the configuration can be built.
    """
    epsilon = config.privacy.epsilon
    chosen = defaults.settings(dataset, name, private=epsilon < float("inf"), epsilon=epsilon, customers_bound=bound)
    return build_learner(name, {**chosen, **defaults.given_settings(config, name)})


def methods(config: Config, prepared: Prepared, trainings: Trainings) -> dict[str, Any]:
    """Name -> what makes its ranking, in the order in which they run."""
    found: dict[str, Any] = {"federated": trainings.federated}
    if trainings.uses_order:
        found["without_order"] = trainings.without_order
    if config.evaluate.no_noise and trainings.plan.privacy is not None:
        found["no_noise"] = trainings.no_noise
    alone = config.evaluate.alone
    if 1 < len(prepared.partition.names) <= MOST_STORES_ALONE:
        found |= {"local_only": trainings.alone} if alone else {}
        found["with_store"] = trainings.with_store
        found |= {"alone_with_store": trainings.alone_with_store} if alone else {}
    if config.evaluate.pooled:
        found["same"] = lambda: trainings.central(trainings.split, show=True)
    for name in baseline_names(config):
        settings = dict(defaults.settings(prepared.dataset.name, name))
        found[name] = lambda name=name, settings=settings: trainings.baseline(name, settings)
    return found


def is_ials(learner: Learner, dataset: str) -> bool:
    """Whether the run's learner is the baseline `ials`, settings and all: then one training on pooled data is both."""
    return learner == build_learner("als", defaults.settings(dataset, "ials"))


def baseline_names(config: Config) -> tuple[str, ...]:
    """The baselines a run compares with: all, or those the configuration lists."""
    from fedcart.shared.errors import ConfigError, did_you_mean
    from fedcart.simulation import baselines

    if config.evaluate.baselines is None:
        return tuple(baselines.NAMES)
    for name in config.evaluate.baselines:
        if name not in baselines.NAMES:
            raise ConfigError(f"[evaluate] baselines: unknown {name!r}", did_you_mean(name, baselines.NAMES))
    return config.evaluate.baselines


def describe(name: str, prepared: Prepared) -> str:
    """A stage in words."""
    stores = len(prepared.partition.names)
    words = {
        "without_order": "ranking without the order of own histories",
        "federated": f"training {stores} stores together",
        "local_only": f"training each of {stores} stores alone",
        "with_store": f"ranking with the own co-occurrences of {stores} stores",
        "alone_with_store": f"the same for each of {stores} stores alone",
        "same": "training on pooled data",
        "no_noise": f"training {stores} stores together without noise",
    }
    return words.get(name, f"baseline {name}")


def fingerprint(prepared: Prepared, plan_hash: str) -> str:
    """SHA-256 over the plan, the stores, the training view, the parts of clips and the held-out items."""
    split = prepared.split
    arrays: dict[str, npt.NDArray[Any]] = {
        "offsets": prepared.partition.offsets,
        "train.indptr": split.train.indptr,
        "train.items": split.train.items,
        "train.weights": split.train.weights,
        "held_out.indptr": split.held_out.indptr,
        "held_out.items": split.held_out.items,
    }
    if split.train.parts is not None:
        arrays["train.parts"] = split.train.parts
    return content_hash({"plan": plan_hash, "arrays": model_hash(arrays)})


def versions() -> dict[str, str]:
    """Python and the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for name in ("fedcart", "flwr", "numpy", "scipy", "torch", "opacus", "pandas"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def peak_rss() -> int:
    """Largest resident memory of this process so far, bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def shell_line(arguments: list[str]) -> str:
    """A command as it can be typed again, but for passwords in database URLs: it stands in results and reports."""
    from fedcart.shared.tables.source import shown

    return shlex.join(["fedcart", *map(shown, arguments)])


def with_directory(config: Config, directory: Path) -> Config:
    """The configuration with another output directory."""
    return dataclasses.replace(config, output=dataclasses.replace(config.output, dir=directory))
