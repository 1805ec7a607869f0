"""A coalition's item list between two plans: items are added to a draft, compared, and published for the next plan.

catalogue.json is what plans are made over; catalogue.draft.json is the next one. Items keep their order and place: a
plan that was made over the list of then holds a copy of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedcart.server.coalition.folder import CoalitionFolder
from fedcart.shared.agreement import CATALOGUE
from fedcart.shared.catalogue import TEXT_COLUMNS, Catalogue
from fedcart.shared.errors import ConfigError

DRAFT = "catalogue.draft.json"


def merged(old: Catalogue, new: Catalogue) -> Catalogue:
    """`old` with the items of `new`: those it has keep their place and take the new values, the others follow.

    Raises:
      ConfigError: `new` was derived from interactions.
    """
    if new.source != "given":
        raise ConfigError("the items were derived from interactions; nothing was added", "epsilon would not cover them")
    ids = (*old.ids, *(x for x in new.ids if x not in set(old.ids)))
    columns = {}
    for name in sorted({*old.columns, *new.columns}):
        values = {**_by_id(old, name), **_by_id(new, name)}
        empty: Any = "" if name in TEXT_COLUMNS else float("nan")
        column = [values.get(x, empty) for x in ids]
        columns[name] = np.array(column, dtype=object if name in TEXT_COLUMNS else np.float64)
    return Catalogue(ids, "given", columns)


def add(folder: CoalitionFolder, new: Catalogue) -> dict[str, Any]:
    """Add items to the draft; what changed against the published list."""
    draft = merged(_draft(folder) or folder.catalogue(), new)
    draft.save(folder.directory / DRAFT)
    return difference(folder.catalogue(), draft)


def compare(folder: CoalitionFolder) -> dict[str, Any]:
    """What the draft changes; without one, nothing."""
    old = folder.catalogue()
    return difference(old, _draft(folder) or old)


def publish_items(folder: CoalitionFolder) -> dict[str, Any]:
    """Make the draft the list of the next plan. Raises ConfigError where there is none."""
    old, draft = folder.catalogue(), _draft(folder)
    if draft is None:
        raise ConfigError(
            f"{folder.directory} has no {DRAFT}; nothing was published",
            f"fedcart coalition catalogue add {folder.directory} items.csv",
        )
    draft.save(folder.directory / CATALOGUE)
    (folder.directory / DRAFT).unlink()
    return difference(old, draft)


def difference(old: Catalogue, new: Catalogue) -> dict[str, Any]:
    """Hashes and sizes of both, ids that are new or gone, and ids whose public columns changed."""
    before, after = set(old.ids), set(new.ids)
    names = sorted({*old.columns, *new.columns})
    rows = [(_by_id(old, name), _by_id(new, name)) for name in names]
    changed = [x for x in old.ids if x in after and any(repr(a.get(x)) != repr(b.get(x)) for a, b in rows)]
    return {
        "schema": 1,
        "hash": old.hash,
        "draft_hash": new.hash,
        "items": len(old),
        "draft_items": len(new),
        "added": [x for x in new.ids if x not in before],
        "removed": [x for x in old.ids if x not in after],
        "changed": changed,
    }


def _by_id(catalogue: Catalogue, name: str) -> Mapping[str, Any]:
    column = catalogue.columns.get(name)
    return {} if column is None else dict(zip(catalogue.ids, column.tolist(), strict=True))


def _draft(folder: CoalitionFolder) -> Catalogue | None:
    path = folder.directory / DRAFT
    return Catalogue.load(path) if path.exists() else None
