"""What hyper-parameters of the neural learners may be; a value outside is refused before anything runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fedcart.shared.errors import ConfigError, did_you_mean

Limits = Mapping[str, tuple[float, float] | tuple[str, ...]]
"""Field -> (least, most), both allowed and finite, or the allowed words."""


def check(learner: Any, limits: Limits) -> None:
    """Raise ConfigError on the first hyper-parameter out of range, or on a pair that does not work together."""
    for name, allowed in limits.items():
        value = getattr(learner, name)
        if isinstance(allowed[0], str):
            words = [str(word) for word in allowed]
            if value not in words:
                raise ConfigError(f"{name} is {value!r}; nothing was run", did_you_mean(str(value), words))
            continue
        least, most = float(allowed[0]), float(allowed[1])
        if isinstance(value, bool) or not (least <= value <= most and math.isfinite(value)):
            limit = f"at least {least:g}" if math.isinf(most) else f"from {least:g} to {most:g}"
            raise ConfigError(f"{name} is {value!r}; it must be {limit}; nothing was run")
    if learner.local_steps == 0 and learner.server_optimizer != "adam":
        raise ConfigError(
            f"server_optimizer {learner.server_optimizer!r} with local_steps 0 would need the number of customers "
            "to scale the gradient, which is not released; nothing was run",
            "use server_optimizer 'adam' with local_steps 0",
        )
