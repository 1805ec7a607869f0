"""Mutants of a module: every operator and constant changed, one at a time.

    python tests/mutation/mutants.py [--module NAME,NAME] [--list]

Prints how many there are and which survive the tests that guard the module; exits with 1 when one survives that
`equivalent.toml` does not list with its reason. A mutant is the module's text with one node replaced; it is imported
from a copy of the repository, in a process forked from one that has the heavy packages loaded.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SHARED = "shared/fedcart/shared"
GUARDS: dict[str, tuple[str, ...]] = {
    f"{SHARED}/privacy/quantise.py": ("tests/shared/test_clipped_sums.py",),
    f"{SHARED}/privacy/grid.py": ("tests/shared/test_clipped_sums.py", "tests/shared/test_terms.py"),
    f"{SHARED}/privacy/clipped_sums.py": ("tests/shared/test_clipped_sums.py",),
    f"{SHARED}/privacy/sums.py": ("tests/shared/test_sums.py", "tests/shared/test_clipped_sums.py"),
    f"{SHARED}/privacy/release.py": ("tests/shared/test_release.py", "tests/shared/test_terms.py"),
    f"{SHARED}/privacy/cohort.py": ("tests/shared/test_terms.py",),
    f"{SHARED}/privacy/accounting.py": ("tests/shared/test_terms.py",),
    f"{SHARED}/privacy/terms.py": ("tests/shared/test_terms.py", "tests/shared/test_plan.py"),
    f"{SHARED}/privacy/conversion.py": ("tests/shared/test_conversion.py",),
    f"{SHARED}/privacy/keystream.py": ("tests/shared/test_keystream.py",),
    f"{SHARED}/privacy/bernoulli_exp.py": ("tests/shared/test_discrete_gaussian.py",),
    f"{SHARED}/privacy/discrete_gaussian.py": ("tests/shared/test_discrete_gaussian.py",),
    f"{SHARED}/policy.py": ("tests/shared/test_policy.py", "tests/client/test_gate.py"),
    "client/fedcart/client/gate.py": ("tests/client/test_gate.py",),
    "client/fedcart/client/consent.py": ("tests/client/test_consent.py",),
}
"""Module -> the tests that must notice every change in it, the quickest first."""
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.MatMult: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And,
    ast.USub: ast.UAdd, ast.Invert: ast.UAdd,
}  # fmt: skip
LONGEST = 120
"""Seconds after which a mutant that hangs counts as killed."""
PRELOADED = ("numpy", "scipy.sparse", "hypothesis", "pytest", "cryptography", "dp_accounting")


@dataclass(frozen=True)
class Mutant:
    """One change: `where` is `module:line`, `what` the line after the change, as `ast.unparse` writes it."""

    module: str
    line: int
    what: str
    text: str

    @property
    def key(self) -> str:
        return f"{self.module}: {self.what}"


def mutants(module: str) -> list[Mutant]:
    """All of one module's."""
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    found = []
    for number in range(len(list(points(tree)))):
        changed = copy.deepcopy(tree)
        statement = change(*list(points(changed))[number])
        found.append(Mutant(module, statement.lineno, first_line(statement), ast.unparse(changed)))
    return found


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
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1
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


def survives(mutant: Mutant, copied: Path) -> bool:
    """Whether the guarding tests pass with the mutant in place; run in a forked child."""
    place = copied / mutant.module
    original = place.read_text(encoding="utf-8")
    place.write_text(mutant.text, encoding="utf-8")
    try:
        child = os.fork()
        if child == 0:
            os.setsid()
            _run_tests(mutant.module, copied)
        return _wait(child) == 0
    finally:
        place.write_text(original, encoding="utf-8")


def _run_tests(module: str, copied: Path) -> None:
    os.chdir(copied)
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    import pytest

    sys.path[:0] = [str(copied / root) for root in ("shared", "client", "server", "simulation", "tests")]
    os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *GUARDS[module]])))


def _wait(child: int) -> int:
    """The child's exit code; 1 when it had to be stopped."""
    until = time.monotonic() + LONGEST
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 1


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", default=",".join(Path(name).stem for name in GUARDS))
    parser.add_argument("--list", action="store_true", help="count them, run nothing")
    given = parser.parse_args()
    chosen = [name for name in GUARDS if Path(name).stem in given.module.split(",")]
    made = [mutant for name in chosen for mutant in mutants(name)]
    print(f"{len(made)} mutants of {len(chosen)} modules", flush=True)
    if given.list:
        return 0
    for name in PRELOADED:
        __import__(name)
    known, left = equivalents(), []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copied = Path(folder) / "repository"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(copied)], check=True)
        for number, mutant in enumerate(made, 1):
            if mutant.key not in known and survives(mutant, copied):
                left.append(mutant)
                print(f"survived: {mutant.module}:{mutant.line}: {mutant.what}", flush=True)
            if sys.stderr.isatty() or number % 50 == 0:
                print(f"{number}/{len(made)}, {len(left)} survived", file=sys.stderr, flush=True)
    listed = sum(mutant.key in known for mutant in made)
    print(f"{len(made)} mutants, {listed} equivalent, {len(made) - listed - len(left)} killed, {len(left)} survived")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
