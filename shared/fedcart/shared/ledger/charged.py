"""The token of one charge: exactly one release uses it up, in the process that was charged."""

from __future__ import annotations

import threading
from collections.abc import Callable
from fractions import Fraction

from fedcart.shared.errors import PrivacyRefused


class Charged:
    """Proof that a charge is durable.

    Attributes:
      seq: of its line.
      rho: what it cost.
      epsilon_after: lifetime epsilon with it.
    """

    def __init__(self, seq: int, rho: Fraction, epsilon_after: float, refuse_unusable: Callable[[], None]) -> None:
        """Made by `Ledger.charge` alone."""
        self.seq, self.rho, self.epsilon_after = seq, rho, epsilon_after
        self._refuse_unusable, self._unspent = refuse_unusable, threading.Lock()

    @property
    def spent(self) -> bool:
        """Whether a release used it."""
        return self._unspent.locked()

    def spend(self) -> None:
        """Use it up: call this before the noise is drawn.

        Raises:
          PrivacyRefused: it was used before, or its ledger stopped, closed or was carried over a fork.
        """
        self._refuse_unusable()
        if not self._unspent.acquire(blocking=False):
            raise PrivacyRefused(
                f"the charge at line {self.seq + 1} was used before; nothing was released", "charge again"
            )

    def __reduce__(self) -> tuple[object, ...]:
        raise PrivacyRefused("a charge pays for one release; it was not copied")
