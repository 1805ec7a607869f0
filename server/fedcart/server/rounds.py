"""The coordinator's loop: for each round of the plan ask, add up, update, remember.

Deadline, quorum and streaming are ours (Flower's strategies wait for ever for a missing node and keep all
replies). A round below its quorum leaves the state of the round before and is tried again within the plan's
attempts. When stores are missing, the total is over those that answered and is not rescaled.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np

from fedcart.server.checkpoint import Checkpoint, load_checkpoint, mend_lines, save_checkpoint
from fedcart.server.exchange import LONGEST_PAUSE, UNREACHED, Outcome, exchange
from fedcart.server.masked_sums import MaskedSums
from fedcart.server.witness import Witness, context_of
from fedcart.shared.agreement import Agreement
from fedcart.shared.errors import ConfigError, ProtocolError, RoundFailed
from fedcart.shared.flower_compat import Grid
from fedcart.shared.learners.base import Round, State, Totals
from fedcart.shared.privacy.grid import grid
from fedcart.shared.wire import state_bytes, write_instruction

log = logging.getLogger("fedcart.rounds")


def run_rounds(
    grid: Grid,
    agreement: Agreement,
    *,
    deadline_s: float,
    quorum: int | None = None,
    masked: MaskedSums | None = None,
    witness: Witness | None = None,
) -> State:
    """Run the plan from its checkpoint, or from the start, to the end; returns the last state.

    After each round the logger `fedcart.rounds` says "round" at INFO with the fields of rounds.jsonl: round,
    stage, seconds, upload_bytes and download_bytes (all stores together), stores (that answered), failures
    (class -> stores), ignored (replies), attempt, aggregation; and rounds, the number of them. The round's checkpoint
    is on disk by then.

    Args:
      deadline_s: seconds from sending a round (with `masked`: a flow of it) to the last reply that counts; also the
        messages' time to live.
      quorum: least number of stores whose sum is used; None = all participants of the plan. Never fewer than the
        plan's min_survivors.
      masked: opens the totals by secure aggregation; None = the stores' parts are added up in the clear.
      witness: sends receipts over the stores' ledgers after each try; None = heads that come are not looked at.

    Raises:
      RoundFailed: a round ended below its quorum and no attempt is left.
      ConfigError: quorum or deadline out of range, or the directory holds another plan's checkpoint.
    """
    participants, cohort = agreement.plan.participants, agreement.plan.cohort()
    least = participants if quorum is None else quorum
    if cohort is not None:
        least = max(least, cohort.min_survivors)  # fewer shares are not the noise that was promised
    if not 1 <= least <= participants or not deadline_s > 0:
        raise ConfigError(
            f"quorum {least} of {participants} stores, deadline {deadline_s} s: a quorum is from 1 to the number of "
            "stores and a deadline positive; nothing was run"
        )
    checkpoint = load_checkpoint(agreement.directory, agreement.plan_hash)
    mend_lines(agreement.directory, checkpoint)
    if checkpoint is None:
        state, first, used = agreement.learner.initial_state(agreement.catalogue, agreement.plan.seed), 0, 0
    else:
        state, first, used = checkpoint.state, checkpoint.round_index + 1, checkpoint.attempts_used
    if witness is not None and checkpoint is not None:
        witness.catch_up(list(grid.get_node_ids()), checkpoint.round_index)
    for round_ in agreement.rounds[first:]:
        state, used = _round(grid, agreement, round_, state, used, least, deadline_s, masked, witness)
    return state


def _round(
    grid: Grid,
    agreement: Agreement,
    round_: Round,
    state: State,
    used: int,
    least: int,
    deadline_s: float,
    masked: MaskedSums | None,
    witness: Witness | None,
) -> tuple[State, int]:
    """One round with its repeats: the next state and the attempts used so far."""
    attempt = 0
    while True:
        started = time.monotonic()
        nodes = _wait_for_nodes(grid, agreement.plan.participants, deadline_s)
        if witness is not None:
            witness.meet(nodes, round_.index)
        try:
            if masked is None:
                outcome = _ask(grid, agreement, round_, state, attempt, nodes, least, deadline_s, witness)
            else:
                outcome = masked.ask(round_, state, attempt, nodes, least)
            break
        except RoundFailed as failed:
            if witness is not None:
                witness.sign(round_.index, context_of(agreement.plan_hash, round_.index, attempt))
                witness.send(list(witness.uploaded), f"{round_.index}.{attempt}")
            used, attempt = used + 1, attempt + 1
            if used >= agreement.plan.attempts:
                raise RoundFailed(failed.message, _no_try_left(agreement.plan.attempts, failed.hint)) from None
            log.warning("%s; trying again", failed.message)
    _refuse_overflow(round_, outcome)
    state = agreement.learner.update(state, round_, values(round_, outcome))
    line = _line(round_, outcome, attempt, time.monotonic() - started)
    checkpoint = Checkpoint(agreement.plan_hash, round_.index, state, used, line)
    if witness is not None:
        witness.sign(round_.index, outcome.context or context_of(agreement.plan_hash, round_.index, attempt))
    save_checkpoint(agreement.directory, checkpoint)
    if witness is not None:  # after the checkpoint: stores are not asked for a round again that they were charged for
        reached = [node for node in nodes if outcome.failures.get(node) not in UNREACHED]
        witness.send(reached, f"{round_.index}.{attempt}")
    log.info("round", extra={**line, "rounds": len(agreement.rounds)})
    return state, used


def _ask(
    grid: Grid,
    agreement: Agreement,
    round_: Round,
    state: State,
    attempt: int,
    nodes: list[int],
    least: int,
    deadline_s: float,
    witness: Witness | None,
) -> Outcome:
    """The sum of what the stores send in the clear."""
    content = write_instruction(agreement.plan_hash, round_.index, state, attempt)
    group = f"{round_.index}.{attempt}"
    heard = None if witness is None else witness.heard
    outcome = exchange(grid, nodes, content, round_.releases, group=group, deadline_s=deadline_s, heard=heard)
    if len(outcome.answered) < least:
        raise _failed(round_, outcome, least, agreement.plan.participants)
    outcome.download_bytes = len(nodes) * state_bytes(state)
    return outcome


def _wait_for_nodes(grid: Grid, participants: int, deadline_s: float) -> list[int]:
    """The nodes, in the grid's order; waits for missing ones until the deadline, then goes on without them."""
    until = time.monotonic() + deadline_s
    while len(nodes := list(grid.get_node_ids())) < participants and time.monotonic() < until:
        time.sleep(LONGEST_PAUSE)
    if len(nodes) > participants:
        raise ProtocolError(f"{len(nodes)} nodes joined a plan for {participants} stores; nothing was sent")
    return nodes


