"""`fedcart store models` and `store use`: which models the store has, and which it recommends from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedcart.client.commands import options

if TYPE_CHECKING:
    from fedcart.client.recommend.models import Entry


@click.command(epilog="Example: fedcart store models --dir north")
@options.at
@options.as_json
def models(directory: Path, as_json: bool) -> None:
    """List the store's models, the latest to come in first; * is in use."""
    from fedcart.client.store import Store
    from fedcart.shared.cost_text import table

    found = Store(directory).models()
    if as_json:
        click.echo(json.dumps({"schema": 1, "models": [document(entry) for entry in found]}, indent=2))
        return
    rows = [("", "model", "came in (UTC)", "items", "epsilon")]
    for entry in found:
        told = document(entry)
        epsilon = "none" if told["epsilon"] is None else f"{told['epsilon']:g}"
        items, note = f"{told['items']:,}", " (rehearsed)" if told["rehearsal"] and told["epsilon"] is not None else ""
        rows.append(("*" if entry.used else "", entry.name, entry.since, items, epsilon + note))
    click.echo("\n".join(table(rows, left=(0, 1, 2, 4))))


@click.command(epilog="Example: fedcart store use runs/spring --dir north")
@click.argument("run")
@options.at
@options.as_json
def use(run: str, directory: Path, as_json: bool) -> None:
    """Recommend from another model: RUN is a run's folder, or the name of a model that the store has.

    The swap is one rename; older models stay and can be used again.
    """
    from fedcart.client.store import Store

    entry = Store(directory).use(run)
    click.echo(json.dumps({"schema": 1, **document(entry)}, indent=2) if as_json else entry.name)


def document(entry: Entry) -> dict[str, Any]:
    """A model for --json."""
    plan = entry.model.agreement.plan
    return {
        "name": entry.name,
        "used": entry.used,
        "came_in": entry.added,
        "learner": plan.learner,
        "items": len(entry.model.agreement.catalogue),
        "epsilon": None if plan.privacy is None else plan.privacy.epsilon,
        "rehearsal": entry.model.rehearsal,
        "plan_hash": entry.model.agreement.plan_hash,
        "model_hash": entry.model.model_hash,
    }
