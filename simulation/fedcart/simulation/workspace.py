"""A run's output directory: its configuration hash, finished stages and final files; nothing half-written.

A stage that ended is a file with its result; a run that goes on reads it instead of doing the work again. The
directory belongs to one configuration: another one is refused rather than mixed in.
"""

from __future__ import annotations

import errno
import fcntl
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from fedcart.shared.agreement import ROUNDS
from fedcart.shared.errors import InputError
from fedcart.shared.storage import load_arrays, named_failures, replace_bytes, save_arrays
from fedcart.simulation.config import CONTENTS
from fedcart.simulation.evaluate import Ranking

CONFIG = "config.json"
RUN = "run.json"
WORK = "work"
SITTINGS = f"{WORK}/sittings.json"
LOCK = ".lock.part"


class Workspace:
    """DIR of one run: of one configuration from the first finished stage or round on.

    `coalition` holds what the two apps read and write; `work` goes when the run is complete.
    """

    def __init__(self, directory: Path, config: dict[str, Any]) -> None:
        """Claim the directory for `config`.

        Raises:
          InputError: it belongs to another configuration or to something else, or cannot be written.
        """
        self.directory = directory
        self.coalition = directory / WORK / "coalition"
        self._stages = directory / WORK / "stages"
        try:
            self._refuse_foreign()
            self._made = not directory.exists()
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = lock(directory / LOCK)
            self._claim(config)
            self._stages.mkdir(parents=True, exist_ok=True)
            self.coalition.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{directory}: {error.strerror}; nothing was run", "choose another --out DIR") from None

    def _refuse_foreign(self) -> None:
        """Refuse a directory that holds files of something else, before anything is written into it."""
        if (self.directory / CONFIG).exists() or not self.directory.exists():
            return
        if any(not is_part(entry) for entry in self.directory.iterdir()):
            raise InputError(
                f"{self.directory} is not empty and holds no run; nothing was run", "choose another --out DIR"
            )

    def _claim(self, config: dict[str, Any]) -> None:
        path = self.directory / CONFIG
        if path.exists():
            before = read_json(path)
            if before == config:
                path.chmod(0o600)  # one that was begun before these files were private
                return
            if self._holds_results():
                if without_contents(before) == without_contents(config):
                    raise InputError(
                        f"{self.directory}: the data file has changed since this run was begun; nothing was run",
                        "choose another --out DIR, or remove this one",
                    )
                raise InputError(
                    f"{self.directory} holds a run of another configuration; nothing was run",
                    "choose another --out DIR, or repeat that run's options to resume it",
                )
            # The other run was refused before it did anything: bad input, then corrected.
            shutil.rmtree(self.directory / WORK, ignore_errors=True)
            (self.directory / RUN).unlink(missing_ok=True)
        replace_bytes(path, (json.dumps(config, indent=2) + "\n").encode(), private=True)  # a URL may hold a password

    def _holds_results(self) -> bool:
        """Whether a stage or a round was finished here."""
        path = self.directory / RUN
        complete = path.exists() and read_json(path).get("status") == "complete"
        return complete or (self.coalition / ROUNDS).exists() or any(self._stages.glob("*.npz"))

    def abandon(self) -> None:
        """Remove a directory that this run made, unless something was finished in it: its input was refused."""
        if self._made and not self._holds_results():
            shutil.rmtree(self.directory, ignore_errors=True)
        self._lock.close()

    def begin_sitting(self) -> None:
        """Count one more sitting."""
        self._begun = time.monotonic()
        path = self.directory / SITTINGS
        before = read_json(path) if path.exists() else {"seconds": 0.0, "sittings": 0}
        self._earlier, self.sittings = float(before["seconds"]), int(before["sittings"]) + 1
        self.note_time()

    @property
    def seconds(self) -> float:
        """Of all sittings."""
        return self._earlier + time.monotonic() - self._begun

    def note_time(self) -> None:
        """Keep the time spent so far for a sitting that may come after this one."""
        self.write_text(SITTINGS, json.dumps({"seconds": self.seconds, "sittings": self.sittings}))

    def write_text(self, name: str, text: str) -> Path:
        """Write a file of the run, all or nothing."""
        path = self.directory / name
        replace_bytes(path, text.encode())
        return path

    def bind(self, fingerprint: str) -> None:
        """Tie finished stages to what they were computed from; refuse to mix them with other data."""
        path = self.directory / WORK / "data.txt"
        if not path.exists():
            self.write_text(f"{WORK}/data.txt", fingerprint)
        elif path.read_text(encoding="utf-8") != fingerprint:
            raise InputError(
                f"{self.directory} was begun with other data or another version; nothing was run",
                "choose another --out DIR, or remove this one",
            )

    def finished(self) -> dict[str, Any] | None:
        """run.json of a complete run, report included; None while something is missing.

        Working files that a run killed at its very end left are removed.
        """
        path = self.directory / RUN
        if not path.exists() or not (self.directory / "report.html").exists():
            return None
        document = read_json(path)
        if document.get("status") != "complete":
            return None
        self.clean()
        return document

    def ranking(self, method: str, make: Callable[[], Ranking]) -> Ranking:
        """The method's ranking, from the finished stage or from `make`.

        Raises:
          InputError: the finished stage cannot be read, or the new one not be written.
        """
        path = self._stages / f"{method}.npz"
        names = [f.name for f in fields(Ranking)]
        if path.exists():
            stored = load_arrays(path)
            if set(stored) != set(names):
                raise InputError(f"{path}: not the result of a stage", f"delete {path} to do the stage again")
            return Ranking(**stored)
        made = make()
        save_arrays(path, {name: getattr(made, name) for name in names})
        return made

    def completed(self) -> datetime:
        """When run.json was written."""
        return datetime.fromtimestamp((self.directory / RUN).stat().st_mtime, UTC)

    def clean(self) -> None:
        """Remove the working files: the customers' rows stay nowhere in a finished run's directory."""
        with named_failures(self.directory / WORK, "remove"):
            if (self.directory / WORK).exists():
                shutil.rmtree(self.directory / WORK)
            for entry in self.directory.iterdir():
                if is_part(entry):
                    entry.unlink()
        self._lock.close()


def lock(path: Path) -> IO[bytes]:
    """Hold `path` against other processes until the file is closed. Raises InputError when another one holds it."""
    held = path.open("ab")
    try:
        fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held.close()
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise
        raise InputError(
            f"{path.parent} is in use by another run; nothing was run", "wait for it, or choose another --out DIR"
        ) from None
    return held


def without_contents(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration without what identifies the bytes of its files."""
    return {key: value for key, value in config.items() if key != CONTENTS}


def is_part(path: Path) -> bool:
    """A temporary file that a killed run left (`storage.replace_file`)."""
    return path.name.startswith(".") and path.name.endswith(".part")


def read_json(path: Path) -> dict[str, Any]:
    """A file of the run. Raises InputError when someone changed it to what is no JSON table."""
    with named_failures(path, "read"):
        raw = path.read_bytes()
    try:
        document = json.loads(raw)
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); nothing was run", "choose another --out DIR") from None
    if not isinstance(document, dict):
        raise InputError(f"{path}: not a JSON table; nothing was run", "choose another --out DIR")
    return document
