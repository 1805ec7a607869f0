"""A small coalition on this machine: a table of sales, a served folder on a free port, and waiting."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fedcart.server.coalition.folder import CoalitionFolder, create_coalition
from fedcart.server.coalition.service import Service
from fedcart.shared.catalogue import Catalogue

NAMES = ("north", "south", "west")
ITEMS = tuple(f"item{i}" for i in range(20))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def write_sales(path: Path, stores: Sequence[str] = NAMES) -> None:
    rng = np.random.default_rng(3)
    rows = ["customer,item,time,store"]
    for store in stores:
        for customer in range(12):
            for item in rng.choice(20, 5, replace=False):
                rows.append(f"{store}{customer},item{item},2026-01-{1 + int(rng.integers(28)):02d},{store}")
    path.write_text("\n".join(rows) + "\n")


@contextmanager
def served(tmp_path: Path, watch_port: int | None = None) -> Iterator[tuple[CoalitionFolder, Service]]:
    """A coalition on a free port of this machine: the port is known before it is made, as its operator's is."""
    folder = create_coalition(tmp_path / "demo", Catalogue(ITEMS, "given"), ["127.0.0.1"], free_port())
    service = Service(folder, "127.0.0.1", watch_port=watch_port)
    try:
        yield folder, service
    finally:
        service.close()


def until(true: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < end:
        time.sleep(0.05)
    return found