def _no_try_left(attempts: int, hint: str | None) -> str:
    """Run again by hand, a round starts at its first try: stores that were charged for it refuse it."""
    again = hint or "run again to go on from there"
    return (
        f"{again}; the plan's {attempts - 1} repeats of the whole run are used up: where stores refuse because they "
        "were charged for a try before, only another plan goes on"
    )


def _failed(round_: Round, outcome: Outcome, least: int, participants: int) -> RoundFailed:
    classes = ", ".join(f"{count} {name}" for name, count in outcome.failure_classes.items()) or "others not there"
    return RoundFailed(
        f"round {round_.index} ({round_.stage}): {len(outcome.answered)} of {participants} stores answered, "
        f"{least} needed ({classes}); the state is that of the round before",
        "run again to go on from there, or lower the quorum",
    )


def values(round_: Round, outcome: Outcome) -> Totals:
    """The sums as numbers: units times what a unit is worth, where noise was added."""
    return {
        release.name: grid(release).values(total) if release.noise_multiplier else total
        for release in round_.releases
        for total in (outcome.totals[release.name],)
    }


def _refuse_overflow(round_: Round, outcome: Outcome) -> None:
    for name, total in outcome.totals.items():
        if not np.isfinite(total).all():
            raise ProtocolError(f"round {round_.index}: the sum of release {name!r} is not finite; it was not used")


def _line(round_: Round, outcome: Outcome, attempt: int, seconds: float) -> dict[str, Any]:
    return {
        "round": round_.index,
        "stage": round_.stage,
        "seconds": round(seconds, 6),
        "upload_bytes": outcome.upload_bytes,
        "download_bytes": outcome.download_bytes,
        "stores": len(outcome.answered),
        "failures": outcome.failure_classes,
        "ignored": outcome.ignored,
        "attempt": attempt,
        "aggregation": outcome.aggregation,
    }
