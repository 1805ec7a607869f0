"""After a crash at any moment a ledger opens, verifies, and records no less than what was sent.

Page caches survive kill -9, so killing alone proves little: a recorder replays every prefix of a run with what was
not synced dropped, cut or zeroed. Variants that charge too late or do not sync must fail the same check.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import time
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import pytest

from fedcart.shared.errors import FedcartError, InputError, PrivacyRefused
from fedcart.shared.ledger import Ledger, torn
from fedcart.shared.ledger.disk import Disk
from fedcart.shared.ledger.file import LedgerFile
from fedcart.shared.ledger.verify import verify
from shared.ledger.ledger_cases import DELTA, PLAN, RHO, STORE, Clock, charge, create, reopen, send
from shared.ledger.recorder import Careless, Recorder, Snapshot, Step, crashes, put, sent, without

NAME = "ledger.jsonl"


class UnderCount(AssertionError):
    """A ledger that opens with less than was sent, or does not open at all."""


def run(disk: Recorder, path: Path, *, send_first: bool = False) -> int:
    """A short life of a store. Returns the step at which the ledger stood."""
    ledger = create(path, disk=disk)
    born = len(disk.log)
    for number in range(3):
        if send_first:
            disk.send(RHO)
        token = charge(ledger, number)
        token.spend()
        ledger.release(token, "5" * 64)
        if not send_first:
            disk.send(RHO)
    ledger.erased(3)
    ledger.close()
    return born


def check(state: Snapshot, owed: Fraction, directory: Path, *, born: bool) -> bool:
    """Open what a crash left, and hold it against what was sent. Returns whether it opened."""
    put(state, directory)
    path = directory / NAME
    try:
        with reopen(path) as ledger:
            if ledger.lifetime_rho < owed:
                raise UnderCount(f"{ledger.lifetime_rho} < {owed}")
            charge(ledger, 99)  # life goes on
    except (PrivacyRefused, InputError) as error:
        if born:
            raise UnderCount("a ledger that stood once does not open") from error
        return False
    verify(path).require()
    return True


def replay(steps: list[Step], born: int, directory: Path) -> tuple[int, int]:
    """Every crash of a run. Returns how many states there were, and how many opened."""
    states = opened = 0
    for count in range(len(steps) + 1):
        for state in crashes(steps[:count]):
            states += 1
            opened += check(state, sent(steps[:count]), directory, born=count >= born)
    return states, opened


@pytest.fixture
def lazy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of openings: the recorder's log is the medium, the real one need not be waited for."""
    monkeypatch.setattr(Disk, "fsync", lambda *_: None)


