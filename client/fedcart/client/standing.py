"""How a store stands: what it read, which model it uses, and what its ledger has spent. Reads, and charges nothing."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from fedcart.client.data.kept import load_kept
from fedcart.client.recommend.models import current_name
from fedcart.client.store_folder import StoreFolder
from fedcart.shared.cost_text import rounded
from fedcart.shared.ledger.ledger import now


def budget(folder: StoreFolder) -> dict[str, Any]:
    """Epsilon spent over the ledger's life and in the policy's window, and the caps, at the policy's delta.

    Raises:
      PrivacyRefused: the ledger is in use, stopped or damaged, or the clock is behind it.
    """
    limits = folder.policy().limits
    with folder.open_ledger() as ledger:
        spent = ledger.epsilon(limits.delta)
        window = ledger.window_epsilon(limits.window_days, limits.delta, now())
        return {
            "schema": 1,
            "delta": limits.delta,
            "rehearsal": ledger.rehearsal,
            "lifetime": _cap(spent, limits.epsilon_total),
            "window": {"days": limits.window_days, **_cap(window, limits.epsilon_window)},
            "head": ledger.head,
        }


def budget_lines(told: dict[str, Any]) -> list[str]:
    """The same for people; epsilons are rounded up."""
    lines = [f"{'epsilon at delta ' + format(told['delta'], 'g'):<26} {'spent':>9} {'cap':>9}"]
    window = told["window"]
    for name, row in (("over the ledger's life", told["lifetime"]), (f"in {window['days']} days", window)):
        cap = "none" if row["cap"] is None else f"{row['cap']:g}"
        lines.append(f"{name:<26} {rounded(row['epsilon']):>9} {cap:>9}")
    if told["rehearsal"]:
        lines.append("rehearsal: this ledger's noise came from a seed; it is evidence of nothing")
    return lines


def status(folder: StoreFolder) -> dict[str, Any]:
    """Key, last reading, model in use, and the budget."""
    kept = load_kept(folder.data)
    data = None
    if kept is not None:
        data = {
            "read_at": kept.told["at"],
            "rows": len(kept),
            "customers": len(kept.index),
            "may_be_learned_from": int(kept.consent.sum()),
            "items": len(kept.items),
            "latest": kept.mark,
            "dropped_last_time": dict(kept.told["dropped"]),
        }
    return {
        "schema": 1,
        "store": str(folder.directory),
        "fingerprint": folder.identity().fingerprint,
        "coordinator_pinned": bool(folder.policy().trust.coordinator_key),
        "data": data,
        "model": current_name(folder),
        "budget": budget(folder),
    }


def status_lines(told: dict[str, Any]) -> list[str]:
    """The same for people."""
    data = told["data"]
    lines = [f"{'store':<12} {told['store']}", f"{'fingerprint':<12} {told['fingerprint']}"]
    pinned = "pinned" if told["coordinator_pinned"] else "not pinned: set [trust] coordinator_key in policy.toml"
    lines.append(f"{'coordinator':<12} {pinned}")
    if data is None:
        lines.append(f"{'data':<12} nothing was read yet: fedcart store check {told['store']}")
    else:
        counts = f"{data['rows']:,} rows of {data['customers']:,} customers, {data['items']:,} items"
        lines.append(f"{'data':<12} {counts}; read {_minute(data['read_at'])}")
        lines.append(f"{'consent':<12} {data['may_be_learned_from']:,} may be learned from")
    lines.append(f"{'model':<12} {told['model'] or 'none: fedcart store use RUN'}")
    return [*lines, *budget_lines(told["budget"])]


def _cap(epsilon: float, cap: float) -> dict[str, float | None]:
    return {"epsilon": epsilon, "cap": cap if math.isfinite(cap) else None}


def _minute(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
