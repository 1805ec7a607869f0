"""The policy at its limits: what equals a limit fits, what a file leaves out has its safe value, bounds of each key."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from typing import Any

import pytest

from fedcart.shared import policy as module
from fedcart.shared.errors import ConfigError, PrivacyRefused
from fedcart.shared.ledger.ledger import Ledger
from fedcart.shared.policy import DataRules, Limits, Policy, Require, simulated
from fedcart.shared.privacy.terms import PrivacyTerms
from policy_kit import CATALOGUE, check, plan, write

NOW = 1_800_000_000
LEAST = "[limits]\nepsilon_total = 8.0\n"


def strict(**changes: Any) -> Policy:
    """A policy that allows anything but what `changes` say of [require] or [limits]."""
    fields = {"limits": dict[str, Any](), "require": dict[str, Any]()}
    for key, value in changes.items():
        fields["limits" if key in {f.name for f in dataclasses.fields(Limits)} else "require"][key] = value
    free = simulated()
    limits, require = (dataclasses.replace(getattr(free, part), **found) for part, found in fields.items())
    return dataclasses.replace(free, limits=limits, require=require)


def test_what_a_file_leaves_out_has_a_value_that_protects(tmp_path):
    """As `store init` writes them out, and a year, 10,000 rounds and a million honest stores where it does not."""
    found = Policy.load(write(tmp_path, LEAST))
    assert found.limits == Limits(
        epsilon_total=8.0, epsilon_window=math.inf, window_days=365, delta=1e-5, rounds=10_000, attempts=3
    )
    assert found.require == Require(
        trust=("local", "distributed"), learners=(), min_survivors=3, min_colluders=1, max_h=1_000_000,
        min_noise_multiplier=0.3, min_sigma_local=0.05, catalogue="given",
    )  # fmt: skip
    assert found.data == DataRules(consent_column="", retention_days=None)
    assert not found.approve.auto


@pytest.mark.parametrize(
    ("table", "key", "least", "below"),
    [
        ("limits", "epsilon_total", 0.0, -1e-9),
        ("limits", "epsilon_window", 0.0, -1e-9),
        ("limits", "window_days", 1, 0),
        ("limits", "rounds", 1, 0),
        ("limits", "attempts", 1, 0),
        ("require", "min_survivors", 1, 0),
        ("require", "min_colluders", 1, 0),
        ("require", "max_h", 1, 0),
        ("require", "min_noise_multiplier", 0.0, -1e-9),
        ("require", "min_sigma_local", 0.0, -1e-9),
        ("data", "retention_days", 1, 0),
    ],
)
def test_each_number_has_a_least_value(tmp_path, table, key, least, below):
    def load(value: float) -> Policy:
        given = {"limits": {"epsilon_total": "8.0"}, "require": {}, "data": {}}
        given[table][key] = repr(value)
        lines = [f"[{name}]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items()) for name, keys in given.items()]
        return Policy.load(write(tmp_path, "".join(lines)))

    assert getattr(getattr(load(least), table), key) == least
    with pytest.raises(ConfigError, match=rf"{table}\.{key}: {below} must be at least {least}$"):
        load(below)


@pytest.mark.parametrize("delta", [0.0, 0.1000001, 0.2])
def test_a_delta_is_above_nothing_and_a_tenth_at_most(tmp_path, delta):
    assert Policy.load(write(tmp_path, LEAST + "delta = 0.1")).limits.delta == 0.1
    with pytest.raises(ConfigError, match="delta"):
        Policy.load(write(tmp_path, LEAST + f"delta = {delta}"))


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o644, 0o755])
def test_others_may_read_and_run_a_file_that_only_its_owner_writes(tmp_path, mode):
    assert Policy.load(write(tmp_path, mode=mode)).limits.epsilon_total == 8.0


def test_as_many_rounds_and_attempts_as_the_policy_allows_fit():
    check(strict(rounds=2), plan(learner="gram"))
    check(strict(attempts=2), plan(attempts=2))
    with pytest.raises(PrivacyRefused, match=r"^2 rounds are over \[limits\] rounds 1; nothing was released"):
        check(strict(rounds=1), plan(learner="gram"))
    with pytest.raises(PrivacyRefused, match=r"^2 attempts are over \[limits\] attempts 1; nothing was released"):
        check(strict(attempts=1), plan(attempts=2))


def test_noise_at_the_least_fits_and_a_hair_less_does_not():
    wanted = plan(participants=5, colluders=1, min_survivors=5)  # h = 4: a store's own noise is half of what is certain
    (release,) = wanted.rounds(CATALOGUE)[0].releases
    z = release.noise_multiplier
    for key, least in (("min_noise_multiplier", z), ("min_sigma_local", z / 2)):
        check(strict(**{key: least}), wanted)
        with pytest.raises(PrivacyRefused, match=rf"has noise {least:.3g}, under \[require\] {key} {least:.6g}"):
            check(strict(**{key: math.nextafter(least, math.inf)}), wanted)


OURS, THEIRS = "0123456789abcdef" * 4, "fedcba9876543210" * 4


def pinned(key: str) -> Policy:
    free = simulated()
    return dataclasses.replace(free, trust=dataclasses.replace(free.trust, coordinator_key=key))


def test_a_plan_of_another_coordinator_than_the_pinned_one_is_refused():
    check(pinned(OURS), plan(coordinator_key=OURS))
    check(pinned(""), plan(coordinator_key=THEIRS))
    check(pinned(OURS), plan())  # of no coordinator: the gate asks for a signature, and there is none
    with pytest.raises(PrivacyRefused) as caught:
        check(pinned(OURS), plan(coordinator_key=THEIRS))
    assert caught.value.message == (
        "it is coordinator fedcba9876543210…'s, and [trust] coordinator_key is 0123456789abcdef…; nothing was released"
    )


def test_a_plan_for_other_code_than_is_installed_is_refused(monkeypatch):
    monkeypatch.setattr(module, "installed_app_hash", lambda: OURS)
    check(simulated(), plan(app_hash=OURS))
    check(simulated(), plan())
    with pytest.raises(PrivacyRefused) as caught:
        check(simulated(), plan(app_hash=THEIRS))
    assert caught.value.message == (
        "it is for the code fedcba9876543210…, and 0123456789abcdef… is installed here; nothing was released"
    )


def test_a_plan_holds_from_its_first_second_to_its_last(monkeypatch):
    monkeypatch.setattr(module.time, "time", lambda: NOW + 0.5)
    check(simulated(), plan(not_before=NOW, not_after=NOW + 1))
    check(simulated(), plan(not_before=NOW - 1, not_after=NOW))
    for times, told in (
        ({"not_before": NOW + 1, "not_after": NOW + 2}, "before 2027-01-15T08:00:01Z"),
        ({"not_before": NOW - 2, "not_after": NOW - 1}, "after 2027-01-15T07:59:59Z"),
    ):
        with pytest.raises(PrivacyRefused) as caught:
            check(simulated(), plan(**times))
        assert caught.value.message == (
            f"it does not hold {told}, and the time here is 2027-01-15T08:00:00Z; nothing was released"
        )
        assert caught.value.hint == "ask the coordinator for a new plan, or set this machine's clock right"


@pytest.mark.parametrize(("field", "at"), [("not_before", 10**300), ("not_after", -(10**300))])
def test_a_time_that_no_calendar_holds_is_refused_like_any_other(field, at):
    with pytest.raises(PrivacyRefused, match=f"{at}, and the time here is 20"):
        check(simulated(), plan(**{field: at}))


class Spent:
    """A ledger that says what would be spent; None = it must not be asked."""

    def __init__(self, total: float | None, window: float | None) -> None:
        self.total, self.window = total, window

    def would_spend(self, rho: Fraction, delta: float) -> float:
        assert self.total is not None
        return self.total

    def window_epsilon(self, days: int, delta: float, at: int, *, and_rho: Fraction) -> float:
        assert self.window is not None
        return self.window


@pytest.mark.parametrize(
    ("caps", "ledger", "over"),
    [
        ((8.0, 6.0), Spent(8.0, 6.0), []),
        ((8.0, 6.0), Spent(8.1, 6.1), [("total", 8.1, 8.0), ("window of 365 days", 6.1, 6.0)]),
        ((8.0, math.inf), Spent(8.0, None), []),
        ((math.inf, 6.0), Spent(None, 6.0), []),
    ],
)
def test_a_cap_holds_when_it_is_passed_and_one_that_is_not_set_is_not_asked_about(
    caps: tuple[float, float], ledger: Ledger, over: list[Any]
):
    limits = Limits(epsilon_total=caps[0], epsilon_window=caps[1])
    assert list(Policy(limits=limits).over_caps(ledger, Fraction(0), NOW)) == over


def test_a_simulation_allows_everything():
    """The digest stands in the ledgers of simulations, so what it is made of is fixed."""
    free = simulated()
    assert (free.limits.epsilon_total, free.limits.epsilon_window, free.limits.delta) == (math.inf, math.inf, 0.1)
    assert free.limits.rounds == free.limits.attempts == free.require.max_h == 1_000_000
    assert (free.require.trust, free.require.catalogue) == (("local", "distributed", "none"), "any")
    assert (free.require.min_survivors, free.require.min_noise_multiplier, free.require.min_sigma_local) == (1, 0, 0)
    faint = PrivacyTerms(epsilon=1e4, delta=1e-4, bounds=plan().privacy.bounds)  # type: ignore[union-attr]
    check(free, plan(trust="local", privacy=faint, catalogue_source="derived", attempts=7))
