"""A SuperLink behind its TLS listener on this machine, and nodes to call it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from fedcart.server.listener import Door, Guard, Listener, Members, server_context
from fedcart.server.tls_files import AUTHORITY, SERVER, SERVER_KEY, make_authority, make_server
from fedcart.shared.flower_compat import Message
from fedcart.shared.flower_compat.fleet import FleetLink, Sign, new_node_key, public_pem
from fedcart.shared.flower_compat.link import Link


@dataclass
class Served:
    link: Link
    members: Members
    listener: Listener
    authority: bytes
    keys: list[ec.EllipticCurvePrivateKey] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.listener.port}"

    def member(self, identity: bytes | None = None) -> ec.EllipticCurvePrivateKey:
        key = new_node_key()
        self.members.keys[public_pem(key)] = identity
        self.link.add_member(public_pem(key))
        self.keys.append(key)
        return key

    def node(self, key: ec.EllipticCurvePrivateKey, sign: Sign | None = None) -> FleetLink:
        return FleetLink(self.address, self.authority, key, sign, timeout_s=10)


@contextmanager
def served(directory: Path, doors: dict[str, Door] | None = None) -> Iterator[Served]:
    """Stopped, with its port closed, when the block is left."""
    make_authority(directory, "test")
    make_server(directory, ["127.0.0.1", "localhost"])
    link, members = Link(), Members()
    context = server_context(directory / SERVER, directory / SERVER_KEY)
    guard = Guard(link.app, members, doors, link.wait_for_message, link.pushed)
    listener = Listener(guard, "127.0.0.1", 0, context)
    listener.start()
    try:
        yield Served(link, members, listener, (directory / AUTHORITY).read_bytes())
    finally:
        link.close()
        listener.stop()
        assert not listener._thread.is_alive()


@contextmanager
def answering(node: FleetLink, answer: Callable[[Message], Message]) -> Iterator[None]:
    """A node that is online and answers whatever comes, in a thread, until the block is left."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            message = node.pull()
            if message is None:
                stop.wait(0.02)
            else:
                node.push(answer(message))

    node.activate(15)
    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        assert node.node is not None
        node.deactivate(node.node)
        node.close()
