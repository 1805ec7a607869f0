"""The coordinator as a Flower ServerApp: read the run's directory, run the rounds."""

from __future__ import annotations

from pathlib import Path

from fedcart.server.rounds import run_rounds
from fedcart.shared.agreement import Agreement
from fedcart.shared.errors import ConfigError
from fedcart.shared.flower_compat import Context, Grid, ServerApp

DEADLINE_S = 3600.0
"""Seconds a round may take where the run's configuration does not say."""

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run or resume the plan in run_config 'run-dir'; 'deadline-s' and 'quorum' (0 = all) bound each round."""
    directory = context.run_config.get("run-dir")
    if not isinstance(directory, str) or not directory:
        raise ConfigError("the run's configuration names no 'run-dir'; nothing was run")
    deadline, quorum = context.run_config.get("deadline-s", DEADLINE_S), context.run_config.get("quorum", 0)
    if not isinstance(deadline, int | float) or not isinstance(quorum, int):
        raise ConfigError(f"deadline-s {deadline!r}, quorum {quorum!r}: two numbers are needed; nothing was run")
    run_rounds(grid, Agreement.open(Path(directory)), deadline_s=float(deadline), quorum=quorum or None)
