"""Leaves the arithmetic to somebody else: the event tree as JSON, and a script that needs only dp-accounting.

The tree is dp_accounting's own named tuples (`DpEvent.to_named_tuple`) as JSON objects. The script knows the three
classes that occur by name; it never imports what a file names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedcart.shared.audit.budget import Budget, Subject
from fedcart.shared.audit.figures import event, google, grouped
from fedcart.shared.errors import ConfigError
from fedcart.shared.ledger.spending import fraction_string
from fedcart.shared.storage import named_failures, replace_bytes

EVENTS, SCRIPT = "events.json", "recompute.py"
SOURCE = '''\
"""epsilon from events.json by Google's dp-accounting alone: pip install dp-accounting; python recompute.py"""
import json
from fractions import Fraction
from pathlib import Path

import dp_accounting as dp


def event(node):
    kind = node["class_name"]
    if kind == "ZCDpEvent":
        return dp.ZCDpEvent(node["rho"], node["xi"])
    if kind == "SelfComposedDpEvent":
        return dp.SelfComposedDpEvent(event(node["event"]), node["count"])
    assert kind == "ComposedDpEvent", kind
    return dp.ComposedDpEvent([event(inner) for inner in node["events"]])


for row in json.loads(Path(__file__).with_name("events.json").read_text())["subjects"]:
    tree = event(row["event"])
    for part, cost in zip(tree.events, row["costs"], strict=True):  # rho is that of the noise, and all are counted
        rho = Fraction(cost["rho"])
        assert part.count == cost["count"] and part.event.rho >= rho
        assert cost["D"] is None or rho == Fraction(int(cost["D"]) ** 2, 2 * cost["honest"] * int(cost["variance"]))
    epsilon = dp.rdp.RdpAccountant().compose(tree).get_epsilon(float(row["delta"]))
    print(row["subject"], row["delta"], repr(float(epsilon)))
'''


def write(budget: Budget, out: Path) -> tuple[Path, Path]:
    """Write events.json and recompute.py into `out`, which is made if need be.

    Raises:
      ConfigError: `out` is, or lies in, the audited directory: evidence is not written to.
      InputError: it cannot be written.
    """
    audited = budget.inspection.folder.directory.resolve()
    if audited in (out.resolve(), *out.resolve().parents):
        raise ConfigError(f"--out {out} lies in the audited directory; nothing was written", "choose another place")
    with named_failures(out, "create"):
        out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document(budget), indent=1)
    replace_bytes(out / EVENTS, text.encode() + b"\n")
    replace_bytes(out / SCRIPT, SOURCE.encode())
    return out / EVENTS, out / SCRIPT


def document(budget: Budget) -> dict[str, Any]:
    """events.json: one row for each subject and delta, its tree, and the raw numbers behind each leaf."""
    rows = [_row(subject, found.delta) for subject in budget.all_subjects for found in subject.lifetime]
    return {"rehearsal": budget.inspection.rehearsals > 0, "schema": 1, "subjects": rows}


def _row(subject: Subject, delta: str) -> dict[str, Any]:
    tree = event(subject.costs)
    known = {"subject": subject.name, "delta": delta, "epsilon": google(tree, float(delta))}
    return {**known, "event": as_json(tree.to_named_tuple()), "costs": _costs(subject)}


def as_json(node: Any) -> Any:
    """dp_accounting's named tuples as objects."""
    if hasattr(node, "_asdict"):
        fields: Mapping[str, Any] = node._asdict()
        return {name: as_json(value) for name, value in fields.items()}
    if isinstance(node, list | tuple):
        return [as_json(value) for value in node]
    return node


def _costs(subject: Subject) -> list[dict[str, Any]]:
    rows = []
    for cost, count in grouped(subject.costs):
        if cost.rho:
            d, variance, honest = cost.numbers or (None, None, None)
            raw = {"D": d and str(d), "variance": variance and str(variance), "honest": honest}
            rows.append({"rho": fraction_string(cost.rho), "count": count, **raw})
    return rows
