"""Both apps on Flower's own simulation runtime: the ServerApp here, the stores in ray worker processes.

Nothing outlives the run: no SuperLink, a ray of our own on the loopback interface, its files in a temporary folder.
With secure aggregation a store keeps one worker, whose memory holds its secrets; else any worker answers for any store.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fedcart.shared.buffers import keep_freed_buffers
from fedcart.shared.errors import ConfigError
from fedcart.shared.flower_compat import ClientApp, Grid, SimulationRuntime, UserConfig
from fedcart.simulation.engines import EngineSettings
from fedcart.simulation.engines.coordinator import run_coordinator
from fedcart.simulation.engines.faults import FaultHook

if TYPE_CHECKING:
    from fedcart.client.app import Around

OBJECT_STORE_BYTES = 1 << 28
"""Shared memory of ray; what does not fit goes to the temporary folder."""


def run_on_ray(
    directory: Path,
    stores: int,
    settings: EngineSettings,
    faults: FaultHook | None = None,
    around: Around | None = None,
) -> None:
    """Run the two apps to completion; see `fedcart.simulation.engines.run`."""
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("engine 'ray' needs ray, which is not installed", "pip install 'fedcart[simulation]'")
    place = str(directory.resolve())
    configs: list[UserConfig] = [{"partition-id": store, "records": place} for store in range(stores)]
    with (
        tempfile.TemporaryDirectory(prefix="fedcart-", ignore_cleanup_errors=True) as folder,
        environment(
            FLWR_HOME=f"{folder}/flwr",
            PYTHONPATH=os.environ.get("PYTHONPATH", ""),  # RayBackend changes it
            RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",  # or ray prints a tip
        ),
        SimulationRuntime(
            functools.partial(load_client_app, around),
            configs,
            ray_backend(settings.threads, folder),
            sticky=settings.aggregation == "SA1",
        ) as runtime,
    ):
        grid: Grid = runtime.grid
        run_coordinator(grid, directory, stores, settings, faults)


@functools.lru_cache(maxsize=1)
def load_client_app(around: Around | None = None) -> ClientApp:
    """The ClientApp, imported where it runs. A worker is asked for each message: the first one stays.

    What `around` remembers (a store's secrets) so stays too; equal ones are one.
    """
    from fedcart.client.app import app, make_app

    keep_freed_buffers()
    return app if around is None else make_app(around)


def ray_backend(workers: int, folder: str) -> dict[str, dict[str, object]]:
    """RayBackend's configuration: a local ray with that many one-core workers."""
    init = {
        "address": "local",
        "num_cpus": workers,
        "num_gpus": 0,
        "object_store_memory": OBJECT_STORE_BYTES,
        "include_dashboard": False,
        "log_to_driver": False,
        "logging_level": "ERROR",
        "_node_ip_address": "127.0.0.1",
        "_temp_dir": folder,
    }
    return {"init_args": init, "client_resources": {"num_cpus": 1, "num_gpus": 0.0}, "actor": {"tensorflow": 0}}


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Environment variables for the time of a run."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
