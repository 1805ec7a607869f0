"""The headline says what the intervals allow, for better and for worse, at the same place and size."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcart.simulation.report import headline
from fedcart.simulation.report.formats import bytes_, percent, plain, price, score, seconds, signed
from fedcart.simulation.report.methods import best_pooled, gain
from fedcart.simulation.report.sentences import losers

FIXTURES = Path(__file__).parent / "fixtures"
Json = dict[str, Any]


def load(name: str) -> Json:
    found: Json = json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture
def run() -> Json:
    return load("run")


@pytest.fixture
def bare() -> Json:
    return load("run_no_privacy")


def set_gain(run: Json, against: str, difference: float, low: float, high: float) -> None:
    pairs = run["metrics"]["paired"]
    found = next(p for p in pairs if p["against"] == against and p["metric"] == "ndcg@10")
    found.update(difference=difference, low=low, high=high)


def set_ndcg(run: Json, method: str, value: float) -> None:
    run["metrics"][method]["full"]["ndcg@10"] = value


def words(run: Json) -> str:
    return headline(run).text.replace("\N{NO-BREAK SPACE}", " ")


def kept(run: Json) -> Json:
    """The same run with noise that nobody can take off."""
    run["rehearsal"] = False
    return run


def test_a_gain_under_epsilon_is_one_sentence_and_its_interval_stands_below(run: Json) -> None:
    text = words(kept(run))
    assert text.startswith(
        "8 stores, 24,000 customers. Trained together at ε = 4 per customer–store pair, the stores "
        "rank 13 % better than alone. "
        "Over alone: NDCG@10 0.0563 → 0.0634, gain +0.0049 to +0.0093 at 95 %. "
    )
    assert "reach 85 % of the best on pooled data: EASE." in text
    assert text.endswith("Nothing but noised sums left a store.")
    assert headline(run).verdict == "gain"


def test_a_rehearsed_epsilon_is_not_claimed(run: Json) -> None:
    assert "Trained together in a rehearsal of ε = 4 per customer–store pair, the stores" in words(run)
    assert words(run).endswith("Nothing but noised sums left a store, and the noise came from the seed.")


def test_distributed_noise_in_plain_sums_is_a_rehearsal_too(run: Json) -> None:
    kept(run)["privacy"]["aggregation"] = "plain"
    assert "in a rehearsal of ε = 4" in words(run)
    assert "Nothing but noised sums" not in words(run)
    assert "added in the clear" in words(run)


def test_local_noise_in_plain_sums_is_kept(run: Json) -> None:
    kept(run)["privacy"].update(trust="local", aggregation="plain")
    assert "at ε = 4" in words(run)
    assert words(run).endswith("Nothing but noised sums left a store.")


def test_without_noise_the_headline_says_there_is_no_guarantee(bare: Json) -> None:
    text = words(bare)
    assert "Trained together with no privacy guarantee, the stores" in text
    assert text.endswith(
        "Sums over customers left each store, no rows, without noise, and the coordinator saw each of them."
    )
    assert "ε" not in text
    assert "noised" not in text


def test_without_noise_secure_sums_still_promise_nothing(bare: Json) -> None:
    bare["privacy"]["aggregation"] = "SA1"
    assert "with no privacy guarantee" in words(bare)
    assert words(bare).endswith("No noise was added: the coordinator saw exact totals.")


def test_the_sum_of_a_store_with_one_customer_is_said_to_be_a_row(bare: Json) -> None:
    for store in bare["metrics"]["stores"][:2]:
        store["customers"] = 1
    assert "no rows" not in words(bare)
    assert words(bare).endswith("2 stores had a single customer: the sum was that customer's row.")


def test_a_share_of_the_noise_does_not_hide_the_row_of_a_single_customer(run: Json) -> None:
    kept(run)["privacy"]["aggregation"] = "plain"
    run["metrics"]["stores"][0]["customers"] = 1
    assert words(run).endswith(
        "1 store had a single customer: the sum was that customer's row and a share of the noise."
    )
    run["privacy"]["trust"] = "local"
    assert "row" not in words(run)


def test_a_loss_on_all_items_stands_beside_a_gain_on_new_ones(run: Json) -> None:
    run["split"]["repeats"] = 500
    for name, value in (("local_only", 0.2298), ("federated", 0.2245)):
        run["metrics_all_items"][name]["full"]["ndcg@10"] = value
    against = {"method": "federated", "against": "local_only", "metric": "ndcg@10", "n": 900}
    run["metrics_all_items"]["paired"] = [{**against, "difference": -0.0053, "low": -0.0081, "high": -0.0024}]
    assert headline(run).verdict == "gain"
    assert (
        "With repeat purchases counted they rank 2.3 % worse than alone "
        "(0.2298 → 0.2245, gain −0.0081 to −0.0024 at 95 %)." in words(run)
    )
    run["split"]["repeats"] = 0
    assert "repeat purchases" not in words(run)


def test_stores_that_missed_rounds_are_counted(run: Json) -> None:
    run["cost"]["stores_answered"] = {"least": 5, "mean": 6.75}
    assert "Stores missed rounds: of 8, 6.75 answered on average and 5 at least." in words(run)
    run["cost"]["stores_answered"] = {"least": 8, "mean": 8.0}
    assert "missed" not in words(run)


def test_too_few_customers_for_an_interval_are_not_given_one(run: Json) -> None:
    set_gain(run, "local_only", 0.002, -1.0, 1.0)
    assert "too few customers measured for an interval" in words(run)
    assert headline(run).verdict == "none"


def test_a_loss_to_content_is_said_where_alone_was_not_measured(run: Json) -> None:
    run["metrics"]["local_only"] = None
    set_ndcg(run, "content", 0.0700)
    set_gain(run, "content", -0.0066, -0.009, -0.004)
    assert headline(run).verdict == "loss"
    assert "rank 9.4 % worse than item data + pooled popularity; training alone was not measured." in words(run)


def test_an_interval_over_alone_that_holds_zero_is_no_gain(run: Json) -> None:
    set_gain(run, "local_only", 0.002, -0.0003, 0.0043)
    assert headline(run).verdict == "none"
    assert "show no measurable gain over training alone. Over alone: NDCG@10" in words(run)
    assert "better" not in words(run)


def test_not_beating_content_is_no_gain(run: Json) -> None:
    set_gain(run, "content", 0.001, -0.001, 0.003)
    assert headline(run).verdict == "none"
    assert headline(run).finding.endswith("show no measurable gain over item data + pooled popularity.")
    assert "Over content: NDCG@10 0.0528 → 0.0634, gain −0.0010 to +0.0030 at 95 %." in words(run)
    assert "They rank 13 % better than alone (0.0563 → 0.0634, gain +" in words(run)


def test_both_missed_comparisons_are_named_with_their_intervals(run: Json) -> None:
    set_gain(run, "local_only", 0.002, -0.0003, 0.0043)
    set_gain(run, "content", 0.001, -0.001, 0.003)
    assert "no measurable gain over training alone or item data + pooled popularity." in words(run)
    assert re.search(r"Over alone: [^.]*.*−0.0003 to .*Over content: .*−0.0010 to", words(run))
    assert "better" not in words(run)


def test_content_without_an_interval_is_not_beaten(run: Json) -> None:
    run["metrics"]["paired"] = [p for p in run["metrics"]["paired"] if p["against"] != "content"]
    assert headline(run).verdict == "none"


def test_losing_to_content_is_a_loss(run: Json) -> None:
    set_ndcg(run, "content", 0.0700)
    set_gain(run, "content", -0.0066, -0.009, -0.004)
    assert headline(run).verdict == "loss"
    assert "rank 9.4 % worse than item data + pooled popularity. Over content: NDCG@10 0.0700 → 0.0634, gain " in words(
        run
    )


def test_losing_to_alone_is_a_loss(run: Json) -> None:
    set_ndcg(run, "federated", 0.0500)
    set_gain(run, "local_only", -0.0063, -0.008, -0.004)
    assert headline(run).verdict == "loss"
    assert "rank 11 % worse than alone. Over alone: NDCG@10 0.0563 → 0.0500, gain −0.0080 to −0.0040 at 95 %." in words(
        run
    )


def test_a_zero_baseline_gets_a_difference_and_no_percentage(run: Json) -> None:
    set_ndcg(run, "local_only", 0.0)
    assert "rank 0.0634 NDCG@10 better than alone. Over alone: NDCG@10 0.0000 → 0.0634" in words(run)


def test_without_an_interval_nothing_is_claimed(run: Json) -> None:
    run["metrics"]["paired"] = []
    assert headline(run).verdict == "unknown"
    assert "no interval was computed, so whether that is a gain cannot be said" in words(run)


def test_without_alone_nothing_is_compared(run: Json) -> None:
    run["metrics"]["local_only"] = None
    assert headline(run).verdict == "unknown"
    assert "training alone was not measured" in words(run)


def test_one_store_has_nobody_to_be_compared_with(run: Json) -> None:
    run["data"].update(stores=1, customers=1)
    assert words(run).startswith("1 store, 1 customer. ")
    assert "one store has nobody to be compared with" in words(run)
    assert headline(run).verdict == "unknown"


def test_without_pooled_results_no_share_of_them_is_claimed(run: Json) -> None:
    run["metrics"]["centralized"] = dict.fromkeys(run["metrics"]["centralized"])
    assert "Pooling all data was not measured." in words(run)


def test_an_interrupted_run_says_so_first() -> None:
    text = words(load("run_interrupted"))
    assert text.startswith("Interrupted after round 3 of 8 (together): not a final result.")
    assert "better" not in text


def test_losers_are_named_the_worst_first(run: Json) -> None:
    stores = run["metrics"]["stores"]
    stores[0].update(together=0.0500, low=-0.02, high=-0.008)
    assert [s["store"] for s in losers(stores)] == ["Hartwell Grocers", "The Copper Kettle"]
    assert "2 stores of 8 lost, 1 of them measurably: Hartwell Grocers, The Copper Kettle." in words(run)


def test_no_loser_no_word_of_losing(run: Json) -> None:
    run["metrics"]["stores"] = [s for s in run["metrics"]["stores"] if s["together"] >= s["alone"]]
    assert "lost" not in words(run)


def test_a_pair_reads_the_same_both_ways_round(run: Json) -> None:
    turned = copy.deepcopy(run)
    for p in turned["metrics"]["paired"]:
        p.update(method=p["against"], against=p["method"], difference=-p["difference"], low=-p["high"], high=-p["low"])
    assert gain(turned["metrics"], "federated", "content") == gain(run["metrics"], "federated", "content")
    assert headline(turned) == headline(run)


@pytest.mark.parametrize(
    ("low", "high", "how"),
    [
        (-0.001, 0.005, "the difference is within the measurement"),
        (0.001, 0.003, "measurably, with settings that are those of the run under ε"),
        (-1.0, 1.0, "whether that is more than chance cannot be said"),
        (None, None, "whether that is more than chance cannot be said"),
    ],
)
def test_noise_that_cost_no_accuracy_is_said_as_far_as_the_interval_goes(
    run: Json, low: float | None, high: float | None, how: str
) -> None:
    assert "noise did not cost" not in words(run)
    set_ndcg(run, "no_noise", 0.0614)
    if low is None or high is None:
        run["metrics"]["paired"] = [p for p in run["metrics"]["paired"] if p["against"] != "no_noise"]
    else:
        set_gain(run, "no_noise", 0.002, low, high)
    text = words(run)
    assert "Here noise did not cost accuracy: without clip and noise they rank lower (0.0614 → 0.0634" in text
    assert f"); {how}." in text
    run["privacy"]["epsilon"] = None
    assert "noise did not cost" not in words(run)


def test_the_best_pooled_method_is_the_hardest_opponent(run: Json) -> None:
    assert best_pooled(run["metrics"]) == "centralized.ease"


@settings(max_examples=40, deadline=None)
@given(low=st.floats(-0.05, 0.05), width=st.floats(0, 0.05), content=st.floats(-0.05, 0.05))
def test_better_is_said_only_when_both_intervals_are_above_zero(low: float, width: float, content: float) -> None:
    run = load("run")
    set_ndcg(run, "federated", 0.2)
    set_ndcg(run, "local_only", 0.2 - low - width / 2)
    set_ndcg(run, "content", 0.2 - content - width / 2)
    set_gain(run, "local_only", low + width / 2, low, low + width)
    set_gain(run, "content", content + width / 2, content, content + width)
    assert (headline(run).verdict == "gain") == (low > 0 and content > 0)
    assert "better than alone" not in headline(run).finding or (low > 0 and content > 0)


def test_numbers_read_as_people_read_them() -> None:
    assert [score(0.06344), score(None)] == ["0.0634", "–"]
    assert [signed(0.0071), signed(-0.009), signed(-0.00001)] == ["+0.0071", "−0.0090", "0.0000"]
    spaced = [percent(x).replace("\N{NO-BREAK SPACE}", " ") for x in (0.126, -0.084, 0.0999, 0.0002, 0, 1.5)]
    assert spaced == ["13 %", "8.4 %", "10 %", "less than 0.1 %", "0 %", "150 %"]
    assert [plain(x) for x in (4.0, 2.41, 1e-6, 0, 12345)] == ["4", "2.41", "10⁻⁶", "0", "12,345"]
    assert plain(2.5e-7).replace("\N{NO-BREAK SPACE}", " ") == "2.5 × 10⁻⁷"
    sizes = [bytes_(x).replace("\N{NO-BREAK SPACE}", " ") for x in (128, 16000, 1552128, 999_600)]
    assert sizes == ["128 B", "16.0 kB", "1.55 MB", "1.00 MB"]
    times = [seconds(x).replace("\N{NO-BREAK SPACE}", " ") for x in (0.35, 48.2, 148.2, 59.99, 11100)]
    assert times == ["0.350 s", "48.2 s", "2 min 28 s", "1 min 00 s", "3 h 05 min"]
    assert [price(7.9, "£"), price(None, "£")] == ["£7.90", ""]


@given(st.floats(-1, 1))
def test_a_sign_is_never_shown_for_a_difference_that_rounds_to_zero(value: float) -> None:
    assert (signed(value) == "0.0000") == (abs(round(value, 4)) == 0)
