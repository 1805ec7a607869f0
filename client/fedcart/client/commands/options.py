"""What several store commands take: the folder, --json, and words of the form role=column."""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path)
directory = click.argument("directory", metavar="DIR", type=PATH)
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
at = click.option(
    "--dir", "directory", metavar="DIR", type=PATH, default=".", help="The store's folder; else this one."
)


def pairs(text: str | None, option: str) -> dict[str, str]:
    """`role=column,role=column` as a table."""
    found: dict[str, str] = {}
    for part in filter(None, (text or "").split(",")):
        key, sign, value = part.partition("=")
        if not sign or not key.strip() or not value.strip():
            raise click.UsageError(f"{option}: {part!r} is not of the form role=column")
        found[key.strip()] = value.strip()
    return found
