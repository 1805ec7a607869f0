"""`store demo`: a folder for each invitation, shops of the built-in marketplace as their data, and a process each."""

from __future__ import annotations

import csv
import importlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fedcart.client.membership.coordinator import join, pin_coordinator
from fedcart.client.membership.files import MemberFiles
from fedcart.client.store_folder import STORE, StoreFolder, create_store
from fedcart.shared.errors import ConfigError, DataError
from fedcart.shared.invitation import Invitation
from fedcart.shared.storage import replace_bytes

STOP_S = 30.0
MAKER = "fedcart.simulation.demo_data"
"""Makes the marketplace; it belongs to the simulation, which a store need not install."""


class Demo:
    """The stores of a demo."""

    def __init__(self, invitations: Sequence[Path], out: Path, data: Path | None, say: Callable[[str], None]) -> None:
        self._invitations = [Invitation.load(path) for path in invitations]
        self._out, self._data, self._say = out, data, say

    def run(self) -> None:
        """Make folders, join, run the processes until told to stop, and stop them by id."""
        folders = self.prepare()
        stop = threading.Event()
        before = {name: signal.signal(name, lambda *_: stop.set()) for name in (signal.SIGINT, signal.SIGTERM)}
        processes: list[subprocess.Popen[bytes]] = []
        try:
            for folder in folders:
                command = [sys.executable, "-m", "fedcart.shared", "store", "run", "--dir", str(folder.directory)]
                made = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603  our own
                processes.append(made)
            self._say(f"{len(processes)} stores run; Ctrl-C stops them")
            while not stop.wait(0.5):
                ended = [process.pid for process in processes if process.poll() is not None]
                if ended:
                    raise ConfigError(f"the store with process {ended[0]} ended; the others are stopped", "see its log")
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                try:
                    process.wait(STOP_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            for name, handler in before.items():
                signal.signal(name, handler)

    def prepare(self) -> list[StoreFolder]:
        """A folder for each store, with its policy shown; then all of them join."""
        made = [self._folder(invitation) for invitation in self._invitations]
        known = [folder.identity().fingerprint for folder, _ in made]
        for (folder, new), invitation in zip(made, self._invitations, strict=True):
            files = MemberFiles(folder)
            if new:
                pin_coordinator(files.policy_file, invitation.coordinator_key)
                told = json.dumps(known)
                change(
                    files.policy_file, {"known_stores = []": f"known_stores = {told}", "auto = false": "auto = true"}
                )
            if not files.membership_file.exists():
                join(files, invitation)
            policy = folder.policy()
            self._say(
                f"{invitation.store}: {folder.directory}, epsilon at most {policy.limits.epsilon_total:g} at delta "
                f"{policy.limits.delta:g}, trust {' or '.join(policy.require.trust)}, approves unasked"
            )
        self._say("policy.toml of each says the same and more; a real store's is its own")
        return [folder for folder, _ in made]

    def _folder(self, invitation: Invitation) -> tuple[StoreFolder, bool]:
        """The store's folder, and whether it is new."""
        place = self._out / invitation.store
        if (place / STORE).exists():
            return StoreFolder.open(place), False
        data = self._table()
        shops = shops_of(data)
        number = [x.store for x in self._invitations].index(invitation.store)
        if number >= len(shops):
            raise DataError(f"{data} holds {len(shops)} stores, and {number + 1} are invited; nothing was joined")
        folder, _ = create_store(place, source=str(data.resolve()), coalition=invitation.coalition)
        change(place / STORE, {'# store = "North"': f"store = {json.dumps(shops[number])}"})
        return folder, True

    def _table(self) -> Path:
        """The interactions: given, made before, or made now."""
        if self._data is not None:
            return self._data
        made = self._out / "market" / "interactions.csv"
        if not made.exists():
            try:
                maker = importlib.import_module(MAKER)
            except ModuleNotFoundError:
                raise ConfigError(
                    "the marketplace is part of the simulation, which is not installed; nothing was joined",
                    "pip install 'fedcart[simulation]', or give --data FILE",
                ) from None
            maker.make_tables(made.parent)
        return made


def change(path: Path, lines: Mapping[str, str]) -> None:
    """Put another line in the place of each, in a file of the store's owner alone.

    Raises:
      ConfigError: one is not there exactly once; the file was not changed.
    """
    text = path.read_text(encoding="utf-8")
    for before, after in lines.items():
        if text.count(before) != 1:
            raise ConfigError(f"{path}: {text.count(before)} places say {before!r}, not one; it was not changed")
        text = text.replace(before, after)
    replace_bytes(path, text.encode())
    path.chmod(0o600)


def shops_of(table: Path) -> list[str]:
    """Names in the column store of a CSV file, sorted.

    Raises:
      DataError: it has none.
    """
    with table.open(newline="", encoding="utf-8") as file:
        found = {row.get("store") or "" for row in csv.DictReader(file)} - {""}
    if not found:
        raise DataError(f"{table}: no column store; nothing was joined")
    return sorted(found)
