"""The one sentence at the top, and the verdict it rests on. A null or a loss is said in the same place and size.

Verdict: a gain needs the 95 % paired interval over *alone* above zero and, where content was measured, the one
over *content* (item data + pooled popularity) too. Everything else is "no
measurable gain", "worse than", or "cannot be said".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fedcart.simulation.report.facts import in_the_clear, rehearsed
from fedcart.simulation.report.formats import NBSP, count, noun, percent, plain, score, signed
from fedcart.simulation.report.methods import Gain, best_pooled, gain, name, value

Json = dict[str, Any]
Verdict = Literal["gain", "none", "loss", "unknown"]
MOST_NAMES = 4
CONTENT = "item data + pooled popularity"
"""What the method `content` knows, in the headline."""


@dataclass(frozen=True, slots=True)
class Headline:
    """Three parts: who took part, the finding (emphasised), and what must be said below it, in smaller type."""

    lead: str
    finding: str
    rest: tuple[str, ...]
    verdict: Verdict

    @property
    def text(self) -> str:
        return " ".join([self.lead, self.finding, *self.rest])


def headline(run: Json) -> Headline:
    """The sentence of DESIGN section 11 for one run.json."""
    data, metrics = run["data"], run["metrics"]
    lead = f"{noun(data['stores'], 'store')}, {noun(data['customers'], 'customer')}."
    if run["status"] != "complete":
        lead = f"{_stopped(run)} {lead}"
    together = value(metrics, "federated")
    if together is None:
        return Headline(lead, "Nothing was trained together to the end.", (), "unknown")
    verdict, words, figures = _finding(run, together)
    rest = (
        *figures,
        _beside(metrics, verdict, together),
        _without_noise(run, together),
        _all_items(run),
        _in_stores(metrics),
        _pooled(run, together),
        *_losers(metrics["stores"]),
        _answered(run),
        _left(run),
    )
    return Headline(
        lead, f"Trained together {_guarantee(run)}, the stores {words}.", tuple(x for x in rest if x), verdict
    )


def _stopped(run: Json) -> str:
    """Interrupted or failed, and where."""
    progress = run.get("progress")
    word = "Interrupted" if run["status"] == "interrupted" else "Failed"
    if not progress:
        return f"{word}: not a final result."
    where = f"round {count(progress['rounds_done'])} of {count(progress['rounds_planned'])}"
    return f"{word} after {where} ({progress['stage']}): not a final result."


def _guarantee(run: Json) -> str:
    """At which epsilon, for whom; that it was only rehearsed; or, in so many words, that there is none."""
    privacy = run["privacy"]
    if privacy["epsilon"] is None:
        return "with no privacy guarantee"
    unit = "customer" if privacy["unit"] == "customer" else "customer–store pair"
    how = "in a rehearsal of" if rehearsed(run) else "at"
    return f"{how} ε = {privacy['epsilon']:g} per {unit}".replace(" = ", f"{NBSP}={NBSP}")


def _finding(run: Json, together: float) -> tuple[Verdict, str, list[str]]:
    """The claim, over training alone and, where it was measured, over content; and the figures it rests on."""
    metrics = run["metrics"]
    alone, content = value(metrics, "local_only"), value(metrics, "content")
    if run["data"]["stores"] < 2:
        return "unknown", f"reach NDCG@10 {score(together)}; one store has nobody to be compared with", []
    if alone is None:
        return _without_alone(metrics, together)
    over_alone = gain(metrics, "federated", "local_only")
    rank, figures = f"rank {_compared(alone, together)} alone", _figures("Over alone", alone, together, over_alone)
    if over_alone is None:
        return "unknown", f"{rank}; no interval was computed, so whether that is a gain cannot be said", [figures]
    if over_alone.verdict < 0:
        return "loss", rank, [figures]
    missed, shown = [], []
    if over_alone.verdict == 0:
        missed.append("training alone")
        shown.append(figures)
    if content is not None:
        over = gain(metrics, "federated", "content")
        over_content = _figures("Over content", content, together, over)
        if over is not None and over.verdict < 0:
            return "loss", f"rank {_compared(content, together)} {CONTENT}", [over_content]
        if over is None or over.verdict == 0:
            missed.append(CONTENT)
            shown.append(over_content)
    if missed:
        return "none", f"show no measurable gain over {' or '.join(missed)}", shown
    return "gain", rank, [figures]


def _without_alone(metrics: Json, together: float) -> tuple[Verdict, str, list[str]]:
    """A loss against content is one; more than that cannot be said."""
    content, over = value(metrics, "content"), gain(metrics, "federated", "content")
    figures = [] if content is None else [_figures("Over content", content, together, over)]
    missing = "training alone was not measured"
    if content is not None and over is not None and over.verdict < 0:
        return "loss", f"rank {_compared(content, together)} {CONTENT}; {missing}", figures
    return "unknown", f"reach NDCG@10 {score(together)}; {missing}", figures


def _compared(before: float, after: float) -> str:
    """`12 % better than`; a difference where a percentage has no meaning."""
    if score(before) == score(after):
        return "the same as"
    word = "better" if after > before else "worse"
    if before <= 0:
        return f"{signed(after - before).lstrip('+')} NDCG@10 {word} than"
    return f"{percent(after / before - 1)} {word} than"


def _figures(against: str, before: float, after: float, over: Gain | None) -> str:
    """Both numbers and the paired interval of their difference."""
    return f"{against}: NDCG@10 {score(before)} → {score(after)}, {_interval(over)}."


def _interval(over: Gain | None) -> str:
    if over is None:
        return "no interval"
    if over.unknown:
        return "too few customers measured for an interval"
    return f"gain {signed(over.low)} to {signed(over.high)} at 95{NBSP}%"


def _beside(metrics: Json, verdict: Verdict, together: float) -> str:
    """A gain over alone that is none over content is still said, after it."""
    alone, over = value(metrics, "local_only"), gain(metrics, "federated", "local_only")
    if verdict not in ("none", "loss") or alone is None or over is None or over.verdict <= 0:
        return ""
    return f"They rank {_compared(alone, together)} alone ({score(alone)} → {score(together)}, {_interval(over)})."


def _without_noise(run: Json, together: float) -> str:
    """That the run without clip and noise, under the same settings, does not rank above the noised one."""
    bare = value(run["metrics"], "no_noise")
    if run["privacy"]["epsilon"] is None or bare is None or score(bare) >= score(together):
        return ""
    over = gain(run["metrics"], "federated", "no_noise")
    if over is None or over.unknown:
        how = "whether that is more than chance cannot be said"
    elif over.verdict == 0:
        how = "the difference is within the measurement"
    else:
        how = "measurably, with settings that are those of the run under ε"
    numbers = f"{score(bare)} → {score(together)}, {_interval(over)}"
    return f"Here noise did not cost accuracy: without clip and noise they rank lower ({numbers}); {how}."


def _all_items(run: Json) -> str:
    """A loss where repeat purchases count is said beside a gain on new items."""
    every = run["metrics_all_items"]
    if every is None or not run["split"].get("repeats", 0):
        return ""
    alone, together = value(every, "local_only"), value(every, "federated")
    if alone is None or together is None or score(together) >= score(alone):
        return ""
    over = _interval(gain(every, "federated", "local_only"))
    return (
        f"With repeat purchases counted they rank {_compared(alone, together)} alone "
        f"({score(alone)} → {score(together)}, {over})."
    )


def _in_stores(metrics: Json) -> str:
    """What the stores measured themselves, under the run's epsilon, beside what was measured with all data in hand."""
    found = metrics.get("in_stores")
    if found is None:
        return ""
    if found["ndcg@10"] is None:
        return "The stores measured too, but noise drowns the number of customers measured."
    error = score(found["standard_error"]["ndcg@10"])
    return f"Measured by the stores under the same ε: NDCG@10 {score(found['ndcg@10'])}, noise ± {error} (one σ)."


