"""Where a policy pins a coordinator, the gate answers only under a plan that this key signed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from fedcart.client.gate import release
from fedcart.client.ledger_files import POLICY, ledger_path
from fedcart.client.records import StoreRecords
from fedcart.shared.agreement import Agreement
from fedcart.shared.errors import ConfigError, PrivacyRefused
from fedcart.shared.identity import Identity
from fedcart.shared.policy import Coordination, Policy
from fedcart.shared.signatures import SIGNATURES, PlanSignatures
from private_run import around, small
from small_run import write_small_run


def ask(directory: Path, agreement: Agreement, key: bytes) -> Any:
    """Round 0 of store 0, whose policy pins `key`."""
    policy = Policy.load(directory / POLICY)
    pinned = dataclasses.replace(policy, trust=Coordination(coordinator_key=key.hex()))
    state = agreement.learner.initial_state(agreement.catalogue, 0)
    records = StoreRecords.open(directory, 0, 0)
    return release(agreement, agreement.rounds[0], 0, state, records, around(directory, policy=pinned))


def test_a_pinned_coordinators_plan_is_answered(tmp_path: Path) -> None:
    agreement, coordinator = small(tmp_path), Identity.create(tmp_path / "coordinator.key")
    PlanSignatures.sign(agreement.plan_hash, coordinator).save(tmp_path / SIGNATURES)
    assert set(ask(tmp_path, agreement, coordinator.public)) == {"popularity"}


@pytest.mark.parametrize("fault", ["missing", "foreign", "forged", "of another plan", "bad countersignature"])
def test_any_other_is_refused_and_nothing_is_charged(tmp_path: Path, fault: str) -> None:
    agreement, coordinator = small(tmp_path), Identity.create(tmp_path / "coordinator.key")
    stranger = Identity.create(tmp_path / "stranger.key")
    good = PlanSignatures.sign(agreement.plan_hash, coordinator)
    foreign = PlanSignatures.sign(agreement.plan_hash, stranger)
    made = {
        "foreign": foreign,
        "forged": dataclasses.replace(foreign, coordinator_key=coordinator.public.hex()),
        "of another plan": PlanSignatures.sign("0" * 64, coordinator),
        "bad countersignature": dataclasses.replace(good, countersignatures={stranger.public.hex(): good.signature}),
    }
    if fault in made:
        made[fault].save(tmp_path / SIGNATURES)
    before = ledger_path(tmp_path, 0).read_bytes()
    with pytest.raises(ConfigError if fault == "missing" else PrivacyRefused, match="nothing was approved or released"):
        ask(tmp_path, agreement, coordinator.public)
    assert ledger_path(tmp_path, 0).read_bytes() == before


def test_a_plan_without_noise_needs_the_signature_too(tmp_path: Path) -> None:
    agreement, coordinator = write_small_run(tmp_path), Identity.create(tmp_path / "coordinator.key")
    with pytest.raises(ConfigError, match="nobody signed"):
        ask(tmp_path, agreement, coordinator.public)
    PlanSignatures.sign(agreement.plan_hash, coordinator).save(tmp_path / SIGNATURES)
    assert set(ask(tmp_path, agreement, coordinator.public)) == {"popularity"}
