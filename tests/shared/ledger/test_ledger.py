"""A store's ledger: what it charges, refuses and remembers."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcart.shared.errors import ConfigError, InputError, PrivacyRefused, ProtocolError
from fedcart.shared.ledger import Ledger, Receipt, SignedHead
from fedcart.shared.ledger import ledger as ledger_module
from fedcart.shared.ledger.chain import rotation_proof
from fedcart.shared.ledger.disk import Disk
from fedcart.shared.ledger.file import LedgerFile
from fedcart.shared.ledger.lines import make_line
from fedcart.shared.ledger.spending import DAY, Spending
from fedcart.shared.ledger.verify import verify
from fedcart.shared.privacy.accounting import charge_rho
from fedcart.shared.privacy.conversion import zcdp_epsilon
from shared.ledger.ledger_cases import (
    COORDINATOR,
    DELTA,
    NOON,
    OTHER,
    PEER,
    PLAN,
    RHO,
    SENT,
    STORE,
    STRANGER,
    Clock,
    add_plan,
    charge,
    create,
    new_key,
    receipt_of,
    reopen,
    send,
)


def kinds(path: Path) -> list[str]:
    return [json.loads(line)["kind"] for line in path.read_bytes().splitlines()]


def test_what_was_charged_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with create(path) as ledger:
        for number in range(3):
            send(ledger, number)
        head = ledger.head
    with reopen(path) as again:
        assert again.head == head
        assert again.lifetime_rho == pytest.approx(3 * RHO)
        assert again.lifetime_rho >= 3 * RHO
        assert again.epsilon(DELTA) == pytest.approx(zcdp_epsilon(0.25, DELTA))
        send(again, 3)
    assert kinds(path) == ["genesis", "plan"] + ["charge", "release"] * 4
    assert verify(path).findings == ()


def test_a_charge_line_says_what_the_theorem_says(tmp_path: Path) -> None:
    with create(tmp_path / "l") as ledger:
        charge(ledger, 7, honest=3, attempt=1)
    body = json.loads((tmp_path / "l").read_bytes().splitlines()[-1])["body"]
    assert body["rho"] == "1/36"
    assert (body["D"], body["variance"], body["honest"]) == (str(1 << 20), str(3 << 41), 3)
    assert 0 <= float(body["epsilon_after"]) - zcdp_epsilon(1 / 36, DELTA) < 2e-6
    assert body["delta"] == "0.000001"


def test_would_spend_is_what_the_charge_then_costs(tmp_path: Path) -> None:
    with create(tmp_path / "l") as ledger:
        before = ledger.would_spend(RHO, DELTA)
        assert ledger.lifetime_rho == 0
        assert charge(ledger).epsilon_after == before == ledger.epsilon(DELTA)


def test_one_charge_pays_for_one_release(tmp_path: Path) -> None:
    with create(tmp_path / "l") as ledger:
        token = charge(ledger)
        with pytest.raises(PrivacyRefused, match="not spent"):
            ledger.release(token, SENT)
        token.spend()
        with pytest.raises(PrivacyRefused, match="used before; nothing was released"):
            token.spend()
        ledger.release(token, SENT)
        with pytest.raises(PrivacyRefused, match="second release"):
            ledger.release(token, SENT)
    for clone in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(PrivacyRefused, match="not copied"):
            clone(token)


def test_a_token_of_a_closed_ledger_is_refused(tmp_path: Path) -> None:
    with create(tmp_path / "l") as ledger:
        token = charge(ledger)
    with pytest.raises(PrivacyRefused, match="closed"):
        token.spend()


def test_the_same_release_is_never_charged_twice_also_after_opening_again(tmp_path: Path) -> None:
    with create(tmp_path / "l") as ledger:
        charge(ledger, 1)
        with pytest.raises(PrivacyRefused, match=r"charge-twice.*line 3; nothing was released"):
            charge(ledger, 1)
        charge(ledger, 1, attempt=1)
    with reopen(tmp_path / "l") as again, pytest.raises(PrivacyRefused, match="charge-twice"):
        charge(again, 1)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"plan": OTHER}, "plan"),
        ({"variance": (3 << 41) - 1}, "dearest"),
        ({"D": 0}, "from 1"),
        ({"variance": -1}, "from 1"),
        ({"honest": 0}, "from 1"),
        ({"D": 1, "variance": 99, "honest": 2}, "do not add up"),
        ({"round": -1}, "body"),
        ({"round": True}, "body"),
        ({"release": ""}, "body"),
        ({"release": "a\nb"}, "body"),
        ({"plan": "A" * 64}, "body"),
    ],
)
def test_a_charge_that_the_plan_does_not_cover_is_refused_and_the_ledger_goes_on(
    tmp_path: Path, changes: dict[str, object], rule: str
) -> None:
    with create(tmp_path / "l") as ledger:
        with pytest.raises(PrivacyRefused, match=f"{rule}.*nothing was"):
            charge(ledger, **changes)
        charge(ledger)
        assert ledger.lifetime_rho == pytest.approx(RHO)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1.0, float("nan")])
def test_a_delta_that_means_nothing_is_refused(tmp_path: Path, delta: float) -> None:
    with create(tmp_path / "l") as ledger, pytest.raises(ConfigError):
        charge(ledger, delta=delta)
    assert kinds(tmp_path / "l") == ["genesis", "plan"]


def test_a_second_process_or_object_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "l"
    with create(path) as ledger:
        with pytest.raises(PrivacyRefused, match=r"in use.*nothing was released"):
            reopen(path)
        own_key = tmp_path / "key"
        new_identity = "from fedcart.shared.identity import Identity\n"
        code = (
            "import sys; from pathlib import Path\nfrom fedcart.shared.ledger import Ledger\n"
            + new_identity
            + f"i = Identity.create(Path({str(own_key)!r}))\n"
            + f"try: Ledger.open(Path({str(path)!r}), i)\nexcept Exception as e: print(e); sys.exit(e.exit_code)\n"
            + "bad = [m for m in ('torch', 'flwr', 'opacus') if m in sys.modules]; sys.exit(9 if bad else 0)"
        )
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=_env())
        assert other.returncode == 3, other.stderr
        assert "in use" in other.stdout
        send(ledger, 0)
    reopen(path).close()


def test_the_auditors_part_loads_no_learning_library() -> None:
    code = (
        "import sys, fedcart.shared.ledger, fedcart.shared.ledger.verify\n"
        "sys.exit(any(m in sys.modules for m in ('torch', 'flwr', 'opacus', 'scipy', 'dp_accounting')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, env=_env()).returncode == 0


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def test_a_fork_carries_no_ledger(tmp_path: Path) -> None:
    with create(tmp_path / "l") as ledger:
        token = charge(ledger)
        child = os.fork()
        if child == 0:
            refused = 0
            for act in (token.spend, lambda: charge(ledger, 1), ledger.signed_head):
                try:
                    act()
                except PrivacyRefused:
                    refused += 1
            os._exit(refused)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        token.spend()


def test_a_clock_that_goes_backwards_releases_nothing_until_it_is_right_again(tmp_path: Path) -> None:
    clock = Clock()
    with create(tmp_path / "l", clock=clock) as ledger:
        clock.at -= 1
        with pytest.raises(PrivacyRefused, match=r"1 s behind.*nothing was released"):
            charge(ledger)
        with pytest.raises(PrivacyRefused, match="behind"):
            ledger.window_epsilon(30, DELTA, clock.at)
        clock.at += 1
        charge(ledger)


def test_the_window_slides_and_the_lifetime_stays(tmp_path: Path) -> None:
    clock = Clock()
    with create(tmp_path / "l", clock=clock) as ledger:
        for number in range(3):
            clock.at = NOON + number * 10 * DAY
            charge(ledger, number)
        one, two, three = (zcdp_epsilon(n / 12, DELTA) for n in (1, 2, 3))
        at = NOON + 20 * DAY
        assert ledger.window_epsilon(20, DELTA, at) == pytest.approx(three)
        assert ledger.window_epsilon(20, DELTA, at + 1) == pytest.approx(two)
        assert ledger.window_epsilon(10, DELTA, at + 1) == pytest.approx(one)
        assert ledger.window_epsilon(10, DELTA, at + 1, and_rho=RHO) == pytest.approx(two)
        assert ledger.window_epsilon(10, DELTA, at + 11 * DAY) == 0
        assert ledger.epsilon(DELTA) == pytest.approx(three)


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 2**80), st.integers(1, 2**80), st.integers(1, 99))),
    st.integers(1, 400),
)
def test_the_composed_rho_is_never_below_the_exact_sum(rows: list[tuple[int, int, int, int]], days: int) -> None:
    spending, rows = Spending(), sorted(rows)
    for day, sensitivity, variance, honest in rows:
        spending.add(day * DAY, charge_rho(sensitivity, variance, honest))
    exact = sum((Fraction(s * s, 2 * h * v) for _, s, v, h in rows), Fraction(0))
    inside = sum((Fraction(s * s, 2 * h * v) for d, s, v, h in rows if d >= 400 - days), Fraction(0))
    slack = Fraction(len(rows), 1 << 128)
    assert exact <= spending.lifetime <= exact + slack
    assert inside <= spending.window(days, 400 * DAY) <= inside + slack


def test_an_existing_file_is_never_made_a_new_ledger(tmp_path: Path) -> None:
    create(tmp_path / "l").close()
    before = (tmp_path / "l").read_bytes()
    with pytest.raises(ConfigError, match="no ledger was made"):
        create(tmp_path / "l")
    assert (tmp_path / "l").read_bytes() == before


def test_a_missing_ledger_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing was released"):
        reopen(tmp_path / "l")


def test_another_stores_ledger_is_refused(tmp_path: Path) -> None:
    create(tmp_path / "l").close()
    with pytest.raises(PrivacyRefused, match="another key; nothing was released"):
        reopen(tmp_path / "l", STRANGER)


@pytest.mark.parametrize("how", ["edit", "drop", "swap", "garbage", "empty", "foreign"])
def test_a_damaged_ledger_is_refused_and_left_as_it_is(tmp_path: Path, how: str) -> None:
    path = tmp_path / "l"
    with create(path) as ledger:
        for number in range(4):
            send(ledger, number)
    lines = path.read_bytes().splitlines(keepends=True)
    if how == "edit":
        lines[4] = lines[4].replace(b'"round":1', b'"round":9')
    elif how == "drop":
        del lines[4]
    elif how == "swap":
        lines[2], lines[4] = lines[4], lines[2]
    elif how == "garbage":
        lines[3] = b"garbage\n"
    elif how == "empty":
        lines = []
    else:
        lines[-1] = lines[-1].replace(b'"sig":"', b'"sig":"')[:-10] + b'000000"}\n'[-10:]
    path.write_bytes(b"".join(lines))
    damaged = path.read_bytes()
    with pytest.raises(PrivacyRefused, match=r"line [0-9]+: [a-z]+: .*nothing was released"):
        reopen(path)
    assert path.read_bytes() == damaged


def test_a_file_replaced_while_it_is_open_stops_the_store(tmp_path: Path) -> None:
    path = tmp_path / "l"
    with create(path) as ledger:
        copy_of = path.read_bytes()
        path.unlink()
        path.write_bytes(copy_of)
        with pytest.raises(PrivacyRefused, match="replaced"):
            charge(ledger)


def test_a_stranger_cannot_hand_over_a_ledger_of_their_own_making(tmp_path: Path) -> None:
    """Genesis and rotation under the stranger's key, to the store's public key, without the store's signature."""
    path = tmp_path / "l"
    with create(path, identity=STRANGER) as ledger:
        body = {"public": STORE.public.hex(), "proof": STRANGER.sign("ledger-rotation", b"").hex()}
        with pytest.raises(PrivacyRefused, match="did not accept"):
            ledger._append("rotation", body)
    with pytest.raises(PrivacyRefused, match="another key"):
        reopen(path)


