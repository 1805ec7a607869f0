"""Trained rounds at the gate: every step charged before the first, and parameters that moved by noised sums alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `neural` is not installed")

from fedcart.client import gate  # noqa: E402 (after the check for torch)
from fedcart.client.gate import release  # noqa: E402
from fedcart.client.ledger_files import ledger_path  # noqa: E402
from fedcart.client.records import StoreRecords  # noqa: E402
from fedcart.shared.agreement import Agreement  # noqa: E402
from fedcart.shared.errors import ConfigError, PrivacyRefused, ProtocolError  # noqa: E402
from fedcart.shared.learners.base import State  # noqa: E402
from fedcart.shared.learners.memory import MemoryCustomers  # noqa: E402
from fedcart.shared.learners.neural.local_steps import LocalOptimizer, LocalSteps  # noqa: E402
from fedcart.shared.learners.neural.mf import MatrixFactorization  # noqa: E402
from fedcart.shared.ledger.verify import verify  # noqa: E402
from fedcart.shared.policy import Limits, Policy, Require  # noqa: E402
from fedcart.shared.privacy.accounting import epsilon, release_rho, round_rho, run_rho  # noqa: E402
from fedcart.shared.privacy.grid import grid, share_variance  # noqa: E402
from fedcart.shared.privacy.keystream import fresh  # noqa: E402
from private_run import around, seeded, start_ledger  # noqa: E402
from small_run import write_small_run  # noqa: E402

STEPS = 3
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "mf": {"embedding_dim": 3},
    "ncf": {"embedding_dim": 3, "layers": (4, 2)},
}


def trained(directory: Path, learner: str = "mf", **more: Any) -> Agreement:
    """A private run of two trained rounds with a ledger for store 0."""
    started = {"rehearsal": more.pop("rehearsal", False)}
    settings = {**SETTINGS[learner], "local_steps": STEPS, "round_count": 2, "trust": "local", "epsilon": 4.0}
    agreement = write_small_run(directory, learner=learner, **{**settings, **more})
    start_ledger(directory, agreement, **started)
    return agreement


def ask(directory: Path, agreement: Agreement, customers: Any = None, attempt: int = 0, **changes: Any) -> Any:
    """Round 0 of store 0, or of other customers in its place."""
    state = changes.pop("state", None) or agreement.learner.initial_state(agreement.catalogue, 0)
    found = StoreRecords.open(directory, 0, 0) if customers is None else customers
    return release(agreement, agreement.rounds[0], attempt, state, found, around(directory, **changes))


def lines(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ledger_path(directory, 0).read_bytes().splitlines()]


def kinds(directory: Path) -> list[str]:
    return [line["kind"] for line in lines(directory)]


def empty(directory: Path) -> MemoryCustomers:
    return MemoryCustomers(StoreRecords.open(directory, 0).histories.slice(0, 0))


def forced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's noised sums become the same numbers whatever the data are; what else leaves would still differ."""

    def overwrite(total: Any, variance: int, stream: Any) -> None:
        total[:] = np.random.default_rng(variance % 97).integers(-(1 << 20), 1 << 20, total.shape)

    monkeypatch.setattr(gate, "add_discrete_gaussian", overwrite)


@pytest.mark.parametrize("learner", SETTINGS)
def test_each_step_is_charged_at_its_price_and_what_leaves_is_on_record(tmp_path, learner):
    agreement = trained(tmp_path, learner)
    totals, round_ = ask(tmp_path, agreement), agreement.rounds[0]
    charges = [line["body"] for line in lines(tmp_path) if line["kind"] == "charge"]
    assert [c["release"] for c in charges] == ["gradient.0", "gradient.1", "gradient.2"]
    for charge in charges:
        assert (int(charge["D"]), int(charge["variance"])) == (
            grid(round_.step).sensitivity, share_variance(round_.step, 1),
        )  # fmt: skip
    hashes = [line["body"]["hash"] for line in lines(tmp_path) if line["kind"] == "release"]
    assert hashes == [hashlib.sha256(b"".join(totals[x.name].tobytes() for x in round_.releases)).hexdigest()] * STEPS
    assert round_rho(round_, 1) == STEPS * release_rho(round_.step, 1)
    assert {x.kind for x in round_.releases} == {"trained"}
    assert all(totals[x.name].dtype == np.float64 and totals[x.name].shape == x.shape for x in round_.releases)
    assert verify(ledger_path(tmp_path, 0)).word == "consistent, unanchored"


