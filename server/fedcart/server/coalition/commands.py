"""`fedcart coalition new | invite | roster | set | serve | train`: a command a function."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fedcart.shared.catalogue import Catalogue

FOLDER = click.argument("directory", metavar="NAME", type=click.Path(path_type=Path))
AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
PORT = 9443


@click.command(epilog="Example: fedcart coalition new demo --catalogue items.csv --host coordinator.example")
@FOLDER
@click.option("--catalogue", "items", required=True, metavar="FILE", type=click.Path(path_type=Path), help="Item list.")
@click.option("--host", "hosts", multiple=True, default=["127.0.0.1"], show_default=True, help="Name or address.")
@click.option("--port", type=click.IntRange(1, 65535), default=PORT, show_default=True, help="That stores connect to.")
@AS_JSON
def new(directory: Path, items: Path, hosts: tuple[str, ...], port: int, as_json: bool) -> None:
    """Make a coalition's folder: keys, certificates and the public item list.

    FILE is a CSV or Parquet file with a column id, or a catalogue.json. The first --host is what stores connect to.
    """
    from fedcart.server.coalition.folder import create_coalition

    made = create_coalition(directory, read_catalogue(items), hosts, port)
    key = made.identity()
    told = {
        "schema": 1,
        "directory": str(directory),
        "items": len(made.catalogue()),
        "coordinator_key": key.public.hex(),
    }
    if as_json:
        click.echo(json.dumps({**told, "fingerprint": key.fingerprint, "address": made.about().address}, indent=2))
        return
    click.echo(f"{'coalition':<12}{directory}, {len(made.catalogue()):,} items, at {made.about().address}")
    click.echo(f"{'key':<12}{key.public.hex()}")
    click.echo(f"{'fingerprint':<12}{key.fingerprint}")
    click.echo(f"back up {directory}/keys; then: fedcart coalition invite {directory} STORE…", err=True)


def read_catalogue(path: Path) -> Catalogue:
    """An item list of either kind."""
    from fedcart.shared.catalogue import Catalogue
    from fedcart.shared.errors import ConfigError

    if path.suffix == ".json":
        return Catalogue.load(path)
    try:
        from fedcart.shared.tables.items import read_items
        from fedcart.shared.tables.options import TableOptions
    except ModuleNotFoundError as missing:
        raise ConfigError(
            f"reading {path} needs {missing.name}, which is not installed; nothing was made",
            "pip install 'fedcart[store]', or give a catalogue.json",
        ) from None
    return read_items(path, TableOptions())


@click.command(epilog="Example: fedcart coalition invite demo north south west")
@FOLDER
@click.argument("stores", nargs=-1, required=True, metavar="STORE…")
@click.option("--into", type=click.Path(path_type=Path), default=".", help="Folder for the files; else this one.")
@AS_JSON
def invite(directory: Path, stores: tuple[str, ...], into: Path, as_json: bool) -> None:
    """Write an invitation for each store: STORE.invite, good for one joining.

    Hand each to its store only, by a way that nobody else reads: it holds a secret.
    """
    from fedcart.server.coalition.folder import CoalitionFolder

    paths = CoalitionFolder.open(directory).invite(stores, into)
    if as_json:
        click.echo(json.dumps({"schema": 1, "invitations": [str(path) for path in paths]}, indent=2))
    else:
        click.echo("\n".join(map(str, paths)))


@click.command(epilog="Example: fedcart coalition roster demo")
@FOLDER
@AS_JSON
def roster(directory: Path, as_json: bool) -> None:
    """List the stores: invited, joined, suspended, left, removed, and their keys' fingerprints."""
    from fedcart.server.coalition.folder import CoalitionFolder, listed

    rows = listed(CoalitionFolder.open(directory).members())
    if as_json:
        click.echo(json.dumps({"schema": 1, "stores": rows}, indent=2))
    else:
        click.echo("\n".join(f"{row['store']:<20} {row['state']:<10} {row['fingerprint']}" for row in rows))


