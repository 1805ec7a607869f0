"""`fedcart store join | leave | run | demo`: become a member, take part in runs, and try it with made-up stores."""

from __future__ import annotations

from pathlib import Path

import click

from fedcart.client.commands import options


@click.command(epilog="Example: fedcart store join north.invite --dir north")
@click.argument("invitation", metavar="FILE.invite", type=options.PATH)
@options.at
@click.option("--yes", is_flag=True, help="Pin the invitation's coordinator without asking.")
def join(invitation: Path, directory: Path, yes: bool) -> None:
    """Join a coalition with an invitation; only public keys are sent.

    Pins the coordinator's key in policy.toml where it pins none: compare the fingerprint with what you were told.
    """
    from fedcart.client.membership.coordinator import join as become_member
    from fedcart.client.membership.coordinator import pin_coordinator
    from fedcart.client.membership.files import MemberFiles
    from fedcart.client.store_folder import StoreFolder
    from fedcart.shared.errors import PrivacyRefused
    from fedcart.shared.identity import fingerprint
    from fedcart.shared.invitation import Invitation

    files, found = MemberFiles(StoreFolder.open(directory)), Invitation.load(invitation)
    told = fingerprint(bytes.fromhex(found.coordinator_key))
    click.echo(f"{'coalition':<12}{found.coalition} at {found.address}")
    click.echo(f"{'coordinator':<12}{told}")
    if not files.folder.policy().trust.coordinator_key:
        if not yes and not options.agreed("Is this the coordinator's fingerprint, as they told you?"):
            raise PrivacyRefused("nobody said that it is this coordinator; nothing was joined", "--yes pins it unasked")
        pin_coordinator(files.policy_file, found.coordinator_key)
    become_member(files, found)
    click.echo(f"{'store':<12}{found.store}")
    click.echo(f"{'fingerprint':<12}{files.folder.identity().fingerprint}")
    click.echo(f"joined; then: fedcart store run --dir {directory}", err=True)


@click.command(epilog="Example: fedcart store leave --dir north")
@options.at
@click.option("--yes", is_flag=True, help="Do not ask.")
def leave(directory: Path, yes: bool) -> None:
    """Leave the coalition; stop `store run` first. Another invitation lets the store come back.

    The ledger stays, and what was spent stays spent. Sums that were released, and models made of them, are not undone.
    """
    from fedcart.client.membership.coordinator import leave as be_no_member
    from fedcart.client.membership.files import MemberFiles
    from fedcart.client.store_folder import StoreFolder
    from fedcart.shared.errors import InputError

    files = MemberFiles(StoreFolder.open(directory))
    name = files.membership().coalition
    if not yes and not options.agreed(f"Leave coalition {name}? An invitation is good once"):
        raise InputError("nobody agreed; nothing was changed", "--yes leaves without asking")
    be_no_member(files)
    click.echo(f"left {name}; the ledger and the key stay in {directory}", err=True)


@click.command(epilog="Example: fedcart store run --dir north")
@options.at
@click.option("--log", "log_kind", type=click.Choice(["text", "json"]), default="text", show_default=True)
def run(directory: Path, log_kind: str) -> None:
    """Take part in the coalition's runs until Ctrl-C. Only outbound HTTPS calls are made.

    Plans that policy.toml does not approve unasked wait for `store approve`.
    """
    import signal
    import threading

    from fedcart.client.store_process import StoreProcess
    from fedcart.shared.json_log import log_to_stderr

    log_to_stderr(log_kind, f"%(asctime)s %(levelname)s {directory.resolve().name} %(name)s %(message)s")
    store, stop = StoreProcess(directory), threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    store.run(stop)


@click.command(epilog="Example: fedcart store demo north.invite south.invite west.invite")
@click.argument("invitations", nargs=-1, required=True, metavar="FILE.invite…", type=options.PATH)
@click.option(
    "--data", metavar="FILE", type=options.PATH, help="Table with a column store; else the marketplace is made."
)
@click.option(
    "--out", type=options.PATH, default="demo-stores", show_default=True, help="Folder for the stores' folders."
)
def demo(invitations: tuple[Path, ...], data: Path | None, out: Path) -> None:
    """Run a store for each invitation on made-up customers, a process each, until Ctrl-C.

    They know each other, pin the coordinator of their invitations and approve every plan up to epsilon 8 unasked. A
    folder of an earlier demo is used again.
    """
    from fedcart.client.membership.demo import Demo

    Demo(invitations, out, data, click.echo).run()