def test_a_rotated_ledger_is_the_new_keys_alone(tmp_path: Path) -> None:
    path, new = tmp_path / "l", new_key()
    with create(path) as ledger:
        send(ledger, 0)
        ledger.rotate(new)
        head = ledger.signed_head()
        assert head.public == new.public.hex()
    with reopen(path, new) as again:  # the rotation is the last line
        send(again, 1)
        with pytest.raises(PrivacyRefused, match="signed here before"):
            again.rotate(STORE)
    with pytest.raises(PrivacyRefused, match="another key"):
        reopen(path, STORE)
    with reopen(path, new) as again:
        assert again.lifetime_rho == pytest.approx(2 * RHO)
    assert verify(path).findings == ()


def test_a_rotation_that_the_old_key_did_not_sign_is_not_opened(tmp_path: Path) -> None:
    """A stranger takes a store's ledger over: accepted by the stranger's key, never handed over by the store's."""
    path = tmp_path / "l"
    with create(path) as ledger:
        head, seq = ledger.head, 2
    body = {"public": STRANGER.public.hex(), "proof": rotation_proof(STRANGER, head, STORE.public)}
    line = make_line(STRANGER, seq=seq, prev=head, time=NOON, kind="rotation", body=body)
    path.write_bytes(path.read_bytes() + line.raw + b"\n")
    with pytest.raises(PrivacyRefused, match="line 3: signature"):
        reopen(path, STRANGER)


