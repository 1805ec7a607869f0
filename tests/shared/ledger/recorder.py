"""A medium that forgets: records what a ledger does to its files and builds every state that a crash may leave.

A file's bytes are certain only after its fsync, a name only after its directory's. What was not synced may be there,
in part, as zeros, or not at all; names change in the order in which they were changed. An fsync that failed makes
nothing certain, and what it should have written is not written by a later fsync either: only writing it again helps.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from fedcart.shared.ledger.disk import Disk

Step = tuple[Any, ...]
Snapshot = dict[str, bytes]


class Recorder(Disk):
    """A Disk that works and keeps a log of steps; a test adds its own `send` steps."""

    def __init__(self, directory: Path) -> None:
        self.log: list[Step] = []
        self.fail_fsync_at = -1
        self._directory, self._names, self._open = directory, dict[str, int](), dict[int, int]()
        self._count = 0
        for file in sorted(directory.iterdir()):  # what is there at the start is certain
            self._create(file.name)
            self.log += [("write", self._names[file.name], 0, file.read_bytes()), ("fsync", self._names[file.name])]
        self.log.append(("fsync", 0))

    def send(self, rho: Fraction) -> None:
        self.log.append(("send", rho))

    def _create(self, name: str) -> None:
        self._count += 1
        self._names[name] = self._count
        self.log.append(("create", name, self._count))

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        descriptor = super().open(path, flags, mode)
        if path == self._directory:
            self._open[descriptor] = 0
            return descriptor
        if path.name not in self._names:
            self._create(path.name)
        elif flags & os.O_TRUNC:
            self.log.append(("truncate", self._names[path.name], 0))
        self._open[descriptor] = self._names[path.name]
        return descriptor

    def write(self, descriptor: int, data: bytes, offset: int) -> int:
        written = super().write(descriptor, data, offset)
        self.log.append(("write", self._open[descriptor], offset, data[:written]))
        return written

    def truncate(self, descriptor: int, size: int) -> None:
        super().truncate(descriptor, size)
        self.log.append(("truncate", self._open[descriptor], size))

    def fsync(self, descriptor: int) -> None:
        if self.fail_fsync_at == 0:
            self.fail_fsync_at = -1
            self.log.append(("fsync failed", self._open[descriptor]))
            raise OSError(5, "Input/output error")
        self.fail_fsync_at -= self.fail_fsync_at > 0
        self.log.append(("fsync", self._open[descriptor]))  # not passed on: the log is the medium

    def rename(self, old: Path, new: Path) -> None:
        super().rename(old, new)
        self._names[new.name] = self._names.pop(old.name)
        self.log.append(("rename", old.name, new.name))


class Careless(Recorder):
    """Forgets to sync: files, directories or both."""

    def __init__(self, directory: Path, *, files: bool, names: bool) -> None:
        super().__init__(directory)
        self._files, self._names_too = files, names

    def fsync(self, descriptor: int) -> None:
        if not (self._files if self._open[descriptor] else self._names_too):
            super().fsync(descriptor)


def sent(steps: list[Step]) -> Fraction:
    """rho of what was sent in these steps."""
    return sum((step[1] for step in steps if step[0] == "send"), Fraction(0))


class Medium:
    """What is certain and what is loose after some steps."""

    def __init__(self) -> None:
        self.sure, self.loose = dict[int, bytes](), dict[int, list[Step]]()
        self.doomed = dict[int, int]()  # how many loose steps a failed fsync wrote off
        self.names, self.changes = dict[str, int](), list[Step]()

    def take(self, step: Step) -> None:
        kind, file = step[0], step[1]
        if kind == "create":
            self.sure[step[2]], self.loose[step[2]], self.doomed[step[2]] = b"", [], 0
        if kind in ("create", "rename"):
            self.changes.append(step)
        elif kind in ("write", "truncate"):
            self.loose[file].append(step)
        elif kind == "fsync failed":
            self.doomed[file] = len(self.loose[file])
        elif kind == "fsync" and file == 0:
            self.names, self.changes = _renamed(self.names, self.changes), []
        elif kind == "fsync":
            self._settle(file)

    def _settle(self, file: int) -> None:
        lost, fine = self.loose[file][: self.doomed[file]], self.loose[file][self.doomed[file] :]
        for step in fine:
            self.sure[file] = _applied(self.sure[file], step)
        again = {step[2:] for step in fine if step[0] == "write"}
        self.loose[file] = [step for step in lost if step[2:] not in again]
        self.doomed[file] = len(self.loose[file])

    def states(self) -> Iterator[Snapshot]:
        for count in range(len(self.changes) + 1):
            files = sorted(_renamed(self.names, self.changes[:count]).items())
            for contents in itertools.product(*(list(_variants(self.sure[f], self.loose[f])) for _, f in files)):
                yield {name: content for (name, _), content in zip(files, contents, strict=True)}


def crashes(steps: list[Step]) -> Iterator[Snapshot]:
    """Every state of the directory that a crash after these steps may leave: name -> bytes."""
    medium = Medium()
    for step in steps:
        medium.take(step)
    return medium.states()


def without(steps: list[Step], word: str) -> list[Step]:
    """The steps that concern no file whose name holds `word`."""
    gone = {step[2] for step in steps if step[0] == "create" and word in step[1]}
    return [step for step in steps if not any(word in str(part) for part in step[1:]) and step[1] not in gone]


def put(state: Snapshot, directory: Path) -> None:
    """Make the directory hold this state and nothing else."""
    for file in directory.iterdir():
        file.unlink()
    for name, content in state.items():
        (directory / name).write_bytes(content)


def _renamed(names: dict[str, int], changes: list[Step]) -> dict[str, int]:
    names = dict(names)
    for step in changes:
        if step[0] == "create":
            names[step[1]] = step[2]
        else:
            names[step[2]] = names.pop(step[1])
    return names


def _applied(content: bytes, step: Step) -> bytes:
    if step[0] == "truncate":
        return content[: step[2]].ljust(step[2], b"\0")
    _, _, offset, data = step
    return content.ljust(offset, b"\0")[:offset] + data + content[offset + len(data) :]


def _variants(content: bytes, loose: list[Step]) -> Iterator[bytes]:
    """Every subset of what is loose, and its last write cut short or partly missing in every way that matters."""
    seen = set()
    chosen = loose if len(loose) <= 4 else loose[:1] + loose[-3:]
    for kept in itertools.product((False, True), repeat=len(chosen)):
        steps = [step for step, keep in zip(chosen, kept, strict=True) if keep]
        before = content
        for step in steps[:-1]:
            before = _applied(before, step)
        for state in _parts(before, steps[-1]) if steps else [before]:
            if state not in seen:
                seen.add(state)
                yield state


def _parts(content: bytes, step: Step) -> Iterator[bytes]:
    """The step done; or, of a write, the front or the back alone. What is missing shows what stood there before, and
    zeros beyond the old end."""
    yield _applied(content, step)
    if step[0] != "write":
        return
    kind, file, offset, data = step
    end = offset + len(data)
    for cut in sorted({0, 1, len(data) // 3, len(data) // 2, len(data) - 2, len(data) - 1} & set(range(len(data)))):
        front = _applied(content, (kind, file, offset, data[:cut]))
        yield front
        yield front.ljust(end, b"\0")
        yield _applied(content, (kind, file, offset + cut, data[cut:]))
