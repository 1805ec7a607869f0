"""What a ledger says of itself: where it stands, what was charged, what that comes to. Writes nothing."""

from __future__ import annotations

from fractions import Fraction

from fedcart.shared.ledger.chain import Chain
from fedcart.shared.ledger.receipts import Receipt
from fedcart.shared.ledger.remembered import Verified
from fedcart.shared.ledger.spending import epsilon_of


class Facts:
    """Everything that follows from the lines that were admitted."""

    _verified: Verified

    @property
    def _chain(self) -> Chain:
        return self._verified.chain

    @property
    def head(self) -> str:
        """Hash of the last line, 64 hex digits."""
        return self._chain.head

    @property
    def genesis(self) -> str:
        """Hash of the first line: what a roster pins."""
        return self._chain.genesis

    @property
    def rehearsal(self) -> bool:
        """Whether noise came from a seed: then the ledger is evidence of nothing."""
        return self._chain.rehearsal

    def is_named_in(self, receipt: Receipt) -> bool:
        """Whether a receipt has a head under a key of this ledger, true or not."""
        return bool(self._chain.own(receipt))

    def was_charged(self, plan: str, round: int, attempt: int, release: str) -> bool:
        """Whether this very release was charged before; a second charge of it is refused."""
        return (plan, round, attempt, release) in self._chain.charged

    def approved(self, plan: str) -> bool:
        """Whether a plan with this hash stands here."""
        return plan in self._chain.dearest

    def plan_rho(self, plan: str) -> Fraction:
        """rho of everything charged under one plan, exact."""
        return self._chain.plan_rho(plan)

    @property
    def lifetime_rho(self) -> Fraction:
        """rho of everything ever charged here."""
        return self._chain.spending.lifetime

    def epsilon(self, delta: float) -> float:
        """Lifetime epsilon."""
        return epsilon_of(self.lifetime_rho, delta)

    def would_spend(self, rho: Fraction, delta: float) -> float:
        """Lifetime epsilon if `rho` were charged too; charges nothing."""
        return epsilon_of(self.lifetime_rho + rho, delta)