def places(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("run", "crash"):
        (tmp_path / name).mkdir()
    return tmp_path / "run", tmp_path / "crash"


def test_every_crash_leaves_a_ledger_that_opens_and_owes_nothing(tmp_path: Path, lazy: None) -> None:
    life, crash = places(tmp_path)
    disk = Recorder(life)
    born = run(disk, life / NAME)
    states, opened = replay(disk.log, born, crash)
    assert states > 150
    assert opened > 130


def test_a_store_that_sends_before_it_charges_fails_this_check(tmp_path: Path, lazy: None) -> None:
    life, crash = places(tmp_path)
    disk = Recorder(life)
    born = run(disk, life / NAME, send_first=True)
    with pytest.raises(UnderCount):
        replay(disk.log, born, crash)


@pytest.mark.parametrize(("files", "names"), [(True, False), (False, True), (True, True)])
def test_a_store_that_does_not_sync_fails_this_check(tmp_path: Path, lazy: None, files: bool, names: bool) -> None:
    life, crash = places(tmp_path)
    disk = Careless(life, files=files, names=names)
    born = run(disk, life / NAME)
    with pytest.raises(UnderCount):
        replay(disk.log, born, crash)


def torn_states(tmp_path: Path) -> list[tuple[Snapshot, Fraction]]:
    """States with a torn charge, and what was sent before."""
    life = tmp_path / "run"
    disk = Recorder(life)
    run(disk, life / NAME)
    writes = [i for i, step in enumerate(disk.log) if step[0] == "write" and b'"kind":"charge"' in step[3]]
    cuts = [(state, sent(disk.log[: i + 1])) for i in writes for state in crashes(disk.log[: i + 1])]
    return [(state, owed) for state, owed in cuts if torn.split(state[NAME])[1]]


def test_a_crash_in_the_middle_of_a_recovery_is_recovered_too(tmp_path: Path, lazy: None) -> None:
    _, crash = places(tmp_path)
    (tmp_path / "again").mkdir()
    for state, owed in torn_states(tmp_path)[::5]:
        put(state, crash)
        disk = Recorder(crash)
        start = len(disk.log)
        reopen(crash / NAME, disk=disk).close()
        for count in range(start, len(disk.log) + 1):
            for left in crashes(disk.log[:count]):
                # the torn tail costs a charge as well, whatever happened while it was kept
                check(left, owed + RHO, tmp_path / "again", born=True)


def test_a_torn_line_is_kept_and_costs_the_dearest_charge(tmp_path: Path, lazy: None) -> None:
    _, crash = places(tmp_path)
    for state, owed in torn_states(tmp_path):
        put(state, crash)
        whole = (crash / NAME).read_bytes()
        with reopen(crash / NAME) as ledger:
            assert ledger.lifetime_rho == pytest.approx(owed + RHO)
            assert ledger.epsilon(DELTA) > 0
        (kept,) = [file for file in crash.iterdir() if ".torn-" in file.name]
        lines = (crash / NAME).read_bytes().splitlines(keepends=True)
        assert b'"kind":"recovery"' in lines[-1]
        assert b"".join(lines[:-1]) + kept.read_bytes() == whole
        with reopen(crash / NAME) as ledger:  # once, not at every opening
            assert ledger.lifetime_rho == pytest.approx(owed + RHO)


def test_the_same_torn_bytes_twice_cost_twice(tmp_path: Path) -> None:
    path = tmp_path / NAME
    create(path).close()
    for times in (1, 2):
        with path.open("ab") as file:
            file.write(b'{"body":{"D"')
        with reopen(path) as ledger:
            assert ledger.lifetime_rho == pytest.approx(times * RHO)
    verify(path).require()


# ---- what the medium refuses


def test_a_failed_fsync_stops_for_good_and_nothing_is_released(tmp_path: Path) -> None:
    path, disk = tmp_path / NAME, Recorder(tmp_path)
    with create(path, disk=disk) as ledger:
        disk.fail_fsync_at = 0
        with pytest.raises(PrivacyRefused, match=r"fsync failed.*nothing was released"):
            charge(ledger)
        with pytest.raises(PrivacyRefused, match="fsync failed"):
            charge(ledger, 1)
    with pytest.raises(PrivacyRefused, match=r"fsync failed.*\nhint: see docs/ledger.md"):
        reopen(path)
    with pytest.raises(PrivacyRefused, match="fsync failed"):
        create(tmp_path / NAME)


def after_a_failed_fsync(life: Path) -> tuple[list[Step], int]:
    """A charge whose fsync fails, the marker taken away by hand, and more life afterwards."""
    disk, path = Recorder(life), life / NAME
    ledger = create(path, disk=disk)
    born = len(disk.log)
    send(ledger, 0)
    disk.send(RHO)
    disk.fail_fsync_at = 0
    with pytest.raises(PrivacyRefused):
        charge(ledger, 1)
    ledger.close()
    (life / f"{NAME}.stopped").unlink()
    with reopen(path, disk=disk) as ledger:
        send(ledger, 2)
        disk.send(RHO)
    return without(disk.log, ".stopped"), born


def test_a_ledger_started_again_by_hand_does_not_trust_the_page_cache(tmp_path: Path, lazy: None) -> None:
    life, crash = places(tmp_path)
    steps, born = after_a_failed_fsync(life)
    assert replay(steps, born, crash)[1] > 50


def test_opening_leaves_nothing_loose_so_a_head_that_is_sent_is_never_lost(tmp_path: Path) -> None:
    path = tmp_path / NAME
    with create(path) as ledger:
        send(ledger, 0)
    disk = Recorder(tmp_path)
    start = len(disk.log)
    with reopen(path, disk=disk):
        steps = disk.log[start:]
    assert steps[0][0] == "write"
    assert {("fsync", 0), ("fsync", 1)} <= set(steps[1:])


def trusting(self: LedgerFile, last: bytes, end: int) -> None:
    """Fsync, and believe it."""
    self._disk.fsync(self._descriptor)
    self._end, self._stopped = end, None


def test_a_ledger_that_trusts_the_page_cache_fails_this_check(
    tmp_path: Path, lazy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    life, crash = places(tmp_path)
    monkeypatch.setattr(LedgerFile, "settle", trusting)
    steps, born = after_a_failed_fsync(life)
    monkeypatch.undo()
    monkeypatch.setattr(Disk, "fsync", lambda *_: None)
    with pytest.raises(UnderCount):
        replay(steps, born, crash)


class Full(Disk):
    """No space after so many more bytes; then none at all."""

    left = 10**9

    def write(self, descriptor: int, data: bytes, offset: int) -> int:
        if self.left <= 0:
            raise OSError(28, "No space left on device")
        part = data[: self.left]
        self.left -= len(part)
        return super().write(descriptor, part, offset)


@pytest.mark.parametrize("left", [0, 1, 100, 400])
def test_a_full_disk_before_the_charge_releases_nothing(tmp_path: Path, left: int) -> None:
    path, disk = tmp_path / NAME, Full()
    with create(path, disk=disk) as ledger:
        send(ledger, 0)
        disk.left = left
        with pytest.raises(PrivacyRefused, match=r"No space left.*nothing was released"):
            charge(ledger, 1)
        disk.left = 10**9
        with pytest.raises(PrivacyRefused, match="did not end"):
            charge(ledger, 1)
    disk.left = 0
    with pytest.raises(InputError, match=r"No space left.*nothing was released"):
        reopen(path, disk=disk)
    with reopen(path) as ledger:
        assert ledger.lifetime_rho == pytest.approx((1 + (left > 0)) * RHO)
    verify(path).require()


@pytest.mark.parametrize("left", [0, 1, 100])
def test_a_full_disk_at_creation_leaves_no_ledger(tmp_path: Path, left: int) -> None:
    disk = Full()
    disk.left = left
    with pytest.raises(PrivacyRefused, match="No space left"):
        create(tmp_path / NAME, disk=disk)
    assert not (tmp_path / NAME).exists()
    create(tmp_path / NAME).close()


def test_a_file_at_its_size_limit_is_a_full_disk(tmp_path: Path) -> None:
    """The operating system itself says no, in a process of its own."""
    path = tmp_path / NAME
    create(path).close()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            ledger = reopen(path)
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, resource.RLIM_INFINITY))
            charge(ledger)
        except PrivacyRefused as error:
            code = 7 if "nothing was released" in error.message else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    with reopen(path) as ledger:
        assert ledger.lifetime_rho == pytest.approx(RHO)
    verify(path).require()


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_write_stops_the_object(tmp_path: Path, error: type[BaseException]) -> None:
    class Interrupted(Disk):
        on = False

        def fsync(self, descriptor: int) -> None:
            if self.on:
                raise error
            super().fsync(descriptor)

    disk = Interrupted()
    with create(tmp_path / NAME, disk=disk) as ledger:
        disk.on = True
        with pytest.raises(error):
            charge(ledger)
        disk.on = False
        with pytest.raises(PrivacyRefused, match="did not end"):
            charge(ledger, 1)
    with reopen(tmp_path / NAME) as ledger:
        assert ledger.lifetime_rho == pytest.approx(RHO)


