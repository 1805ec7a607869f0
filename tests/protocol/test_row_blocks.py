"""A release over the limit travels in blocks of item rows, one a round; each block is a release, and pays like one."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from fedcart.client.ledger_files import ledger_path
from fedcart.shared.errors import ConfigError
from fedcart.shared.learners import als as module
from fedcart.shared.learners.als import CURVATURE, GRAM, PULL, Als
from fedcart.shared.learners.spectral.learner import Spectral
from fedcart.shared.learners.toy import toy_catalogue
from fedcart.shared.privacy.accounting import charge_rho, epsilon, run_rho
from fedcart.shared.privacy.grid import grid
from fedcart.shared.privacy.release import MOST_WORDS, Release
from secure_run import SecureRun
from small_run import final_hash

BLOCKS, SWEEPS = 3, 2
LIMIT = 4 * 6
"""Words: 4 of the 12 items, each with a triangle of 3 x 3."""


def als_run(directory: Path, *, masked: bool = True) -> SecureRun:
    return SecureRun(directory, 5, "als", masked)


def releases(run: SecureRun, name: str) -> list[Release]:
    return [release for round_ in run.agreement.rounds for release in round_.releases if release.name == name]


def charges(run: SecureRun, store: int) -> list[dict[str, Any]]:
    lines = ledger_path(run.directory / "results", store).read_text().splitlines()
    return [line["body"] for line in map(json.loads, lines) if line["kind"] == "charge"]


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WORDS", LIMIT)


@pytest.mark.usefixtures("limited")
def test_masked_blocks_end_on_the_plain_runs_bits_and_no_release_is_over_the_limit(tmp_path: Path) -> None:
    plain, masked = als_run(tmp_path / "plain", masked=False), als_run(tmp_path / "masked")
    plain.run()
    masked.run()
    assert final_hash(masked.directory) == final_hash(plain.directory)
    assert len(masked.agreement.rounds) == 1 + SWEEPS * BLOCKS
    assert max(release.words for release in releases(masked, CURVATURE)) == LIMIT
    firsts = [release.first_item for release in releases(masked, CURVATURE)]
    assert firsts == [0, 4, 8] * SWEEPS  # in the catalogue's order, whatever the data
    assert masked.pins().lengths == tuple(sum(x.words for x in r.releases) for r in masked.agreement.rounds)


@pytest.mark.usefixtures("limited")
def test_every_block_is_charged_at_the_whole_sensitivity_and_all_blocks_make_the_epsilon(tmp_path: Path) -> None:
    run = als_run(tmp_path)
    run.run()
    plan = run.agreement.plan
    for store in range(plan.participants):
        found = charges(run, store)
        assert Counter(body["release"] for body in found) == {
            "popularity": 1, GRAM: SWEEPS, CURVATURE: SWEEPS * BLOCKS, PULL: SWEEPS * BLOCKS,
        }  # fmt: skip
        paid = sum((charge_rho(int(b["D"]), int(b["variance"]), plan.honest) for b in found), Fraction(0))
        assert paid == run_rho(run.agreement.rounds, plan.honest, 1)
        assert 3.99 < epsilon(paid, 1e-4) <= 4.0
        for body in found:
            release = next(r for r in run.agreement.rounds[body["round"]].releases if r.name == body["release"])
            assert int(body["D"]) == grid(release).sensitivity
    whole = {release.sensitivity() for release in releases(run, CURVATURE)}
    assert whole == {1.0}  # one customer's weights may all lie in one block, and in each of them


def test_blocks_cost_noise_and_nothing_is_saved_by_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (whole, _), _ = [releases(als_run(tmp_path / "whole"), name) for name in (CURVATURE, PULL)]
    monkeypatch.setattr(module, "MOST_WORDS", LIMIT)
    block, *_ = releases(als_run(tmp_path / "blocks"), CURVATURE)
    assert block.noise_multiplier == pytest.approx(whole.noise_multiplier * BLOCKS**0.5, rel=1e-3)


@pytest.mark.usefixtures("limited")
def test_without_matrices_fewer_words_an_item_need_fewer_blocks() -> None:
    learner = Als(embedding_dim=3, shared_curvature=True)
    assert learner.bands(12) == [(0, 6), (6, 12)]  # 3 words an item rather than 6
    assert Als(embedding_dim=3).bands(12) == list(itertools.pairwise([0, 4, 8, 12]))


def test_a_learner_of_one_sum_refuses_a_catalogue_that_would_need_blocks() -> None:
    items = MOST_WORDS // 40 + 1
    with pytest.raises(ConfigError, match=f"over the limit of {MOST_WORDS}"):
        Spectral(first_dim=40).rounds(toy_catalogue(items), 1000)
