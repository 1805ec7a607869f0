"""Mutants of a module: every operator and constant changed, one at a time.

    python tests/mutation/mutants.py [--module NAME,NAME] [--jobs N] [--log FILE] [--list]

Prints how many there are and which survive the tests that guard the module; exits with 1 when one survives that
`equivalent.toml` does not list with its reason. A mutant is the module's text with one node replaced. With `--log` the
verdicts are kept, and what was killed before is not run again: to go on after a stop, or after a test was added.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import hashlib
import json
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guarded import make_copies, overlay, verdicts

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SHARED = "shared/fedcart/shared"
GUARDS: dict[str, tuple[str, ...]] = {
    "client/fedcart/client/gate.py": (
        "tests/client/test_gate.py",
        "tests/client/test_signed_gate.py",
        "tests/client/test_trained_gate.py",
    ),
    f"{SHARED}/privacy/clipped_sums.py": ("tests/shared/test_clipped_sums.py", "tests/shared/test_shared_clip.py"),
    f"{SHARED}/privacy/grid.py": ("tests/shared/test_clipped_sums.py", "tests/shared/test_terms.py"),
    f"{SHARED}/privacy/release.py": ("tests/shared/test_release.py", "tests/shared/test_terms.py"),
    f"{SHARED}/privacy/terms.py": (
        "tests/shared/test_terms.py",
        "tests/shared/test_terms_applied.py",
        "tests/shared/test_plan.py",
    ),
    f"{SHARED}/privacy/accounting.py": ("tests/shared/test_terms.py",),
    f"{SHARED}/privacy/cohort.py": ("tests/shared/test_terms.py",),
    f"{SHARED}/privacy/conversion.py": ("tests/shared/test_conversion.py",),
    f"{SHARED}/privacy/sums.py": (
        "tests/shared/test_sums.py",
        "tests/shared/test_sums_routes.py",
        "tests/shared/test_clipped_sums.py",
    ),
    f"{SHARED}/policy.py": (
        "tests/shared/test_policy.py",
        "tests/shared/test_policy_limits.py",
        "tests/client/test_gate.py",
    ),
    "client/fedcart/client/consent.py": ("tests/client/test_consent.py",),
    f"{SHARED}/privacy/keystream.py": ("tests/shared/test_keystream.py",),
    f"{SHARED}/privacy/discrete_gaussian.py": (
        "tests/shared/test_sampler_branches.py",
        "tests/shared/test_discrete_gaussian.py",
    ),
    f"{SHARED}/privacy/bernoulli_exp.py": (
        "tests/shared/test_bernoulli_exp.py",
        "tests/shared/test_discrete_gaussian.py",
    ),
    f"{SHARED}/privacy/quantise.py": (
        "tests/shared/test_quantise.py",
        "tests/shared/test_clipped_sums.py",
        "tests/shared/test_shared_clip.py",
    ),
    f"{SHARED}/privacy/exact_gaussian.py": ("tests/shared/test_exact_gaussian.py",),
}
"""Module -> the tests that must notice every change in it."""
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.MatMult: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And,
    ast.USub: ast.UAdd, ast.Invert: ast.UAdd,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change: `key` is `module.function: line after the change (number among those that read alike)`."""

    module: str
    line: int
    key: str
    text: str

    @property
    def digest(self) -> str:
        """Of what was run, for the log."""
        return hashlib.sha256(f"{self.module}\n{self.text}".encode()).hexdigest()[:16]


def mutants(module: str) -> list[Mutant]:
    """All of one module's."""
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    found, seen = [], Counter[str]()
    for number in range(len(list(points(tree)))):
        changed = copy.deepcopy(tree)
        statement = change(*list(points(changed))[number])
        key = f"{Path(module).stem}.{scope(changed, statement)}: {first_line(statement)}"
        seen[key] += 1
        key += f" ({seen[key]})" if seen[key] > 1 else ""
        found.append(Mutant(module, statement.lineno, key, ast.unparse(changed)))
    return found


def scope(tree: ast.AST, statement: ast.stmt) -> str:
    """Name of the innermost function or class around the statement."""
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and any(inner is statement for inner in ast.walk(node))
    ]
    return around[-1].name if around else ""


Point = tuple[ast.stmt, ast.AST, str, int | None]


def points(tree: ast.AST, around: ast.stmt | None = None) -> Iterator[Point]:
    """(statement it is in, node, field, index) of everything that can be changed; types and decorators stay."""
    if isinstance(tree, ast.stmt):
        around = tree
    if around is not None:
        yield from ((around, tree, field, index) for field, index in changeable(tree))
    for name, child in ast.iter_fields(tree):
        if name not in ("annotation", "returns", "decorator_list"):
            for inner in child if isinstance(child, list) else [child]:
                if isinstance(inner, ast.AST):
                    yield from points(inner, around)


