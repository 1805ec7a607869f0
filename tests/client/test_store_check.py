"""`store check`: the store's data by rule, its own learning curve, a measured range beside it, and a plan's cost."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcart.client.data import learning_curve as curves
from fedcart.client.data.check import NEVER_A_PROMISE, check
from fedcart.client.data.learning_curve import learning_curve
from fedcart.client.data.measured_gains import SOURCE, Gain, gains, ranges
from fedcart.client.data.view import open_view
from fedcart.client.recommend.hold_out import HeldOut, hold_out_after, hold_out_latest
from fedcart.client.recommend.measure import ranks, summary
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import DAY, Interactions, build_histories
from fedcart.shared.learners.popularity import PopularityScorer
from plan_kit import Desk, command
from store_kit import Shop

ROOT = Path(__file__).parents[2]


def checkerboard(customers: int = 120, items: int = 20, each: int = 7) -> str:
    """Even customers buy even items, odd ones odd items."""
    lines = ["customer,item,time"]
    generator = np.random.default_rng(3)
    for customer in range(customers):
        mine = generator.permutation(np.arange(customer % 2, items, 2))[:each]
        lines += [f"c{customer},i{item},{1000 + at}" for at, item in enumerate(mine.tolist())]
    return "\n".join(lines) + "\n"


def test_the_data_by_rule(tmp_path: Path) -> None:
    table = "customer,item,time,ok\na,x,1,yes\na,y,2,yes\nb,x,1,no\nc,z,3,yes\n,x,1,yes\n"
    shop = Shop.make(tmp_path, table, consent_column="ok")
    shop.set("max_bad_rows = 0.01", "max_bad_rows = 0.5")
    Catalogue(("x", "y", "w", "v"), "given").save(shop.directory / "catalogue.json")
    code, out, err = command("store", "check", shop.directory, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["reading"] == {
        "everything": True,
        "rows": 5,
        "earlier": 0,
        "added": 4,
        "again": 0,
        "kept": 4,
        "dropped": {"no customer": 1},
    }
    assert told["customers"] == {"with_history": 2, "learned_from": 1, "opted_out": 1, "forgotten": 0}
    unmapped = {"not in the catalogue": 1}
    assert told["items"] == {"own": 3, "mapped": 2, "unmapped": unmapped, "catalogue": 4, "catalogue_source": "given"}
    assert told["interactions"] == {"rows": 4, "rows_mapped": 3, "events": 3}
    assert (told["pairs"], told["sparsity"], told["items_per_customer_median"]) == (3, 1 - 3 / 8, 1.5)
    assert told["alone"]["why_not"].startswith("1 customers have two items or more")
    assert told["plan"] is None


def test_the_table_says_the_same(tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, checkerboard())
    code, out, err = command("store", "check", shop.directory)
    assert code == 0, err
    for words in (
        "read         840 rows, all rows: 840 added, 0 known",
        "customers    120, of whom 120 may be learned from",
        "items        20 of your 20 are in the list of 20 (derived from your rows: epsilon does not cover it)",
        "100%         120",
        NEVER_A_PROMISE,
        "cost         no plan was given",
    ):
        assert words in out
    assert "beside what was kept (0 earlier" in command("store", "check", shop.directory)[1]


def test_the_curve_learns_the_checkerboard_and_popularity_does_not(tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, checkerboard())
    shop.read()
    curve = learning_curve(open_view(shop.folder))
    assert [(point.share, point.customers) for point in curve.points] == [(0.25, 30), (0.5, 60), (1.0, 120)]
    last = curve.points[-1]
    assert last.ease.customers == last.popularity.customers == 60
    assert last.ease.ndcg > last.popularity.ndcg + 0.1
    assert last.ease.interval is not None
    assert last.ease.interval[0] < last.ease.ndcg < last.ease.interval[1]


def test_whoever_opted_out_does_not_move_the_curve(tmp_path: Path) -> None:
    def told(home: Path, extra: str) -> Any:
        home.mkdir()
        lines = checkerboard().splitlines()
        table = "\n".join([lines[0] + ",ok", *(line + ",yes" for line in lines[1:])]) + "\n" + extra
        shop = Shop.make(home, table, consent_column="ok")
        Catalogue(tuple(f"i{n}" for n in range(20)), "given").save(shop.directory / "catalogue.json")
        shop.read()
        return learning_curve(open_view(shop.folder))

    silent = "".join(f"z{n},i{m},{1000 + m},no\n" for n in range(50) for m in (0, 1, 2, 3))
    assert told(tmp_path / "without", "") == told(tmp_path / "with", silent)
    assert told(tmp_path / "counted", silent.replace(",no", ",yes")) != told(tmp_path / "again", "")


def test_no_curve_below_enough_customers(tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, checkerboard(customers=curves.FEWEST_MEASURED - 1))
    shop.read()
    assert "at least 40 are needed" in str(learning_curve(open_view(shop.folder)).why_not)


# ---- what is held out


def histories_of(rows: list[tuple[int, int, int]], customers: int, items: int) -> Any:
    customer, item, time = (np.array(column) for column in zip(*rows, strict=True))
    return build_histories(Interactions.build(customer, item, time=time), customers, items, as_of=DAY)


def test_the_latest_item_is_held_out_with_every_trace(tmp_path: Path) -> None:
    held = hold_out_latest(
        histories_of([(0, 0, 1), (0, 1, 5), (0, 2, 3), (1, 3, 1), (2, 2, 7), (2, 2, 8)], 3, 4), "purchase"
    )
    assert held.items.tolist() == [1]
    assert held.indptr.tolist() == [0, 1, 1, 1]
    assert held.train.items.tolist() == [0, 2, 3, 2]


def test_a_customers_held_out_item_does_not_depend_on_the_others() -> None:
    rows = [(c, i, 5) for c in range(6) for i in range(c, c + 3)]
    whole = hold_out_latest(histories_of(rows, 6, 9), "purchase")
    fewer = hold_out_latest(histories_of([row for row in rows if row[0] != 2], 6, 9), "purchase")
    assert whole.items.tolist()[:2] == fewer.items.tolist()[:2]
    assert whole.items.tolist()[3:] == fewer.items.tolist()[2:]


def test_what_comes_after_is_held_out_and_repeats_are_marked() -> None:
    events = Interactions.build([0, 0, 0, 1, 1], [0, 1, 0, 2, 3], time=[1, 10, 12, 11, 12])
    held = hold_out_after(events, 2, 4, 10, "purchase", (1.0,) * 5)
    assert held.train.items.tolist() == [0]
    assert held.items.tolist() == [0, 1]  # customer 1 had nothing before
    assert held.repeat.tolist() == [True, False]


def test_ranks_count_ties_half_and_leave_out_what_the_customer_had() -> None:
    held = HeldOut(
        histories_of([(0, 0, 1), (1, 1, 1)], 2, 4),
        np.array([0, 1, 2]),
        np.array([2, 3], np.int32),
        np.zeros(2, bool),
        "purchase",
    )
    scorer = PopularityScorer(np.array([9, 5, 5, 1], np.float32))
    new = ranks(scorer, held, np.arange(2), new=True)
    everything = ranks(scorer, held, np.arange(2), new=False)
    at = [1 / np.log2(rank + 2) for rank in (0.5, 2.0, 1.5, 3.0)]
    assert new.values["ndcg@10"].tolist() == pytest.approx(at[:2])
    assert everything.values["ndcg@10"].tolist() == pytest.approx(at[2:])
    assert summary(ranks(scorer, held, np.arange(0), new=True)) is None


# ---- what others gained


def test_a_range_needs_stores_of_that_size() -> None:
    def gain(customers: int, together: float, epsilon: float | None = None, measured: int = 50) -> Gain:
        return Gain(
            set="s", store="x", customers=customers, measured=measured, epsilon=epsilon, alone=0.1, together=together
        )

    measured = [
        gain(50, 0.08),
        gain(100, 0.1),
        gain(200, 0.13),
        gain(201, 9.0),
        gain(49, 9.0),
        gain(100, 9.0, measured=19),
    ]
    (found,) = ranges(100, measured)
    assert (found.stores, found.low, found.high) == (3, pytest.approx(-0.2), pytest.approx(0.3))
    (none,) = ranges(10_000, measured)
    assert (none.stores, none.low, none.high) == (0, None, None)
    assert found.middle is None
    (many,) = ranges(100, [gain(100, 0.1 + n / 100) for n in range(9)])
    assert (many.low, many.high) == (pytest.approx(0), pytest.approx(0.8))
    assert many.middle == (pytest.approx(0.2), pytest.approx(0.6))
    both = ranges(100, [*measured, gain(100, 0.2, 4.0)])
    assert [(one.epsilon, one.low is None) for one in both] == [(None, False), (4.0, True)]


def test_the_figures_are_those_of_the_page() -> None:
    page = (ROOT / SOURCE).read_text()
    for one in gains():
        epsilon = "none" if one.epsilon is None else f"{one.epsilon:g}"
        what = f"{one.set} | {one.store} | {one.customers:,} | {one.measured:,} | {epsilon}"
        row = f"| {what} | {one.alone:.4f} | {one.together:.4f} | {one.relative:+.0%} |"
        assert row in page
    assert len(re.findall(r"^\| [a-z-]+ \| .+%", page, re.MULTILINE)) == len(gains()) > 20


# ---- a plan


def test_a_plans_cost_stands_beside_the_data(tmp_path: Path) -> None:
    desk = Desk.make(tmp_path)
    assert desk.plan()[0] == 0
    (tmp_path / "shop").mkdir()
    shop = Shop.make(tmp_path / "shop", "customer,item,time\na,a,1\na,b,2\nz,unlisted,3\n")
    key = desk.coordinator.public.hex()
    shop.set('coordinator_key = ""', f'coordinator_key = "{key}"', "policy.toml")
    shop.set("delta = 1e-5", "delta = 1e-4", "policy.toml")
    before = shop.folder.ledger_file.read_bytes()
    code, out, err = command("store", "check", shop.directory, "--plan", desk.plans, "--json", "--no-curve")
    assert code == 0, err
    told = json.loads(out)
    assert told["items"]["catalogue"] == 3
    assert told["plan"]["objections"] == []
    assert 3.9 < told["plan"]["ledger"]["total"]["after"] <= 4
    assert shop.folder.ledger_file.read_bytes() == before
    code, out, _ = command("store", "check", shop.directory, "--plan", desk.plans)
    assert (code, "epsilon      4.0000 at delta 0.0001" in out) == (0, True)


def test_a_plan_of_another_coordinator_is_refused(tmp_path: Path) -> None:
    desk = Desk.make(tmp_path)
    assert desk.plan()[0] == 0
    (tmp_path / "shop").mkdir()
    shop = Shop.make(tmp_path / "shop", "customer,item,time\na,a,1\n")
    shop.set('coordinator_key = ""', f'coordinator_key = "{"0" * 64}"', "policy.toml")
    assert command("store", "check", shop.directory, "--plan", desk.plans, "--no-curve")[0] == 3


def test_bad_input_names_file_column_row_and_value(tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, "customer,item,time\na,x,1\na,y,soon\n")
    code, out, err = command("store", "check", shop.directory)
    assert (code, out) == (2, "")
    assert f"{tmp_path}/sales.csv: 1 of 2 rows are bad" in err
    assert "row 2: unreadable time (time = 'soon')" in err
    assert command("store", "check", tmp_path)[0] == 2
    shop.set("max_bad_rows = 0.01", "max_bad_rows = 0.5")
    assert check(shop.folder, curve=False).reading.dropped == {"unreadable time": 1}