# ---- kill -9


class Fatal(Disk):
    """Kills its process at the given call; a write stops half-way first."""

    def __init__(self, calls: int, share: float) -> None:
        self._calls, self._share = calls, share

    def _step(self) -> bool:
        self._calls -= 1
        return self._calls < 0

    def write(self, descriptor: int, data: bytes, offset: int) -> int:
        if self._step():
            super().write(descriptor, data[: int(len(data) * self._share)], offset)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().write(descriptor, data, offset)

    def fsync(self, descriptor: int) -> None:
        if self._step():
            os.kill(os.getpid(), signal.SIGKILL)
        super().fsync(descriptor)


def live(path: Path, disk: Disk, first: int) -> None:
    """A child's life: charge, record, send, until it is killed."""
    out = os.open(path.with_name("sent"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with Ledger.open(path, STORE, disk=disk, clock=Clock()) as ledger:
        for number in range(first, first + 10_000):
            send(ledger, number)
            os.write(out, b".")


def kills(path: Path, seeds: Iterable[int]) -> None:
    """kill -9 again and again on one ledger: half of them at a chosen call, half at a time."""
    create(path).close()
    for seed in seeds:
        chance = random.Random(seed)
        timed = seed % 2 == 1
        disk = Disk() if timed else Fatal(chance.randrange(40), chance.random())
        child = os.fork()
        if child == 0:
            try:
                live(path, disk, seed * 10_000)
            finally:
                os._exit(1)
        if timed:
            time.sleep(chance.uniform(0.0, 0.05))
            os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        there = path.with_name("sent")
        owed = RHO * (there.stat().st_size if there.exists() else 0)
        with reopen(path) as ledger:
            assert ledger.lifetime_rho >= owed, seed
        assert verify(path).findings == ()


def test_twenty_kills_leave_a_ledger_that_owes_nothing(tmp_path: Path) -> None:
    kills(tmp_path / NAME, range(20))


@pytest.mark.slow
def test_two_hundred_kills_leave_a_ledger_that_owes_nothing(tmp_path: Path) -> None:
    for part in range(20):
        (tmp_path / str(part)).mkdir()
        kills(tmp_path / str(part) / NAME, range(part * 10, part * 10 + 10))


def test_errors_of_a_damaged_ledger_are_ours(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(PLAN.encode())
    with pytest.raises(FedcartError, match="no finished line; nothing was released"):
        reopen(tmp_path / NAME)
