"""`fedcart store`: what a store does, a command a module. Approving reads no customer and releases nothing."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import click

from fedcart.client.commands import options
from fedcart.client.commands.check import check
from fedcart.client.commands.evaluate import evaluate
from fedcart.client.commands.init import init
from fedcart.client.commands.membership import demo, join, leave, run
from fedcart.client.commands.models import models, use
from fedcart.client.commands.recommend import recommend
from fedcart.client.commands.standing import budget, forget, status

APPROVE_EXAMPLE = """\b
Examples:
  fedcart store approve north/plans/88bb4d2a281e2fa0
  fedcart store approve plans/spring --policy policy.toml --ledger ledger.jsonl --key store.key
  fedcart store approve plans/spring --yes --json
"""
FILE = click.Path(path_type=Path)


@click.group(epilog="Example: fedcart store init north --data sales.csv")
def store() -> None:
    """A store's side: its data, what a plan costs it, and what its customers are shown."""


for command in (init, check, join, leave, run, demo, use, models, recommend, evaluate, status, budget, forget):
    store.add_command(command)


@store.command(epilog=APPROVE_EXAMPLE)
@click.argument("directory", metavar="DIR", type=FILE)
@click.option("--store", "number", type=click.IntRange(min=0), default=0, help="Number of the store in DIR; else 0.")
@click.option("--policy", "policy_file", metavar="FILE", type=FILE, help="Else policy.toml.")
@click.option("--ledger", "ledger_file", metavar="FILE", type=FILE, help="Else ledger/store-NNNN.jsonl.")
@click.option("--key", "key_file", metavar="FILE", type=FILE, help="The store's key; else keys/store-NNNN.key.")
@click.option("--yes", is_flag=True, help="Approve without asking, when policy.toml pins the coordinator.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def approve(
    directory: Path,
    number: int,
    policy_file: Path | None,
    ledger_file: Path | None,
    key_file: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Check a plan against the policy, show what it will cost, and countersign it.

    DIR holds plan.json, catalogue.json and plan.signatures.json. The store's own files are those of its folder, for a
    plan there (STORE/plans/NAME), else those in DIR. Two lines go into the ledger; nothing is spent yet.
    """
    from fedcart.client.approve import accept, look, spent_lines
    from fedcart.client.ledger_files import POLICY, home_of, key_path, ledger_path
    from fedcart.shared.cost_text import cost_lines
    from fedcart.shared.errors import FedcartError
    from fedcart.shared.identity import Identity
    from fedcart.shared.ledger.ledger import Ledger
    from fedcart.shared.policy import Policy

    with contextlib.ExitStack() as held:
        with nothing_released():
            home = home_of(directory)
            policy = Policy.load(policy_file or home / POLICY)
            identity = Identity.load(key_file or key_path(home, number))
            ledger = held.enter_context(Ledger.open(ledger_file or ledger_path(home, number), identity))
            seen = look(directory, policy, ledger, identity)
        unasked = yes or policy.approve.auto
        allowed = not seen.objections
        if not as_json or (allowed and not unasked):
            click.echo("\n".join([*cost_lines(seen.cost), *spent_lines(seen)]), err=as_json)
        refusal = None
        try:
            seen.require()
            agree(unasked, bool(policy.trust.coordinator_key), ledger.path)
            accept(seen, ledger, identity)
        except FedcartError as error:
            refusal = error
        if as_json:
            told = {"schema": 1, "approved": refusal is None, **seen.document(), "store_key": identity.public.hex()}
            click.echo(json.dumps(told, indent=2))
        if refusal is not None:
            raise refusal
    click.echo(f"approved: the ledger holds the plan, {directory} the countersignature; nothing was spent", err=True)


@contextlib.contextmanager
def nothing_released() -> Iterator[None]:
    """Let every refusal of a file say what did not happen."""
    from fedcart.shared.errors import InputError

    try:
        yield
    except InputError as error:
        if "; nothing was " in error.message:
            raise
        raise type(error)(f"{error.message}; nothing was approved or released", error.hint) from error


def agree(unasked: bool, pinned: bool, ledger: Path) -> None:
    """Ask, unless told not to.

    Raises:
      PrivacyRefused: no is the answer, there is none, or nobody is asked while no coordinator is pinned.
    """
    from fedcart.shared.errors import PrivacyRefused

    if unasked and not pinned:
        raise PrivacyRefused(
            "nobody is asked, and policy.toml pins no coordinator: anybody could have signed this plan; nothing was "
            "approved or released",
            "set [trust] coordinator_key to the key that the coordinator told you, or leave out --yes",
        )
    if unasked:
        return
    answer = options.agreed(f"Countersign it, and write it into {ledger}?")
    if answer is None:
        raise PrivacyRefused("no answer; nothing was approved or released", "--yes approves without asking")
    if not answer:
        raise PrivacyRefused("the plan was turned down; nothing was approved or released")
