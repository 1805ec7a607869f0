"""`fedcart store recommend`: the best items for a customer, from the model in use."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from fedcart.client.commands import options

EXAMPLE = """\b
Examples:
  fedcart store recommend 4711 --k 10 --dir north
  fedcart store recommend --items 10087,22310 --because --dir north
"""


@click.command(epilog=EXAMPLE)
@click.argument("customer", required=False)
@click.option("--items", metavar="ITEM,…", help="For somebody who bought these, instead of a customer; may be empty.")
@click.option("--k", type=click.IntRange(min=1), default=10, show_default=True, help="Length of the list.")
@click.option("--repeats", type=click.Choice(["rate", "never", "always"]), help="Of bought items; else as store.toml.")
@click.option("--because", is_flag=True, help="Name the items of the history that raised each score most.")
@options.at
@options.as_json
def recommend(
    customer: str | None, items: str | None, k: int, repeats: str | None, because: bool, directory: Path, as_json: bool
) -> None:
    """Recommend to a customer from the public model and their own history.

    Nothing leaves the store. A customer without a history in the catalogue gets what is popular.
    """
    from fedcart.client.store import Store
    from fedcart.shared.cost_text import table

    if (customer is None) == (items is None):
        raise click.UsageError("name one customer, or --items")
    store = Store(directory)
    wanted = {"repeats": repeats, "because": because}
    if customer is not None:
        found = store.recommend(customer, k, **wanted)  # type: ignore[arg-type]
    else:
        bought = [item.strip() for item in (items or "").split(",") if item.strip()]
        found = store.recommend_for_items(bought, k, **wanted)  # type: ignore[arg-type]
    if as_json:
        click.echo(json.dumps({"schema": 1, **asdict(found)}, indent=2))
        return
    rows = [("rank", "item", "score", "title", "")]
    for one in found.items:
        notes = (["bought before"] if one.bought_before else []) + (
            [f"because of {', '.join(one.because)}"] if one.because else []
        )
        rows.append((str(one.rank), one.item, f"{one.score:.4g}", one.title, "; ".join(notes)))
    click.echo("\n".join(table(rows, left=(1, 3, 4))))
    click.echo(f"{found.model}, {found.source}", err=True)
