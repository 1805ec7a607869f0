"""`fedcart audit budget`: two accountants that share no code, the same release at several stores, and a way to
repeat the arithmetic without ours."""

from __future__ import annotations

import ast
import json
import math
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import dp_accounting
import mpmath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from fedcart.shared.audit.accounts import Cost, read_account, total
from fedcart.shared.audit.figures import figure
from fedcart.shared.audit.recompute import SOURCE
from fedcart.shared.canonical import decimal_string
from fedcart.shared.ledger.spending import DAY
from fedcart.shared.privacy.accounting import charge_rho
from shared.audit.audit_cases import MINE, THEIRS, Audit, two_stores
from shared.ledger.ledger_cases import (
    DELTA,
    NOON,
    OTHER,
    PEER,
    PLAN,
    RHO,
    STORE,
    VARIANCE,
    Clock,
    add_plan,
    charge,
    create,
    reopen,
    send,
)

Json = dict[str, Any]


def cost(d: int, variance: int, honest: int) -> Cost:
    return Cost(0, charge_rho(d, variance, honest), 1, (PLAN, 0, 0, "x"), (d, variance, honest), "0.1")


def exact(rho: Fraction, delta: float) -> float:
    """The least over all orders, not over a grid: 40 digits at the order that a search in log(alpha - 1) finds."""

    def at(step: Any) -> Any:
        with mpmath.workdps(40):
            above = mpmath.exp(step)
            alpha = 1 + above
            bound = alpha * rho.numerator / rho.denominator - mpmath.log(alpha * delta) / above
            return bound + mpmath.log(above / alpha)

    found = minimize_scalar(lambda step: float(at(step)), bounds=(-9, 17), method="bounded", options={"xatol": 1e-10})
    return max(0.0, float(at(found.x)))


COSTS = st.lists(st.tuples(st.integers(1, 1 << 24), st.integers(1 << 20, 1 << 52), st.integers(1, 40)), min_size=1)


@settings(max_examples=60)
@given(COSTS, st.sampled_from([1e-3, 1e-5, 1e-6, 1e-9, 1e-12]))
def test_the_accountants_agree_and_ours_is_never_below_the_exact_conversion(
    numbers: list[tuple[int, int, int]], delta: float
) -> None:
    costs = [cost(*each) for each in numbers]
    found = figure(costs, decimal_string(delta))
    assert found.agree
    if not 1e-3 <= found.ours <= 1000:  # nobody's plan, and the search below is not made for it
        return
    least = exact(found.rho, delta)
    assert least <= found.ours <= least * (1 + 1e-4) + 1e-9
    assert found.google >= least * (1 - 1e-9)
    assert found.google_fine == pytest.approx(found.ours, rel=1e-3)
    assert found.gdp <= found.ours  # the other mechanism's, smaller


@pytest.mark.parametrize("epsilon", [0.5, 1, 2, 4, 8])
def test_googles_own_orders_agree_to_a_thousandth_where_plans_are_made(epsilon: float) -> None:
    from fedcart.shared.privacy.conversion import zcdp_rho

    for delta in ("0.0001", "0.000001", "0.00000001"):
        found = figure([Cost(0, Fraction(zcdp_rho(epsilon, float(delta))), 1)], delta)
        assert found.google == pytest.approx(found.ours, rel=1e-3)
        assert found.ours == pytest.approx(epsilon, rel=1e-6)


@pytest.mark.parametrize("factor", [0.99, 0.998, 1.002, 1.01])
def test_an_epsilon_two_thousandths_off_would_be_seen(factor: float) -> None:
    found = figure([cost(1 << 20, VARIANCE, 1)], "0.000001", pld=True)
    assert found.agree
    assert not replace(found, ours=found.ours * factor).agree
    assert not replace(found, google=found.google * min(factor, 0.998)).agree
    assert found.pld == pytest.approx(found.gdp, rel=1e-2)
    assert found.gdp == pytest.approx(dp_accounting.get_epsilon_gaussian(math.sqrt(6), 1e-6), rel=1e-6)  # rho = 1/12


def test_a_lifetime_is_what_the_ledger_itself_says(audit: Audit, tmp_path: Path) -> None:
    two_stores(tmp_path)
    document = audit("budget", tmp_path, "--json").document
    with reopen(tmp_path / MINE, clock=Clock(NOON + 999)) as ledger:
        said = ledger.epsilon(DELTA)
    for store in document["stores"]:
        spent = store["spent"]
        assert (spent["charges"], spent["releases"], spent["torn"]) == (3, 3, 0)
        assert spent["terms"] == [{"plan": PLAN, "epsilon": "4", "delta": "0.000001"}]
        (lifetime,) = spent["lifetime"]
        assert lifetime["epsilon"]["ours"] == pytest.approx(said, rel=1e-9)
        assert lifetime["rho"] == pytest.approx(float(3 * RHO))
        assert lifetime["agree"]
        assert spent["plans"][0]["spent"]["epsilon"] == lifetime["epsilon"]


