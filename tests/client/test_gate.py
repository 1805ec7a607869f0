"""The gate: what leaves a store has been charged, clipped, added up exactly and noised; anything else stays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from fedcart.client import gate
from fedcart.client.gate import release
from fedcart.client.ledger_files import ledger_path, open_store_ledger
from fedcart.client.records import StoreRecords
from fedcart.shared.agreement import Agreement
from fedcart.shared.errors import InputError, PrivacyRefused, ProtocolError
from fedcart.shared.interactions import WHOLE
from fedcart.shared.learners.base import Round, State
from fedcart.shared.learners.memory import MemoryCustomers
from fedcart.shared.learners.popularity import Popularity
from fedcart.shared.ledger.ledger import Ledger
from fedcart.shared.policy import Limits, Policy
from fedcart.shared.privacy.clipped_sums import ClippedSums
from fedcart.shared.privacy.grid import grid, share_variance
from fedcart.shared.privacy.release import Release
from private_run import LEARNERS, around, seeded, small, start_ledger
from small_run import write_small_run


def ask(directory: Path, agreement: Agreement, attempt: int = 0, **changes: Any) -> Mapping[str, Any]:
    """Round 0 of store 0."""
    state = agreement.learner.initial_state(agreement.catalogue, 0)
    records = StoreRecords.open(directory, 0, 0)
    return release(agreement, agreement.rounds[0], attempt, state, records, around(directory, **changes))


def lines(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ledger_path(directory, 0).read_bytes().splitlines()]


def kinds(directory: Path) -> list[str]:
    return [line["kind"] for line in lines(directory)]


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("trust", ["local", "distributed"])
def test_what_leaves_was_charged_at_its_price_and_its_hash_is_on_record(tmp_path, learner, trust):
    agreement = small(tmp_path, learner, trust)
    totals = ask(tmp_path, agreement, plain_shares=True)
    charges = [line["body"] for line in lines(tmp_path) if line["kind"] == "charge"]
    hashes = [line["body"]["hash"] for line in lines(tmp_path) if line["kind"] == "release"]
    wanted = agreement.rounds[0].releases
    assert [c["release"] for c in charges] == [x.name for x in wanted]
    assert hashes == [hashlib.sha256(totals[x.name].tobytes()).hexdigest() for x in wanted]
    for charge, x in zip(charges, wanted, strict=True):
        assert (int(charge["D"]), int(charge["variance"])) == (
            grid(x).sensitivity, share_variance(x, agreement.plan.honest),
        )  # fmt: skip
        assert charge["honest"] == agreement.plan.honest
        assert totals[x.name].dtype == np.int64


def test_the_noise_has_the_declared_scale_and_the_test_would_catch_five_percent(tmp_path):
    """20,000 numbers: the empirical variance errs by 1 % (one sigma); 5 sigma = one false alarm in 1.7 million."""
    agreement = write_small_run(tmp_path, trust="local", epsilon=4.0, items=20_000, customers_per_store=2)
    start_ledger(tmp_path, agreement)
    totals = ask(tmp_path, agreement)["popularity"]
    sums = ClippedSums(agreement.rounds[0].releases)
    records, learner = StoreRecords.open(tmp_path, 0, 0), agreement.learner
    learner.contribute(learner.initial_state(agreement.catalogue, 0), agreement.rounds[0], records, sums)
    noise = (totals - sums.units()["popularity"]).astype(float)
    declared = share_variance(agreement.rounds[0].releases[0], 1)
    assert abs(noise.var() / declared - 1) < 0.05
    assert abs(1.05**2 - 1) > 0.05 + 5 * 0.01  # a scale 5 % off would be seen
    assert abs(noise.mean()) < 5 * np.sqrt(declared / len(noise))


@pytest.mark.parametrize("learner", LEARNERS)
def test_one_customer_moves_what_leaves_by_at_most_the_sensitivity(tmp_path, learner):
    """With the same noise on both sides the difference of two releases is the customer's part alone, exactly."""
    agreement = small(tmp_path, learner, rehearsal=True)
    histories = StoreRecords.open(tmp_path, 0).histories
    state = agreement.learner.initial_state(agreement.catalogue, 0)
    with_all, without = (
        release(agreement, agreement.rounds[0], 0, state, MemoryCustomers(part), around(tmp_path, keys=seeded))
        for part in (histories, histories.slice(0, histories.customers - 1))
    )
    for x in agreement.rounds[0].releases:
        moved = (with_all[x.name] - without[x.name]).reshape(-1)
        assert 0 < sum(int(d) ** 2 for d in moved) <= grid(x).sensitivity ** 2


