"""The coordinator as a Flower ServerApp: read the run's directory, run the rounds."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Literal

from fedcart.server.masked_sums import MaskedSums
from fedcart.server.rounds import run_rounds
from fedcart.server.witness import Witness
from fedcart.shared.agreement import Agreement
from fedcart.shared.errors import ConfigError
from fedcart.shared.flower_compat import Context, Grid, ServerApp
from fedcart.shared.roster import ROSTER

DEADLINE_S = 3600.0
"""Seconds a round may take where the run's configuration does not say."""

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run or resume the plan in run_config 'run-dir'; 'deadline-s' and 'quorum' (0 = all) bound each round.

    'new-ledgers' (false): the stores' ledgers began with this run, and hold nothing of earlier ones.
    'earlier': directory of all plans of this coordinator, whose receipts the stores are sent when they first meet.
    'aggregation' is SA1 for trust distributed unless it says plain; 'archive' is the directory of SA1's transcripts and
    of the receipts, which are sent wherever there is a guarantee and a roster.
    """
    directory = context.run_config.get("run-dir")
    if not isinstance(directory, str) or not directory:
        raise ConfigError("the run's configuration names no 'run-dir'; nothing was run")
    deadline, quorum = context.run_config.get("deadline-s", DEADLINE_S), context.run_config.get("quorum", 0)
    if not isinstance(deadline, int | float) or not isinstance(quorum, int):
        raise ConfigError(f"deadline-s {deadline!r}, quorum {quorum!r}: two numbers are needed; nothing was run")
    agreement, deadline_s = Agreement.open(Path(directory)), float(deadline)
    archive, plans = (context.run_config.get(name) for name in ("archive", "earlier"))
    place, earlier = (Path(x) if isinstance(x, str) else None for x in (archive, plans))
    witness = None
    if agreement.plan.privacy is not None and (agreement.directory / ROSTER).exists():
        fresh = bool(context.run_config.get("new-ledgers", False))
        witness = Witness(grid, agreement, deadline_s=deadline_s, archive=place, new_ledgers=fresh, earlier=earlier)
    if aggregation_of(agreement, context.run_config.get("aggregation")) == "plain":
        run_rounds(grid, agreement, deadline_s=deadline_s, quorum=quorum or None, witness=witness)
        return
    heard = None if witness is None else witness.heard
    with closing(MaskedSums(grid, agreement, deadline_s=deadline_s, archive=place, heard=heard)) as masked:
        run_rounds(grid, agreement, deadline_s=deadline_s, quorum=quorum or None, masked=masked, witness=witness)


def aggregation_of(agreement: Agreement, wanted: object) -> Literal["SA1", "plain"]:
    """How totals are opened; `wanted` None leaves it to the plan's trust.

    Raises:
      ConfigError: it is neither, or nothing is to be masked.
    """
    masks = agreement.plan.trust == "distributed"
    if wanted not in (None, "SA1", "plain") or (wanted == "SA1" and not masks):
        raise ConfigError(f"aggregation {wanted!r} with trust {agreement.plan.trust}; nothing was run")
    return "SA1" if masks and wanted != "plain" else "plain"