def _pooled(run: Json, together: float) -> str:
    """How far it is to the best method on all data in one place."""
    best = best_pooled(run["metrics"])
    top = None if best is None else value(run["metrics"], best)
    if best is None or top is None or top <= 0:
        return "Pooling all data was not measured."
    return f"They reach {percent(together / top)} of the best on pooled data: {name(run, best)}."


def losers(stores: Sequence[Json]) -> list[Json]:
    """Stores that rank worse together than alone, the worst first."""
    lost = [s for s in stores if None not in (s["alone"], s["together"]) and s["together"] < s["alone"]]
    return sorted(lost, key=lambda s: (s["together"] - s["alone"], s["store"]))


def _losers(stores: Sequence[Json]) -> list[str]:
    """By name, and for how many of them the interval is on that side of zero."""
    lost = losers(stores)
    if not lost:
        return []
    named = ", ".join(s["store"] for s in lost[:MOST_NAMES])
    more = f" and {noun(len(lost) - MOST_NAMES, 'other')}" if len(lost) > MOST_NAMES else ""
    sure = [s for s in lost if s["high"] is not None and s["high"] < 0]
    some = "measurably" if len(sure) == len(lost) else f"{count(len(sure))} of them measurably"
    how = some if sure else "none measurably"
    return [f"{noun(len(lost), 'store')} of {count(len(stores))} lost, {how}: {named}{more}."]


def _answered(run: Json) -> str:
    """That stores were missing in some rounds."""
    found, stores = run["cost"].get("stores_answered"), run["data"]["stores"]
    if found is None or found["least"] >= stores:
        return ""
    return (
        f"Stores missed rounds: of {count(stores)}, {plain(found['mean'])} answered on average and "
        f"{count(found['least'])} at least."
    )


def _left(run: Json) -> str:
    """What left a store, as far as that can be claimed."""
    privacy, single = run["privacy"], single_customer_stores(run)
    noised = privacy["epsilon"] is not None
    whose = ""
    if single and not (noised and privacy["trust"] == "local"):
        whose = f" {noun(single, 'store')} had a single customer: the sum was that customer's row"
        whose += " and a share of the noise." if noised else "."
    if noised and in_the_clear(privacy):
        return "The sums were added in the clear: this run rehearses a protection it did not have." + whose
    if noised:
        seed = ", and the noise came from the seed" if run["rehearsal"] else ""
        return f"Nothing but noised sums left a store{seed}."
    if privacy["aggregation"] != "plain":
        return "No noise was added: the coordinator saw exact totals."
    rows = "" if single else ", no rows"
    return f"Sums over customers left each store{rows}, without noise, and the coordinator saw each of them.{whose}"


def single_customer_stores(run: Json) -> int:
    """Stores of one customer: what such a store adds up is a row."""
    return sum(s["customers"] == 1 for s in run["metrics"]["stores"])
