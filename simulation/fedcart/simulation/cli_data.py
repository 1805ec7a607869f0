"""`fedcart data`: list and describe the known sets, download public originals, make the marketplace.

Loaded by `fedcart --help`: everything heavy is imported inside the commands.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fedcart.simulation.datasets.fetch import Progress

_DIRECTORY = click.option("--data-dir", type=click.Path(path_type=Path), help="Where the sets lie (else FEDCART_DATA).")
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON value on standard output.")


@click.group()
def data() -> None:
    """List, describe, fetch and make data sets.

    Example: fedcart data fetch ml-latest-small --data-dir data
    """


@data.command("list")
@_DIRECTORY
@_JSON
def list_sets(data_dir: Path | None, as_json: bool) -> None:
    """The known data sets, and which of them are here.

    Example: fedcart data list --json
    """
    from fedcart.simulation.datasets import describe, names
    from fedcart.simulation.datasets.originals import ORIGINALS

    folder = _folder_or_none(data_dir)
    rows: list[dict[str, Any]] = []
    for name in names():
        here = name == "marketplace" or (folder is not None and _is_here(folder / name, describe(name).files))
        rows.append({"name": name, "here": here, "fetch": name in ORIGINALS, "title": describe(name).title})
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        state = "here" if row["here"] else "can be fetched" if row["fetch"] else "-"
        click.echo(f"{row['name']:<{width}}  {state:<14}  {row['title']}")
    if folder is None:
        click.echo("no data directory is known: name one with --data-dir or FEDCART_DATA", err=True)


@data.command("describe")
@click.argument("name")
@_JSON
def describe_set(name: str, as_json: bool) -> None:
    """What a set is: source, licence, files, fields, cleaning rules, counts.

    Example: fedcart data describe online-retail
    """
    from dataclasses import asdict

    from fedcart.simulation.datasets import describe
    from fedcart.simulation.datasets.originals import ORIGINALS

    about = {key: value for key, value in asdict(describe(name)).items() if key != "module"}
    facts = {"name": name, **about, "fetch": [asdict(original) for original in ORIGINALS.get(name, ())]}
    if as_json:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    for key, value in facts.items():
        click.echo(f"{key:<9} {_text(key, value)}")


@data.command("fetch")
@click.argument("name")
@_DIRECTORY
@_JSON
def fetch_set(name: str, data_dir: Path | None, as_json: bool) -> None:
    """Download a public original into DATA-DIR/NAME: resumed when cut, checked before it is kept.

    Example: fedcart data fetch ml-1m --data-dir data
    """
    from fedcart.shared.errors import DataError, did_you_mean
    from fedcart.simulation.datasets import data_dir as resolve
    from fedcart.simulation.datasets import describe
    from fedcart.simulation.datasets.fetch import fetch
    from fedcart.simulation.datasets.originals import ORIGINALS

    about = describe(name)
    if name not in ORIGINALS:
        raise DataError(f"{name!r} cannot be fetched: {about.source}", did_you_mean(name, ORIGINALS))
    folder = resolve(data_dir, must_exist=False) / name
    click.echo(f"{name}: {about.licence}", err=True)
    done = []
    for original in ORIGINALS[name]:
        with _progress(original.file) as progress:
            downloaded = fetch(original, folder, progress=progress)
        done.append({"file": str(folder / original.file), "downloaded": downloaded, "checksum": original.checksum})
    if as_json:
        click.echo(json.dumps({"name": name, "files": done}, indent=2))
        return
    for row in done:
        click.echo(f"{row['file']}  {'downloaded' if row['downloaded'] else 'was here already'}")


@data.command("make")
@click.argument("name", type=click.Choice(["marketplace"]))
@click.option("--size", type=click.Choice(["small", "default", "large"]), default="default", show_default=True)
@click.option(
    "--events",
    type=click.Choice(["daily", "full"]),
    default="daily",
    show_default=True,
    help="Views: a row a person, item and day, or a row a page view.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the tables.")
@click.option("--format", "file_format", type=click.Choice(["parquet", "csv"]), default="parquet", show_default=True)
@_JSON
def make_set(name: str, size: str, events: str, seed: int, out: Path, file_format: str, as_json: bool) -> None:
    """Make the built-in marketplace and write it as tables of interactions and items.

    Example: fedcart data make marketplace --size small --seed 1 --out market
    """
    from fedcart.simulation.datasets import load
    from fedcart.simulation.datasets.export import export

    click.echo(f"making the {name}: size {size}, seed {seed}, {events} views", err=True)
    made = load(name, size=size, seed=seed, events=events)
    paths = export(made, out, file_format)
    facts = {
        "customers": made.customers,
        "items": len(made.catalogue),
        "interactions": len(made.interactions),
        "stores": len(made.store_names),
        "files": {table: str(path) for table, path in paths.items()},
    }
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    click.echo("  ".join(f"{facts[key]} {key}" for key in ("customers", "items", "interactions", "stores")))
    click.echo("\n".join(str(path) for path in paths.values()))


def _is_here(folder: Path, files: tuple[str, ...]) -> bool:
    """Whether a set's folder holds one of the files that its reader looks for; any file, where they are not listed."""
    if not files:
        return folder.is_dir() and any(path.is_file() for path in folder.iterdir())
    return any((folder / name.strip()).is_file() for entry in files for name in entry.split(" or "))


def _folder_or_none(data_dir: Path | None) -> Path | None:
    from fedcart.shared.errors import DataError
    from fedcart.simulation.datasets import data_dir as resolve

    try:
        return resolve(data_dir)
    except DataError:
        if data_dir is not None:
            raise
        return None


@contextmanager
def _progress(file: str) -> Iterator[Progress]:
    """A bar on standard error with bytes, speed and time left."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(file, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _text(key: str, value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{number:,} {what}" for what, number in value.items()) or "-"
    if key == "fetch":
        return "; ".join(f"{row['url']} ({row['algorithm']}: {row['provenance']})" for row in value) or "-"
    return "; ".join(value) if isinstance(value, tuple) else str(value)
