"""How the house is built: four roots, one namespace, small modules that say what they are for, and who imports what."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOTS = ("shared", "client", "server", "simulation")
MODULES = sorted(path for root in ROOTS for path in (ROOT / root / "fedcart").rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}
MOST_LINES = 400
NEURAL = "shared/fedcart/shared/learners/neural/"
COMPAT = "shared/fedcart/shared/flower_compat/"
PUBLIC_FLOWER = ("flwr.app", "flwr.serverapp", "flwr.clientapp")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(tree: ast.Module) -> Iterator[str]:
    """Dotted names of all absolute imports, lazy ones included; `from a import b` gives a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (x.value for x in node.args[:1] if isinstance(x, ast.Constant) and isinstance(x.value, str))


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def test_there_are_modules_to_look_at() -> None:
    assert len(MODULES) > 50
    assert {name(path).split("/")[0] for path in MODULES} == set(ROOTS)


@pytest.mark.parametrize("root", ROOTS)
def test_fedcart_is_a_namespace(root: str) -> None:
    assert (ROOT / root / "fedcart" / root / "__init__.py").exists()
    assert not (ROOT / root / "fedcart" / "__init__.py").exists()
    assert [path.name for path in (ROOT / root / "fedcart").iterdir() if path.suffix == ".py"] == []


def test_every_folder_of_modules_is_a_package() -> None:
    for path in MODULES:
        assert (path.parent / "__init__.py").exists(), name(path)


def test_a_module_says_what_it_is_for() -> None:
    silent = [name(path) for path in MODULES if not (ast.get_docstring(TREES[path]) or "").strip()]
    assert silent == []


def test_a_module_is_short() -> None:
    lines = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {where: count for where, count in lines.items() if count > MOST_LINES} == {}


def test_torch_and_opacus_stand_in_the_neural_learners_only() -> None:
    outside = [path for path in MODULES if not name(path).startswith(NEURAL)]
    found = {name(p): x for p in outside for x in imports(TREES[p]) if within(x, ("torch", "opacus"))}
    assert found == {}


def test_flowers_internals_stand_in_one_package() -> None:
    outside = [path for path in MODULES if not name(path).startswith(COMPAT)]
    flower = [(name(p), x) for p in outside for x in imports(TREES[p]) if within(x, ("flwr",))]
    assert [(where, x) for where, x in flower if not within(x, PUBLIC_FLOWER)] == []


def test_the_scan_sees_lazy_and_dynamic_imports() -> None:
    lines = ("import torch.nn as nn", "from flwr.common import serde", "importlib.import_module('opacus')")
    found = list(imports(ast.parse("def f():\n" + "\n".join(f"    {line}" for line in lines))))
    assert {"torch.nn", "flwr.common", "flwr.common.serde", "opacus"} <= set(found)
    assert within("torch.nn", ("torch",))
    assert not within("torchvision", ("torch",))


def test_the_scan_knows_the_rooms_where_these_imports_are() -> None:
    """The two tests above would pass without looking if the rooms had moved."""
    assert any(within(x, ("torch",)) for path in MODULES if name(path).startswith(NEURAL) for x in imports(TREES[path]))
    assert [
        x
        for x in imports(TREES[ROOT / COMPAT / "__init__.py"])
        if within(x, ("flwr",)) and not within(x, PUBLIC_FLOWER)
    ]


def tracked() -> list[Path]:
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [path for x in listed.decode().split("\0") if x and (path := ROOT / x).is_file()]


# Written in pieces, so that this file does not find itself.
UNWANTED = [
    *("TO" + "DO", "FIX" + "ME", "XX" + "X"),
    *("/wo" + "rk/", "/ho" + "me/", "/ro" + "ot/", "/Us" + "ers/", "/tm" + "p/"),
    *("py" + "pi.org", "python" + "hosted.org", "registry." + "npmjs", "cra" + "tes.io", "arti" + "factory"),
]


@pytest.mark.parametrize("word", UNWANTED)
def test_no_tracked_file_holds_an_unfinished_place_or_somebodys_machine(word: str) -> None:
    found = []
    for path in tracked():
        raw = path.read_bytes()
        if word.encode() in raw and b"\0" not in raw[:1024]:
            lines = raw.decode(errors="replace").splitlines()
            found += [f"{name(path)}:{number}" for number, line in enumerate(lines, 1) if word in line]
    assert found == []