def test_a_run_spends_its_epsilon_and_no_more(tmp_path):
    agreement = trained(tmp_path, attempts=2)
    state = agreement.learner.initial_state(agreement.catalogue, 0)
    for round_ in agreement.rounds:
        for attempt in range(2) if round_.index == 0 else range(1):
            records = StoreRecords.open(tmp_path, 0, round_.index)
            release(agreement, round_, attempt, state, records, around(tmp_path))
    spent = float([line for line in lines(tmp_path) if line["kind"] == "charge"][-1]["body"]["epsilon_after"])
    assert spent == pytest.approx(epsilon(run_rho(agreement.rounds, 1, 2), 1e-4), abs=1e-6)
    assert 0.98 * 4 <= spent <= 4


def test_all_steps_are_charged_before_the_first_is_computed(tmp_path, monkeypatch):
    agreement = trained(tmp_path)

    def crash(*_: Any) -> None:
        assert kinds(tmp_path) == ["genesis", "plan", *["charge"] * STEPS]
        raise RuntimeError("power failed")

    monkeypatch.setattr(MatrixFactorization, "contribute_step", crash)
    with pytest.raises(RuntimeError):
        ask(tmp_path, agreement)
    assert kinds(tmp_path) == ["genesis", "plan", *["charge"] * STEPS]


@pytest.mark.parametrize("learner", SETTINGS)
def test_what_leaves_follows_from_the_noised_sums_alone(tmp_path, monkeypatch, learner):
    """With the noised sums held fixed, five customers, one and none upload the same bytes."""
    agreement = trained(tmp_path, learner, attempts=3)
    forced(monkeypatch)
    histories = StoreRecords.open(tmp_path, 0).histories
    stores = [MemoryCustomers(histories.slice(0, count)) for count in (5, 1, 0)]
    first, *others = [ask(tmp_path, agreement, store, attempt) for attempt, store in enumerate(stores)]
    assert all(np.abs(total).max() > 0 for total in first.values())
    for other in others:
        assert set(other) == set(first)
        assert all(np.array_equal(other[name], first[name]) for name in first)


def counted_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores weigh by their number of customers: the usual FedAvg."""
    kept = gate._train

    def weighted(agreement: Any, round_: Any, state: Any, customers: Any, add_noise: Any) -> Any:
        parameters = kept(agreement, round_, state, customers, add_noise)
        return {name: total * customers.count for name, total in parameters.items()}

    monkeypatch.setattr(gate, "_train", weighted)


def counted_divisor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step's mean divides by the store's number of customers, as Opacus does with a data loader's batch."""
    from fedcart.shared.learners.neural import local_steps

    made = local_steps.LocalSteps.__init__

    class Counting(local_steps.StepCustomers):
        def __init__(self, customers: Any) -> None:
            super().__init__(customers)
            latest[0]._divisor = max(customers.count, 1)

    latest: list[Any] = [None]

    def remember(self: Any, *given: Any) -> None:
        made(self, *given)
        latest[0] = self

    monkeypatch.setattr(local_steps.LocalSteps, "__init__", remember)
    monkeypatch.setattr(local_steps, "StepCustomers", Counting)


@pytest.mark.parametrize("mistake", [counted_upload, counted_divisor])
def test_the_test_above_would_catch_a_private_count(tmp_path, monkeypatch, mistake):
    agreement = trained(tmp_path, attempts=2, local_optimizer="sgd")
    mistake(monkeypatch)
    forced(monkeypatch)
    histories = StoreRecords.open(tmp_path, 0).histories
    five, one = (ask(tmp_path, agreement, MemoryCustomers(histories.slice(0, n)), a) for a, n in enumerate((5, 1)))
    assert any(not np.array_equal(five[name], one[name]) for name in five)