def test_two_stores_without_customers_send_nothing_but_noise_and_never_the_same(tmp_path):
    agreement = small(tmp_path, attempts=2)
    empty = StoreRecords.open(tmp_path, 2, 0)
    assert empty.count == 0
    state = agreement.learner.initial_state(agreement.catalogue, 0)
    first, second = (
        release(agreement, agreement.rounds[0], attempt, state, empty, around(tmp_path))["popularity"]
        for attempt in (0, 1)
    )
    assert first.any()
    assert not np.array_equal(first, second)


def test_a_crash_between_charge_and_noise_leaves_the_charge(tmp_path, monkeypatch):
    agreement = small(tmp_path)

    def crash(*_: Any) -> None:
        raise RuntimeError("power failed")

    monkeypatch.setattr(gate, "add_discrete_gaussian", crash)
    with pytest.raises(RuntimeError):
        ask(tmp_path, agreement)
    assert kinds(tmp_path) == ["genesis", "plan", "charge"]


def test_nothing_is_added_up_before_the_charge(tmp_path, monkeypatch):
    agreement = small(tmp_path)

    def full(*_: Any, **__: Any) -> None:
        raise PrivacyRefused("no space; nothing was released")

    monkeypatch.setattr(Ledger, "charge", full)
    monkeypatch.setattr(Popularity, "contribute", lambda *_: pytest.fail("data were touched"))
    with pytest.raises(PrivacyRefused, match="no space"):
        ask(tmp_path, agreement)


def test_an_attempt_is_answered_once(tmp_path):
    agreement = small(tmp_path, attempts=2)
    ask(tmp_path, agreement)
    with pytest.raises(PrivacyRefused, match="charged before"):
        ask(tmp_path, agreement)
    ask(tmp_path, agreement, attempt=1)
    for beyond in (2, -1):
        with pytest.raises(PrivacyRefused, match="the plan pays for 2"):
            ask(tmp_path, agreement, attempt=beyond)
    assert kinds(tmp_path).count("charge") == 2


