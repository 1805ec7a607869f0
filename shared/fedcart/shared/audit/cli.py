"""`fedcart audit`: what an outsider finds in the ledgers that stores left."""

from __future__ import annotations

import json
from pathlib import Path

import click

DIRECTORY = click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")


@click.group(epilog="Example: fedcart audit verify runs/first")
def audit() -> None:
    """Check stores' ledgers and compute again what they spent."""


@audit.command(epilog="Example: fedcart audit verify runs/first --json")
@DIRECTORY
@click.option(
    "--roster-fingerprint", "fingerprint", metavar="HEX", help="Whose ledgers these must be; told out of band."
)
@AS_JSON
def verify(directory: Path, fingerprint: str | None, as_json: bool) -> None:
    """Check every rule of every ledger in DIR.

    DIR is the folder of a run, or one that holds ledgers (*.jsonl). Exit code 4 when anything is found.
    """
    from fedcart.shared.audit.inspection import inspect
    from fedcart.shared.audit.text import verify_lines

    found = inspect(directory, fingerprint)
    click.echo(json.dumps(found.document(), indent=2) if as_json else "\n".join(verify_lines(found)))
    found.require()


@audit.command(epilog="Example: fedcart audit budget runs/first --out recomputed")
@DIRECTORY
@click.option(
    "--out",
    metavar="DIR2",
    type=click.Path(path_type=Path),
    help="Write events.json and recompute.py, which needs only dp-accounting.",
)
@AS_JSON
def budget(directory: Path, out: Path | None, as_json: bool) -> None:
    """Compute epsilon again, by two accountants, for each store and for the coalition.

    DIR is the folder of a run, or one that holds ledgers (*.jsonl). Exit code 4 when anything is found.
    """
    from fedcart.shared.audit.budget import audit_budget
    from fedcart.shared.audit.recompute import write
    from fedcart.shared.audit.text import budget_lines

    found = audit_budget(directory)
    written = write(found, out) if out is not None else ()
    click.echo(json.dumps(found.document(), indent=2) if as_json else "\n".join(budget_lines(found)))
    for path in written:
        click.echo(f"wrote {path}", err=True)
    found.require()


@audit.command(epilog="Example: fedcart audit transcript runs/first --json")
@DIRECTORY
@click.option("--plan", metavar="HEX", help="Hash of the plan that these must be of; told out of band.")
@click.option("--roster", metavar="HEX", help="Hash of the roster that these must be of; told out of band.")
@AS_JSON
def transcript(directory: Path, plan: str | None, roster: str | None, as_json: bool) -> None:
    """Replay secure aggregation from its signed messages.

    DIR is the folder of a run, or one that holds transcripts (pins.json, epoch-0000.json). Every signature, cohort,
    survivor set, quorum and share is checked; no vector is needed. Exit code 4 when anything is found.
    """
    from fedcart.shared.audit.transcripts import replay_folder, transcript_lines

    found = replay_folder(directory, plan, roster)
    click.echo(json.dumps(found.document(), indent=2) if as_json else "\n".join(transcript_lines(found)))
    found.require()
