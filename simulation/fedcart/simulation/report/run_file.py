"""Read run.json and refuse one that a report cannot be drawn from; docs/schema/run.schema.json says it in full."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from fedcart.shared.errors import DataError

Json = dict[str, Any]

SCHEMA = 1
NEEDED = {
    "": (
        "status rehearsal command config learner seeds plan_hash versions data split metrics metrics_all_items "
        "long_tail privacy history cost"
    ),
    "data": "name customers items interactions stores catalogue",
    "metrics": "federated no_noise local_only content memoriser random centralized paired stores",
    "privacy": (
        "unit relation trust aggregation epsilon delta accountant noise_multiplier noise_effective overlap "
        "colluders min_survivors releases uncovered ledger"
    ),
    "cost": ("rounds seconds seconds_per_round upload_bytes_per_store download_bytes_per_store peak_rss_bytes"),
}


def read_run(run_dir: Path) -> Json:
    """run.json of a run folder. Raises DataError when it is missing, not JSON, of another schema or incomplete."""
    path = run_dir / "run.json"
    try:
        run = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda word: _not_json(path, word))
    except FileNotFoundError:
        raise DataError(
            f"{path}: not found; no report was written", "give the folder of a finished run, its --out"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not JSON ({error}); no report was written") from None
    _check(run, path)
    return dict(run)


def _not_json(path: Path, word: str) -> NoReturn:
    raise DataError(f"{path}: {word} is not a JSON number; no report was written", "what was not measured is null")


def _check(run: Any, path: Path) -> None:
    found = run.get("schema") if isinstance(run, dict) else None
    if found != SCHEMA:
        raise DataError(
            f"{path}: schema {found!r}, this version reads {SCHEMA}; no report was written",
            "make the report with the version of fedcart that made the run",
        )
    for table, keys in NEEDED.items():
        part = run[table] if table else run
        missing = [key for key in keys.split() if not isinstance(part, dict) or key not in part]
        if missing:
            where = f"[{table}]: " if table else ""
            raise DataError(
                f"{path}: {where}no {', '.join(missing)}; no report was written",
                "docs/schema/run.schema.json lists what a run must say",
            )
