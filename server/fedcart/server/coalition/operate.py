"""`fedcart coalition status | runs | renew | catalogue`: what an operator looks at and renews."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from fedcart.server.coalition.commands import AS_JSON, FOLDER, read_catalogue


@click.command(epilog="Example: fedcart coalition status demo")
@FOLDER
@AS_JSON
def status(directory: Path, as_json: bool) -> None:
    """Show the item list, the stores, the plan that is shown, the last run, and how long the certificate is good."""
    from fedcart.server.coalition.folder import CoalitionFolder
    from fedcart.server.coalition.standing import standing, standing_lines

    told = standing(CoalitionFolder.open(directory))
    click.echo(json.dumps(told, indent=2) if as_json else "\n".join(standing_lines(told)))


@click.command(epilog="Example: fedcart coalition runs demo --last 5")
@FOLDER
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True, help="So many runs, newest first.")
@AS_JSON
def runs(directory: Path, last: int, as_json: bool) -> None:
    """List what was run and how it ended. `coalition train` again goes on with one that stopped."""
    from fedcart.server.coalition.folder import CoalitionFolder
    from fedcart.server.coalition.runs import Runs
    from fedcart.server.coalition.standing import run_lines

    found = Runs(CoalitionFolder.open(directory).directory).read(last)
    if as_json:
        click.echo(json.dumps({"schema": 1, "runs": found}, indent=2))
    else:
        click.echo("\n".join(run_lines(found)))


@click.command(epilog="Example: fedcart coalition renew demo")
@FOLDER
@AS_JSON
def renew(directory: Path, as_json: bool) -> None:
    """Renew the server certificate, with a new key. A server that runs takes it up within a second.

    Stores trust the coalition's authority, not this certificate: they need not be told.
    """
    from fedcart.server.coalition.folder import CoalitionFolder
    from fedcart.server.tls_files import expires, make_server

    folder = CoalitionFolder.open(directory)
    make_server(folder.tls, folder.about().hosts)
    until = expires(folder.tls)
    if as_json:
        click.echo(json.dumps({"schema": 1, "expires": int(until.timestamp())}, indent=2))
    else:
        click.echo(f"{'certificate':<12} good until {until:%Y-%m-%d}")


@click.group(epilog="Example: fedcart coalition catalogue diff demo")
def catalogue() -> None:
    """Change the public item list between two plans."""


@catalogue.command(epilog="Example: fedcart coalition catalogue add demo new-items.csv")
@FOLDER
@click.argument("items", metavar="FILE", type=click.Path(path_type=Path))
@AS_JSON
def add(directory: Path, items: Path, as_json: bool) -> None:
    """Add the items of FILE to the draft, or change their public columns there. Nothing is published yet."""
    from fedcart.server.coalition import item_list
    from fedcart.server.coalition.folder import CoalitionFolder

    show(item_list.add(CoalitionFolder.open(directory), read_catalogue(items)), as_json)
    click.echo(f"then: fedcart coalition catalogue publish {directory}", err=True)


@catalogue.command(epilog="Example: fedcart coalition catalogue diff demo")
@FOLDER
@AS_JSON
def diff(directory: Path, as_json: bool) -> None:
    """Show what the draft changes, with the hashes of both lists."""
    from fedcart.server.coalition import item_list
    from fedcart.server.coalition.folder import CoalitionFolder

    show(item_list.compare(CoalitionFolder.open(directory)), as_json)


@catalogue.command(epilog="Example: fedcart coalition catalogue publish demo")
@FOLDER
@AS_JSON
def publish(directory: Path, as_json: bool) -> None:
    """Make the draft the item list of the next plan; plans that were made keep theirs."""
    from fedcart.server.coalition import item_list
    from fedcart.server.coalition.folder import CoalitionFolder

    show(item_list.publish_items(CoalitionFolder.open(directory)), as_json)
    click.echo(f"then: fedcart coalition plan {directory}", err=True)


def show(told: dict[str, Any], as_json: bool) -> None:
    """A difference, for people or programs."""
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(f"{'before':<12} {told['items']:>9,} items  {told['hash']}")
    click.echo(f"{'after':<12} {told['draft_items']:>9,} items  {told['draft_hash']}")
    for word, sign in (("added", "+"), ("removed", "-"), ("changed", "~")):
        for item in told[word]:
            click.echo(f"{sign} {item}")
