"""`fedcart simulate`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

EPILOG = """\b
Examples:
  fedcart simulate
  fedcart simulate --data ml-1m --learner als --stores 10 --out runs/ml-1m
  fedcart simulate --data sales.csv --columns customer=who,item=sku,time=day,store=branch --split time:2026-05-01
"""

BARE_EPSILON = 4.0
"""Of a run that names neither configuration, data, learner, epsilon nor trust: the built-in marketplace, as
stores would train on it."""


@click.command(epilog=EPILOG)
@click.argument("config", required=False, type=click.Path(path_type=Path), metavar="[CONFIG.toml]")
@click.option("--data", "data_name", metavar="NAME|PATH|URL", help="A named set, CSV, Parquet or database URL.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where named sets lie (else FEDCART_DATA).")
@click.option("--query", help="SQL, when --data is a database URL.")
@click.option(
    "--columns", metavar="ROLE=COLUMN,…", help="Which column is customer, item, time, behaviour, value, store."
)
@click.option("--encoding", help="Of a CSV file; utf-8 unless given.")
@click.option("--separator", metavar="CHAR", help="Of a CSV file; ',' unless given, tab for .tsv.")
@click.option("--items", type=click.Path(path_type=Path), help="File with the public item list.")
@click.option("--size", type=click.Choice(["small", "default", "large"]), help="Of the marketplace.")
@click.option("--events", type=click.Choice(["daily", "full"]), help="Of the marketplace: full = a row a page view.")
@click.option("--stores", type=int, metavar="N", help="How many stores.")
@click.option("--stores-by", metavar="HOW", help="auto, column, random, dirichlet:A or customer.")
@click.option("--overlap", type=click.Choice(["pair", "declared", "weights"]), help="A person at several stores.")
@click.option("--split", metavar="RULE", help="auto, leave-one-out, last-basket, time:YYYY-MM-DD or ncf.")
@click.option("--learner", metavar="L", help="auto, popularity, gram, spectral, als, mf or ncf.")
@click.option(
    "--set", "learner_settings", multiple=True, metavar="KEY=VALUE", help="A hyper-parameter; may be repeated."
)
@click.option("--rounds", type=int, metavar="R", help="Rounds of mf and ncf, sweeps of als.")
@click.option("--dim", type=int, metavar="K", help="Length of the item and customer factors (embedding_dim).")
@click.option(
    "--epsilon",
    type=float,
    help="Privacy loss of one customer over the whole run; inf = no guarantee. 4 where nothing is named, else inf.",
)
@click.option("--delta", metavar="D|auto", help="auto: the largest power of ten below 1 / (10 x customers).")
@click.option("--trust", metavar="T", help="Who adds noise: local, distributed, none, or auto.")
@click.option("--rehearsal", is_flag=True, default=None, help="Noise from --seed, also on data of your own.")
@click.option("--engine", type=click.Choice(["in-process", "ray", "deployment"]), help="What runs the Flower apps.")
@click.option("--drop-rate", type=float, metavar="P", help="Probability that a store misses a round.")
@click.option("--quorum", type=int, help="Stores a round needs; else all, or with --drop-rate more than half.")
@click.option("--baselines", metavar="A,B|none", help="Baselines to compare with; all unless given.")
@click.option("--alone/--no-alone", default=None, help="Train each store alone, too.")
@click.option("--pooled/--no-pooled", default=None, help="Train on pooled data, too.")
@click.option("--every", type=int, metavar="R", help="Rounds between points of the learning curve; 0 = none.")
@click.option("--seed", type=int, help="Fixes partition, split, initial state and training order.")
@click.option("--out", type=click.Path(path_type=Path), help="Where results go; the same --out resumes.")
@click.option("--json", "as_json", is_flag=True, help="Print run.json on standard output.")
def simulate(config: Path | None, as_json: bool, **options: Any) -> None:
    """Train stores together on one machine and compare with the alternatives.

    Each store alone, all stores together through a Flower server and clients, and the same learner on pooled data,
    beside baselines on the same split. Writes run.json, results.parquet and report.html.
    """
    from fedcart.simulation.config import Config
    from fedcart.simulation.progress import Lines, shown
    from fedcart.simulation.run import shell_line
    from fedcart.simulation.run import simulate as run

    if config is None and all(options[name] is None for name in ("data_name", "learner", "epsilon", "trust")):
        options["epsilon"] = BARE_EPSILON
    chosen = Config.read(config, overrides(options))
    with shown(Lines()) as progress:
        result = run(chosen, progress, shell_line(typed_arguments()))
    if as_json:
        click.echo(json.dumps(result.document))
        return
    click.echo(summary(result.document))
    click.echo(f"report: {result.directory / 'report.html'}")


def typed_arguments() -> list[str]:
    """The words after `fedcart`, as typed."""
    import sys

    return sys.argv[1:]


def overrides(options: dict[str, Any]) -> dict[str, Any]:
    """Options as table.key -> value."""
    rule, _, at = (options["split"] or "").partition(":")
    baselines = options["baselines"]
    return {
        "data.name": options["data_name"],
        "data.dir": options["data_dir"],
        "data.query": options["query"],
        "data.columns": pairs(options["columns"].split(",") if options["columns"] else (), "--columns"),
        "data.encoding": options["encoding"],
        "data.separator": options["separator"],
        "data.items": options["items"],
        "data.size": options["size"],
        "data.events": options["events"],
        "stores.count": options["stores"],
        "stores.by": options["stores_by"],
        "split.rule": rule or None,
        "split.at": at or None,
        "learner.name": options["learner"],
        "learner.settings": learner_settings(options["learner_settings"], options["dim"]),
        "rounds.count": options["rounds"],
        "privacy.epsilon": options["epsilon"],
        "privacy.delta": delta(options["delta"]),
        "privacy.trust": options["trust"],
        "privacy.rehearsal": options["rehearsal"],
        "privacy.overlap": options["overlap"],
        "engine.name": options["engine"],
        "engine.drop_rate": options["drop_rate"],
        "rounds.quorum": options["quorum"],
        "evaluate.baselines": None if baselines is None else [x for x in baselines.split(",") if x and x != "none"],
        "evaluate.alone": options["alone"],
        "evaluate.pooled": options["pooled"],
        "evaluate.every": options["every"],
        "seed": options["seed"],
        "output.dir": options["out"],
    }


def learner_settings(parts: Iterable[str], dim: int | None) -> dict[str, Any] | None:
    """--set and --dim as one table; None for nothing."""
    found = typed(pairs(parts, "--set"))
    if dim is None:
        return found
    if found and "embedding_dim" in found:
        raise click.UsageError("--dim and --set embedding_dim say the same: give one of them")
    return {**(found or {}), "embedding_dim": dim}


def delta(text: str | None) -> float | None:
    """A number, or None for auto."""
    if text is None or text == "auto":
        return None
    try:
        return float(text)
    except ValueError:
        raise click.UsageError(f"--delta: {text!r} is neither a number nor auto") from None


def pairs(parts: Iterable[str], option: str) -> dict[str, str] | None:
    """`a=b` and `c=d` as a table; None for nothing."""
    found: dict[str, str] = {}
    for part in parts:
        key, sign, value = part.partition("=")
        if not (key and sign and value):
            raise click.UsageError(f"{option}: {part!r} is not NAME=VALUE")
        if key.strip() in found:
            raise click.UsageError(f"{option}: {key.strip()!r} is there twice")
        found[key.strip()] = value.strip()
    return found or None


def typed(table: dict[str, str] | None) -> dict[str, Any] | None:
    """Values that read as JSON become numbers, booleans or lists; the others stay text."""
    if table is None:
        return None
    found: dict[str, Any] = {}
    for key, text in table.items():
        try:
            found[key] = json.loads(text)
        except json.JSONDecodeError:
            found[key] = text
    return found


def summary(document: dict[str, Any]) -> str:
    """NDCG@10 of every method, best first, as text."""
    metrics = document["metrics"]
    flat = {name: block for name, block in metrics.items() if isinstance(block, dict) and "full" in block}
    flat |= {f"pooled {name}": block for name, block in metrics["centralized"].items() if block}
    lines = [f"{'new items only':28}{'NDCG@10':>9}{'HR@10':>8}"]
    sampled = any(block["sampled"] for block in flat.values())
    lines[0] += f"{'sampled NDCG':>14}{'HR':>7}" if sampled else ""
    for name, block in sorted(flat.items(), key=lambda pair: -pair[1]["full"]["ndcg@10"]):
        line = f"{name:28}{block['full']['ndcg@10']:9.4f}{block['full']['hr@10']:8.4f}"
        if block["sampled"]:
            line += f"{block['sampled']['ndcg@10']:14.4f}{block['sampled']['hr@10']:7.4f}"
        lines.append(line)
    lines += repeats(document)
    dropped = {rule: count for rule, count in document["data"]["dropped"].items() if count}
    if dropped:
        lines.append("rows dropped: " + ", ".join(f"{count} {rule}" for rule, count in dropped.items()))
    return "\n".join([*lines, promise(document)])


def repeats(document: dict[str, Any]) -> list[str]:
    """NDCG@10 together and alone where repeat purchases count; nothing where none was held out."""
    every = document["metrics_all_items"]
    if not document["split"].get("repeats") or None in (every["federated"], every["local_only"]):
        return []
    together, alone = (every[name]["full"]["ndcg@10"] for name in ("federated", "local_only"))
    return [f"with repeat purchases: federated {together:.4f}, local_only {alone:.4f}"]


def promise(document: dict[str, Any]) -> str:
    """What the run guarantees, in one line."""
    privacy = document["privacy"]
    if privacy["epsilon"] is None:
        return "no privacy guarantee: no noise was added, and the coordinator saw every store's sum"
    unit = privacy["unit"].replace("customer_store_pair", "customer at one store")
    if privacy["overlap"] == "weights":
        unit += " (by a linkage that is trusted)"
    words = f"epsilon {privacy['epsilon']:g} at delta {privacy['delta']:g} for each {unit}, trust {privacy['trust']}"
    weak = ["the noise came from the seed"] if document["rehearsal"] else []
    if privacy["trust"] == "distributed" and privacy["aggregation"] == "plain":
        weak.append("the sums were added in the clear")
    rehearsal = f"; a rehearsal that protected nobody: {', '.join(weak)}" if weak else ""
    return f"{words}, aggregation {privacy['aggregation']}{rehearsal}"