def test_under_one_noise_a_release_counts_once_and_under_their_own_the_dearest_stores_count(
    audit: Audit, tmp_path: Path
) -> None:
    for honest, folder in ((2, tmp_path / "shared"), (1, tmp_path / "own")):
        two_stores(folder, honest=honest)
        document = audit("budget", folder, "--json").document
        assert document["coalition"]["lifetime"] == document["stores"][0]["spent"]["lifetime"]
        assert document["coalition"]["releases"] == (3 if honest > 1 else 0)
    with reopen(tmp_path / "own" / MINE, clock=Clock(NOON + 999)) as ledger:
        charge(ledger, 7)
    document = audit("budget", tmp_path / "own", "--json").document
    assert document["coalition"]["lifetime"] == document["stores"][0]["spent"]["lifetime"]
    assert document["coalition"]["lifetime"] != document["stores"][1]["spent"]["lifetime"]


def test_each_plan_under_their_own_noise_costs_what_it_cost_its_dearest_store(audit: Audit, tmp_path: Path) -> None:
    two_stores(tmp_path, rounds=1)
    for name, identity, plan in ((MINE, STORE, PLAN), (THEIRS, PEER, OTHER)):
        with reopen(tmp_path / name, identity, clock=Clock(NOON + 999)) as ledger:
            add_plan(ledger, OTHER)
            charge(ledger, 5, plan=plan)
            charge(ledger, 6, plan=PLAN, D=1 << 19) if name == MINE else None
    document = audit("budget", tmp_path, "--json").document["coalition"]
    assert {one["plan"]: one["spent"]["rho"] / float(RHO) for one in document["plans"]} == {
        PLAN: pytest.approx(2.25),  # of the first
        OTHER: pytest.approx(1),  # of the second, which spent less in all
    }
    assert document["lifetime"][0]["rho"] / float(RHO) == pytest.approx(2.25)


def test_sums_stay_short_and_are_never_too_low() -> None:
    """2,000 variances of a hundred digits: as one fraction their sum would have 200,000."""
    costs = [cost(10**49, 10**98 + 2 * number + 1, 1) for number in range(2000)]
    assert figure(costs, "0.001").rho.denominator <= 1 << 128
    few = costs[:40]
    assert 0 <= total(few) - sum(each.rho for each in few) <= Fraction(40, 1 << 128)


def test_a_release_that_one_store_missed_is_told_and_no_finding(audit: Audit, tmp_path: Path) -> None:
    two_stores(tmp_path, honest=2)
    with reopen(tmp_path / MINE, clock=Clock(NOON + 999)) as ledger:
        send(ledger, 3, honest=2)
    answer = audit("budget", tmp_path, "--json")
    assert answer.code == 0
    assert [(one["round"], one["ledgers"]) for one in answer.document["coalition"]["missing"]] == [(3, [THEIRS])]
    assert f"was not charged by {THEIRS}" in audit("budget", tmp_path).out
    assert answer.document["coalition"]["releases"] == 4


@pytest.mark.parametrize("change", [{"variance": 2 * VARIANCE}, {"D": 1 << 19}, {"honest": 3}, {"honest": 1}])
def test_one_release_with_other_numbers_at_another_store_is_a_finding(
    audit: Audit, tmp_path: Path, change: Json
) -> None:
    two_stores(tmp_path, honest=2)
    with (
        reopen(tmp_path / MINE, clock=Clock(NOON + 999)) as ours,
        reopen(tmp_path / THEIRS, PEER, clock=Clock(NOON + 999)) as peer,
    ):
        charge(ours, 9, honest=2)
        charge(peer, 9, **({"honest": 2} | change))
    answer = audit("budget", tmp_path, "--json")
    assert (answer.code, answer.rules) == (4, {"differs"})
    dearest = max(charge_rho(1 << 20, VARIANCE, 2), charge_rho(1 << 20, VARIANCE, change.get("honest", 2)))
    (lifetime,) = answer.document["coalition"]["lifetime"]
    assert lifetime["rho"] == pytest.approx(float(3 * RHO / 2 + dearest))