def test_an_erasure_tells_a_bucket_and_a_day_and_nothing_finer(tmp_path: Path) -> None:
    path, clock = tmp_path / "l", Clock()
    with create(path, clock=clock) as ledger:
        for count in (0, 1, 9, 10, 100, 5_000):
            clock.at += 1_000
            ledger.erased(count)
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    found = [line for line in lines if line["kind"] == "erasure"]
    assert [line["body"]["customers"] for line in found] == ["1-9", "1-9", "10-99", "100-999", "1000+"]
    assert {line["time"] for line in found} == {NOON}
    assert all(set(line["body"]) == {"customers", "date"} and len(line["body"]["date"]) == 10 for line in found)
    assert verify(path).findings == ()


def test_checkpoints_write_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "CHECKPOINT_EVERY", 8)
    with create(tmp_path / "l") as ledger:
        for number in range(10):
            send(ledger, number)
        ledger.checkpoint()
    assert [at for at, kind in enumerate(kinds(tmp_path / "l")) if kind == "checkpoint"] == [8, 16, 24]
    assert verify(tmp_path / "l").findings == ()


def test_a_checkpoint_that_is_due_does_not_tell_the_hour_of_an_erasure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "CHECKPOINT_EVERY", 4)
    clock = Clock()
    with create(tmp_path / "l", clock=clock) as ledger:
        send(ledger, 0)
        clock.at += 1000
        ledger.erased(1)
        clock.at += 1000
        charge(ledger, 1)
    assert kinds(tmp_path / "l")[2:] == ["charge", "release", "erasure", "checkpoint", "charge"]
    times = [json.loads(line)["time"] - NOON for line in (tmp_path / "l").read_bytes().splitlines()]
    assert times[2:] == [0, 0, 0, 2000, 2000]


