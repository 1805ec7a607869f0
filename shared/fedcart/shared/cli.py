"""`fedcart`: the command line. Each role's install brings its commands as entry points (`fedcart.commands`).

Commands are loaded only when called, so `fedcart --help` answers without torch, flwr or pandas. Every error of
ours is one line on standard error, its hint on the next, and the exit code of its branch; Ctrl-C exits with 130.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import sys
from typing import Any

import click

from fedcart.shared.errors import FedcartError, did_you_mean

GROUP = "fedcart.commands"
SUMMARIES = {
    "audit": "Check stores' ledgers and compute again what they spent.",
    "simulate": "Train stores together on one machine and compare with the alternatives.",
    "frontier": "Measure accuracy against epsilon: learners x epsilons x trust x seeds, each cell one simulation.",
    "data": "List, describe, fetch and make data sets.",
    "learners": "List the algorithms and their hyper-parameters.",
    "coalition": "Start a coalition, plan what its stores train together, and train it.",
    "store": "A store's side: its data, what a plan costs it, and what its customers are shown.",
}
"""One line a built-in command, so that --help loads none of them; a test compares them with the commands."""


class Commands(click.Group):
    """A group whose commands are entry points, loaded when called."""

    @functools.cached_property
    def _points(self) -> dict[str, importlib.metadata.EntryPoint]:
        return {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All installed commands, by name."""
        return sorted(self._points)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the command; an unknown word gets a hint."""
        point = self._points.get(cmd_name)
        if point is None:
            ctx.fail(f"no command {cmd_name!r}. {(did_you_mean(cmd_name, self._points) or '').capitalize()}")
        command: click.Command = point.load()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands with one line each, without loading them where the line is known."""
        rows = []
        for name in self.list_commands(ctx):
            summary = SUMMARIES.get(name)
            if summary is None:
                loaded = self.get_command(ctx, name)
                summary = loaded.get_short_help_str(80) if loaded else ""
            rows.append((name, summary))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: fedcart simulate --data marketplace --stores 8 --out runs/first",
)
@click.version_option(package_name="fedcart", prog_name="fedcart")
def root() -> None:
    """Stores learn one recommender together; no customer's interactions leave the store."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its code."""
    # Before numpy loads: products are small, and two BLAS threads on a busy machine make als 14 times slower.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code: 0 ok, 1 internal, 2 usage or bad input, 3 refused, 4 protocol."""
    try:
        root.main(args=arguments, prog_name="fedcart", standalone_mode=False)
    except FedcartError as error:
        say(error.message, error.hint)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.UsageError as error:
        say(error.format_message(), f"{error.ctx.command_path} --help" if error.ctx else None)
        return 2
    except click.ClickException as error:
        say(error.format_message(), None)
        return 2
    except (click.Abort, KeyboardInterrupt):
        say("interrupted", None)
        return 130
    return 0


def say(message: Any, hint: str | None) -> None:
    """An error and its hint, on standard error."""
    click.echo(f"fedcart: error: {message}", err=True)
    if hint:
        click.echo(f"fedcart: hint: {hint}", err=True)
