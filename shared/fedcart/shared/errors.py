"""Every error fedcart raises on purpose, with the exit code of each branch.

    FedcartError                1  something of ours broke
    ├── InputError              2  usage or bad input
    │   ├── ConfigError            a configuration file, key or flag
    │   └── DataError              a table, a column, a row
    ├── PrivacyRefused          3  releasing would break a plan, a policy or a budget
    └── ProtocolError           4  the other side did not keep the protocol
        └── RoundFailed            a round ended below its quorum

A message says what was asked, the value, the limit and what did not happen; `hint` says what to do.
Messages carry no customer ids, no values of interactions and no keys.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FedcartError(Exception):
    """Base of all; `exit_code` is the process's."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"

    def __reduce__(self) -> tuple[type[FedcartError], tuple[str, str | None]]:
        return type(self), (self.message, self.hint)


class InputError(FedcartError):
    """Usage or bad input."""

    exit_code = 2


class ConfigError(InputError):
    """A configuration file, key or flag is not what it must be."""


class DataError(InputError):
    """A table, a column or too many rows cannot be used."""


class PrivacyRefused(FedcartError):
    """Nothing was released."""

    exit_code = 3


class ProtocolError(FedcartError):
    """The other side did not keep the protocol."""

    exit_code = 4


class RoundFailed(ProtocolError):
    """A round ended below its quorum; the state is that of the round before."""


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint naming the nearest known word, or the list of them when none is near."""
    words = sorted(known)
    near = difflib.get_close_matches(word, words, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(words)}" if words else None