def test_a_rehearsal_that_goes_on_sends_the_same_bytes_and_charges_once(tmp_path):
    agreement = small(tmp_path, rehearsal=True)
    first, second = (ask(tmp_path, agreement, keys=seeded)["popularity"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert kinds(tmp_path).count("charge") == 1


def test_a_share_of_noise_does_not_leave_without_a_mask(tmp_path):
    agreement = small(tmp_path, trust="distributed")
    with pytest.raises(PrivacyRefused, match="cannot mask"):
        ask(tmp_path, agreement)
    assert kinds(tmp_path) == ["genesis", "plan"]


def test_a_store_without_a_ledger_releases_nothing(tmp_path):
    agreement = write_small_run(tmp_path, trust="local", epsilon=4.0)
    with pytest.raises(InputError, match="store-0000"):
        ask(tmp_path, agreement)


def test_a_ledger_without_the_plan_pays_for_nothing(tmp_path):
    agreement = small(tmp_path)
    other = write_small_run(tmp_path / "other", trust="local", epsilon=2.0)
    assert other.plan_hash != agreement.plan_hash
    state = agreement.learner.initial_state(agreement.catalogue, 0)
    with pytest.raises(PrivacyRefused, match="plan that does not stand here"):
        release(other, other.rounds[0], 0, state, StoreRecords.open(tmp_path, 0, 0), around(tmp_path))


def test_a_plan_without_terms_cannot_carry_a_release_that_promises_a_clip(tmp_path):
    agreement = write_small_run(tmp_path)
    round_ = Round(0, "x", (Release(name="popularity", shape=(12,), clip_norm=1.0),))
    state = agreement.learner.initial_state(agreement.catalogue, 0)
    with pytest.raises(PrivacyRefused, match="nothing was released"):
        release(agreement, round_, 0, state, StoreRecords.open(tmp_path, 0, 0), around(tmp_path))


@pytest.mark.parametrize("spoil", [lambda t: t | {"more": t["popularity"]}, lambda t: {}])
def test_other_totals_than_the_rounds_do_not_pass(tmp_path, monkeypatch, spoil):
    agreement = write_small_run(tmp_path)
    kept = gate.without_noise
    monkeypatch.setattr(gate, "without_noise", lambda *given: spoil(dict(kept(*given))))
    with pytest.raises(ProtocolError, match="other than the round's releases"):
        ask(tmp_path, agreement)


def test_totals_that_are_not_finite_do_not_pass(tmp_path, monkeypatch):
    agreement = write_small_run(tmp_path)

    def overflow(self: Popularity, state: State, round_: Round, customers: Any, sums: Any) -> None:
        sums.totals["popularity"][3] = np.inf

    monkeypatch.setattr(Popularity, "contribute", overflow)
    with pytest.raises(ProtocolError, match="nothing was released"):
        ask(tmp_path, agreement)


def test_a_hostile_state_moves_nothing_but_is_charged(tmp_path):
    """als with NaN factors: the customers count as zero; the charge stays, the budget is not refunded."""
    agreement = small(tmp_path, "als", rehearsal=True)
    state = agreement.learner.initial_state(agreement.catalogue, 0)
    hostile = replace(state, public={n: np.full_like(a, np.nan) for n, a in state.public.items()})
    records = StoreRecords.open(tmp_path, 0, 1)
    hit = release(agreement, agreement.rounds[1], 0, hostile, records, around(tmp_path, keys=seeded))
    nobody = MemoryCustomers(records.histories.slice(0, 0))
    none = release(agreement, agreement.rounds[1], 0, state, nobody, around(tmp_path, keys=seeded))
    for name, total in hit.items():
        np.testing.assert_array_equal(total, none[name])
    assert kinds(tmp_path).count("charge") == len(agreement.rounds[1].releases)


def test_the_policy_is_asked_before_the_charge(tmp_path):
    agreement = small(tmp_path)
    tight = Policy(limits=Limits(epsilon_total=3.0, delta=0.01))
    with pytest.raises(PrivacyRefused, match=r"epsilon 4 is over"):
        ask(tmp_path, agreement, policy=tight)
    assert kinds(tmp_path) == ["genesis", "plan"]


def test_what_earlier_plans_spent_counts(tmp_path):
    agreement = small(tmp_path)
    once = Policy(limits=Limits(epsilon_total=4.0, delta=1e-4))
    ask(tmp_path, agreement, policy=once)
    other = write_small_run(tmp_path / "other", trust="local", epsilon=4.0, seed=1)
    with open_store_ledger(tmp_path, 0) as ledger:
        ledger.plan(other.plan_hash, epsilon="4", delta=1e-4, dearest=Fraction(9), attempts=1)
    with pytest.raises(PrivacyRefused, match=r"would bring the total to epsilon 6\."):
        ask(tmp_path, other, policy=once)
    assert kinds(tmp_path).count("charge") == 1


def test_no_more_rounds_are_repeated_than_the_plan_pays_for(tmp_path):
    """Two rounds and three attempts in all: a coordinator that asks for every round three times is refused."""
    agreement = small(tmp_path, "gram", attempts=3)
    state, answered = agreement.learner.initial_state(agreement.catalogue, 0), 0
    for attempt in range(3):
        for index in (1, 0):
            public = state if index == 0 else agreement.learner.update(state, agreement.rounds[0], zeros(agreement))
            records = StoreRecords.open(tmp_path, 0, index)
            try:
                release(agreement, agreement.rounds[index], attempt, public, records, around(tmp_path))
                answered += 1
            except PrivacyRefused as refused:
                told = str(refused)
    assert "more often than the plan's epsilon pays for" in told
    assert 3 <= answered < 6
    with open_store_ledger(tmp_path, 0) as ledger:
        assert ledger.epsilon(1e-4) <= 4.0
        assert ledger.plan_rho(agreement.plan_hash) == sum(
            Fraction(line["body"]["rho"]) for line in lines(tmp_path) if line["kind"] == "charge"
        )


def zeros(agreement: Agreement) -> dict[str, Any]:
    return {x.name: np.zeros(x.shape) for x in agreement.rounds[0].releases}


def contribute_both_signs(self: Popularity, state: State, round_: Round, customers: Any, sums: Any) -> None:
    """Every customer adds -1 to the first item and 1 to the last, before the clip."""
    for block in customers.blocks():
        count = block.histories.customers
        x = np.zeros((count, 12))
        x[:, 0], x[:, -1] = -1.0, 1.0
        sums.rows("popularity", block, csr_array(x))


@pytest.mark.parametrize(("masked", "reach"), [(32, 1000), (64, None), (None, None)])
def test_sums_are_clamped_on_both_sides_before_they_go_into_words_of_32_bits(tmp_path, monkeypatch, masked, reach):
    """A sum that does not fit its words would wrap around beside the others'."""
    agreement = small(tmp_path, trust="distributed")
    monkeypatch.setattr(gate, "headroom", lambda *_: 1000)
    monkeypatch.setattr(gate, "add_discrete_gaussian", lambda *_: None)
    monkeypatch.setattr(Popularity, "contribute", contribute_both_signs)
    state, records = agreement.learner.initial_state(agreement.catalogue, 0), StoreRecords.open(tmp_path, 0, 0)
    given = around(tmp_path, plain_shares=True)
    total = release(agreement, agreement.rounds[0], 0, state, records, given, masked)["popularity"]
    assert total[0] == -total[-1]
    assert total[-1] == reach if reach else total[-1] > 1000


def test_a_share_of_noise_leaves_under_a_mask(tmp_path):
    agreement = small(tmp_path, trust="distributed")
    state, records = agreement.learner.initial_state(agreement.catalogue, 0), StoreRecords.open(tmp_path, 0, 0)
    assert set(release(agreement, agreement.rounds[0], 0, state, records, around(tmp_path), 64)) == {"popularity"}


def of_one_person(directory: Path) -> Agreement:
    """The same run with overlap weights."""
    agreement = small(directory, trust="distributed", rehearsal=True)
    assert agreement.plan.privacy is not None
    privacy = replace(agreement.plan.privacy, overlap="weights")
    return replace(agreement, plan=replace(agreement.plan, privacy=privacy))


def test_with_overlap_weights_each_customer_has_its_part_of_the_clip_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(gate, "add_discrete_gaussian", lambda *_: None)
    agreement, histories = of_one_person(tmp_path), StoreRecords.open(tmp_path, 0).histories
    halves = MemoryCustomers(replace(histories, parts=np.full(histories.customers, WHOLE // 2, np.int32)))
    state = agreement.learner.initial_state(agreement.catalogue, 0)
    given = around(tmp_path, plain_shares=True)
    half = release(agreement, agreement.rounds[0], 0, state, halves, given)["popularity"]
    sums = ClippedSums(agreement.rounds[0].releases, parted=True)
    agreement.learner.contribute(state, agreement.rounds[0], halves, sums)
    np.testing.assert_array_equal(half, sums.units()["popularity"])
    whole = ClippedSums(agreement.rounds[0].releases)
    agreement.learner.contribute(state, agreement.rounds[0], halves, whole)
    np.testing.assert_allclose(half, whole.units()["popularity"] / 2, atol=histories.customers)


def test_with_overlap_weights_a_store_that_knows_no_parts_charges_nothing(tmp_path):
    agreement = of_one_person(tmp_path)
    state, records = agreement.learner.initial_state(agreement.catalogue, 0), StoreRecords.open(tmp_path, 0, 0)
    with pytest.raises(PrivacyRefused, match="nothing was charged or released"):
        release(agreement, agreement.rounds[0], 0, state, records, around(tmp_path, plain_shares=True))
    assert kinds(tmp_path) == ["genesis", "plan"]
    nobody = MemoryCustomers(records.histories.slice(0, 0))
    release(agreement, agreement.rounds[0], 0, state, nobody, around(tmp_path, plain_shares=True))
    assert kinds(tmp_path).count("charge") == 1


def test_a_pinned_coordinators_receipts_are_asked_for_before_the_charge(tmp_path, monkeypatch):
    agreement = small(tmp_path, attempts=2)

    def missing(self: Ledger, plan: str, round: int) -> None:
        assert (plan, round) == (agreement.plan_hash, 0)
        raise PrivacyRefused("no receipt came; nothing was released")

    monkeypatch.setattr(Ledger, "refuse_unwitnessed", missing)
    with pytest.raises(PrivacyRefused, match="no receipt came"):
        ask(tmp_path, agreement, coordinator=bytes(32))
    assert kinds(tmp_path) == ["genesis", "plan"]
    ask(tmp_path, agreement)
    assert kinds(tmp_path).count("charge") == 1


def test_without_a_guarantee_one_local_step_is_a_trained_round(tmp_path):
    pytest.importorskip("torch", reason="the extra `neural` is not installed")
    agreement = write_small_run(tmp_path, learner="mf", local_steps=1, embedding_dim=3)
    assert agreement.rounds[0].local_steps == 1
    totals = ask(tmp_path, agreement)
    assert set(totals) == {x.name for x in agreement.rounds[0].releases}
    assert all(total.any() for total in totals.values())
