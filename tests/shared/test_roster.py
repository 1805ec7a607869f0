"""The roster file and what secure aggregation pins from it: who, how many words, how wide."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcart.client.gate import release
from fedcart.client.masking import LedgerHead, StoreMasks
from fedcart.client.records import StoreRecords
from fedcart.shared.errors import ConfigError, DataError, PrivacyRefused, ProtocolError
from fedcart.shared.identity import Identity
from fedcart.shared.privacy.grid import grid, share_variance
from fedcart.shared.privacy.release import MOST_WORDS
from fedcart.shared.roster import NOISE_ROOM, Roster, headroom, pins_of, word_bits
from fedcart.shared.secagg.pins import Pins
from fedcart.shared.secagg_wire import join, part
from secure_run import SecureRun

ROSTER = Roster(coordinator="0" * 64, stores=("a" * 64, "b" * 64), ledgers=("c" * 64, "d" * 64))


def test_a_roster_is_read_as_it_was_written(tmp_path: Path) -> None:
    ROSTER.save(tmp_path / "roster.json")
    assert Roster.load(tmp_path / "roster.json") == ROSTER


@pytest.mark.parametrize(
    "change",
    [{"coordinator": "1" * 64}, {"stores": ("b" * 64, "a" * 64)}, {"ledgers": ("c" * 64, "c" * 64)}],
)
def test_its_hash_changes_with_every_key_ledger_and_order(change: dict[str, Any]) -> None:
    assert dataclasses.replace(ROSTER, **change).hash != ROSTER.hash


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"[]", b"null", b'{"version":1,"coordinator":"0","stores":[]}', b'{"stores":[{"key":1}]}']
)
def test_another_file_is_no_roster(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "roster.json").write_bytes(raw)
    with pytest.raises(DataError, match="not a roster of version 1; nothing was run"):
        Roster.load(tmp_path / "roster.json")


def test_a_roster_written_in_another_way_is_refused(tmp_path: Path) -> None:
    ROSTER.save(tmp_path / "roster.json")
    (tmp_path / "roster.json").write_bytes((tmp_path / "roster.json").read_bytes() + b"\n")
    with pytest.raises(DataError):
        Roster.load(tmp_path / "roster.json")


@pytest.mark.parametrize("word", ["", "0" * 63, "A" * 64, "g" * 64])
def test_a_key_is_64_hex_digits(word: str) -> None:
    with pytest.raises(ConfigError, match="64 hex digits"):
        dataclasses.replace(ROSTER, coordinator=word)


def test_a_roster_of_another_number_of_stores_is_refused(tmp_path: Path) -> None:
    agreement = SecureRun(tmp_path, 5).agreement
    with pytest.raises(ConfigError, match="the roster names 2 stores, the plan 5"):
        pins_of(agreement.plan, agreement.plan_hash, agreement.rounds, ROSTER)


def test_pins_are_read_as_they_were_written_and_nothing_else_is(tmp_path: Path) -> None:
    pins = SecureRun(tmp_path, 5, "als").pins()
    assert Pins.parse(pins.to_bytes()) == pins
    for raw in (b"", b"{}", b"[1]", pins.to_bytes() + b" ", pins.to_bytes().replace(b'"bits":64', b'"bits":48')):
        with pytest.raises(DataError, match="nothing was verified"):
            Pins.parse(raw)


def test_each_release_has_its_own_length(tmp_path: Path) -> None:
    secure = SecureRun(tmp_path, 5, "als")
    pins = secure.pins()
    sizes = [sum(x.words for x in r.releases) for r in secure.agreement.rounds]
    assert [pins.words_of(i) for i in range(len(sizes))] == sizes
    assert len(set(sizes)) > 1
    for release_number in (-1, len(sizes)):
        with pytest.raises(ProtocolError, match="not one of the plan's"):
            pins.words_of(release_number)


def test_a_round_is_joined_and_parted_again(tmp_path: Path) -> None:
    round_ = SecureRun(tmp_path, 5, "als").agreement.rounds[1]
    rng = np.random.default_rng(0)
    units = {x.name: rng.integers(-(2**62), 2**62, x.shape) for x in round_.releases}
    vector = join(round_, units, 64)
    again = part(round_, vector.view(np.int64))
    assert set(again) == set(units)
    for name, array in again.items():
        np.testing.assert_array_equal(array, units[name])
    with pytest.raises(ProtocolError, match="32 bits"):
        join(round_, units, 32)


def test_in_32_bits_every_sum_and_12_deviations_of_noise_fit(tmp_path: Path) -> None:
    agreement = SecureRun(tmp_path, 5).agreement
    plan, (wanted,) = agreement.plan, agreement.rounds[0].releases
    n, most = plan.participants, headroom(plan, wanted)
    sigma = math.sqrt(n * share_variance(wanted, plan.honest))
    assert 2**31 - n - n * 12 < n * most + 12 * sigma <= 2**31
    assert word_bits(plan, agreement.rounds) == 32
    over = most // grid(wanted).largest + 1
    assert word_bits(dataclasses.replace(plan, customers_bound=over - 1), agreement.rounds) == 32
    assert word_bits(dataclasses.replace(plan, customers_bound=over), agreement.rounds) == 64


def test_noise_outgrows_its_room_in_less_than_one_of_2_to_the_78_releases() -> None:
    """2 exp(-x^2 / 2) at x deviations, over 2^24 words: as the specification states it (section 9)."""
    assert 2 * math.exp(-(NOISE_ROOM**2) / 2) * MOST_WORDS < 2**-78


def test_a_sum_beyond_the_plans_bound_is_clamped_before_the_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secure = SecureRun(tmp_path, 5)
    agreement, around = secure.agreement, secure.around(str(tmp_path), 0)
    monkeypatch.setattr("fedcart.client.gate.headroom", lambda *_: 3)
    monkeypatch.setattr("fedcart.client.gate.add_discrete_gaussian", lambda *_: None)
    state = agreement.learner.initial_state(agreement.catalogue, 0)
    records = StoreRecords.open(tmp_path, 0, 0)
    totals = release(agreement, agreement.rounds[0], 0, state, records, around, masked=32)
    assert totals["popularity"].max() == 3
    secure.around.close()


def test_a_roster_that_the_policy_does_not_pin_is_refused(tmp_path: Path) -> None:
    secure = SecureRun(tmp_path, 5)
    identity = Identity.load(tmp_path / "keys" / "store-0000.key")
    head = LedgerHead(tmp_path / "none", lambda: pytest.fail("not read"))  # type: ignore[arg-type]
    with pytest.raises(PrivacyRefused, match="roster_root"):
        StoreMasks(secure.agreement, 0, identity, tmp_path / "j", head, roster_root="0" * 64)
