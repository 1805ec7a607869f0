"""Gains by store size from finished simulations: `python tests/benchmarks/store_gains.py RUN…` writes the figures that
`store check` shows, and the rows of docs/results/store-size.md on standard output."""

from __future__ import annotations

import json
import sys
from pathlib import Path

FILE = Path(__file__).parents[2] / "client/fedcart/client/data/measured_gains.json"


def rows(run: Path) -> list[dict[str, object]]:
    """One a store, of a complete run."""
    document = json.loads((run / "run.json").read_text())
    if document["status"] != "complete":
        raise SystemExit(f"{run} is not complete")
    common = {"set": document["data"]["name"], "epsilon": document["privacy"]["epsilon"]}
    return [
        {
            **common,
            "store": one["store"],
            "customers": one["customers"],
            "measured": one["measured"],
            "alone": round(one["alone"], 4),
            "together": round(one["together"], 4),
        }
        for one in document["metrics"]["stores"]
        if one["alone"] and one["together"] is not None
    ]


def main(runs: list[str]) -> None:
    """Write the file, print the table."""
    stores = [row for run in runs for row in rows(Path(run))]
    best: dict[tuple[object, object], object] = {}
    for row in stores:  # a store alone takes the learner that serves it best, whatever the run's is
        key = row["set"], row["store"]
        best[key] = max(float(str(best.get(key, 0.0))), float(str(row["alone"])))
    stores = [{**row, "alone": best[row["set"], row["store"]]} for row in stores]
    stores.sort(key=lambda row: (row["epsilon"] is not None, str(row["set"]), -int(str(row["customers"]))))
    lines = ",\n".join("  " + json.dumps(row) for row in stores)
    FILE.write_text(f'{{"stores": [\n{lines}\n]}}\n')
    for row in stores:
        epsilon = "none" if row["epsilon"] is None else f"{row['epsilon']:g}"
        gain = float(str(row["together"])) / float(str(row["alone"])) - 1
        print(
            f"| {row['set']} | {row['store']} | {row['customers']:,} | {row['measured']:,} | {epsilon} "
            f"| {row['alone']:.4f} | {row['together']:.4f} | {gain:+.0%} |"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
