"""`fedcart coalition plan NAME`: a coalition's plan, its cost, and its roster's fingerprint."""

from __future__ import annotations

import json
import math
import re
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


def show_what_if(plan_file: Path, asked: str, epsilon: float | None, trust: str | None, as_json: bool) -> None:
    """Show what coalitions of a size had in simulation; nothing is planned, written or signed.

    Args:
      plan_file: the coalition's folder, or a PLAN.toml: its epsilon counts where none is given.
      asked: `customers=N`, N over all stores.

    Raises:
      ConfigError: another question, no epsilon anywhere, or a trust that no curve was measured under.
    """
    from fedcart.server.coalition.what_if import ASSUMPTIONS, SOURCE, expected, what_if_lines
    from fedcart.shared.errors import ConfigError

    said = re.fullmatch(r"customers=([1-9][0-9_,]*)", asked)
    if said is None:
        raise ConfigError(
            f"--what-if {asked!r}: not a question that can be answered; nothing was planned", "customers=N"
        )
    customers = int(re.sub("[_,]", "", said[1]))
    if epsilon is None and trust is None:
        epsilon, trust = written_terms(plan_file)
    if trust == "local":
        raise ConfigError(
            "--what-if with trust local: curves were measured under trust distributed only; nothing is expected",
            "fedcart frontier --trust local measures one on simulated stores",
        )
    if trust == "none" and epsilon is not None:
        raise ConfigError(f"epsilon {epsilon:g} with trust none: nobody would add noise; nothing is expected")
    strength = math.inf if epsilon is None else epsilon
    found = expected(customers, strength)
    if as_json:
        told = {
            "schema": 1,
            "customers": customers,
            "epsilon": epsilon,
            "expected": found and found.document(),
            "assumptions": list(ASSUMPTIONS),
            "source": SOURCE,
        }
        click.echo(json.dumps(told, indent=2))
        return
    click.echo("\n".join(what_if_lines(customers, strength, found)))


def written_terms(plan_file: Path) -> tuple[float | None, str | None]:
    """(epsilon, trust) as plan.toml has them; epsilon None with trust none."""
    import tomllib

    from fedcart.shared.errors import ConfigError

    path = plan_file / "plan.toml" if plan_file.is_dir() else plan_file
    try:
        privacy = tomllib.loads(path.read_text(encoding="utf-8")).get("privacy", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"--what-if: {path} says no epsilon ({error}); nothing is expected", "--epsilon E") from error
    epsilon, trust = privacy.get("epsilon"), privacy.get("trust")
    if (epsilon is None and trust != "none") or isinstance(epsilon, bool | str):
        raise ConfigError(f"--what-if: {path} says no epsilon; nothing is expected", "--epsilon E")
    return epsilon, trust
