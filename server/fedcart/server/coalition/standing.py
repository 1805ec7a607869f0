"""How a coalition stands, read from its folder: no server needs to run."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from fedcart.server.checkpoint import read_lines
from fedcart.server.coalition.control import is_served
from fedcart.server.coalition.doors import approvals
from fedcart.server.coalition.folder import CoalitionFolder
from fedcart.server.coalition.runs import Runs
from fedcart.server.tls_files import expires
from fedcart.shared.agreement import PLAN
from fedcart.shared.plan import Plan
from fedcart.shared.roster import ROSTER, Roster


def standing(folder: CoalitionFolder) -> dict[str, Any]:
    """For --json. Times are seconds since 1970 UTC.

    Raises:
      InputError, DataError: a file of the folder is missing or damaged.
    """
    about, items, place = folder.about(), folder.catalogue(), folder.published()
    plan = None
    if place is not None:
        made, roster = Plan.load(place / PLAN), Roster.load(place / ROSTER)
        plan = {
            "name": place.name,
            "learner": made.learner,
            "trust": made.trust,
            "epsilon": None if made.privacy is None else made.privacy.epsilon,
            "stores": len(roster.stores),
            "approved": len(approvals(place) & set(roster.stores)),
            "rounds_finished": len(read_lines(place)),
            "not_after": made.not_after,
        }
    return {
        "schema": 1,
        "coalition": about.name,
        "address": about.address,
        "fingerprint": folder.identity().fingerprint,
        "served": is_served(folder.directory),
        "certificate_expires": int(expires(folder.tls).timestamp()),
        "catalogue": {"items": len(items), "hash": items.hash},
        "stores": dict(sorted(Counter(member.state for member in folder.members()).items())),
        "plan": plan,
        "last_run": next(iter(Runs(folder.directory).read(1)), None),
    }


def standing_lines(told: dict[str, Any]) -> list[str]:
    """The same for people."""
    plan, stores = told["plan"], ", ".join(f"{count} {state}" for state, count in told["stores"].items())
    shown = "none: fedcart coalition plan NAME --epsilon E"
    if plan is not None:
        epsilon = "no epsilon" if plan["epsilon"] is None else f"epsilon {plan['epsilon']:g}"
        shown = f"{plan['name']}, {plan['learner']}, {epsilon}; {plan['approved']} of {plan['stores']} approved"
    return [
        f"{'coalition':<12} {told['coalition']} at {told['address']}, {'served' if told['served'] else 'not served'}",
        f"{'fingerprint':<12} {told['fingerprint']}",
        f"{'certificate':<12} good until {_day(told['certificate_expires'])}",
        f"{'items':<12} {told['catalogue']['items']:,}  {told['catalogue']['hash']}",
        f"{'stores':<12} {stores or 'none'}",
        f"{'plan':<12} {shown}",
        *(f"{'last run':<12} {line}" for line in run_lines([told["last_run"]] if told["last_run"] else [])),
    ]


def run_lines(found: list[dict[str, Any]]) -> list[str]:
    """A line a run."""
    lines = []
    for run in found:
        began = f"{datetime.fromtimestamp(run['started'], UTC):%Y-%m-%d %H:%M} UTC"
        rounds = f"{len(run['finished'])} rounds"
        reason = f": {run['reason']}" if run["reason"] else ""
        lines.append(
            f"{run['run']:>4}  {began}  {run['plan']}  {run['learner']:<10} {rounds:<10} {run['state']}{reason}"
        )
    return lines


def _day(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
