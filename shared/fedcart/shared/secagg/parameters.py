"""Who must be there: the cohort's five numbers, plan constants that no message of the coordinator may change.

t = Q = floor((n + c) / 2) + 1        so 2t > n + c: the coordinator and c stores never hold t shares of both
                                      secrets of one store, and two quorums of signatures share an honest store
h = m - c                             honest stores whose data and noise stand in every opened sum
"""

from __future__ import annotations

from dataclasses import dataclass

from fedcart.shared.errors import ConfigError

MAX_COMPLETE = 100
"""Largest n of the complete graph."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SecAggCohort:
    """n participants of the plan, at most c of them colluding, at least m in every sum.

    Raises:
      ConfigError: c < 1, n < 3, n > 100, m outside t .. n, or h = m - c < 1.
    """

    participants: int
    colluders: int
    minimum: int

    def __post_init__(self) -> None:
        n, c, m = self.participants, self.colluders, self.minimum
        if not 3 <= n <= MAX_COMPLETE:
            raise ConfigError(f"{n} participants lie outside 3 .. {MAX_COMPLETE}; no aggregation was planned")
        if c < 1:
            raise ConfigError(f"{c} colluders are fewer than the 1 that is always assumed; no aggregation was planned")
        if not self.threshold <= m <= n:
            hint = "let fewer stores collude, or take more stores into the plan"
            raise ConfigError(
                f"a minimum of {m} lies outside t = {self.threshold} .. n = {n}; nothing was planned", hint
            )
        if self.honest < 1:
            raise ConfigError(f"a minimum of {m} leaves no honest store beside {c} colluders; nothing was planned")

    @property
    def threshold(self) -> int:
        """t: shares that rebuild a secret."""
        return (self.participants + self.colluders) // 2 + 1

    @property
    def quorum(self) -> int:
        """Q: signatures on one survivor set before any share is released."""
        return self.threshold

    @property
    def honest(self) -> int:
        """h: honest stores in every opened sum."""
        return self.minimum - self.colluders

    @property
    def floor(self) -> int:
        """Smallest cohort and smallest survivor set, max(t, m)."""
        return max(self.threshold, self.minimum)
