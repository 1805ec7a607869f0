"""A coordinator and a store at their desks: PLAN.toml, keys, a policy, a ledger, and the two commands."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedcart.shared.canonical import canonical_bytes
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.cli import run
from fedcart.shared.identity import Identity
from fedcart.shared.ledger.ledger import Ledger
from fedcart.shared.signatures import SIGNATURES, PlanSignatures

PLAN_TOML = """
participants = 5
attempts = 2
seed = 7

[learner]
name = "gram"
max_items = 3

[privacy]
trust = "distributed"
epsilon = 4.0
customers_bound = 100
"""
POLICY_TOML = """
[trust]
coordinator_key = "{key}"
[limits]
epsilon_total = 8.0
epsilon_window = 6.0
window_days = 30
delta = 1e-4
[require]
learners = ["popularity", "gram"]
"""


def command(*words: Any) -> tuple[int, str, str]:
    """Exit code, standard output, standard error of `fedcart …`."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(word) for word in words])
    return code, out.getvalue(), err.getvalue()


@dataclass(frozen=True)
class Desk:
    """Files of one coordinator and one store.

    Attributes:
      home: PLAN.toml, catalogue.json, both keys, policy.toml, the store's ledger.
    """

    home: Path

    @classmethod
    def make(cls, home: Path, toml: str = PLAN_TOML) -> Desk:
        """Everything but a plan."""
        desk = cls(home)
        Catalogue(("a", "b", "c"), "given", {"price": np.array([1.0, 2.5, np.nan])}).save(home / "catalogue.json")
        (home / "plan.toml").write_text(toml)
        Identity.create(home / "coordinator.key")
        Identity.create(home / "store.key")
        desk.set_policy(POLICY_TOML.format(key=desk.coordinator.public.hex()))
        Ledger.create(home / "ledger.jsonl", desk.store, coalition="spring", rehearsal=False).close()
        return desk

    @property
    def coordinator(self) -> Identity:
        return Identity.load(self.home / "coordinator.key")

    @property
    def store(self) -> Identity:
        return Identity.load(self.home / "store.key")

    @property
    def plans(self) -> Path:
        return self.home / "plans"

    def set_policy(self, text: str, mode: int = 0o600) -> None:
        (self.home / "policy.toml").write_text(text)
        (self.home / "policy.toml").chmod(mode)

    def plan(self, *more: Any, out: bool = True) -> tuple[int, str, str]:
        """`coalition plan`, signed into `plans`."""
        home = self.home
        signed = ("--key", home / "coordinator.key", "--out", self.plans) if out else ()
        return command("coalition", "plan", home / "plan.toml", "--catalogue", home / "catalogue.json", *signed, *more)

    def approve(self, *more: Any) -> tuple[int, str, str]:
        """`store approve`, without asking."""
        home = self.home
        files = ("--policy", home / "policy.toml", "--ledger", home / "ledger.jsonl", "--key", home / "store.key")
        return command("store", "approve", self.plans, *files, *(more or ("--yes",)))

    def ledger_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.home / "ledger.jsonl").read_bytes().splitlines()]

    def edit_plan(self, change: Any, *, sign: bool = True) -> None:
        """Change plan.json as a coordinator could, who then signs what it wrote."""
        path = self.plans / "plan.json"
        document = json.loads(path.read_bytes())
        change(document)
        raw = canonical_bytes(document)
        path.write_bytes(raw)
        if sign:
            PlanSignatures.sign(hashlib.sha256(raw).hexdigest(), self.coordinator).save(self.plans / SIGNATURES)

    def everything(self) -> dict[str, bytes]:
        """Every file and its bytes: what a refusal must leave as it is."""
        return {str(p.relative_to(self.home)): p.read_bytes() for p in sorted(self.home.rglob("*")) if p.is_file()}
