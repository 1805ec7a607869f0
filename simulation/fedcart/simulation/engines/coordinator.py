"""The ServerApp over any engine's grid, with the faults that the settings and a hook order."""

from __future__ import annotations

from pathlib import Path

from fedcart.shared.flower_compat import SUPERLINK_NODE_ID, Context, Grid, RecordDict, UserConfig
from fedcart.simulation.engines import EngineSettings
from fedcart.simulation.engines.faults import FaultHook, FaultyGrid, coin_drops


def run_coordinator(
    grid: Grid, directory: Path, stores: int, settings: EngineSettings, faults: FaultHook | None
) -> None:
    """Run the ServerApp to completion in this thread."""
    from fedcart.server.app import app

    if settings.drop_rate > 0:
        faults = coin_drops(settings.drop_rate, settings.seed, faults)
    if faults is not None:
        grid = FaultyGrid(grid, faults)
    config: UserConfig = {
        "run-dir": str(directory),
        "deadline-s": settings.deadline_s,
        "quorum": settings.least(stores),
        "aggregation": settings.aggregation,
        "new-ledgers": True,
    }
    if settings.archive is not None:
        config["archive"] = str(settings.archive)
    app(grid=grid, context=Context(grid.run.run_id, SUPERLINK_NODE_ID, {}, RecordDict(), config))
