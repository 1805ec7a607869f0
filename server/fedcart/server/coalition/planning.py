"""A plan for the stores that have joined: made from plan.toml, signed, and shown to them with the roster."""

from __future__ import annotations

import json
import time
from pathlib import Path

from fedcart.server.coalition.folder import PLANS, PUBLISHED, CoalitionFolder
from fedcart.server.plan_file import read_plan, write_plan
from fedcart.shared.canonical import content_hash
from fedcart.shared.errors import ConfigError
from fedcart.shared.interactions import DAY
from fedcart.shared.plan import Plan
from fedcart.shared.roster import KEY, ROSTER, Roster
from fedcart.shared.storage import replace_bytes

PLAN_FILE = "plan.toml"
VALID_DAYS = 90
TEMPLATE = """\
# What the coalition trains next. Edit it and run: fedcart coalition plan {folder}
participants = {participants}
attempts = {attempts}
seed = 0
as_of = {as_of}     # seconds since 1970: what comes later takes no part
not_before = {as_of}
not_after = {not_after}     # stores answer until then

[learner]
name = {learner}

[privacy]
trust = {trust}
{epsilon}customers_bound = {bound}     # public: at most so many customers over all stores; never counted from data
"""


def write_plan_file(
    folder: CoalitionFolder,
    *,
    epsilon: float | None,
    learner: str,
    trust: str | None,
    customers_bound: int,
    attempts: int = 2,
) -> Path:
    """Write plan.toml for the stores that have joined.

    Args:
      trust: None = `distributed` from three stores on, else `local`.
    """
    stores = len(folder.joined())
    chosen = trust or ("distributed" if stores >= 3 else "local")
    today = int(time.time() // DAY) * DAY
    text = TEMPLATE.format(
        folder=folder.directory.name,
        participants=max(stores, 1),
        attempts=attempts,
        as_of=today,
        not_after=today + VALID_DAYS * DAY,
        learner=json.dumps(learner),
        trust=json.dumps(chosen),
        epsilon="" if epsilon is None else f"epsilon = {epsilon!r}\n",
        bound=customers_bound,
    )
    path = folder.directory / PLAN_FILE
    replace_bytes(path, text.encode())
    return path


def publish(folder: CoalitionFolder) -> tuple[Plan, Path]:
    """Sign the plan of plan.toml for the stores that have joined, and show it to them.

    Returns:
      The plan and its directory. The same plan again is the same directory, countersignatures included.

    Raises:
      ConfigError: plan.toml is no plan, or counts other stores than have joined.
    """
    catalogue, members, coordinator = folder.catalogue(), folder.joined(), folder.identity()
    whose = {"coalition": folder.about().name, "key": coordinator.public.hex()}
    plan = read_plan(folder.directory / PLAN_FILE, catalogue, **whose)
    if plan.participants != len(members):
        raise ConfigError(
            f"{folder.directory / PLAN_FILE}: participants = {plan.participants}, and {len(members)} stores have "
            "joined; nothing was signed",
            "wait for them, or change participants",
        )
    roster = Roster(
        coordinator=coordinator.public.hex(),
        stores=tuple(member.key for member in members),
        ledgers=tuple(member.ledger for member in members),
    )
    name = content_hash({"plan": content_hash(plan.document(catalogue)), "roster": roster.hash})[:16]
    place = folder.directory / PLANS / name
    if not (place / ROSTER).exists():
        write_plan(place, plan, catalogue, coordinator)
        (place / KEY).parent.mkdir(mode=0o700, exist_ok=True)
        if not (place / KEY).exists():
            (place / KEY).symlink_to(Path("..") / ".." / ".." / KEY)
        roster.save(place / ROSTER)
    replace_bytes(folder.directory / PUBLISHED, f"{name}\n".encode())
    return plan, place
