"""`fedcart store check`: read what is new, and see what a run would use and cost."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fedcart.client.commands import options

EXAMPLE = """\b
Examples:
  fedcart store check north
  fedcart store check north --plan plans/spring --json
"""


@click.command(epilog=EXAMPLE)
@options.directory
@click.option("--plan", metavar="DIR", type=options.PATH, help="A coalition's plan: what it would cost this store.")
@click.option("--all", "everything", is_flag=True, help="Read all rows again, not new ones only.")
@click.option("--no-curve", is_flag=True, help="Leave the learning curve out.")
@options.as_json
def check(directory: Path, plan: Path | None, everything: bool, no_curve: bool, as_json: bool) -> None:
    """Read the store's data, and show what would be used and what a plan would cost.

    Nothing is sent, approved or charged. Rows go into DIR/data. The output counts the store's own customers: keep it.
    """
    from fedcart.client.data.check import check as look_at
    from fedcart.client.data.check import check_lines
    from fedcart.client.store_folder import StoreFolder

    found = look_at(StoreFolder.open(directory), plan=plan, everything=everything, curve=not no_curve)
    click.echo(json.dumps(found.document(), indent=2) if as_json else "\n".join(check_lines(found)))
