"""The coordinator's memory between rounds: one file, replaced after each round, and one line a round beside it.

After kill -9 at any moment the file is that of the last finished round, whole; running again goes on from there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedcart.shared.agreement import ROUNDS
from fedcart.shared.errors import ConfigError, InputError
from fedcart.shared.learners.base import State
from fedcart.shared.storage import append_line, load_arrays, named_failures, replace_bytes, save_arrays

CHECKPOINT = Path("checkpoint") / "state.npz"
_PUBLIC, _CARRIED, _ABOUT = "public/", "carried/", "about"


@dataclass(frozen=True)
class Checkpoint:
    """The state after round `round_index` of the plan `plan_hash`.

    Attributes:
      attempts_used: tries that failed so far, over the whole run.
      line: what rounds.jsonl says of the round.
    """

    plan_hash: str
    round_index: int
    state: State
    attempts_used: int
    line: Mapping[str, Any]


def save_checkpoint(directory: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint, then add its line to rounds.jsonl; both durably, in this order."""
    path = directory / CHECKPOINT
    with named_failures(path.parent, "create"):
        path.parent.mkdir(parents=True, exist_ok=True)
    about = {
        "plan_hash": checkpoint.plan_hash,
        "round": checkpoint.round_index,
        "attempts_used": checkpoint.attempts_used,
        "line": dict(checkpoint.line),
    }
    arrays = {f"{_PUBLIC}{name}": array for name, array in checkpoint.state.public.items()}
    arrays |= {f"{_CARRIED}{name}": array for name, array in checkpoint.state.carried.items()}
    arrays[_ABOUT] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    save_arrays(path, arrays)
    append_line(directory / ROUNDS, json.dumps(about["line"]))


def load_checkpoint(directory: Path, plan_hash: str) -> Checkpoint | None:
    """The last finished round's state, or None when no round has finished.

    Raises:
      ConfigError: the checkpoint is another plan's.
      InputError: the file is damaged.
    """
    path = directory / CHECKPOINT
    if not path.exists():
        return None
    arrays = load_arrays(path)
    try:
        about = json.loads(arrays.pop(_ABOUT).tobytes())
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: not a checkpoint") from error
    if about["plan_hash"] != plan_hash:
        raise ConfigError(
            f"{path}: holds round {about['round']} of plan {about['plan_hash'][:16]}…, not of {plan_hash[:16]}…; "
            "nothing was run",
            "use another output directory, or remove this one",
        )
    public = {k.removeprefix(_PUBLIC): v for k, v in arrays.items() if k.startswith(_PUBLIC)}
    carried = {k.removeprefix(_CARRIED): v for k, v in arrays.items() if k.startswith(_CARRIED)}
    return Checkpoint(plan_hash, about["round"], State(public, carried), about["attempts_used"], about["line"])


def read_lines(directory: Path) -> list[dict[str, Any]]:
    """The finished rounds, as rounds.jsonl lists them; a half-written last line is left out."""
    path = directory / ROUNDS
    if not path.exists():
        return []
    with named_failures(path, "read"):
        written = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in written.split("\n")[:-1]]


def mend_lines(directory: Path, checkpoint: Checkpoint | None) -> None:
    """Make rounds.jsonl end with the checkpoint's round, as it must after a crash between the two writes."""
    last = -1 if checkpoint is None else checkpoint.round_index
    lines = [line for line in read_lines(directory) if line["round"] < last]
    if checkpoint is not None:
        lines.append(dict(checkpoint.line))
    replace_bytes(directory / ROUNDS, "".join(f"{json.dumps(line)}\n" for line in lines).encode())
