"""`fedcart frontier`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

T = TypeVar("T")
EPILOG = """\b
Examples:
  fedcart frontier --data ncf-split --stores 10 --learners mf --epsilons 1,4,inf --out runs/frontier
  fedcart frontier ncf-split --seeds 0,1,2 --jobs 4 --out runs/ncf-split
"""


@click.command(epilog=EPILOG)
@click.argument("experiment", required=False, type=click.Path(path_type=Path), metavar="[EXPERIMENT.toml]")
@click.option("--learners", metavar="A,B", help="Learners to measure; popularity is always among private ones.")
@click.option("--epsilons", metavar="E,…", help="Privacy losses of one customer; inf = without noise.")
@click.option("--trust", metavar="T,…", help="local, distributed, or both.")
@click.option("--seeds", metavar="S,…", help="Seeds of partition, training and rehearsed noise.")
@click.option("--sizes", metavar="SIZE,…", help="Of the marketplace: small, default, large.")
@click.option("--data", "data_name", metavar="NAME|PATH|URL", help="A named set, CSV, Parquet or database URL.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where named sets lie (else FEDCART_DATA).")
@click.option("--size", type=click.Choice(["small", "default", "large"]), help="Of the marketplace, one for all.")
@click.option("--events", type=click.Choice(["daily", "full"]), help="Of the marketplace: full = a row a page view.")
@click.option("--stores", type=int, metavar="N", help="How many stores.")
@click.option("--stores-by", metavar="HOW", help="auto, column, random, dirichlet:A or customer.")
@click.option("--split", metavar="RULE", help="auto, leave-one-out, last-basket, time:YYYY-MM-DD or ncf.")
@click.option("--delta", metavar="D|auto", help="auto: the largest power of ten below 1 / (10 x customers).")
@click.option("--rehearsal", is_flag=True, default=None, help="Noise from the seeds, also on data of your own.")
@click.option("--alone/--no-alone", default=None, help="Without noise: train each store alone, too.")
@click.option("--jobs", type=int, default=1, show_default=True, help="Cells at once, one process and thread each.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where results go; the same --out resumes.")
@click.option("--json", "as_json", is_flag=True, help="Print frontier.json on standard output.")
def frontier(experiment: Path | None, jobs: int, out: Path, as_json: bool, **options: Any) -> None:
    """Measure accuracy against epsilon: learners x epsilons x trust x seeds, each cell one simulation.

    A cell that is complete is never run again, so a frontier that was stopped goes on, and a larger grid in the same
    --out adds cells. Writes frontier.json, frontier.csv, frontier.tex, figures/*.svg and frontier.html.
    """
    from fedcart.simulation.cli import typed_arguments
    from fedcart.simulation.frontier.api import run
    from fedcart.simulation.frontier.experiment import read
    from fedcart.simulation.frontier.sentences import summary
    from fedcart.simulation.frontier.telling import Telling
    from fedcart.simulation.run import shell_line

    chosen = read(experiment, overrides(options), axes(options))
    done = run(chosen, out, jobs, Telling(), shell_line(typed_arguments()))
    if as_json:
        click.echo(json.dumps(done.document))
        return
    click.echo(summary(done.document))
    click.echo(f"page: {done.directory / 'frontier.html'}")


def axes(options: dict[str, Any]) -> dict[str, Any]:
    """Options as keys of [grid]; None = not given."""
    return {
        "learners": listed(options["learners"], "--learners", str),
        "epsilons": listed(options["epsilons"], "--epsilons", float),
        "trust": listed(options["trust"], "--trust", str),
        "seeds": listed(options["seeds"], "--seeds", int),
        "sizes": listed(options["sizes"], "--sizes", str),
    }


def overrides(options: dict[str, Any]) -> dict[str, Any]:
    """Options as table.key -> value, for what all cells share."""
    from fedcart.simulation.cli import delta

    rule, _, at = (options["split"] or "").partition(":")
    return {
        "data.name": options["data_name"],
        "data.dir": options["data_dir"],
        "data.size": options["size"],
        "data.events": options["events"],
        "stores.count": options["stores"],
        "stores.by": options["stores_by"],
        "split.rule": rule or None,
        "split.at": at or None,
        "privacy.delta": delta(options["delta"]),
        "privacy.rehearsal": options["rehearsal"],
        "evaluate.alone": options["alone"],
    }


def listed(text: str | None, option: str, kind: Callable[[str], T]) -> list[T] | None:
    """`a,b` as a list; None where the option was not given."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        return [kind(part) for part in parts]
    except ValueError:
        raise click.UsageError(f"{option}: {text!r} is not a list of numbers like 1,4") from None
