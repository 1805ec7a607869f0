"""What several store commands take: the folder, --json, words of the form role=column, and a yes or no."""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path)
directory = click.argument("directory", metavar="DIR", type=PATH)
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
at = click.option(
    "--dir", "directory", metavar="DIR", type=PATH, default=".", help="The store's folder; else this one."
)


def agreed(question: str) -> bool | None:
    """The answer to a question on standard error; None when there is none. Ctrl-C is an interruption, no answer."""
    try:
        return click.confirm(question, err=True)
    except click.Abort as abort:
        if isinstance(abort.__context__, KeyboardInterrupt):
            raise
        return None


def pairs(text: str | None, option: str) -> dict[str, str]:
    """`role=column,role=column` as a table."""
    found: dict[str, str] = {}
    for part in filter(None, (text or "").split(",")):
        key, sign, value = part.partition("=")
        if not sign or not key.strip() or not value.strip():
            raise click.UsageError(f"{option}: {part!r} is not of the form role=column")
        if key.strip() in found:
            raise click.UsageError(f"{option}: {key.strip()!r} is there twice")
        found[key.strip()] = value.strip()
    return found
