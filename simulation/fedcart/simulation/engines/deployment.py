"""Both apps as a coalition runs them: coordinator and stores in processes of their own, on this machine's loopback.

TLS under an authority made for the run, node keys made for the run, Flower's fleet calls, the store's own node. What a
store brings to the gate is that of any simulation.
"""

from __future__ import annotations

import logging
import resource
import signal
import tempfile
import threading
import time
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedcart.client.ledger_files import key_path
from fedcart.shared.buffers import keep_freed_buffers
from fedcart.shared.errors import FedcartError, RoundFailed
from fedcart.shared.identity import Identity
from fedcart.simulation.engines import EngineSettings
from fedcart.simulation.engines.coordinator import run_coordinator
from fedcart.simulation.engines.faults import FaultHook
from fedcart.simulation.engines.processes import Children

if TYPE_CHECKING:
    from fedcart.client.app import Around

log = logging.getLogger("fedcart.engine")
START_S = 120.0
"""Seconds that all processes have to be there: they import, on however few cores there are."""
HOLD_S = 1.0
"""That a store's look for a message is held; it is also how long it takes to stop."""
HOST = "127.0.0.1"
LOGGERS = ("fedcart.rounds",)
"""What the coordinator's process says there is said here, before its next round begins."""


def run_deployed(
    directory: Path,
    stores: int,
    settings: EngineSettings,
    faults: FaultHook | None = None,
    around: Around | None = None,
) -> None:
    """Run the two apps to completion; see `fedcart.simulation.engines.run`. `faults` and `around` are pickled."""
    from fedcart.client.uplink import create_node_key
    from fedcart.server.tls_files import make_authority, make_server
    from fedcart.shared.flower_compat.fleet import public_pem

    place = directory.resolve()
    with tempfile.TemporaryDirectory(prefix="fedcart-") as folder, Children() as children:
        tls = Path(folder)
        make_authority(tls, "simulation")
        make_server(tls, [HOST])
        members = [(public_pem(create_node_key(node_key(tls, store))), signer(place, store)) for store in range(stores)]
        ours, theirs = children.context.Pipe()
        children.start("coordinator", coordinate, theirs, place, members, settings, tls, faults)
        theirs.close()
        port = _wait_for(ours, "listening", children)
        for store in range(stores):
            children.start(f"store {store}", keep_store, place, store, tls, port, around)
        peak = _wait_for(ours, "done", children, settings.least(stores))
        log.info("coordinator", extra={"peak_rss_bytes": peak})
        children.stop([name for name in children.running if name != "coordinator"])


def node_key(tls: Path, store: int) -> Path:
    """File of a store's node key."""
    return tls / f"node-{store:04d}.key"


def signer(directory: Path, store: int) -> bytes | None:
    """Public key that signs a store's replies; None where the run gave stores no identity."""
    path = key_path(directory, store)
    return Identity.load(path).public if path.exists() else None


def _wait_for(ours: connection.Connection, word: str, children: Children, least: int = 0) -> Any:
    """What the coordinator says with `word`; until then its log is said here, and a process that ends is noticed.

    Raises:
      FedcartError: the coordinator's own error, or that it or too many stores ended.
    """
    stores = {name: child for name, child in children.running.items() if name != "coordinator"}
    while True:
        ended = [name for name, child in stores.items() if not child.is_alive()]
        for name in ended:
            log.warning("%s ended with code %s", name, stores.pop(name).exitcode)
        if ended and len(stores) < least:
            raise RoundFailed(
                f"{', '.join(ended)} ended; {len(stores)} stores are left and {least} needed; the state is that of the "
                "last finished round",
                "see its log above; run again to go on from there",
            )
        connection.wait([ours, *(child.sentinel for child in stores.values())], timeout=1.0)
        if not ours.poll():
            continue
        try:
            kind, value = ours.recv()
        except EOFError:
            raise FedcartError("the coordinator's process ended without a word", "see its log above") from None
        if kind == "failed":
            raise value
        if kind == word:
            return value
        logging.getLogger(value.name).handle(value)
        ours.send("heard")


# --- in the coordinator's process


def coordinate(
    stop: threading.Event,
    theirs: connection.Connection,
    directory: Path,
    members: list[tuple[bytes, bytes | None]],
    settings: EngineSettings,
    tls: Path,
    faults: FaultHook | None,
) -> None:
    """Serve the stores and run the ServerApp; say where, what the loggers say, and how it ended."""
    from fedcart.server.listener import Guard, Listener, Members, server_context
    from fedcart.server.tls_files import SERVER, SERVER_KEY
    from fedcart.shared.flower_compat.link import Link, LinkGrid

    keep_freed_buffers()
    for name in LOGGERS:
        logging.getLogger(name).addHandler(_Relay(theirs))
        logging.getLogger(name).setLevel(logging.INFO)
        logging.getLogger(name).propagate = False
    link = Link()
    for key, _ in members:
        link.add_member(key)
    context = server_context(tls / SERVER, tls / SERVER_KEY)
    guard = Guard(link.app, Members(dict(members)), hold=link.wait_for_message, pushed=link.pushed)
    listener = Listener(guard, HOST, 0, context)
    listener.start()
    grid: LinkGrid = link.start_run()
    signal.signal(signal.SIGTERM, _give_up)
    try:
        theirs.send(("listening", listener.port))
        until = time.monotonic() + START_S
        while len(list(grid.get_node_ids())) < len(members) and time.monotonic() < until:
            if stop.wait(0.02):
                return
        run_coordinator(grid, directory, len(members), settings, faults)
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        theirs.send(("done", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))
        stop.wait()  # stores say goodbye first
    except _GivenUp:
        log.info("told to stop between two checkpoints")
    except FedcartError as error:
        theirs.send(("failed", error))
    except Exception as error:
        log.exception("the coordinator's process failed")
        theirs.send(("failed", FedcartError(f"the coordinator's process raised {type(error).__name__}")))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        link.finish_run(grid)
        link.close()
        listener.stop()


class _GivenUp(BaseException):
    """Told to stop in the middle of a run, as kill -9 would: the checkpoint is that of the last finished round."""


def _give_up(*_: object) -> None:
    raise _GivenUp


class _Relay(logging.Handler):
    """Hands a record to the parent process and waits until it was heard."""

    def __init__(self, theirs: connection.Connection) -> None:
        super().__init__()
        self._theirs = theirs

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args, record.exc_info = record.getMessage(), None, None
        self._theirs.send(("log", record))
        self._theirs.recv()


# --- in a store's process


def keep_store(stop: threading.Event, directory: Path, store: int, tls: Path, port: int, around: Around | None) -> None:
    """A store's node until it is told to stop."""
    from fedcart.client.app import app, make_app
    from fedcart.client.uplink import StoreNode, load_node_key
    from fedcart.server.tls_files import AUTHORITY
    from fedcart.shared.flower_compat.fleet import FleetLink

    keep_freed_buffers()
    key, authority = load_node_key(node_key(tls, store)), (tls / AUTHORITY).read_bytes()
    path = key_path(directory, store)
    identity = Identity.load(path) if path.exists() else None

    def connect() -> FleetLink:
        return FleetLink(f"{HOST}:{port}", authority, key, identity.sign if identity else None)

    node = StoreNode(
        connect,
        app if around is None else make_app(around),
        {"records": str(directory), "store": store},
        hold_s=HOLD_S,
    )
    try:
        node.run(stop)
    finally:
        close = getattr(around, "close", None)
        if close is not None:
            close()
