"""`fedcart store status`, `budget` and `forget`: how the store stands, what it spent, and who leaves it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fedcart.client.commands import options


@click.command(epilog="Example: fedcart store status --dir north")
@options.at
@options.as_json
def status(directory: Path, as_json: bool) -> None:
    """Show what was read, which model is used, and what was spent."""
    from fedcart.client.standing import status_lines
    from fedcart.client.store import Store

    told = Store(directory).status()
    click.echo(json.dumps(told, indent=2) if as_json else "\n".join(status_lines(told)))


@click.command(epilog="Example: fedcart store budget --dir north")
@options.at
@options.as_json
def budget(directory: Path, as_json: bool) -> None:
    """Show the epsilon spent, over the ledger's life and in the policy's window, and the caps."""
    from fedcart.client.standing import budget_lines
    from fedcart.client.store import Store

    told = Store(directory).budget()
    click.echo(json.dumps(told, indent=2) if as_json else "\n".join(budget_lines(told)))


@click.command(epilog="Example: fedcart store forget 4711 --dir north")
@click.argument("customer")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.at
@options.as_json
def forget(customer: str, yes: bool, directory: Path, as_json: bool) -> None:
    """Erase a customer from the store's folder, for good.

    Refunds nothing: sums that were released, and models made of them, hold what the customer gave. The shop's own
    database is not touched; a reading of it does not bring the customer back.
    """
    from fedcart.client.store import Store
    from fedcart.shared.errors import InputError

    store = Store(directory)
    if not yes and not options.agreed("Erase this customer's rows here? They cannot be brought back"):
        raise InputError("nobody agreed; nothing was erased", "--yes erases without asking")
    told = store.forget(customer)
    if as_json:
        click.echo(json.dumps({"schema": 1, "forgotten": True, "still_held": told}, indent=2))
    else:
        click.echo(f"forgotten. {told}")