def test_stores_that_add_all_of_their_noise_may_add_different_amounts(audit: Audit, tmp_path: Path) -> None:
    two_stores(tmp_path, rounds=2)
    with reopen(tmp_path / MINE, clock=Clock(NOON + 999)) as ours:
        charge(ours, 9, variance=2 * VARIANCE)
    with reopen(tmp_path / THEIRS, PEER, clock=Clock(NOON + 999)) as peer:
        charge(peer, 9)
    assert audit("budget", tmp_path).code == 0


def test_one_plan_with_other_terms_at_another_store_is_a_finding(audit: Audit, tmp_path: Path) -> None:
    two_stores(tmp_path)
    with reopen(tmp_path / MINE, clock=Clock(NOON + 999)) as ours:
        add_plan(ours, OTHER)
    with reopen(tmp_path / THEIRS, PEER, clock=Clock(NOON + 999)) as peer:
        add_plan(peer, OTHER, dearest=2 * RHO)
    assert audit("budget", tmp_path, "--json").rules == {"terms"}


def test_a_charge_at_another_delta_than_its_plans_is_a_finding(audit: Audit, tmp_path: Path) -> None:
    with create(tmp_path / MINE) as ledger:
        charge(ledger, delta=1e-3)
    answer = audit("budget", tmp_path, "--json")
    assert answer.rules == {"delta"}
    deltas = [x["delta"] for x in answer.document["stores"][0]["spent"]["lifetime"]]
    assert deltas == ["0.000001", "0.001"]


def test_more_charges_than_a_plans_epsilon_pays_for_are_a_finding(audit: Audit, tmp_path: Path) -> None:
    """epsilon 4 at delta 1e-6 is rho 0.254...: three charges of 1/12 fit, a fourth does not."""
    two_stores(tmp_path)
    assert audit("budget", tmp_path).code == 0
    with reopen(tmp_path / MINE, clock=Clock(NOON + 999)) as ledger:
        charge(ledger, 3)
    answer = audit("budget", tmp_path, "--json")
    assert (answer.code, answer.rules) == (4, {"over-plan"})
    assert answer.document["findings"][0]["line"] == 13


def test_a_torn_line_is_counted_at_its_price_before_and_after_it_is_charged(audit: Audit, tmp_path: Path) -> None:
    two_stores(tmp_path)
    whole = read_account(tmp_path / MINE)
    with (tmp_path / MINE).open("ab") as file:
        file.write(b'{"body":{"D":"10')
    answer = audit("budget", tmp_path, "--json")
    assert (answer.code, answer.rules) == (4, {"torn"})
    spent = answer.document["stores"][0]["spent"]
    assert (spent["torn"], spent["torn_not_yet_charged"]) == (1, 1)
    reopen(tmp_path / MINE, clock=Clock(NOON + 999)).close()
    after = audit("budget", tmp_path, "--json")
    assert after.code == 0
    recovered = after.document["stores"][0]["spent"]
    assert (recovered["torn"], recovered["torn_not_yet_charged"]) == (1, 0)
    assert recovered["lifetime"] == spent["lifetime"]
    assert recovered["lifetime"][0]["rho"] == pytest.approx(float(4 * RHO))
    assert len(read_account(tmp_path / MINE).costs) == len(whole.costs) + 1
    assert after.document["coalition"]["lifetime"] == recovered["lifetime"]


def test_a_torn_file_whose_recovery_line_is_missing_is_counted_too(audit: Audit, tmp_path: Path) -> None:
    two_stores(tmp_path)
    (tmp_path / f"{MINE}.torn-12-{'a' * 64}").write_bytes(b"x")
    document = audit("budget", tmp_path, "--json").document
    assert document["stores"][0]["spent"]["torn_not_yet_charged"] == 1


def test_windows_are_the_dearest_that_ever_was_and_the_last(audit: Audit, tmp_path: Path) -> None:
    clock = Clock()
    with create(tmp_path / MINE, clock=clock) as ledger:
        for number, day in enumerate([0, 1, 31, 31, 200, 370, 400]):
            clock.at = NOON + day * DAY
            charge(ledger, number)
    windows = audit("budget", tmp_path, "--json").document["stores"][0]["spent"]["windows"]
    rhos = {one["days"]: (one["dearest"]["rho"] / float(RHO), one["last"]["rho"] / float(RHO)) for one in windows}
    assert rhos == {30: pytest.approx((3, 2)), 365: pytest.approx((5, 3))}  # both ends included


