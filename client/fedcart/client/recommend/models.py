"""The models of a store: each in a folder of its name, and one file that says which is used.

A model comes in whole or not at all, and is swapped in by replacing that one file: whoever recommends meanwhile sees
the old model or the new one. Older models stay, so that one can be restored.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fedcart.client.store_folder import StoreFolder
from fedcart.shared.errors import DataError, did_you_mean
from fedcart.shared.folders import placed
from fedcart.shared.model_files import ABOUT, FILES, Model, load_model
from fedcart.shared.storage import named_failures, replace_bytes

CURRENT = "current"
RUN_MODEL = "model"


@dataclass(frozen=True)
class Entry:
    """A model that the store has.

    Attributes:
      added: when it came in, seconds since 1970.
    """

    name: str
    model: Model
    added: int
    used: bool

    @property
    def since(self) -> str:
        """`added` for people."""
        return f"{datetime.fromtimestamp(self.added, UTC):%Y-%m-%d %H:%M}"


def current_name(folder: StoreFolder) -> str | None:
    """Name of the model in use; None before the first."""
    path = folder.models / CURRENT
    if not path.exists():
        return None
    with named_failures(path, "read"):
        return path.read_text(encoding="utf-8").strip()


def current_model(folder: StoreFolder) -> Model:
    """The model in use.

    Raises:
      DataError: there is none.
      InputError, ConfigError: its files are damaged or do not belong together.
    """
    name = current_name(folder)
    if name is None:
        raise DataError(f"{folder.directory} has no model yet", "fedcart store use RUN takes one from a run's folder")
    return load_model(folder.models / name)


def list_models(folder: StoreFolder) -> list[Entry]:
    """All models, the latest to come in first."""
    used = current_name(folder)
    paths = sorted(folder.models.glob(f"*/{ABOUT}")) if folder.models.is_dir() else []
    found = [
        Entry(path.parent.name, load_model(path.parent), int(path.stat().st_mtime), path.parent.name == used)
        for path in paths
        if not path.parent.name.startswith(".")
    ]
    return sorted(found, key=lambda entry: (-entry.added, entry.name))


def use_model(folder: StoreFolder, run: str) -> Entry:
    """Use a model: one that the store has, by its name, or one of a run's folder, which is copied in first.

    Args:
      run: a name of `list_models`, a folder of a run (with `model` in it), or a model's folder.

    Raises:
      DataError: neither; or none of the store's items is in the model's catalogue. The model in use stays.
    """
    if (folder.models / run / ABOUT).is_file() and Path(run).name == run:
        name = run
    else:
        name = _take(folder, _model_folder(folder, Path(run)))
    model = load_model(folder.models / name)
    _refuse_foreign(folder, model)
    replace_bytes(folder.models / CURRENT, f"{name}\n".encode())
    return next(entry for entry in list_models(folder) if entry.name == name)


def _model_folder(folder: StoreFolder, run: Path) -> Path:
    for place in (run / RUN_MODEL, run):
        if (place / ABOUT).is_file():
            return place
    names = [entry.name for entry in list_models(folder)]
    raise DataError(
        f"{run} is no run with a model, and no model of {folder.directory}; the model in use stays",
        did_you_mean(str(run), names) or "a finished run of `fedcart simulate` has a folder `model`",
    )


def _take(folder: StoreFolder, source: Path) -> str:
    """Copy a model in, checked before and after; its name. One that is here already is left as it is."""
    name = load_model(source).name
    with named_failures(folder.models, "write"):
        folder.models.mkdir(mode=0o700, exist_ok=True)
        if (folder.models / name / ABOUT).is_file():
            return name
    with placed(folder.models / name) as part:
        for file in FILES:
            with named_failures(source / file, "read"):
                raw = (source / file).read_bytes()
            replace_bytes(part / file, raw)
        load_model(part)
    return name


def _refuse_foreign(folder: StoreFolder, model: Model) -> None:
    """A model over a list that has none of the store's items would recommend nothing."""
    from fedcart.client.data.kept import load_kept
    from fedcart.client.data.view import make_view

    kept = load_kept(folder.data)
    if kept is not None and len(kept):
        make_view(folder, kept, model.agreement.catalogue)
