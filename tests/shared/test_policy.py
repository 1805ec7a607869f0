"""The policy: what it does not allow is not released, and a file that others may write is no policy."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import pytest

from fedcart.shared.errors import ConfigError, PrivacyRefused
from fedcart.shared.identity import Identity
from fedcart.shared.ledger.ledger import Ledger
from fedcart.shared.plan import build_learner
from fedcart.shared.policy import Policy, simulated
from fedcart.shared.privacy.terms import PrivacyTerms
from policy_kit import FULL, check, plan, write


def test_a_plan_that_fits_is_allowed(tmp_path):
    policy = Policy.load(write(tmp_path))
    check(policy, plan())
    assert policy.approve.auto
    assert policy.data.consent_column == "opted_out"
    assert len(policy.digest) == 64


LOCAL = PrivacyTerms(epsilon=4.0, delta=1e-4, bounds=build_learner("popularity", {}).bounds())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"epsilon": 8.5}, "epsilon 8.5 is over"),
        ({"delta": 2e-4}, "delta 0.0002 is over"),
        ({"learner": "als"}, "learner als is not among"),
        ({"trust": "local", "privacy": LOCAL}, "trust local is not among"),
        ({"trust": "none", "privacy": None}, "trust none is not among"),
        ({"attempts": 3}, "3 attempts are over"),
        ({"catalogue_source": "derived"}, "derived from interactions"),
        ({"participants": 7, "min_survivors": 6, "colluders": 2}, "4 honest stores are more than"),
        ({"participants": 7, "min_survivors": 5, "colluders": 1}, "4 honest stores"),
        ({"participants": 3, "min_survivors": 3}, "3 stores in a sum are fewer"),
        ({"participants": 8, "min_survivors": 6, "colluders": 3}, None),
    ],
)
def test_every_number_a_coordinator_could_lie_about_is_checked(tmp_path, changes, told):
    policy = Policy.load(write(tmp_path))
    if told is None:
        check(policy, plan(**changes))
        return
    with pytest.raises(PrivacyRefused, match=told):
        check(policy, plan(**changes))


def test_stores_that_are_not_known_count_as_colluders(tmp_path):
    policy = Policy.load(write(tmp_path, FULL.replace('["aa", "bb", "cc", "dd"]', '["aa", "bb"]')))
    with pytest.raises(PrivacyRefused, match="2 stores are not among"):
        check(policy, plan())


@pytest.mark.parametrize(("key", "value"), [("min_noise_multiplier", 1.5), ("min_sigma_local", 0.9)])
def test_too_little_noise_is_refused(tmp_path, key, value):
    policy = Policy.load(write(tmp_path))
    strict = dataclasses.replace(policy, require=dataclasses.replace(policy.require, **{key: value}))
    with pytest.raises(PrivacyRefused, match=key):
        check(strict, plan())


def test_more_rounds_than_allowed_are_refused(tmp_path):
    policy = Policy.load(write(tmp_path, FULL.replace("rounds = 30", "rounds = 1")))
    with pytest.raises(PrivacyRefused, match="2 rounds are over"):
        check(policy, plan(learner="gram"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "epsilon_total is missing"),
        ("[limits]\nepsilon_window = 3.0", "epsilon_total is missing"),
        ("[limits]\nepsilon_total = nan", "nan must be"),
        ("[limits]\nepsilon_total = -1.0", "at least 0"),
        ("[limits]\nepsilon_totl = 1.0", "epsilon_totl"),
        ("[limit]\nepsilon_total = 1.0", "limit"),
        ("digest = 'x'\n[limits]\nepsilon_total = 1.0", "digest"),
        ("[limits]\nepsilon_total = 1.0\n[require]\ntrust = ['all']", "all"),
        ("[limits", "policy.toml"),
    ],
)
def test_refuses_a_file_that_is_no_policy(tmp_path, text, told):
    with pytest.raises(ConfigError, match=told):
        Policy.load(write(tmp_path, text))


@pytest.mark.parametrize("mode", [0o666, 0o622, 0o660, 0o602])
def test_refuses_a_file_that_others_may_write(tmp_path, mode):
    with pytest.raises(ConfigError, match="others may write it"):
        Policy.load(write(tmp_path, mode=mode))


def test_refuses_a_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        Policy.load(tmp_path / "policy.toml")


def test_none_must_be_allowed_in_so_many_words(tmp_path):
    bare = Policy.load(write(tmp_path, "[limits]\nepsilon_total = 1.0"))
    with pytest.raises(PrivacyRefused, match="trust none"):
        check(bare, plan(trust="none", privacy=None))
    check(simulated(), plan(trust="none", privacy=None))


class Clock:
    now = 1_800_000_000

    def __call__(self) -> int:
        return self.now


def test_caps_hold_over_the_life_and_over_the_window(tmp_path):
    policy, clock, identity = Policy.load(write(tmp_path)), Clock(), Identity.create(tmp_path / "key")
    rho = Fraction(1, 4)  # epsilon about 2.4 at 1e-4, less for each that follows
    with Ledger.create(tmp_path / "l", identity, coalition="c", rehearsal=False, clock=clock) as ledger:
        spent = []
        for number in range(40):
            clock.now += 5 * 86_400
            if number == 0:
                ledger.plan("0" * 64, epsilon="100", delta=1e-4, dearest=rho, attempts=1)
            try:
                policy.check_charge(ledger, rho, clock.now)
            except PrivacyRefused as refused:
                spent.append(str(refused))
                continue
            place = {"plan": "0" * 64, "round": number, "attempt": 0, "release": "x"}
            ledger.charge(**place, D=2**20, variance=2 * 2**40, honest=1, delta=1e-4)
            assert ledger.epsilon(1e-4) <= 8.0
            assert ledger.window_epsilon(30, 1e-4, clock.now) <= 6.0
        assert any("window of 30 days" in line for line in spent)
        assert any("total to epsilon 8." in line for line in spent)
        assert 7 < ledger.epsilon(1e-4) <= 8.0


def test_nothing_is_free_when_nothing_is_allowed(tmp_path):
    policy = Policy.load(write(tmp_path, "[limits]\nepsilon_total = 0.0"))
    with Ledger.create(tmp_path / "l", Identity.create(tmp_path / "key"), coalition="c", rehearsal=False) as ledger:
        with pytest.raises(PrivacyRefused, match="nothing was released"):
            policy.check_charge(ledger, Fraction(1, 10**6), 2_000_000_000)
        policy.check_charge(ledger, Fraction(0), 2_000_000_000)


def test_a_simulation_has_no_cap(tmp_path):
    assert simulated().limits.epsilon_total == math.inf
