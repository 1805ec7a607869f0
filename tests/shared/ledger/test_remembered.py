"""A process verifies its ledger once: later openings look at what was appended, and refuse all they refused before."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedcart.shared.errors import PrivacyRefused
from fedcart.shared.ledger import Ledger, ledger
from fedcart.shared.ledger.disk import Disk
from fedcart.shared.ledger.verify import verify
from shared.ledger.ledger_cases import PEER, STORE, Clock, charge, create, send


class Counting(Disk):
    """Counts the waits for the medium."""

    waits = 0

    def fsync(self, descriptor: int) -> None:
        self.waits += 1
        super().fsync(descriptor)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Counting:
    """The disk whose ledgers are remembered."""
    made = Counting()
    monkeypatch.setattr(ledger, "DISK", made)
    return made


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Lines that an opening looks at."""
    seen: list[bytes] = []
    real = ledger.parse_line
    monkeypatch.setattr(ledger, "parse_line", lambda raw: (seen.append(raw), real(raw))[1])
    return seen


def start(path: Path, disk: Disk) -> Path:
    """Ten charges, closed."""
    with create(path, disk=disk) as made:
        for number in range(10):
            send(made, number)
    return path


def test_an_unchanged_ledger_is_not_verified_again_and_costs_no_wait(tmp_path, disk, parsed):
    path = start(tmp_path / "a.jsonl", disk)
    waits = disk.waits
    for number in range(10, 13):
        with Ledger.open(path, STORE, disk=disk, clock=Clock()) as opened:
            assert opened.was_charged("1" * 64, number - 1, 0, "factors")
            charge(opened, number)
    assert parsed == []
    assert disk.waits - waits == 3
    assert verify(path).findings == ()


def test_another_disk_and_another_path_remember_nothing(tmp_path, disk, parsed):
    path = start(tmp_path / "a.jsonl", disk)
    (tmp_path / "b.jsonl").write_bytes(path.read_bytes())
    for where, through in ((path, Disk()), (tmp_path / "b.jsonl", disk)):
        parsed.clear()
        Ledger.open(where, STORE, disk=through, clock=Clock()).close()
        assert len(parsed) == 22


def test_what_another_process_appended_is_verified_and_waited_for(tmp_path, disk, parsed):
    path = start(tmp_path / "a.jsonl", disk)
    with Ledger.open(path, STORE, disk=Disk(), clock=Clock()) as other:
        charge(other, 10)
    parsed.clear()
    waits = disk.waits
    with Ledger.open(path, STORE, disk=disk, clock=Clock()) as opened:
        assert opened.was_charged("1" * 64, 10, 0, "factors")
    assert len(parsed) == 1
    assert disk.waits - waits == 2


def test_a_file_that_was_touched_is_waited_for_though_it_says_the_same(tmp_path, disk, parsed):
    path = start(tmp_path / "a.jsonl", disk)
    same = path.read_bytes()
    path.unlink()
    path.write_bytes(same)
    waits = disk.waits
    Ledger.open(path, STORE, disk=disk, clock=Clock()).close()
    assert (parsed, disk.waits - waits) == ([], 2)
    assert path.read_bytes() == same


CHANGES = {
    "a digit": (lambda raw: raw.replace(b'"variance":"6', b'"variance":"9', 1), "rho"),
    "a line taken out": (lambda raw: b"\n".join(raw.split(b"\n")[:3] + raw.split(b"\n")[4:]), "sequence"),
    "a line of another kind": (lambda raw: raw + b"{}\n", "fields"),
    "nothing left": (lambda raw: b"", "genesis"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changed_under_it_is_refused_as_before(tmp_path, disk, change):
    path = start(tmp_path / "a.jsonl", disk)
    make, rule = CHANGES[change]
    path.write_bytes(make(path.read_bytes()))
    messages = []
    for through in (disk, Disk()):
        with pytest.raises(PrivacyRefused, match=rule) as refused:
            Ledger.open(path, STORE, disk=through, clock=Clock())
        messages.append(str(refused.value))
    assert messages[0] == messages[1]


def test_the_last_line_edited_by_a_stranger_is_refused(tmp_path, disk):
    path = start(tmp_path / "a.jsonl", disk)
    raw = path.read_bytes()
    sig = raw.rindex(b'"sig":"') + 7
    path.write_bytes(raw[:sig] + (b"0" if raw[sig : sig + 1] != b"0" else b"1") + raw[sig + 1 :])
    with pytest.raises(PrivacyRefused, match="line 22: signature"):
        Ledger.open(path, STORE, disk=disk, clock=Clock())


def test_another_key_is_refused_and_a_rotation_is_remembered(tmp_path, disk):
    path = start(tmp_path / "a.jsonl", disk)
    with pytest.raises(PrivacyRefused, match="another key"):
        Ledger.open(path, PEER, disk=disk, clock=Clock())
    with Ledger.open(path, STORE, disk=disk, clock=Clock()) as opened:
        opened.rotate(PEER)
    Ledger.open(path, PEER, disk=disk, clock=Clock()).close()
    with pytest.raises(PrivacyRefused, match="another key"):
        Ledger.open(path, STORE, disk=disk, clock=Clock())


def test_a_torn_end_is_charged_whatever_is_remembered(tmp_path, disk):
    path = start(tmp_path / "a.jsonl", disk)
    with Ledger.open(path, STORE, disk=disk, clock=Clock()) as opened:
        before = opened.lifetime_rho
    with path.open("ab") as file:
        file.write(b'{"body"')
    with Ledger.open(path, STORE, disk=disk, clock=Clock()) as opened:
        assert opened.lifetime_rho > before


def test_what_a_stranger_wrote_before_it_was_closed_is_a_torn_end_too(tmp_path, disk):
    path = start(tmp_path / "a.jsonl", disk)
    with Ledger.open(path, STORE, disk=disk, clock=Clock()) as opened:
        before = opened.lifetime_rho
        with path.open("ab") as file:
            file.write(b'{"body"')
    for _ in range(2):
        with Ledger.open(path, STORE, disk=disk, clock=Clock()) as opened:
            assert opened.lifetime_rho > before


def test_a_ledger_that_could_not_write_is_not_remembered(tmp_path, disk, monkeypatch, parsed):
    path = start(tmp_path / "a.jsonl", disk)
    with Ledger.open(path, STORE, disk=disk, clock=Clock()) as opened, monkeypatch.context() as patch:
        patch.setattr(Counting, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(PrivacyRefused, match="No space"):
            charge(opened, 10)
    parsed.clear()
    with Ledger.open(path, STORE, disk=disk, clock=Clock()) as opened:
        assert not opened.was_charged("1" * 64, 10, 0, "factors")
    assert len(parsed) == 22
