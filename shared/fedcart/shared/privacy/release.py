"""What leaves a store: a named, clipped sum over customers, with its sensitivity and its cost in one object.

Shape, clip, noise and cost live together, so they cannot drift apart. Neighbouring data sets differ by all
interactions of one customer (add or remove one). A plan lists every release before anything is computed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fedcart.shared.errors import ConfigError

if TYPE_CHECKING:
    import dp_accounting

Kind = Literal["rows", "outer", "cross", "per_item", "trained"]
Relation = Literal["add_or_remove_one"]

MOST_WORDS = 1 << 24
"""Largest release: a learner splits anything larger into several rounds of row bands."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """One sum over customers: sum_u clip(x_u) + noise of standard deviation noise_multiplier x sensitivity.

    Attributes:
      name: unique within its round; the total comes back under it.
      shape: of the total, float64.
      kind: which of the kernel's sums adds it up; `trained` = parameters after local steps (no plain sum).
      clip_norm: L2 bound, in the units of x: of one customer's row (`rows`), of ||z||^2 (`outer`),
        of ||a|| with ||z|| <= 1 (`cross`), of ||u|| (`per_item`). Infinity = not clipped.
      weight_clip_norm: sqrt(B), the L2 bound on one customer's weights over items (`per_item` only).
      order: `per_item` only: 1 adds w u, 2 adds the triangle of w u u^T.
      first_item: `per_item` and `outer`: the band of item rows starts here (the shape says how many).
      noise_multiplier: z >= 0, noise standard deviation over sensitivity. No unit; 0 = no noise.
      sampling_rate: probability that a customer takes part in the release.
    """

    name: str
    shape: tuple[int, ...]
    kind: Kind = "rows"
    clip_norm: float = math.inf
    weight_clip_norm: float = math.inf
    order: Literal[1, 2] = 1
    first_item: int = 0
    noise_multiplier: float = 0.0
    sampling_rate: float = 1.0

    def __post_init__(self) -> None:
        if not self.name or any(size < 1 for size in self.shape):
            raise ConfigError(f"release {self.name!r} of shape {self.shape}: a name and positive sizes are needed")
        if self.words > MOST_WORDS:
            raise ConfigError(
                f"release {self.name!r} has {self.words} words, over the limit of {MOST_WORDS}",
                "split it into several rounds of fewer rows",
            )
        if not (self.clip_norm > 0 and self.weight_clip_norm > 0):
            raise ConfigError(
                f"release {self.name!r}: clip norms must be positive, not {self.clip_norm}, {self.weight_clip_norm}"
            )
        if not (0 <= self.noise_multiplier < math.inf and 0 < self.sampling_rate <= 1):
            raise ConfigError(
                f"release {self.name!r}: noise_multiplier {self.noise_multiplier} must be finite and >= 0, "
                f"sampling_rate {self.sampling_rate} in (0, 1]"
            )

    @property
    def words(self) -> int:
        """Numbers in the total."""
        return math.prod(self.shape)

    def sensitivity(self, relation: Relation = "add_or_remove_one") -> float:
        """Most that one customer moves the sum, in L2; infinity when not clipped.

        `outer`: ||z z^T||_F = ||z||^2. `per_item`: the L2 norm over items of w_j u (or w_j u u^T) is
        ||w|| ||u|| (or ||w|| ||u||^2), since ||u u^T||_F = ||u||^2.
        """
        if relation != "add_or_remove_one":
            raise ConfigError(f"unknown neighbouring relation {relation!r}")
        if self.kind == "per_item":
            return self.weight_clip_norm * self.clip_norm**self.order
        return self.clip_norm

    def event(self) -> dp_accounting.DpEvent:
        """What the release costs, in dp_accounting's vocabulary; NonPrivateDpEvent without noise or clip."""
        import dp_accounting

        if self.noise_multiplier == 0 or math.isinf(self.sensitivity()):
            return dp_accounting.NonPrivateDpEvent()
        gaussian = dp_accounting.GaussianDpEvent(self.noise_multiplier)
        if self.sampling_rate < 1:
            return dp_accounting.PoissonSampledDpEvent(self.sampling_rate, gaussian)
        return gaussian
