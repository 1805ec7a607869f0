"""What a store pins: whose receipts count, which roster, and that no key of its policy is passed over."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from fedcart.client.app import store_surroundings
from fedcart.client.gate import Surroundings
from fedcart.client.ledger_files import POLICY
from fedcart.client.witness import pinned_coordinator, signed_head, take_receipts
from fedcart.shared.errors import ConfigError, PrivacyRefused, ProtocolError
from fedcart.shared.policy import Coordination, Policy, simulated
from fedcart.shared.roster import ROSTER, Roster
from private_run import around, small

KEY, OTHER = "1" * 64, "2" * 64


def policy(**trust: Any) -> Policy:
    return dataclasses.replace(simulated(), trust=Coordination(**trust))


@pytest.fixture
def roster(tmp_path: Path) -> Roster:
    made = Roster(coordinator=KEY, stores=("a" * 64, "b" * 64), ledgers=("c" * 64, "d" * 64))
    made.save(tmp_path / ROSTER)
    return made


def test_the_coordinator_is_the_policys_or_the_rosters(tmp_path, roster):
    assert pinned_coordinator(tmp_path, policy()) == bytes.fromhex(KEY)
    assert pinned_coordinator(tmp_path, policy(coordinator_key=KEY, roster_root=roster.hash)) == bytes.fromhex(KEY)
    (tmp_path / ROSTER).unlink()
    assert pinned_coordinator(tmp_path, policy(coordinator_key=OTHER)) == bytes.fromhex(OTHER)
    assert pinned_coordinator(tmp_path, policy()) is None


def test_a_roster_that_is_not_the_pinned_one_is_refused(tmp_path, roster):
    with pytest.raises(PrivacyRefused, match="not the one that"):
        pinned_coordinator(tmp_path, policy(roster_root=OTHER))
    with pytest.raises(PrivacyRefused, match="another coordinator"):
        pinned_coordinator(tmp_path, policy(coordinator_key=OTHER))
    Roster(coordinator=OTHER, stores=roster.stores, ledgers=roster.ledgers).save(tmp_path / ROSTER)
    with pytest.raises(PrivacyRefused, match="not the one that"):
        pinned_coordinator(tmp_path, policy(roster_root=roster.hash))  # swapped under a running store
    (tmp_path / ROSTER).unlink()
    with pytest.raises(PrivacyRefused, match="is not there"):
        pinned_coordinator(tmp_path, policy(roster_root=roster.hash))


def test_a_store_that_pins_nobody_takes_no_receipt(tmp_path):
    small(tmp_path)
    with pytest.raises(ProtocolError, match="knows no coordinator"):
        take_receipts(around(tmp_path), ())
    assert signed_head(around(tmp_path)).holds()


@pytest.mark.parametrize("rule", ['consent_column = "ok"', "retention_days = 30"])
def test_rules_for_reading_are_refused_where_nothing_was_read_by_them(tmp_path, rule):
    small(tmp_path)
    path = tmp_path / POLICY
    assert isinstance(store_surroundings(str(tmp_path), 0), Surroundings)
    path.write_text(f"{path.read_text()}\n[data]\n{rule}\n")
    with pytest.raises(ConfigError, match="written otherwise"):
        store_surroundings(str(tmp_path), 0)


def test_every_key_of_a_policy_is_used_somewhere():
    root = Path(__file__).parents[2]
    used = "".join(p.read_text() for r in ("client", "shared") for p in (root / r).rglob("*.py"))
    for table in dataclasses.fields(Policy):
        if table.name in ("digest",):
            continue
        for key in dataclasses.fields(type(getattr(simulated(), table.name))):
            by_name = f'"{key.name}"' in used and key.name.startswith("min_")  # objections() asks for these by name
            assert f".{key.name}" in used or by_name, f"[{table.name}] {key.name} is read and passed over"
