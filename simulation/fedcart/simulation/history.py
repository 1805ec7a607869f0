"""The coordinator's own record of finished rounds, as the simulation reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_rounds(coalition: Path) -> list[dict[str, Any]]:
    """Lines of rounds.jsonl in round order; a round that was run again counts once, with its last line."""
    path = coalition / "rounds.jsonl"
    if not path.exists():
        return []
    lines: dict[int, dict[str, Any]] = {}
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue  # the torn last line of a killed run; its round is run again
        lines[int(line["round"])] = line
    return [lines[index] for index in sorted(lines)]
