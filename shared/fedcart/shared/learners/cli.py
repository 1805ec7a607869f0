"""`fedcart learners`: the algorithms, their hyper-parameters and what each needs installed."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import click

EXTRAS = {"mf": "neural", "ncf": "neural"}
"""Learners that need more than the base install."""


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON list on standard output.")
def learners(name: str | None, as_json: bool) -> None:
    """List the algorithms and their hyper-parameters.

    With NAME, that one only. A learner whose extra is not installed is listed without its hyper-parameters.

    Example: fedcart learners als --json
    """
    from fedcart.shared.errors import ConfigError, did_you_mean
    from fedcart.shared.learners import BUILT_IN

    if name is not None and name not in BUILT_IN:
        raise ConfigError(f"unknown learner {name!r}", did_you_mean(name, BUILT_IN))
    found = [describe(one) for one in BUILT_IN if name in (None, one)]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for learner in found:
        click.echo(f"{learner['name']:<11} {learner['summary']}")
        if learner["extra"] is not None:
            state = "installed" if learner["installed"] else f"missing: pip install 'fedcart[{learner['extra']}]'"
            click.echo(f"{'':<11} extra {learner['extra']} ({state})")
        for key, value in learner["hyper_parameters"].items():
            click.echo(f"{'':<11}   {key} = {json.dumps(value)}")


def describe(name: str) -> dict[str, Any]:
    """Name, summary, extra, whether it is installed, and hyper-parameter -> default (infinity as "inf")."""
    from fedcart.shared.errors import ConfigError
    from fedcart.shared.learners import learner_class

    extra = EXTRAS.get(name)
    try:
        found: Any = learner_class(name)
    except ConfigError as error:
        about = {"name": name, "summary": error.message, "extra": extra, "installed": False}
        return {**about, "hyper_parameters": {}}
    defaults = {f.name: plain(f.default) for f in dataclasses.fields(found)}
    about = {"name": name, "summary": found.summary, "extra": extra, "installed": True}
    return {**about, "hyper_parameters": defaults}


def plain(value: Any) -> Any:
    """A default as JSON can hold it."""
    return "inf" if isinstance(value, float) and math.isinf(value) else value
