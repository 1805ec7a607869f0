"""The one sentence at the top, and the verdict it rests on. A null or a loss is said in the same place and size.

Verdict: a gain needs the 95 % paired interval over *alone* above zero and, where content was measured, the one
over *content* too. Everything else is "no measurable gain", "worse than", or "cannot be said".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fedcart.simulation.report.formats import NBSP, count, noun, percent, score, signed
from fedcart.simulation.report.methods import Gain, best_pooled, gain, value

Json = dict[str, Any]
Verdict = Literal["gain", "none", "loss", "unknown"]
MOST_NAMES = 6


@dataclass(frozen=True, slots=True)
class Headline:
    """Three parts: who took part, the finding (emphasised), what else must be said beside it."""

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
    who = f"Trained together {_guarantee(run)}, the stores "
    verdict, words = _finding(run, together)
    rest = (
        _beside(metrics, verdict, together),
        _pooled(metrics, together),
        *_losers(metrics["stores"]),
        _left(run["privacy"]),
    )
    return Headline(lead, who + words, tuple(x for x in rest if x), verdict)


def _stopped(run: Json) -> str:
    """Interrupted or failed, and where."""
    progress = run.get("progress")
    word = "Interrupted" if run["status"] == "interrupted" else "Failed"
    if not progress:
        return f"{word}: not a final result."
    where = f"round {count(progress['rounds_done'])} of {count(progress['rounds_planned'])}"
    return f"{word} after {where} ({progress['stage']}): not a final result."


def _guarantee(run: Json) -> str:
    """At which epsilon, for whom; or, in so many words, that there is none."""
    privacy = run["privacy"]
    if privacy["epsilon"] is None:
        seen = (
            "sums were visible to the coordinator"
            if privacy["aggregation"] == "plain"
            else "the coordinator saw exact totals"
        )
        return f"(no privacy guarantee: no noise was added and {seen})"
    unit = "customer" if privacy["unit"] == "customer" else "customer–store pair"
    return f"at ε = {privacy['epsilon']:g} per {unit}".replace(" = ", f"{NBSP}={NBSP}")


def _finding(run: Json, together: float) -> tuple[Verdict, str]:
    """The claim: over training alone and, where it was measured, over public item data."""
    metrics = run["metrics"]
    alone, content = value(metrics, "local_only"), value(metrics, "content")
    if run["data"]["stores"] < 2:
        return "unknown", f"reach NDCG@10 {score(together)}; one store has nobody to be compared with."
    if alone is None:
        return "unknown", f"reach NDCG@10 {score(together)}; training alone was not measured."
    over_alone = gain(metrics, "federated", "local_only")
    rank = f"rank {_compared(alone, together)} alone {_figures(alone, together, over_alone)}"
    if over_alone is None:
        return "unknown", f"{rank}; no interval was computed, so whether that is a gain cannot be said."
    if over_alone.verdict < 0:
        return "loss", f"{rank}."
    missed = []
    if over_alone.verdict == 0:
        missed.append(f"training alone {_figures(alone, together, over_alone)}")
    if content is not None:
        over = gain(metrics, "federated", "content")
        figures = _figures(content, together, over)
        if over is not None and over.verdict < 0:
            return "loss", f"rank {_compared(content, together)} public item data {figures}."
        if over is None or over.verdict == 0:
            missed.append(f"public item data {figures}")
    if missed:
        return "none", f"show no measurable gain over {' or '.join(missed)}."
    return "gain", f"{rank}."


def _compared(before: float, after: float) -> str:
    """`12 % better than`; a difference where a percentage has no meaning."""
    if score(before) == score(after):
        return "the same as"
    word = "better" if after > before else "worse"
    if before <= 0:
        return f"{signed(after - before).lstrip('+')} NDCG@10 {word} than"
    return f"{percent(after / before - 1)} {word} than"


def _figures(before: float, after: float, over: Gain | None) -> str:
    """Both numbers and the paired interval of their difference."""
    interval = ", no interval"
    if over is not None:
        interval = f", 95{NBSP}% interval of the gain {signed(over.low)} to {signed(over.high)}"
    return f"(NDCG@10 {score(before)} → {score(after)}{interval})"


def _beside(metrics: Json, verdict: Verdict, together: float) -> str:
    """A gain over alone that is none over public item data is still said, after it."""
    alone, over = value(metrics, "local_only"), gain(metrics, "federated", "local_only")
    if verdict not in ("none", "loss") or alone is None or over is None or over.verdict <= 0:
        return ""
    return f"They rank {_compared(alone, together)} alone {_figures(alone, together, over)}."


def _pooled(metrics: Json, together: float) -> str:
    """How far it is to the best method on all data in one place."""
    best = best_pooled(metrics)
    top = None if best is None else value(metrics, best)
    if top is None or top <= 0:
        return "Pooling all data was not measured."
    return f"They reach {percent(together / top)} of pooling all data."


def losers(stores: Sequence[Json]) -> list[Json]:
    """Stores that rank worse together than alone, the worst first."""
    lost = [s for s in stores if None not in (s["alone"], s["together"]) and s["together"] < s["alone"]]
    return sorted(lost, key=lambda s: (s["together"] - s["alone"], s["store"]))


def _losers(stores: Sequence[Json]) -> list[str]:
    """By name, with what they lost and whether the interval is on that side of zero."""
    lost = losers(stores)
    if not lost:
        return []
    named = [f"{s['store']} ({score(s['alone'])} → {score(s['together'])})" for s in lost[:MOST_NAMES]]
    more = f" and {noun(len(lost) - MOST_NAMES, 'other')}" if len(lost) > MOST_NAMES else ""
    sure = [s for s in lost if s["high"] is not None and s["high"] < 0]
    sure_words = f"measurable for {count(len(sure))} of them" if len(lost) > 1 else "measurable"
    how = sure_words if sure else "within the interval"
    return [f"{noun(len(lost), 'store')} of {count(len(stores))} lost: {', '.join(named)}{more}, {how}."]


def _left(privacy: Json) -> str:
    """What left a store, as far as that can be claimed."""
    if privacy["epsilon"] is None:
        return "Sums over customers left each store, no rows."
    if privacy["trust"] == "distributed" and privacy["aggregation"] == "plain":
        return "The sums were added in the clear: this run rehearses a protection it did not have."
    return "Nothing but noised sums left a store."
