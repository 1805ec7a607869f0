"""How messages are spelled: fixed big-endian fields, lists with a count, a signature at the end.

A parser takes what it must, refuses what is left over, and never allocates more than the message's own length:
counts are checked against the bound of the plan before anything is read. Lists of ids ascend strictly, so a
repeated id cannot be spelled. One meaning has one spelling.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, TypeVar

from fedcart.shared import identity
from fedcart.shared.errors import ProtocolError
from fedcart.shared.secagg.keys import digest, ids

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


class Checked:
    """Signatures that were found good: one process that plays n stores checks n words n times, at .1 ms each.

    Only good ones are kept, by a hash over everything that a check depends on; the oldest go first.
    """

    def __init__(self, most: int = 2**14) -> None:
        self._most, self._seen, self._lock = most, dict[bytes, None](), threading.Lock()

    def __len__(self) -> int:
        return len(self._seen)

    def verify(self, public: bytes, domain: str, body: bytes, signature: bytes) -> None:
        """As `identity.verify`, which is asked once for the same four."""
        seen = digest("checked", public, domain.encode(), body, signature)
        if seen in self._seen:
            return
        identity.verify(public, domain, body, signature)
        with self._lock:
            self._seen[seen] = None
            if len(self._seen) > self._most:
                del self._seen[next(iter(self._seen))]

    def clear(self) -> None:
        """Forget all, as a process of its own has it."""
        with self._lock:
            self._seen.clear()


CHECKED = Checked()
"""Of this process."""


def check(message: Message, public: bytes) -> None:
    """Raises ProtocolError unless the message carries the signature of `public`."""
    CHECKED.verify(public, message.DOMAIN, message.body(), message.signature)


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
    return ids(len(rows)) + b"".join(part for index in sorted(rows) for part in (ids(index), rows[index]))
