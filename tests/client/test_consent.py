"""Consent: whoever opted out is as if they had never been a customer, from the next release on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from fedcart.client import records as module
from fedcart.client.consent import OPTED_OUT, consenting, set_consent
from fedcart.client.forget import STILL_HELD, forget, opt_out
from fedcart.client.gate import release
from fedcart.client.ledger_files import ledger_path, open_store_ledger
from fedcart.client.records import LOCAL, RECORDS, StoreRecords, open_records, write_records
from fedcart.shared.agreement import Agreement
from fedcart.shared.errors import DataError
from private_run import LEARNERS, around, seeded, small

GONE = (1, 3)


def released(directory: Path, agreement: Agreement) -> dict[str, np.ndarray]:
    state = agreement.learner.initial_state(agreement.catalogue, 0)
    records = StoreRecords.open(directory, 0, 0)
    return dict(release(agreement, agreement.rounds[0], 0, state, records, around(directory, keys=seeded)))


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_release_is_byte_identical_to_that_of_a_store_without_them(tmp_path, learner):
    with_them, never_there = tmp_path / "with", tmp_path / "never"
    agreement = small(with_them, learner, rehearsal=True)
    opt_out(with_them, GONE)
    other = small(never_there, learner, rehearsal=True)
    histories, offsets = open_records(never_there)
    left = np.setdiff1d(np.arange(histories.customers), GONE)
    write_records(never_there, histories.take(left), np.maximum(offsets - len(GONE), 0))
    assert StoreRecords.open(with_them, 0).count == StoreRecords.open(never_there, 0).count == 3
    found, wanted = released(with_them, agreement), released(never_there, other)
    for name, total in found.items():
        np.testing.assert_array_equal(total, wanted[name])


def test_opting_in_again_counts_from_the_next_release(tmp_path):
    agreement = small(tmp_path, rehearsal=True, attempts=3)
    state = agreement.learner.initial_state(agreement.catalogue, 0)

    def total(attempt: int) -> np.ndarray:
        records = StoreRecords.open(tmp_path, 0, 0)

        def noiseless(plan, round_index, _, name):
            return seeded(plan, round_index, 0, name)

        found = release(agreement, agreement.rounds[0], attempt, state, records, around(tmp_path, keys=noiseless))
        return found["popularity"]

    before = total(0)
    set_consent(tmp_path, [0], 15, opted_out=True)
    without = total(1)
    set_consent(tmp_path, [0], 15, opted_out=False)
    assert not np.array_equal(before, without)
    np.testing.assert_array_equal(total(2), before)


def test_consent_is_read_once_for_all_releases_of_a_round(tmp_path):
    small(tmp_path)
    records = StoreRecords.open(tmp_path, 0, 0)
    opt_out(tmp_path, GONE)
    assert records.count == sum(block.histories.customers for block in records.blocks()) == 5
    assert StoreRecords.open(tmp_path, 0, 0).count == 3


def test_local_rows_of_those_who_stay_are_still_theirs(tmp_path):
    small(tmp_path)
    rows = np.arange(10, dtype=np.float32).reshape(5, 2) + 1
    StoreRecords.open(tmp_path, 0, 0).local.write("f", slice(0, 5), rows)
    opt_out(tmp_path, GONE)
    left = StoreRecords.open(tmp_path, 0, 1)
    np.testing.assert_array_equal(left.local.read("f", slice(0, 3), 2), rows[[0, 2, 4]])
    left.local.write("f", slice(1, 2), np.array([[7.0, 8.0]], np.float32))
    np.testing.assert_array_equal(StoreRecords.open(tmp_path, 0, 2).local.read("f", slice(1, 2), 2), [[7, 8]])
    set_consent(tmp_path, GONE, 15, opted_out=False)
    back = StoreRecords.open(tmp_path, 0, 2).local
    np.testing.assert_array_equal(back.read("f", slice(0, 5), 2)[list(GONE)], np.zeros((2, 2)))  # erased, not hidden
    assert not back.written("f", slice(0, 5), 2)[list(GONE)].any()


def test_forgetting_erases_rows_and_interactions_and_names_nobody(tmp_path):
    small(tmp_path)
    before, offsets = open_records(tmp_path)
    before = dataclasses.replace(before, **{f: np.array(getattr(before, f)) for f in ("items", "weights", "ages")})
    counts = before.counts.copy()
    StoreRecords.open(tmp_path, 0, 0).local.write("f", slice(0, 5), np.ones((5, 2), np.float32))
    with open_store_ledger(tmp_path, 0) as ledger:
        assert forget(tmp_path, GONE, ledger) == STILL_HELD
    after, same = open_records(tmp_path)
    np.testing.assert_array_equal(same, offsets)
    assert after.counts[list(GONE)].tolist() == [0, 0]
    kept = np.setdiff1d(np.arange(before.customers), GONE)
    np.testing.assert_array_equal(after.counts[kept], counts[kept])
    np.testing.assert_array_equal(after.take(kept).items, before.take(kept).items)
    table = np.load(tmp_path / RECORDS / LOCAL / "f.0.npy")
    np.testing.assert_array_equal(table[:5].any(axis=1), [True, False, True, False, True])
    last = ledger_path(tmp_path, 0).read_text().splitlines()[-1]
    assert json.loads(last)["kind"] == "erasure"
    assert set(json.loads(last)["body"]) == {"customers", "date"}


def test_a_crash_between_the_two_renames_loses_nothing(tmp_path, monkeypatch):
    small(tmp_path)
    before = [np.array(x) for x in open_records(tmp_path)[0].take(np.arange(15)).__dict__.values() if np.ndim(x)]
    rename = Path.rename

    def crash(self: Path, target: Path) -> Path:
        if self.name == f".{RECORDS}.part":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", crash)
    with open_store_ledger(tmp_path, 0) as ledger, pytest.raises(KeyboardInterrupt):
        forget(tmp_path, GONE, ledger)
    monkeypatch.setattr(Path, "rename", rename)
    assert not (tmp_path / RECORDS).exists()
    assert StoreRecords.open(tmp_path, 0).count == 3  # their consent was gone first
    after = [np.array(x) for x in open_records(tmp_path)[0].take(np.arange(15)).__dict__.values() if np.ndim(x)]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)
    with open_store_ledger(tmp_path, 0) as ledger:
        forget(tmp_path, GONE, ledger)
    assert open_records(tmp_path)[0].counts[list(GONE)].tolist() == [0, 0]
    assert module.OLD not in [p.name for p in tmp_path.iterdir()]


@pytest.mark.parametrize("bad", [[15], [-1]])
def test_refuses_a_customer_who_is_none(tmp_path, bad):
    small(tmp_path)
    with pytest.raises(DataError, match="nobody's consent was changed"):
        opt_out(tmp_path, bad)
    assert not (tmp_path / OPTED_OUT).exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"no table", np.zeros(3, np.bool_), np.zeros(15, np.int8), np.zeros((15, 1), np.bool_)],
    ids=["empty", "no table", "too short", "numbers", "two dimensions"],
)
def test_a_damaged_table_of_consent_stops_every_release(tmp_path, content):
    agreement = small(tmp_path)
    path = tmp_path / OPTED_OUT
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    with pytest.raises(DataError, match="nothing was read"):
        released(tmp_path, agreement)


def test_rows_are_counted_from_a_stores_first_customer(tmp_path):
    """Of six customers the third and the last are out; the store asked about begins at the third."""
    set_consent(tmp_path, [2, 5], 6, opted_out=True)
    np.testing.assert_array_equal(consenting(tmp_path, 2, 6), [1, 2])
    assert consenting(tmp_path, 3, 5) is None
    with pytest.raises(DataError, match="4 of 5 customers; nothing was read"):
        consenting(tmp_path, 2, 7)
