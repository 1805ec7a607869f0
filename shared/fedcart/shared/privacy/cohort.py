"""Who adds noise, and how much of it is certain to stand in a sum.

`distributed`: every store adds a share of variance sigma^2 / h, where h = m - c stores are certain to be honest in
every opened sum: at least m stores stand in it and at most c of them collude with the coordinator and take their
noise out again. `local`: each store adds all of it, h = 1, and no other store matters.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedcart.shared.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Cohort:
    """n participants of the plan, at most c of them colluding, at least m in every opened sum.

    Raises:
      ConfigError: n < 3, c < 1 (every store receives the sum, so one at least is always assumed to collude), m outside
        t .. n, or h = m - c < 1.
    """

    participants: int
    colluders: int
    min_survivors: int

    def __post_init__(self) -> None:
        n, c, m = self.participants, self.colluders, self.min_survivors
        if n < 3:
            raise ConfigError(
                f"{n} stores cannot share one noise: at least 3 are needed; nothing was planned",
                "with fewer stores each adds all of it: trust 'local'",
            )
        if c < 1:
            raise ConfigError(f"{c} colluders are fewer than the 1 that is always assumed; nothing was planned")
        if not self.threshold <= m <= n:
            raise ConfigError(
                f"a minimum of {m} stores in a sum lies outside t = {self.threshold} .. n = {n}; nothing was planned",
                "let fewer stores collude, or take more stores into the plan",
            )
        if self.honest < 1:
            raise ConfigError(f"a minimum of {m} leaves no honest store beside {c} colluders; nothing was planned")

    @classmethod
    def default(cls, participants: int, colluders: int | None = None, min_survivors: int | None = None) -> Cohort:
        """One store in ten may collude (at least one) and one in five be missing, as far as t allows."""
        c = max(1, participants // 10) if colluders is None else colluders
        threshold = (participants + c) // 2 + 1
        m = max(threshold, participants - participants // 5) if min_survivors is None else min_survivors
        return cls(participants=participants, colluders=c, min_survivors=min(m, participants))

    @property
    def threshold(self) -> int:
        """t = floor((n + c) / 2) + 1 shares rebuild a secret: 2t > n + c, so the coordinator and c stores never hold t
        shares of both secrets of one store."""
        return (self.participants + self.colluders) // 2 + 1

    @property
    def quorum(self) -> int:
        """Q = t signatures on one survivor set before any share is released: two quorums share an honest store."""
        return self.threshold

    @property
    def honest(self) -> int:
        """h = m - c."""
        return self.min_survivors - self.colluders
