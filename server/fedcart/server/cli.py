"""`fedcart coalition`: what a coordinator does. Planning reads no customer and starts no run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from fedcart.server.coalition.commands import invite, new, roster, serve, set_state, train
from fedcart.server.coalition.operate import catalogue, renew, runs, status

PLAN_EXAMPLE = """\b
Examples:
  fedcart coalition plan demo --epsilon 4
  fedcart coalition plan demo --epsilon 4 --what-if customers=30000
  fedcart coalition plan plan.toml --catalogue catalogue.json
  fedcart coalition plan plan.toml --catalogue catalogue.json --key coordinator.key --out plans/spring
"""


@click.group(epilog="Example: fedcart coalition new demo --catalogue items.csv")
def coalition() -> None:
    """Start a coalition, plan what its stores train together, and train it."""


for command in (new, invite, roster, set_state, serve, train, status, runs, renew, catalogue):
    coalition.add_command(command, "set" if command is set_state else None)


@coalition.command(epilog=PLAN_EXAMPLE)
@click.argument("plan_file", metavar="NAME|PLAN.toml", type=click.Path(path_type=Path))
@click.option("--epsilon", type=click.FloatRange(min=0, min_open=True), help="Of a coalition's plan, a customer.")
@click.option("--learner", help="Of a coalition's plan; else spectral.")
@click.option("--trust", type=click.Choice(["local", "distributed", "none"]), help="Else distributed from 3 stores on.")
@click.option("--customers-bound", type=click.IntRange(min=1), help="Else 10,000 a store; public.")
@click.option("--catalogue", "catalogue_file", metavar="FILE", type=click.Path(path_type=Path), help="Item list.")
@click.option("--key", metavar="FILE", type=click.Path(path_type=Path), help="The coordinator's key, to sign with.")
@click.option("--out", metavar="DIR", type=click.Path(path_type=Path), help="A new directory for the signed plan.")
@click.option(
    "--what-if", metavar="customers=N", help="Show what simulated coalitions of N customers had; plan nothing."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def plan(
    plan_file: Path,
    epsilon: float | None,
    learner: str | None,
    trust: str | None,
    customers_bound: int | None,
    catalogue_file: Path | None,
    key: Path | None,
    out: Path | None,
    what_if: str | None,
    as_json: bool,
) -> None:
    """Show what a run will cost, and sign the plan.

    With a coalition's NAME it is signed for the stores that have joined, and shown to them; --epsilon (or --trust none)
    writes a new NAME/plan.toml first, without it the file is taken as it is. With PLAN.toml and without --key and
    --out it only shows. With them it writes plan.json, catalogue.json and plan.signatures.json, all or none, and never
    over another plan.
    """
    if what_if is not None:
        from fedcart.server.coalition.plan_command import show_what_if

        beside = {"--learner": learner, "--customers-bound": customers_bound, "--catalogue": catalogue_file}
        refuse_beside_what_if({**beside, "--key": key, "--out": out})
        show_what_if(plan_file, what_if, epsilon, trust, as_json)
        return
    refuse_unused(
        plan_file,
        {"--epsilon": epsilon, "--learner": learner, "--trust": trust, "--customers-bound": customers_bound},
        {"--catalogue": catalogue_file, "--key": key, "--out": out},
    )
    if plan_file.is_dir():
        from fedcart.server.coalition.plan_command import plan_for

        plan_for(plan_file, epsilon, learner, trust, customers_bound, as_json)
        return
    from fedcart.server.plan_file import read_plan, write_plan
    from fedcart.shared.canonical import content_hash
    from fedcart.shared.catalogue import Catalogue
    from fedcart.shared.cost import plan_cost
    from fedcart.shared.cost_text import cost_lines
    from fedcart.shared.errors import ConfigError
    from fedcart.shared.identity import Identity

    if catalogue_file is None:
        raise ConfigError(f"{plan_file}: no item list; nothing was planned", "--catalogue FILE, or a coalition's NAME")
    if (key is None) != (out is None):
        given, missing = ("--out", "--key") if key is None else ("--key", "--out")
        raise ConfigError(f"{given} without {missing}; nothing was written", "a plan is written signed or not at all")
    catalogue = Catalogue.load(catalogue_file)
    made = read_plan(plan_file, catalogue)
    cost = plan_cost(made, made.rounds(catalogue))
    digest = content_hash(made.document(catalogue))
    signer = Identity.load(key) if key is not None else None
    wrote = write_plan(out, made, catalogue, signer) if out is not None and signer is not None else None
    if as_json:
        told = {
            "schema": 1,
            "plan_hash": digest,
            "learner": made.learner,
            "cost": cost.document(),
            "coordinator_key": signer and signer.public.hex(),
            "directory": out and str(out),
        }
        click.echo(json.dumps(told, indent=2))
    else:
        click.echo("\n".join(cost_lines(cost)))
        click.echo(f"{'plan':<12} {digest}")
        if signer is not None:
            click.echo(f"{'signed by':<12} {signer.public.hex()}")
    if wrote is not None:
        click.echo(f"wrote {out}" if wrote else f"{out} holds this plan already; nothing was written", err=True)


def refuse_beside_what_if(others: dict[str, Any]) -> None:
    """Raise ConfigError for options that say nothing about a size: with --what-if nothing is planned."""
    from fedcart.shared.errors import ConfigError

    if given := [name for name, value in others.items() if value is not None]:
        raise ConfigError(
            f"{', '.join(given)} would change nothing: --what-if plans nothing; nothing was planned",
            "--epsilon and --trust are what it reads",
        )


def refuse_unused(plan_file: Path, terms: dict[str, Any], files: dict[str, Any]) -> None:
    """Raise ConfigError for options that would change nothing: `terms` write a coalition's plan.toml, `files` go with
    a PLAN.toml."""
    from fedcart.shared.errors import ConfigError

    if not plan_file.is_dir():
        unused, why = terms, f"{plan_file} is no coalition's folder"
    elif terms["--epsilon"] is None and terms["--trust"] != "none":
        unused, why = {**terms, **files}, f"without --epsilon {plan_file}/plan.toml is taken as it is"
    else:
        unused, why = files, f"{plan_file} has its own"
    if given := [name for name, value in unused.items() if value is not None]:
        raise ConfigError(f"{', '.join(given)} would change nothing: {why}; nothing was planned")