def test_policy_and_abort_stand_in_the_ledger(tmp_path: Path) -> None:
    with create(tmp_path / "l") as ledger:
        ledger.policy(OTHER)
        charge(ledger)
        ledger.abort(plan=PLAN, round=0, attempt=0, reason="below-quorum")
        with pytest.raises(PrivacyRefused, match="body"):
            ledger.abort(plan=PLAN, round=0, attempt=0, reason="customer 17 left")
        with pytest.raises(PrivacyRefused, match="stands here already"):
            add_plan(ledger)
    assert kinds(tmp_path / "l") == ["genesis", "plan", "policy", "charge", "abort"]
    assert verify(tmp_path / "l").findings == ()


# ---- receipts


def test_a_receipt_of_all_heads_is_appended(tmp_path: Path) -> None:
    with create(tmp_path / "a") as ours, create(tmp_path / "b", identity=PEER) as theirs:
        send(ours, 0)
        receipt = receipt_of(ours, theirs)
        send(ours, 1)  # the head of a receipt may lie behind by now
        ours.witness(Receipt.parse(json.loads(json.dumps(receipt.body()))), COORDINATOR.public)
    assert kinds(tmp_path / "a")[-1] == "receipt"
    assert verify(tmp_path / "a").findings == ()


@pytest.mark.parametrize("rounds", [(("a" * 64, 0), ("b" * 64, 0)), ((PLAN, 5), (PLAN, 4)), ((PLAN, 0), (PLAN, 1))])
def test_no_third_round_is_answered_while_two_are_unwitnessed_whatever_their_plans(
    tmp_path: Path, rounds: tuple[tuple[str, int], ...]
) -> None:
    with create(tmp_path / "l") as ledger:
        for plan, number in rounds:
            if not ledger.approved(plan):
                add_plan(ledger, plan)
            ledger.refuse_unwitnessed(plan, number)
            send(ledger, number, plan=plan)
            ledger.refuse_unwitnessed(plan, number)  # another try of the same round
        for wanted in ((PLAN, 2), (PLAN, 3), ("c" * 64, 0)):
            with pytest.raises(PrivacyRefused, match="before a receipt"):
                ledger.refuse_unwitnessed(*wanted)
        ledger.witness(receipt_of(ledger), COORDINATOR.public)
        for wanted in ((PLAN, 2), (PLAN, 3), ("c" * 64, 0)):
            ledger.refuse_unwitnessed(*wanted)


def test_a_store_that_was_rolled_back_stops_for_good(tmp_path: Path) -> None:
    path = tmp_path / "l"
    with create(path) as ledger:
        backup = path.read_bytes()
        send(ledger, 0)
        receipt = receipt_of(ledger)
    path.write_bytes(backup)
    with reopen(path) as again:
        with pytest.raises(PrivacyRefused, match=r"rolled back.*nothing was released"):
            again.witness(receipt, COORDINATOR.public)
        with pytest.raises(PrivacyRefused, match="rolled back"):
            charge(again)
    with pytest.raises(PrivacyRefused, match="rolled back"):
        reopen(path)


