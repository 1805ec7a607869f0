"""`fedcart store init`: a new store's folder."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fedcart.client.commands import options

EXAMPLE = """\b
Examples:
  fedcart store init north --data sales.csv --columns customer=who,item=sku,time=at
  fedcart store init north --data env:SHOP_DB --query "SELECT who, sku, at FROM sales WHERE at >= :since"
"""


@click.command(epilog=EXAMPLE)
@options.directory
@click.option("--data", "source", metavar="FILE|URL", help="Table of interactions, or env:NAME; else sales.csv.")
@click.option("--query", metavar="SQL", help="For a database; `:since` in it asks for new rows only.")
@click.option("--columns", metavar="ROLE=COLUMN,…", help="customer, item, time, behaviour, value, basket, store.")
@click.option("--items", metavar="FILE", type=options.PATH, help="The coalition's catalogue.json, or an item file.")
@click.option("--epsilon-total", type=click.FloatRange(min=0), default=8.0, show_default=True, help="Lifetime cap.")
@click.option("--consent-column", default="", help="Column that says whether a customer may be learned from.")
@options.as_json
def init(
    directory: Path,
    source: str | None,
    query: str | None,
    columns: str | None,
    items: Path | None,
    epsilon_total: float,
    consent_column: str,
    as_json: bool,
) -> None:
    """Make a store's folder: store.toml, policy.toml, a key and an empty ledger.

    Nothing is read or sent. An existing key or ledger is never replaced.
    """
    from fedcart.client.ledger_files import POLICY
    from fedcart.client.store_folder import STORE, create_store

    place = located(source or str(Path(directory) / "sales.csv"))
    folder, identity = create_store(
        directory,
        source=place,
        query=query,
        columns=options.pairs(columns, "--columns"),
        catalogue=None if items is None else str(items.absolute()),
        epsilon_total=epsilon_total,
        consent_column=consent_column,
    )
    files = {
        "settings": folder.directory / STORE,
        "policy": folder.directory / POLICY,
        "key": folder.key_file,
        "ledger": folder.ledger_file,
    }
    if is_path(place) and not Path(place).exists():
        click.echo(f"warning: {place} is not there yet; nothing can be read before it is", err=True)
    if as_json:
        told = {name: str(path) for name, path in files.items()}
        click.echo(json.dumps({"schema": 1, **told, "fingerprint": identity.fingerprint}, indent=2))
        return
    for name, path in files.items():
        click.echo(f"{name:<12}{path}")
    click.echo(f"{'fingerprint':<12}{identity.fingerprint}")
    click.echo(f"read both files, then: fedcart store check {directory}", err=True)


def located(source: str) -> str:
    """A path as it is found from anywhere; URLs and env:NAME as they are."""
    return str(Path(source).absolute()) if is_path(source) else source


def is_path(source: str) -> bool:
    """Whether it is neither a URL nor env:NAME."""
    return "://" not in source and not source.startswith("env:")