def test_a_ledger_without_charges_cost_nothing(audit: Audit, tmp_path: Path) -> None:
    two_stores(tmp_path, rounds=0)
    answer = audit("budget", tmp_path, "--out", tmp_path.parent / "none", "--json")
    assert answer.code == 0
    assert answer.document["coalition"]["lifetime"][0]["epsilon"] == {"ours": 0.0, "google": 0.0, "google_fine": 0.0}
    assert {float(line.split()[-1]) for line in recomputed(tmp_path.parent / "none")} == {0.0}


def test_a_damaged_ledger_gets_no_figure_and_neither_does_the_coalition(audit: Audit, tmp_path: Path) -> None:
    two_stores(tmp_path)
    raw = (tmp_path / MINE).read_bytes().splitlines(keepends=True)
    (tmp_path / MINE).write_bytes(b"".join(raw[:2] + raw[5:]))
    answer = audit("budget", tmp_path, "--json")
    assert answer.code == 4
    document = answer.document
    assert [store["spent"] is None for store in document["stores"]] == [True, False]
    assert document["coalition"] is None
    assert "no figures" in audit("budget", tmp_path).out


WITHOUT_US = """
import runpy, sys
sys.modules["fedcart"] = None
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def recomputed(out: Path, *, code: int = 0) -> list[str]:
    """What the script prints in a process that cannot import fedcart."""
    arguments = [sys.executable, "-I", "-c", WITHOUT_US, str(out / "recompute.py")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == bool(code), done.stderr
    return done.stdout.splitlines()


def test_the_script_gives_googles_number_without_any_code_of_ours(audit: Audit, tmp_path: Path) -> None:
    two_stores(tmp_path / "l", honest=2)
    with reopen(tmp_path / "l" / MINE, clock=Clock(NOON + 999)) as ledger:
        add_plan(ledger, OTHER)
        charge(ledger, 5, plan=OTHER, D=77_777, variance=(1 << 40) + 7, honest=3)
    (tmp_path / "l" / f"{MINE}.torn-15-{'a' * 64}").write_bytes(b"x")
    answer = audit("budget", tmp_path / "l", "--out", tmp_path / "o", "--json")
    document = answer.document
    subjects = {store["ledger"]: store["spent"] for store in document["stores"]} | {"coalition": document["coalition"]}
    wanted = {(name, x["delta"]): x["epsilon"]["google"] for name, s in subjects.items() for x in s["lifetime"]}
    printed = {(name, delta): float(value) for name, delta, value in map(str.split, recomputed(tmp_path / "o"))}
    assert set(printed) == set(wanted)
    for key, value in wanted.items():
        assert math.isclose(printed[key], value, rel_tol=1e-9)
    assert "wrote" in answer.err


def test_the_script_is_short_and_needs_only_dp_accounting() -> None:
    imported = {
        alias.name.split(".")[0]
        for node in ast.walk(ast.parse(SOURCE))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in (node.names if isinstance(node, ast.Import) else [ast.alias(node.module or "")])
    }
    assert imported == {"json", "fractions", "pathlib", "dp_accounting"}
    assert len([line for line in SOURCE.splitlines() if line.strip()]) <= 25


@pytest.mark.parametrize("change", ["rho", "count", "variance", "class"])
def test_the_script_refuses_a_tree_that_is_cheaper_than_its_noise(audit: Audit, tmp_path: Path, change: str) -> None:
    two_stores(tmp_path / "l")
    audit("budget", tmp_path / "l", "--out", tmp_path / "o")
    path = tmp_path / "o" / "events.json"
    document = json.loads(path.read_text())
    row = document["subjects"][0]
    part = row["event"]["events"][0]
    if change == "rho":
        part["event"]["rho"] *= 0.999
    elif change == "count":
        part["count"] -= 1
    elif change == "variance":
        row["costs"][0]["variance"] = "1"
    else:
        part["event"]["class_name"] = "NoOpDpEvent"
    path.write_text(json.dumps(document))
    recomputed(tmp_path / "o", code=1)


def test_nothing_is_written_to_what_is_audited(audit: Audit, tmp_path: Path) -> None:
    two_stores(tmp_path / "ledger")
    before = {path: path.read_bytes() for path in (tmp_path / "ledger").iterdir()}
    for out in (tmp_path / "ledger", tmp_path / "ledger" / "x", tmp_path / "ledger" / ".." / "ledger"):
        assert audit("budget", tmp_path, "--out", out).code == 2
    assert audit("budget", tmp_path).code == 0
    assert {path: path.read_bytes() for path in (tmp_path / "ledger").iterdir()} == before