@pytest.mark.parametrize(("name", "make"), [("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)])
def test_the_parameters_are_those_that_torch_reaches_from_the_noised_sums(tmp_path, monkeypatch, name, make):
    """Over the plan's divisor, 100 customers at most in 4 stores, and with a weight of one store in 4."""
    agreement, seen = trained(tmp_path, local_optimizer=name), []
    move = LocalSteps.move
    monkeypatch.setattr(LocalSteps, "move", lambda self, total: (seen.append(total.copy()), move(self, total))[1])
    totals = ask(tmp_path, agreement)
    state, learner = agreement.learner.initial_state(agreement.catalogue, 0), agreement.learner
    flat = np.concatenate([state.public[name].ravel() for name in totals])
    parameter = torch.nn.Parameter(torch.from_numpy(flat.copy()))
    optimizer = make([parameter], lr=learner.learning_rate)
    for total in seen:
        parameter.grad = torch.from_numpy((total / (100 / 4)).astype(np.float32))
        optimizer.step()
    expected = (parameter.detach().numpy() - flat) / 4
    assert len(seen) == STEPS
    np.testing.assert_allclose(np.concatenate([t.ravel() for t in totals.values()]), expected, rtol=1e-4, atol=1e-7)


def test_a_store_without_customers_steps_with_noise_on_every_row(tmp_path):
    agreement = trained(tmp_path, local_optimizer="sgd")
    totals = ask(tmp_path, agreement, empty(tmp_path))
    for lane in totals.values():
        assert np.all(lane != 0)


@pytest.mark.parametrize("keys", [fresh, seeded])
def test_each_step_has_noise_of_its_own_at_the_declared_scale_and_five_percent_would_show(tmp_path, monkeypatch, keys):
    """80,000 numbers: the empirical variance errs by .5 % (one sigma); 6 sigma = one false alarm in 5e8."""
    agreement = trained(tmp_path, items=20_000)
    seen: list[Any] = []
    monkeypatch.setattr(LocalSteps, "move", lambda self, total: seen.append(total.copy()))
    ask(tmp_path, agreement, empty(tmp_path), keys=keys)
    step = agreement.rounds[0].step
    declared = share_variance(step, 1) * grid(step).unit ** 2
    assert len(seen) == STEPS
    for total in seen:
        assert total.size == 80_000
        assert abs(total.var() / declared - 1) < 0.03
        assert abs(total.mean()) < 6 * np.sqrt(declared / total.size)
    assert abs(1.05**2 - 1) > 0.03 + 6 * 0.005
    for a, b in ((0, 1), (0, 2), (1, 2)):  # a key used twice would correlate at 1; sigma is .0035
        assert abs(np.corrcoef(seen[a], seen[b])[0, 1]) < 0.03


def test_a_rehearsal_that_goes_on_sends_the_same_bytes_and_charges_once(tmp_path):
    agreement = trained(tmp_path, rehearsal=True)
    first, second = (ask(tmp_path, agreement, keys=seeded) for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert kinds(tmp_path).count("charge") == STEPS


def test_an_attempt_is_answered_once(tmp_path):
    agreement = trained(tmp_path)
    ask(tmp_path, agreement)
    with pytest.raises(PrivacyRefused, match="charged before"):
        ask(tmp_path, agreement)
    assert kinds(tmp_path).count("charge") == STEPS


@pytest.mark.parametrize("forces", [False, True])
def test_a_learner_that_moves_parameters_by_an_unnoised_gradient_reaches_none_that_leave(tmp_path, monkeypatch, forces):
    agreement = trained(tmp_path, attempts=2)
    forced(monkeypatch)
    honest = ask(tmp_path, agreement)
    kept = MatrixFactorization.contribute_step

    def peek(self: Any, state: State, round_: Any, step: int, customers: Any, sums: Any) -> None:
        kept(self, state, round_, step, customers, sums)
        gradient = sums.units()["gradient"][:36].reshape(12, 3)
        array = state.public["tables.vectors.weight"]
        if forces:
            array.setflags(write=True)
        array -= gradient.astype(np.float32)

    monkeypatch.setattr(MatrixFactorization, "contribute_step", peek)
    if not forces:
        with pytest.raises(ValueError, match="read-only"):
            ask(tmp_path, agreement, attempt=1)
        assert kinds(tmp_path)[-STEPS:] == ["charge"] * STEPS
        return
    peeked = ask(tmp_path, agreement, attempt=1)
    assert all(np.array_equal(peeked[name], honest[name]) for name in honest)


def test_a_learner_that_adds_a_sum_of_its_own_is_refused(tmp_path, monkeypatch):
    from scipy.sparse import csr_array

    agreement = trained(tmp_path)

    def count(self: Any, state: State, round_: Any, step: int, customers: Any, sums: Any) -> None:
        block = next(customers.blocks())
        sums.rows("customers", block, csr_array(np.ones((block.histories.customers, 1))))

    monkeypatch.setattr(MatrixFactorization, "contribute_step", count)
    with pytest.raises(ProtocolError, match="no release 'customers'"):
        ask(tmp_path, agreement)
    assert "release" not in kinds(tmp_path)


def test_a_lane_more_does_not_pass(tmp_path, monkeypatch):
    agreement = trained(tmp_path)
    kept = LocalSteps.changes
    monkeypatch.setattr(LocalSteps, "changes", lambda self, w: {**kept(self, w), "customers": np.ones(1)})
    with pytest.raises(ProtocolError, match="other than the round's releases"):
        ask(tmp_path, agreement)


def test_the_optimiser_is_fixed_before_data_are_seen(tmp_path, monkeypatch):
    agreement, order = trained(tmp_path), []

    def optimizer_of(self: Any, round_: Any) -> LocalOptimizer:
        order.append("optimiser")
        return LocalOptimizer("sgd", 1.0)

    blocks = StoreRecords.blocks
    monkeypatch.setattr(MatrixFactorization, "optimizer_of", optimizer_of)
    monkeypatch.setattr(
        StoreRecords, "blocks", lambda self, *given, **named: (order.append("data"), blocks(self, *given, **named))[1]
    )
    ask(tmp_path, agreement)
    assert order == ["optimiser", *["data"] * STEPS]


def test_a_published_model_that_is_not_finite_moves_nothing(tmp_path):
    agreement = trained(tmp_path)
    state = agreement.learner.initial_state(agreement.catalogue, 0)
    hostile = replace(state, public={n: np.full_like(a, np.nan) for n, a in state.public.items()})
    with pytest.raises(ProtocolError, match="not finite; nothing was computed"):
        ask(tmp_path, agreement, state=hostile)
    assert "release" not in kinds(tmp_path)


def test_the_policys_least_noise_is_that_of_a_step(tmp_path):
    agreement = trained(tmp_path)
    least = agreement.rounds[0].step.noise_multiplier
    for wanted, allowed in ((0.99 * least, True), (1.01 * least, False)):
        policy = Policy(limits=Limits(epsilon_total=4.0, delta=0.01), require=Require(min_noise_multiplier=wanted))
        if allowed:
            policy.check_plan(agreement.plan, agreement.rounds)
            continue
        with pytest.raises(PrivacyRefused, match=r"'gradient\.0' has noise"):
            ask(tmp_path, agreement, policy=policy)
    assert kinds(tmp_path) == ["genesis", "plan"]


def test_shares_of_one_noise_cannot_train(tmp_path):
    with pytest.raises(ConfigError, match="need all of the noise in every step"):
        trained(tmp_path, trust="distributed")


def test_parameters_are_never_asked_for_under_a_mask(tmp_path):
    agreement = trained(tmp_path)
    state = agreement.learner.initial_state(agreement.catalogue, 0)
    records = StoreRecords.open(tmp_path, 0, 0)
    with pytest.raises(PrivacyRefused, match="no integers to mask"):
        release(agreement, agreement.rounds[0], 0, state, records, around(tmp_path), 64)
    assert kinds(tmp_path) == ["genesis", "plan"]
