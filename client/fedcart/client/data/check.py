"""What a store sees before anything is sent: its data by rule, its items in the list, its own curve, a plan's cost.

All of it is about the store's own customers and stays here: counts in the clear must not be sent to anybody.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedcart.client.approve import Look, look, spent_lines
from fedcart.client.data.learning_curve import Curve, learning_curve
from fedcart.client.data.measured_gains import SOURCE, Range, ranges
from fedcart.client.data.reading import Reading, read_new
from fedcart.client.data.view import View, make_view
from fedcart.client.store_folder import StoreFolder
from fedcart.shared.agreement import Agreement
from fedcart.shared.cost_text import cost_lines, table

NEVER_A_PROMISE = "a range of what was measured there, no promise for here"


@dataclass(frozen=True, kw_only=True)
class Check:
    """What `store check` found.

    Attributes:
      curve: None where it was not asked for.
      plan: None where no plan was given.
    """

    reading: Reading
    view: View
    curve: Curve | None
    gains: tuple[Range, ...]
    plan: Look | None

    def document(self) -> dict[str, Any]:
        """For --json. Holds the store's own counts: not to be sent to anybody."""
        view, reading = self.view, self.reading
        mapped = view.mapped.position >= 0
        histories = view.histories
        people = int((histories.counts > 0).sum())
        return {
            "schema": 1,
            "reading": asdict(reading),
            "customers": {
                "with_history": people,
                "learned_from": len(view.learned_from),
                "opted_out": people - len(view.learned_from),
                "forgotten": len(view.kept.forgotten),
            },
            "items": {
                "own": len(mapped),
                "mapped": int(mapped.sum()),
                "unmapped": dict(view.mapped.reasons),
                "catalogue": len(view.catalogue),
                "catalogue_source": view.catalogue.source,
            },
            "interactions": {
                "rows_mapped": int(mapped[view.kept.rows["item"]].sum()),
                "rows": len(view.kept),
                "events": len(view.events),
                **dict(view.cancelled),
            },
            "pairs": len(histories.items),
            "sparsity": 1 - len(histories.items) / max(1, people * len(view.catalogue)),
            "items_per_customer_median": float(np.median(histories.counts[histories.counts > 0])) if people else 0.0,
            "alone": None if self.curve is None else _curve_document(self.curve),
            "together_in_simulation": {
                "source": SOURCE,
                "note": NEVER_A_PROMISE,
                "ranges": [one.document() for one in self.gains],
            },
            "plan": None if self.plan is None else self.plan.document(),
        }


def check(
    folder: StoreFolder,
    *,
    plan: Path | None = None,
    everything: bool = False,
    curve: bool = True,
    now: int | None = None,
) -> Check:
    """Read what is new, and look at all of it. With a plan, over its catalogue; nothing is approved or charged.

    Raises:
      DataError: the table cannot be used, or nothing of it is in the catalogue.
      PrivacyRefused: the plan's signatures are bad, or the ledger stopped.
    """
    kept, reading = read_new(folder, everything=everything, now=now)
    catalogue = None if plan is None else Agreement.open(plan).catalogue
    view = make_view(folder, kept, catalogue)
    seen = None
    if plan is not None:
        with folder.open_ledger() as ledger:
            seen = look(plan, folder.policy(), ledger, folder.identity())
    return Check(
        reading=reading,
        view=view,
        curve=learning_curve(view) if curve else None,
        gains=ranges(len(view.learned_from)),
        plan=seen,
    )


def check_lines(found: Check) -> list[str]:
    """The same for people."""
    return [*_data_lines(found), "", *_learning_lines(found), *_plan_lines(found)]


def _data_lines(found: Check) -> Iterator[str]:
    told, reading = found.document(), found.reading
    people, items, events = told["customers"], told["items"], told["interactions"]
    what = "all rows" if reading.everything else f"beside what was kept ({reading.earlier:,} earlier ones passed over)"
    yield _line("read", f"{reading.rows:,} rows, {what}: {reading.added:,} added, {reading.again:,} known")
    for rule, count in reading.dropped.items():
        yield _line("dropped", f"{count:,} {rule}")
    for name in ("cancellation", "undone by a cancellation", "cancellations without purchase"):
        if events.get(name):
            yield _line("", f"{events[name]:,} {name}")
    yield _line("customers", f"{people['with_history']:,}, of whom {people['learned_from']:,} may be learned from")
    if people["forgotten"]:
        yield _line("", f"{people['forgotten']:,} forgotten")
    source = "" if items["catalogue_source"] == "given" else " (derived from your rows: epsilon does not cover it)"
    yield _line(
        "items", f"{items['mapped']:,} of your {items['own']:,} are in the list of {items['catalogue']:,}{source}"
    )
    for reason, count in items["unmapped"].items():
        yield _line("", f"{count:,} {reason}")
    yield _line("rows", f"{events['rows_mapped']:,} of {events['rows']:,} are of items in the list")
    each = told["items_per_customer_median"]
    yield _line("sparsity", f"{told['sparsity']:.2%}: {told['pairs']:,} pairs, {each:g} items a customer (median)")


def _learning_lines(found: Check) -> Iterator[str]:
    curve = found.curve
    if curve is not None and curve.why_not:
        yield _line("alone", f"no learning curve: {curve.why_not}")
    elif curve is not None:
        rows = [("alone", "customers", "popularity", "EASE", "95 %", "measured")]
        for point in curve.points:
            low, high = point.ease.interval or (float("nan"), float("nan"))
            between = f"{low:.4f} to {high:.4f}" if point.ease.interval else "too few"
            numbers = f"{point.popularity.ndcg:.4f}", f"{point.ease.ndcg:.4f}"
            rows.append((f"{point.share:.0%}", f"{point.customers:,}", *numbers, between, f"{point.ease.customers:,}"))
        yield from table(rows)
        yield _line("", "NDCG@10 of each one's latest item among those new to them; higher than by time (evaluate)")
        yield ""
    count = len(found.view.learned_from)
    yield _line(
        "together", f"stores of {count / 2:,.0f} to {count * 2:,.0f} customers gained in simulation, against alone:"
    )
    for one in found.gains:
        name = "without noise" if one.epsilon is None else f"epsilon {one.epsilon:g}"
        if one.low is None or one.high is None:
            yield _line("", f"{name:<14} no range: {one.stores} such stores were measured")
        else:
            where = f"{one.stores} stores of {', '.join(one.sets)}"
            half = f", half of them {one.middle[0]:+.0%} to {one.middle[1]:+.0%}" if one.middle else ""
            yield _line("", f"{name:<14} {one.low:+.0%} to {one.high:+.0%}{half} ({where})")
    yield _line("", f"{NEVER_A_PROMISE}; {SOURCE}")


def _plan_lines(found: Check) -> Iterator[str]:
    if found.plan is None:
        yield _line("cost", "no plan was given: --plan DIR shows what one would cost")
        return
    yield ""
    yield from cost_lines(found.plan.cost)
    yield from spent_lines(found.plan)


def _curve_document(curve: Curve) -> dict[str, Any]:
    return {
        "why_not": curve.why_not,
        "regularization": curve.regularization,
        "points": [
            {
                "share": point.share,
                "customers": point.customers,
                "popularity": point.popularity.document(),
                "ease": point.ease.document(),
            }
            for point in curve.points
        ],
    }


def _line(name: str, text: str) -> str:
    return f"{name:<12} {text}"
