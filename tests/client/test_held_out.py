"""The measuring round at the store: consent, erasure, one customer's part, and a sum that is the oracle's."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcart.client.consent import set_consent
from fedcart.client.forget import opt_out
from fedcart.client.gate import release
from fedcart.client.held_out import HELD_OUT, MeasuredRecords, erase_held_out, write_held_out
from fedcart.client.records import StoreRecords
from fedcart.shared.agreement import Agreement
from fedcart.shared.errors import DataError
from fedcart.shared.evaluation import CLIP, METRICS, Evaluation, with_metrics_bound
from fedcart.shared.privacy.grid import grid
from private_run import around, seeded, start_ledger
from small_run import write_small_run

ITEMS = 12


def measured(directory: Path, **more: Any) -> Agreement:
    """A small run whose plan ends with a measurement, and one held-out item a customer where it is new."""
    agreement = write_small_run(directory, trust="local", epsilon=4.0, items=ITEMS, **more)
    plan = agreement.plan
    assert plan.privacy is not None
    terms = dataclasses.replace(plan.privacy, bounds=with_metrics_bound(plan.privacy.bounds))
    plan = dataclasses.replace(plan, privacy=terms, evaluation=Evaluation(rule="leave-one-out", target="purchase"))
    plan.save(directory / "plan.json", agreement.catalogue)
    made = Agreement.open(directory)
    start_ledger(directory, made, rehearsal=True)
    histories = StoreRecords.open(directory, 0).histories
    from fedcart.client.records import open_records

    everyone, _ = open_records(directory)
    items: list[list[int]] = []
    for row in range(everyone.customers):
        had = set(everyone.slice(row, row + 1).items.tolist())
        items.append([next(i for i in range(ITEMS) if i not in had)] if row % 3 and len(had) < ITEMS else [])
    indptr = np.concatenate([[0], np.cumsum([len(x) for x in items])]).astype(np.int64)
    write_held_out(directory, indptr, np.array([i for x in items for i in x], np.int32))
    assert histories.customers >= 3
    return made


def ask(directory: Path, agreement: Agreement) -> Any:
    """The last round of store 0, with noise that repeats: units."""
    last = agreement.rounds[-1]
    state = agreement.learner.initial_state(agreement.catalogue, 0)
    records = MeasuredRecords.open(directory, StoreRecords.open(directory, 0, last.index))
    return release(agreement, last, 0, state, records, around(directory, keys=seeded))[METRICS]


def test_the_sum_counts_the_customers_that_can_be_measured(tmp_path, monkeypatch):
    agreement = measured(tmp_path)
    monkeypatch.setattr("fedcart.client.gate.add_discrete_gaussian", lambda *_: None)
    found = grid(agreement.rounds[-1].releases[0]).values(ask(tmp_path, agreement))
    count = np.diff(MeasuredRecords.open(tmp_path, StoreRecords.open(tmp_path, 0)).indptr).sum()
    assert found[2] == pytest.approx(count, rel=1e-5)
    assert 0 <= found[1] <= found[0] <= found[2] * (1 + 1e-5)


def test_a_customer_who_leaves_moves_it_by_no_more_than_the_sensitivity(tmp_path):
    agreement = measured(tmp_path)
    bound, before = grid(agreement.rounds[-1].releases[0]).sensitivity, ask(tmp_path, agreement)
    for customer in range(StoreRecords.open(tmp_path, 0).count):
        set_consent(tmp_path, [customer], total(tmp_path), opted_out=True)
        moved = before - ask(tmp_path, agreement)
        assert sum(int(x) ** 2 for x in moved) <= bound**2
        assert bool(moved.any()) == (customer % 3 != 0)
        set_consent(tmp_path, [customer], total(tmp_path), opted_out=False)


def total(directory: Path) -> int:
    from fedcart.client.records import open_records

    return open_records(directory)[0].customers


def test_whoever_opts_out_is_left_out_and_their_held_out_items_are_gone(tmp_path):
    agreement = measured(tmp_path)
    everyone = ask(tmp_path, agreement)
    opt_out(tmp_path, [1])
    assert not np.array_equal(everyone, ask(tmp_path, agreement))
    set_consent(tmp_path, [1], total(tmp_path), opted_out=False)
    records = MeasuredRecords.open(tmp_path, StoreRecords.open(tmp_path, 0))
    assert np.diff(records.indptr)[1] == 0
    assert np.diff(records.indptr)[2] == 1


def test_a_store_that_held_nothing_out_measures_nothing(tmp_path):
    agreement = measured(tmp_path)
    (tmp_path / HELD_OUT).unlink()
    with pytest.raises(DataError, match="nothing was held out"):
        ask(tmp_path, agreement)
    erase_held_out(tmp_path, [0])  # nothing to erase
    np.savez(tmp_path / HELD_OUT, other=np.ones(1))
    with pytest.raises(DataError, match="not a table of held-out items"):
        ask(tmp_path, agreement)
    write_held_out(tmp_path, np.array([0, 0], np.int64), np.empty(0, np.int32))
    with pytest.raises(DataError, match="other customers"):
        ask(tmp_path, agreement)


def test_the_plan_says_how_it_is_measured_and_at_which_share(tmp_path):
    agreement = measured(tmp_path)
    written = (tmp_path / "plan.json").read_text()
    assert '"evaluation":{"rule":"leave-one-out","target":"purchase"}' in written
    assert agreement.plan.evaluation == Evaluation(rule="leave-one-out", target="purchase")
    assert agreement.rounds[-1].releases[0].clip_norm == CLIP
