"""What was remembered is there after a crash, what was not acknowledged is gone, anything else stops the store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fedcart.shared.errors import DataError, InputError, ProtocolError
from fedcart.shared.secagg.journal import Past, Record, past
from fedcart.shared.secagg.journal_file import SLOT, FileJournal
from secagg_kit import Coalition, make_pins

RUN, OTHER = b"r" * 32, b"o" * 32


def record(kind: str, epoch: int, **more: int) -> bytes:
    return Record(kind=kind, run=RUN, epoch=epoch, **more).to_bytes()  # type: ignore[arg-type]


def test_a_record_reads_back_as_it_was_written() -> None:
    made = Record(kind="CONFIRM", run=RUN, epoch=2**40, round=7, release=9, context=OTHER, value=b"v" * 32)
    assert Record.parse(made.to_bytes()) == made
    for raw in (b"", made.to_bytes()[:-1], b"\x09" + made.to_bytes()[1:]):
        with pytest.raises(ProtocolError, match="damaged"):
            Record.parse(raw)


def test_the_past_of_one_run_knows_nothing_of_another() -> None:
    records = [record("KEYS", 3), record("TRAIN", 3, release=5), Record(kind="KEYS", run=OTHER, epoch=9).to_bytes()]
    assert past(records, RUN) == Past(3, 5)
    assert past(records, OTHER) == Past(9, -1)
    assert past(records, b"x" * 32) == Past(-1, -1)


def test_records_survive_and_the_head_moves_with_them(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path / "journal")
    heads = {journal.head()}
    for epoch in range(3):
        journal.remember(record("KEYS", epoch))
        heads.add(journal.head())
    last = journal.head()
    journal.close()
    again = FileJournal(tmp_path / "journal")
    assert again.past(RUN) == Past(2, -1)
    assert again.head() == last
    assert len(heads) == 4
    assert os.stat(tmp_path / "journal").st_mode & 0o077 == 0
    with pytest.raises(ProtocolError, match="epoch 2 is gone by"):
        again.remember(record("KEYS", 2))


def test_what_a_journal_knows_of_each_run_is_what_all_its_records_say(tmp_path: Path) -> None:
    journal, written = FileJournal(tmp_path / "journal"), []
    for epoch in range(4):
        for run in (RUN, OTHER)[: 1 + epoch % 2]:
            for kind, release in (("KEYS", 0), ("TRAIN", 3 + epoch), ("CONFIRM", 2)):
                made = Record(kind=kind, run=run, epoch=epoch, release=release).to_bytes()
                journal.remember(made)
                written.append(made)
                assert [journal.past(x) for x in (RUN, OTHER)] == [past(written, x) for x in (RUN, OTHER)]
    journal.close()
    again = FileJournal(tmp_path / "journal")
    assert [again.past(x) for x in (RUN, OTHER)] == [past(written, x) for x in (RUN, OTHER)] == [Past(3, 6), Past(3, 6)]


def test_remembering_takes_as_long_after_thousands_of_records_as_after_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3,000 records parse 3,000 records: counted, since time is not the same twice."""
    parsed = []
    parse = Record.parse
    monkeypatch.setattr(Record, "parse", staticmethod(lambda raw: parsed.append(1) or parse(raw)))
    monkeypatch.setattr(os, "fsync", lambda _: None)
    journal = FileJournal(tmp_path / "journal")
    for number in range(3000):
        journal.remember(record("TRAIN", 0, release=number))
    assert len(parsed) == 3000


def test_only_one_process_or_object_writes(tmp_path: Path) -> None:
    FileJournal(tmp_path / "journal")
    first = FileJournal(tmp_path / "other")
    with pytest.raises(InputError, match="only writer"):
        FileJournal(tmp_path / "other")
    first.close()
    FileJournal(tmp_path / "other")


@pytest.mark.parametrize("left", [1, SLOT // 2, SLOT - 1])
@pytest.mark.parametrize("zeros", [False, True])
def test_what_a_crash_left_of_a_record_is_cut_off(tmp_path: Path, left: int, zeros: bool) -> None:
    path = tmp_path / "journal"
    journal = FileJournal(path)
    journal.remember(record("KEYS", 0))
    journal.remember(record("KEYS", 1))
    journal.close()
    raw = path.read_bytes()
    path.write_bytes(raw[:SLOT] + (bytes(SLOT) if zeros else raw[SLOT : SLOT + left]))
    again = FileJournal(path)
    assert again.past(RUN).epoch == 0
    assert path.stat().st_size == SLOT
    again.remember(record("KEYS", 5))
    again.close()
    assert FileJournal(path).past(RUN).epoch == 5


def test_other_damage_stops_the_store(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = FileJournal(path)
    for epoch in range(3):
        journal.remember(record("KEYS", epoch))
    journal.close()
    raw = path.read_bytes()
    for at in (5, SLOT + 100, 3 * SLOT - 1):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        with pytest.raises(DataError, match="is damaged; no epoch was entered"):
            FileJournal(path)
    path.write_bytes(raw[SLOT:])
    with pytest.raises(DataError, match="record 0 is damaged"):
        FileJournal(path)


def test_after_a_failed_sync_nothing_more_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = FileJournal(tmp_path / "journal")

    def fails(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        with pytest.raises(InputError, match="cannot append: No space left"):
            journal.remember(record("KEYS", 0))
    with pytest.raises(ProtocolError, match="a write failed before"):
        journal.remember(record("KEYS", 0))


def test_a_round_runs_on_files(tmp_path: Path) -> None:
    made = Coalition(make_pins(3), journals={i: FileJournal(tmp_path / str(i)) for i in range(3)})  # type: ignore[misc]
    begun = made.open_epoch().begin(0, 0, RUN)
    for i in range(3):
        assert begun.train.cohort == (0, 1, 2)
        made.stores[i].train(begun.train_request(), RUN, lambda _: made.words([1, 2, 3]))
    for i in range(3):
        made.journals[i].close()  # type: ignore[attr-defined]
        made.journals[i] = FileJournal(tmp_path / str(i))  # type: ignore[assignment]
        with pytest.raises(ProtocolError, match=r"lies outside 1 \.\. 16"):
            made.start(i).keys(_keys_request(made))


def _keys_request(made: Coalition) -> bytes:
    from fedcart.shared.secagg.requests import KeysRequest
    from fedcart.shared.secagg.wire import sign, spell
    from secagg_kit import COORDINATOR, identity

    return spell(sign(KeysRequest(made.pins.tag(0), 0), identity(COORDINATOR)))
