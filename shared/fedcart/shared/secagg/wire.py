"""How messages are spelled: fixed big-endian fields, lists with a count, a signature at the end.

A parser takes what it must, refuses what is left over, and never allocates more than the message's own length:
counts are checked against the bound of the plan before anything is read. Lists of ids ascend strictly, so a
repeated id cannot be spelled. One meaning has one spelling.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, TypeVar

from fedcart.shared import identity
from fedcart.shared.errors import ProtocolError
from fedcart.shared.secagg.keys import ids

T = TypeVar("T")


class Message(Protocol):
    """A dataclass with a body and a signature over it."""

    DOMAIN: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def signature(self) -> bytes:
        """64 bytes; empty until it is signed."""
        ...

    def body(self) -> bytes:
        """What is signed."""
        ...


M = TypeVar("M", bound=Message)


def sign(message: M, signer: identity.Identity) -> M:
    """The message with the signer's signature."""
    return dataclasses.replace(message, signature=signer.sign(message.DOMAIN, message.body()))


def check(message: Message, public: bytes) -> None:
    """Raises ProtocolError unless the message carries the signature of `public`."""
    identity.verify(public, message.DOMAIN, message.body(), message.signature)


def spell(message: Message) -> bytes:
    """What travels."""
    return message.body() + message.signature


class Reader:
    """Reads fields off the front of a message."""

    def __init__(self, raw: bytes, name: str) -> None:
        self._raw, self._at, self._name = raw, 0, name

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        if self._at + size > len(self._raw):
            raise ProtocolError(f"a {self._name} message ends after {len(self._raw)} bytes; it was not used")
        self._at += size
        return self._raw[self._at - size : self._at]

    def number(self, size: int) -> int:
        """The next `size` bytes as an unsigned number."""
        return int.from_bytes(self.take(size), "big")

    def table(self, limit: int, row: Callable[[int, Reader], T]) -> dict[int, T]:
        """A count, then rows that each start with an id; ids ascend strictly."""
        count = self.number(2)
        if count > limit:
            raise ProtocolError(f"a {self._name} message lists {count} rows, over the {limit} of the plan; not used")
        rows: dict[int, T] = {}
        last = -1
        for _ in range(count):
            index = self.number(2)
            if index <= last:
                raise ProtocolError(f"a {self._name} message lists id {index} after {last}; it was not used")
            rows[index] = row(index, self)
            last = index
        return rows

    def end(self) -> None:
        """Nothing may follow."""
        if self._at != len(self._raw):
            raise ProtocolError(f"a {self._name} message goes on after its end; it was not used")


def table(rows: dict[int, bytes]) -> bytes:
    """What `Reader.table` reads."""
    return ids(len(rows)) + b"".join(ids(index) + rows[index] for index in sorted(rows))
