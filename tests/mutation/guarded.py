"""Runs the tests that guard a module against its mutants: in copies of the repository, in forked processes.

A child is forked from a process that has the heavy packages loaded, and imports everything else from its copy. The
tests that killed most mutants so far run first, then the quickest; hypothesis does not shrink what it finds.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

PRELOADED = ("numpy", "scipy.sparse", "scipy.special", "scipy.linalg", "hypothesis", "pytest", "cryptography",
             "dp_accounting", "rich", "torch", "opacus", "flwr.common")  # fmt: skip
PATIENCE, GRACE = 5, 20.0
"""A mutant hangs when its tests take longer than PATIENCE times what they take without it, and GRACE seconds."""
MEMORY = 24 << 30
"""Bytes of address space of a child, so that a mutant that asks for everything fails alone."""
TEXTUAL = ("tests/shared/test_discrete_gaussian.py::test_a_mistake_is_caught",)
"""Tests that compare a module's text, which any change fails: they kill nothing."""
ROOTS = ("shared", "client", "server", "simulation", "tests")


class Change(Protocol):
    """A module's text with one change."""

    @property
    def module(self) -> str: ...
    @property
    def text(self) -> str: ...


@dataclass
class Copy:
    """A copy of the repository in which one child runs at a time."""

    root: Path
    child: int = 0
    until: float = 0.0
    running: Any = None

    @property
    def told(self) -> Path:
        return self.root.parent / f"{self.root.name}.json"


@dataclass
class Order:
    """What is known of a module's tests: seconds of each, and how many mutants it killed."""

    seconds: dict[str, float] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)

    def rank(self, test: str) -> tuple[int, float]:
        return -self.kills[test], self.seconds.get(test, 0.0)


class Plugin:
    """Inside a child's pytest: sets the order, and writes down the first test that failed, or how long each took."""

    def __init__(self, order: Order, told: Path) -> None:
        self._order, self._told, self._seconds = order, told, dict[str, float]()

    def pytest_configure(self) -> None:
        from hypothesis import Phase, settings

        phases = (Phase.explicit, Phase.generate)
        settings.register_profile("mutants", parent=settings.get_profile("fedcart"), phases=phases)
        settings.load_profile("mutants")

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items.sort(key=lambda item: self._order.rank(item.nodeid))

    def pytest_runtest_logreport(self, report: Any) -> None:
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self._told.write_text(json.dumps({"failed": report.nodeid}), encoding="utf-8")

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if exitstatus == 0:
            self._told.write_text(json.dumps({"seconds": self._seconds}), encoding="utf-8")


def make_copies(root: Path, folder: Path, number: int) -> list[Copy]:
    """Clones of the last commit."""
    for name in PRELOADED:
        __import__(name)
    copies = [Copy(folder / f"copy{i}") for i in range(number)]
    for copy in copies:
        subprocess.run(["git", "clone", "-q", str(root), str(copy.root)], check=True)
    return copies


def overlay(root: Path, copies: Sequence[Copy], names: Sequence[str]) -> None:
    """Bring files of the working tree into the copies."""
    for copy in copies:
        for name in names:
            shutil.copyfile(root / name, copy.root / name)


def verdicts(
    copies: Sequence[Copy], module: str, tests: Sequence[str], changes: Sequence[Change]
) -> Iterator[tuple[Any, str]]:
    """(change, test that killed it), in the order in which they end; `survived` and `hung` are no tests' names.

    Raises:
      RuntimeError: the tests fail without any change but the layout that all mutants have.
    """
    order, started = Order(), time.monotonic()
    original = (copies[0].root / module).read_text(encoding="utf-8")
    for copy in copies:
        (copy.root / module).write_text(ast.unparse(ast.parse(original)), encoding="utf-8")
        _start(copy, tests, order, 3600.0, writes_bytecode=True)
    for copy in copies:
        if _wait(copy) != 0:
            raise RuntimeError(f"{' '.join(tests)} fail without a change: {copy.told.read_text(encoding='utf-8')}")
        order.seconds |= json.loads(copy.told.read_text(encoding="utf-8"))["seconds"]
        for stale in (copy.root / module).parent.glob(f"__pycache__/{Path(module).stem}.*"):
            stale.unlink()
    limit = PATIENCE * (time.monotonic() - started) + GRACE
    waiting = list(changes)[::-1]
    try:
        while waiting or any(copy.child for copy in copies):
            for copy in copies:
                if copy.child and (code := _poll(copy)) is not None:
                    verdict = _verdict(copy, code)
                    order.kills[verdict] += 1
                    yield copy.running, verdict
                if not copy.child and waiting:
                    copy.running = waiting.pop()
                    (copy.root / module).write_text(copy.running.text, encoding="utf-8")
                    _start(copy, tests, order, limit)
            time.sleep(0.01)
    finally:
        for copy in copies:
            _kill(copy)
            (copy.root / module).write_text(original, encoding="utf-8")


def _verdict(copy: Copy, code: int) -> str:
    if code == 0:
        return "survived"
    if code == -signal.SIGKILL:
        return "hung"
    return str(json.loads(copy.told.read_text(encoding="utf-8"))["failed"]) if copy.told.exists() else "import"


def _start(copy: Copy, tests: Sequence[str], order: Order, limit: float, *, writes_bytecode: bool = False) -> None:
    copy.told.unlink(missing_ok=True)
    copy.until = time.monotonic() + limit
    copy.child = os.fork()
    if copy.child == 0:
        code = 3
        try:
            code = _run_tests(copy, tests, order, writes_bytecode)
        finally:
            os._exit(code)


def _run_tests(copy: Copy, tests: Sequence[str], order: Order, writes_bytecode: bool) -> int:
    """Bytecode is judged fresh by size and second, so that of a mutant must not be kept."""
    import pytest

    os.setsid()
    os.chdir(copy.root)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    sys.dont_write_bytecode = not writes_bytecode
    sys.path[:0] = [str(copy.root / root) for root in ROOTS]
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    options = [
        "-x",
        "-q",
        "--tb=no",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        *(f"--deselect={test}" for test in TEXTUAL),
    ]
    return int(pytest.main([*options, *tests], plugins=[Plugin(order, copy.told)]))


def _poll(copy: Copy) -> int | None:
    """The exit code of the child that ended, or was stopped for hanging; None = it goes on."""
    done, status = os.waitpid(copy.child, os.WNOHANG)
    if done:
        copy.child = 0
        return os.waitstatus_to_exitcode(status)
    if time.monotonic() > copy.until:
        _kill(copy)
        return -signal.SIGKILL
    return None


def _wait(copy: Copy) -> int:
    while (code := _poll(copy)) is None:
        time.sleep(0.05)
    return code


def _kill(copy: Copy) -> None:
    if copy.child:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(copy.child, signal.SIGKILL)
        os.waitpid(copy.child, 0)
        copy.child = 0