def test_the_stores_own_signature_counts_whoever_carries_it(tmp_path: Path) -> None:
    path = tmp_path / "l"
    with create(path) as ledger:
        backup = path.read_bytes()
        send(ledger, 0)
        receipt = receipt_of(ledger, coordinator=STRANGER)
    path.write_bytes(backup)
    with reopen(path) as again, pytest.raises(PrivacyRefused, match="rolled back"):
        again.witness(receipt, COORDINATOR.public)


@pytest.mark.parametrize("how", ["stranger", "unsigned head", "no own head", "edited", "borrowed head"])
def test_a_forged_receipt_is_refused_and_does_not_brick_the_store(tmp_path: Path, how: str) -> None:
    with create(tmp_path / "l") as ledger, create(tmp_path / "b", identity=PEER) as other:
        own = STORE.public.hex()
        unknown = "9" * 64
        if how == "stranger":
            receipt = receipt_of(ledger, coordinator=STRANGER)
        elif how == "unsigned head":
            head = SignedHead(own, unknown, "0" * 128)
            receipt = Receipt.make(COORDINATOR, round=0, ctx="c" * 64, heads={own: head})
        elif how == "no own head":
            receipt = receipt_of(other)
        elif how == "borrowed head":  # the peer's head under our name
            head = SignedHead(own, other.head, other.signed_head().sig)
            receipt = Receipt.make(COORDINATOR, round=0, ctx="c" * 64, heads={own: head})
        else:
            body = receipt_of(ledger).body()
            receipt = Receipt.parse(body | {"round": 1})
        before = ledger.head
        with pytest.raises(ProtocolError, match="not used"):
            ledger.witness(receipt, COORDINATOR.public)
        assert ledger.head == before
        send(ledger, 0)
    reopen(tmp_path / "l").close()


def test_a_head_under_another_name_is_no_receipt(tmp_path: Path) -> None:
    with create(tmp_path / "l") as ledger, pytest.raises(ProtocolError, match="another key than its own"):
        Receipt.make(COORDINATOR, round=0, ctx="c" * 64, heads={PEER.public.hex(): ledger.signed_head()})


def test_a_receipt_under_the_old_key_still_counts_after_rotation(tmp_path: Path) -> None:
    path, new = tmp_path / "l", new_key()
    with create(path) as ledger:
        receipt = receipt_of(ledger)
        ledger.rotate(new)
        ledger.witness(receipt, COORDINATOR.public)
    assert verify(path).findings == ()


@pytest.mark.parametrize(
    ("charges", "seconds"), [(1_000, 1.0), pytest.param(10_000, 2.0, marks=pytest.mark.slow)], ids=["fast", "slow"]
)
def test_ten_thousand_lines_open_in_two_seconds_of_one_core(tmp_path: Path, charges: int, seconds: float) -> None:
    class Lazy(Disk):
        def fsync(self, descriptor: int) -> None:
            pass

    with create(tmp_path / "l", disk=Lazy()) as ledger:
        for number in range(charges):
            charge(ledger, number)
    began = time.process_time()
    with reopen(tmp_path / "l") as again:
        assert again.lifetime_rho == pytest.approx(charges * RHO)
    assert time.process_time() - began < seconds
    began = time.process_time()
    assert verify(tmp_path / "l").findings == ()
    assert time.process_time() - began < 7.5 * seconds


def test_a_line_without_canonical_bytes_changes_nothing(tmp_path: Path) -> None:
    with create(tmp_path / "l") as ledger:
        with pytest.raises(InputError):
            charge(ledger, release="\ud800")
        charge(ledger)


def test_a_ledger_whose_receipts_remember_more_than_it_holds_is_not_opened(tmp_path: Path) -> None:
    """The key itself made the chain again, without a charge; the receipts in it tell."""
    path = tmp_path / "l"
    with create(path) as ledger:
        send(ledger, 0)
        ledger.witness(receipt_of(ledger), COORDINATOR.public)
    lines = [json.loads(raw) for raw in path.read_bytes().splitlines()]
    del lines[2:4]
    prev, raw = "0" * 64, b""
    for seq, line in enumerate(lines):
        made = make_line(STORE, seq=seq, prev=prev, time=line["time"], kind=line["kind"], body=line["body"])
        raw, prev = raw + made.raw + b"\n", made.hash
    path.write_bytes(raw)
    with pytest.raises(PrivacyRefused, match="line 3: receipt: it does not witness"):
        reopen(path)


def test_a_ledger_that_was_never_opened_charges_nothing(tmp_path: Path) -> None:
    ledger = Ledger(LedgerFile(tmp_path / "l", Disk()), STORE, Clock())
    with pytest.raises(PrivacyRefused, match="not open"):
        charge(ledger)