@click.command(epilog="Example: fedcart coalition set demo south suspended")
@FOLDER
@click.argument("store")
@click.argument("state", type=click.Choice(["joined", "suspended", "removed"]))
def set_state(directory: Path, store: str, state: str) -> None:
    """Suspend a store, let it in again, or remove it for good; the server acts on it at once.

    The plan that is published keeps its roster: make a new one.
    """
    import dataclasses

    from fedcart.server.coalition.folder import CoalitionFolder, Member
    from fedcart.shared.errors import ConfigError

    def edit(members: list[Member]) -> list[Member]:
        found = [member for member in members if member.name == store]
        if not found:
            raise ConfigError(f"store {store!r} was never invited; nothing was changed")
        out = found[0].state in ("left", "removed") or (state == "joined" and not found[0].key)
        if out and state != "removed":
            raise ConfigError(f"store {store!r} is {found[0].state}: it cannot be let in again; nothing was changed")
        changed = dataclasses.replace(found[0], state=state, token_hash="")  # type: ignore[arg-type]
        return [changed if member.name == store else member for member in members]

    CoalitionFolder.open(directory).change(edit)


@click.command(epilog="Example: fedcart coalition serve demo")
@FOLDER
@click.option("--bind", metavar="ADDRESS", help="Address to listen on; else all, or 127.0.0.1 for a demo.")
@click.option("--port", type=click.IntRange(0, 65535), help="Else the coalition's; 0 takes any free one.")
@click.option("--watch", "watch_port", metavar="PORT", type=click.IntRange(0, 65535), help="/health and /metrics here.")
@click.option("--log", "log_kind", type=click.Choice(["text", "json"]), default="text", show_default=True)
def serve(directory: Path, bind: str | None, port: int | None, watch_port: int | None, log_kind: str) -> None:
    """Serve the stores until Ctrl-C: joining, plans and runs.

    Stores reach one TLS port and nothing else; --watch is a port of 127.0.0.1. Runs that were stopped go on
    when `coalition train` is asked again.
    """
    import signal
    import threading

    from fedcart.server.coalition.folder import CoalitionFolder
    from fedcart.server.coalition.service import Service
    from fedcart.shared.flower_compat.fleet import is_loopback
    from fedcart.shared.json_log import log_to_stderr

    folder = CoalitionFolder.open(directory)
    log_to_stderr(log_kind, "%(asctime)s %(levelname)s %(name)s %(message)s")
    local = is_loopback(folder.about().address)
    everywhere = "0.0.0.0"  # noqa: S104  a coordinator is there for stores elsewhere; the listener is made for it
    service = Service(folder, bind or ("127.0.0.1" if local else everywhere), port, watch_port=watch_port)
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    try:
        click.echo(f"serving {directory} on port {service.listener.port}; Ctrl-C stops", err=True)
        service.serve(stop)
    finally:
        service.close()


@click.command(epilog="Example: fedcart coalition train demo")
@FOLDER
@click.option("--wait", "wait_s", type=float, default=60.0, show_default=True, help="Seconds for stores to approve.")
@click.option("--deadline", "deadline_s", type=float, default=300.0, show_default=True, help="Seconds for each flow.")
@AS_JSON
def train(directory: Path, wait_s: float, deadline_s: float, as_json: bool) -> None:
    """Run the published plan with the stores, or go on where it stopped.

    Needs `coalition serve` in another terminal. Starts when every store of the plan has countersigned it.
    """
    from fedcart.server.coalition.control import question
    from fedcart.server.coalition.folder import CoalitionFolder
    from fedcart.shared.errors import FedcartError, InputError, PrivacyRefused, ProtocolError

    CoalitionFolder.open(directory)
    rounds: list[dict[str, Any]] = []
    ended: dict[str, Any] = {
        "event": "failed",
        "message": "the server stopped before the run ended; rounds that were finished are kept",
        "hint": f"fedcart coalition serve {directory}, and train again",
        "exit_code": 4,
    }
    for told in question(directory, {"do": "train", "wait_s": wait_s, "deadline_s": deadline_s}):
        if told["event"] == "round":
            rounds.append(told)
            place = f"round {told['round'] + 1} of {told['rounds']}"
            click.echo(f"{place:<16} {told['stores']} stores  {told['seconds']:.2f} s  {told['aggregation']}", err=True)
        elif told["event"] == "waiting":
            click.echo(f"waiting for {', '.join(told['stores'])} to approve", err=True)
        else:
            ended = told
    if ended["event"] == "failed":
        kinds: dict[int, type[FedcartError]] = {2: InputError, 3: PrivacyRefused, 4: ProtocolError}
        raise kinds.get(ended["exit_code"], FedcartError)(ended["message"], ended.get("hint"))
    if as_json:
        click.echo(json.dumps({"schema": 1, "directory": ended["directory"], "rounds": rounds}, indent=2))
    else:
        click.echo(ended["directory"])
