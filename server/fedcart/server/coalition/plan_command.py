"""`fedcart coalition plan NAME`: a coalition's plan, its cost, and its roster's fingerprint."""

from __future__ import annotations

import json
from pathlib import Path

import click

LEARNER, BOUND_PER_STORE = "spectral", 10_000


def plan_for(
    directory: Path,
    epsilon: float | None,
    learner: str | None,
    trust: str | None,
    customers_bound: int | None,
    as_json: bool,
) -> None:
    """Make, sign and publish it."""
    from fedcart.server.coalition.folder import CoalitionFolder
    from fedcart.server.coalition.planning import publish, write_plan_file
    from fedcart.shared.cost import plan_cost
    from fedcart.shared.cost_text import cost_lines
    from fedcart.shared.roster import ROSTER, Roster

    folder = CoalitionFolder.open(directory)
    if epsilon is not None or trust == "none":
        bound = customers_bound or BOUND_PER_STORE * max(1, len(folder.joined()))
        write_plan_file(folder, epsilon=epsilon, learner=learner or LEARNER, trust=trust, customers_bound=bound)
    made, place = publish(folder)
    catalogue, pinned = folder.catalogue(), Roster.load(place / ROSTER).hash
    cost = plan_cost(made, made.rounds(catalogue))
    if as_json:
        told = {
            "schema": 1,
            "directory": str(place),
            "learner": made.learner,
            "cost": cost.document(),
            "roster": pinned,
        }
        click.echo(json.dumps(told, indent=2))
        return
    click.echo("\n".join(cost_lines(cost)))
    click.echo(f"{'roster':<12} {pinned}")
    click.echo(f"signed and shown to {made.participants} stores; then: fedcart coalition train {directory}", err=True)
