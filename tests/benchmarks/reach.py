"""Every figure the foundations must reach, from real runs: `python tests/benchmarks/reach.py --out runs/reach`.

Runs the commands below one after another (finished ones are read, so it resumes), compares each figure with its bar
and prints a Markdown table; exits with 1 when one fell short.
"""

from __future__ import annotations

import argparse
import json
import operator
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NO_BASELINES = ("--baselines", "none", "--no-alone", "--every", "0")
RUNS: dict[str, tuple[str, ...]] = {
    "ml1m-als-10": ("--data", "ncf-split", "--stores", "10", "--learner", "als"),
    "ml1m-als-21": ("--data", "ncf-split", "--stores", "21", "--learner", "als", *NO_BASELINES),
    "ml1m-als-192": (
        "--data", "ncf-split", "--stores", "10", "--learner", "als", "--set", "embedding_dim=192",
        "--set", "regularization=0.007", "--set", "sweeps=12", "--no-pooled", *NO_BASELINES,
    ),
    "ml1m-popularity-10": ("--data", "ncf-split", "--stores", "10", "--learner", "popularity", *NO_BASELINES),
    "ml1m-popularity-21": ("--data", "ncf-split", "--stores", "21", "--learner", "popularity", *NO_BASELINES),
    "ml1m-gram-10": ("--data", "ncf-split", "--stores", "10", "--learner", "gram", *NO_BASELINES),
    "ml1m-gram-21": ("--data", "ncf-split", "--stores", "21", "--learner", "gram", *NO_BASELINES),
    "ml1m-mf-10": ("--data", "ncf-split", "--stores", "10", "--learner", "mf", *NO_BASELINES),
    "ml1m-mf-21": ("--data", "ncf-split", "--stores", "21", "--learner", "mf", *NO_BASELINES),
    "ml1m-ncf-10": ("--data", "ncf-split", "--stores", "10", "--learner", "ncf", *NO_BASELINES),
    "ml1m-ncf-21": ("--data", "ncf-split", "--stores", "21", "--learner", "ncf", *NO_BASELINES),
    "online-retail": ("--data", "online-retail", "--stores-by", "column"),
    "complete-journey": ("--data", "complete-journey", "--stores", "40", "--overlap", "declared"),
    "ml-100k": ("--data", "ml-100k", "--stores", "10"),
    "ml-latest-small": ("--data", "ml-latest-small", "--stores", "10"),
    "jdata": ("--data", "jdata", "--stores", "10", "--config", "jdata"),
    "marketplace": ("--epsilon", "inf"),
}  # fmt: skip
SHARE = {"jdata": "[evaluate]\nshare = 0.05\nbaselines = ['popularity', 'itemknn', 'content', 'random', 'memoriser']\n"}
"""jdata: 93,334 customers x 24,624 items; a twentieth of the customers is ranked, and no dense item-item model."""


@dataclass(frozen=True)
class Bar:
    """One figure of one run and what it must be."""

    run: str
    figure: str
    sign: str
    limit: float

    def value(self, document: dict[str, Any]) -> float:
        """The figure: a path into run.json, or `gap:METHOD` = |NDCG@10 federated - METHOD| on new items."""
        metrics = document["metrics"]
        if self.figure.startswith("gap:"):
            other = at(metrics, self.figure.removeprefix("gap:"))
            return max(
                abs(metrics["federated"][kind]["ndcg@10"] - other[kind]["ndcg@10"])
                for kind in ("full", "sampled")
                if other[kind]
            )
        if self.figure == "macro gain":
            return float(metrics["federated"]["macro"]["ndcg@10"] - metrics["local_only"]["macro"]["ndcg@10"])
        if self.figure == "paired low":
            return float(next(p["low"] for p in metrics["paired"] if p["metric"] == "macro ndcg@10"))
        return float(at(metrics, self.figure))


def at(document: Any, path: str) -> Any:
    """`a/b/c` of nested tables."""
    for key in path.split("/"):
        document = document[key]
    return document


BARS = (
    Bar("ml1m-als-10", "centralized/popularity/sampled/hr@10", "~", 0.4538),
    Bar("ml1m-als-10", "centralized/popularity/sampled/ndcg@10", "~", 0.2543),
    Bar("ml1m-als-10", "centralized/ease/sampled/hr@10", ">=", 0.717),
    Bar("ml1m-als-10", "centralized/ease/sampled/ndcg@10", ">=", 0.448),
    Bar("ml1m-als-10", "centralized/ease/full/hr@10", ">=", 0.108),
    Bar("ml1m-als-10", "federated/sampled/hr@10", ">=", 0.72),
    Bar("ml1m-als-10", "federated/sampled/ndcg@10", ">=", 0.443),
    Bar("ml1m-als-192", "federated/sampled/hr@10", ">=", 0.728),
    Bar("ml1m-als-192", "federated/sampled/ndcg@10", ">=", 0.450),
    Bar("ml1m-als-10", "memoriser/sampled/hr@10", "<=", 0.13),
    Bar("ml1m-mf-10", "centralized/same/sampled/hr@10", ">=", 0.70),
    Bar("ml1m-mf-10", "centralized/same/sampled/ndcg@10", ">=", 0.415),
    Bar("ml1m-ncf-10", "centralized/same/sampled/hr@10", ">=", 0.685),
    Bar("ml1m-ncf-10", "centralized/same/sampled/ndcg@10", ">=", 0.405),
    *(
        Bar(f"ml1m-{learner}-{stores}", "gap:centralized/same", "<=", 0.01 if learner in ("mf", "ncf") else 0.001)
        for learner in ("popularity", "gram", "als", "mf", "ncf")
        for stores in (10, 21)
    ),
    Bar("online-retail", "macro gain", ">=", 0.0),
    Bar("online-retail", "paired low", ">=", 0.0),
)
TESTS = {">=": operator.ge, "<=": operator.le, "~": lambda value, limit: abs(value - limit) <= 0.001}


def run(name: str, out: Path, data_dir: str | None) -> dict[str, Any]:
    """The run's document; runs it unless it is complete."""
    command = [sys.executable, "-m", "fedcart.shared", "simulate", *RUNS[name], "--out", str(out / name), "--json"]
    if "--config" in command:
        position = command.index("--config")
        config = out / f"{name}.toml"
        config.write_text(SHARE[command[position + 1]], encoding="utf-8")
        command[position : position + 2] = [str(config)]
    if data_dir and "--data" in command:
        command += ["--data-dir", data_dir]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE)
    if done.returncode != 0:
        raise SystemExit(f"{name} ended with exit code {done.returncode}: {' '.join(command)}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def main() -> None:
    """Run, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/reach"))
    parser.add_argument("--data-dir")
    parser.add_argument("--only", help="comma-separated run names")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    names = given.only.split(",") if given.only else list(RUNS)
    documents = {name: run(name, given.out, given.data_dir) for name in names}
    print("| run | figure | must be | is | |\n|---|---|---|---|---|")
    short = 0
    for bar in BARS:
        if bar.run not in documents:
            continue
        value = bar.value(documents[bar.run])
        reached = TESTS[bar.sign](value, bar.limit)
        short += not reached
        print(f"| {bar.run} | {bar.figure} | {bar.sign} {bar.limit} | {value:.4f} | {'yes' if reached else '**no**'} |")
    raise SystemExit(1 if short else 0)


if __name__ == "__main__":
    main()
