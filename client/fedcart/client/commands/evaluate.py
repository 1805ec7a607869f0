"""`fedcart store evaluate`: how well the model in use ranks for this store's customers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from fedcart.client.commands import options

EXAMPLE = "Example: fedcart store evaluate --dir north --since 2026-06-01"


@click.command(epilog=EXAMPLE)
@click.option(
    "--since", type=click.DateTime(["%Y-%m-%d"]), help="First held-out day; else what the plan's data end with."
)
@options.at
@options.as_json
def evaluate(since: datetime | None, directory: Path, as_json: bool) -> None:
    """Measure the model in use on purchases that it cannot have learned from, beside popularity.

    Nothing leaves the store. No epsilon covers these figures: keep them.
    """
    from fedcart.client.recommend.evaluate import evaluation_lines
    from fedcart.client.store import Store

    at = None if since is None else int(since.replace(tzinfo=UTC).timestamp())
    found = Store(directory).evaluate(at)
    click.echo(json.dumps(found.document(), indent=2) if as_json else "\n".join(evaluation_lines(found)))