def changeable(node: ast.AST) -> Iterator[tuple[str, int | None]]:
    """What of this node itself can be changed."""
    if isinstance(node, ast.Compare):
        yield from (("ops", i) for i, op in enumerate(node.ops) if type(op) in SWAPS)
    elif isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign | ast.UnaryOp):
        if type(node.op) in SWAPS or isinstance(node.op, ast.Not):
            yield "op", None
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
        yield "value", None


def change(around: ast.stmt, node: Any, field: str, index: int | None) -> ast.stmt:
    """Make the change in place; the statement it is in."""
    if field == "value":
        more = node.value + 1 if abs(node.value) < 1 << 53 else 2 * node.value  # 1e90 + 1 is 1e90
        node.value = not node.value if isinstance(node.value, bool) else more
    elif index is not None:
        node.ops[index] = SWAPS[type(node.ops[index])]()
    elif isinstance(node.op, ast.Not):
        node.operand = ast.UnaryOp(ast.Not(), node.operand)
    else:
        node.op = SWAPS[type(node.op)]()
    return around


def first_line(statement: ast.AST) -> str:
    """The statement's head; a compound one's own line."""
    return ast.unparse(statement).splitlines()[0].strip()


def equivalents() -> dict[str, str]:
    """Key of each mutant that no test can kill -> why."""
    table: dict[str, str] = tomllib.loads((HERE / "equivalent.toml").read_text(encoding="utf-8"))
    return table


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", default=",".join(Path(name).stem for name in GUARDS))
    parser.add_argument("--jobs", type=int, default=1, help="copies of the repository, a process each")
    parser.add_argument("--log", type=Path, help="verdicts, a line each; those killed are not run again")
    parser.add_argument("--list", action="store_true", help="count them, run nothing")
    given = parser.parse_args()
    chosen = [name for name in GUARDS if Path(name).stem in given.module.split(",")]
    made = {name: mutants(name) for name in chosen}
    print(f"{sum(map(len, made.values()))} mutants of {len(chosen)} modules", flush=True)
    if given.list:
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that copies and children go
    known, done = equivalents(), logged(given.log)
    stale = {key for key in known if key.split(".")[0] in given.module.split(",")}
    stale -= {mutant.key for found in made.values() for mutant in found}
    left = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies = make_copies(ROOT, Path(folder), given.jobs)
        for name in chosen:
            run = [m for m in made[name] if m.key not in known and done.get(m.digest, "survived") == "survived"]
            overlay(ROOT, copies, [name, *GUARDS[name]])
            survived = hung = 0
            began = time.monotonic()
            with contextlib.closing(verdicts(copies, name, GUARDS[name], run)) as ended:
                for number, (mutant, verdict) in enumerate(ended, 1):
                    record(given.log, mutant, verdict)
                    survived += verdict == "survived"
                    hung += verdict == "hung"
                    if verdict == "survived":
                        print(f"survived: line {mutant.line}: {mutant.key}", flush=True)
                    if number % 20 == 0:
                        rest = (time.monotonic() - began) / number * (len(run) - number)
                        print(f"{Path(name).stem}: {number}/{len(run)}, {rest:.0f} s left", file=sys.stderr, flush=True)
            hung += sum(done.get(m.digest) == "hung" for m in made[name])
            print(summary(Path(name).stem, made[name], known, survived, hung), flush=True)
            left += survived
    for key in sorted(stale):
        print(f"listed in equivalent.toml, but no mutant: {key}")
    return 1 if left or stale else 0


def summary(name: str, made: Sequence[Mutant], known: dict[str, str], survived: int, hung: int) -> str:
    """A row of docs/results/privacy.md."""
    listed = sum(mutant.key in known for mutant in made)
    killed = len(made) - listed - survived
    return f"| {name} | {len(made)} | {killed} | {hung} | {listed} | {survived} |"


def logged(log: Path | None) -> dict[str, str]:
    """Digest of each mutant of the log -> its last verdict."""
    if log is None or not log.exists():
        return {}
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return {line["digest"]: line["verdict"] for line in lines}


def record(log: Path | None, mutant: Mutant, verdict: str) -> None:
    """A line of the log."""
    if log is not None:
        line = json.dumps({"digest": mutant.digest, "verdict": verdict, "key": mutant.key})
        with log.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
