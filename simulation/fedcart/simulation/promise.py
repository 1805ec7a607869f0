"""From a configuration to what its plan promises: trust, epsilon, delta, cohort, clips, and the bound on customers."""

from __future__ import annotations

import math
from typing import Any

from fedcart.shared.errors import ConfigError, PrivacyRefused
from fedcart.shared.evaluation import with_metrics_bound
from fedcart.shared.learners.base import Learner
from fedcart.shared.plan import Trust
from fedcart.shared.privacy.cohort import Cohort
from fedcart.shared.privacy.conversion import auto_delta
from fedcart.shared.privacy.terms import PrivacyTerms, with_changes
from fedcart.simulation.config import PrivacyConfig

CUSTOMERS = {
    "marketplace": 24_000,
    "ncf-split": 6_040,
    "ml-1m": 6_040,
    "ml-100k": 943,
    "ml-latest-small": 610,
    "complete-journey": 2_500,
    "online-retail": 4_400,
}
"""Number of customers in each set's own description: public before anyone looks at interactions."""
FEWEST_TO_SHARE = 3
"""Stores that can share one noise."""


def check_promise(config: PrivacyConfig, *, measured: bool = False) -> None:
    """Refuse what no number of stores could keep, before anything is read.

    Args:
      measured: whether stores measure what they hold out, in a release of its own.

    Raises:
      ConfigError: epsilon without noise.
      PrivacyRefused: noise without epsilon.
    """
    private = config.epsilon < math.inf
    if private and config.trust == "none":
        raise ConfigError(
            f"epsilon {config.epsilon:g} with trust none: nobody would add noise; nothing was read",
            "use --trust local or distributed, or --epsilon inf",
        )
    if measured and not private:
        raise ConfigError(
            "[evaluate] private without epsilon: stores' metrics would leave without noise; nothing was read",
            "give --epsilon, or leave private = false: results are measured with all data in hand anyway",
        )
    if not private and config.trust in ("local", "distributed"):
        raise PrivacyRefused(
            f"trust {config.trust} without epsilon: there is no noise to add; nothing was read or released",
            "give --epsilon, or use --trust none and take the result as one without any privacy guarantee",
        )


def trust_of(config: PrivacyConfig, stores: int) -> Trust:
    """`auto` by epsilon and number of stores."""
    if config.trust != "auto":
        return config.trust
    if config.epsilon == math.inf:
        return "none"
    return "distributed" if stores >= FEWEST_TO_SHARE else "local"


def customers_bound(config: PrivacyConfig, dataset: str, customers: int) -> tuple[int, bool]:
    """N, and whether it had to be taken from the data: then rounded up to two digits, and still not public."""
    if config.customers_bound is not None:
        if customers > config.customers_bound:
            raise ConfigError(
                f"{customers} customers are more than [privacy] customers_bound {config.customers_bound}; "
                "nothing was run"
            )
        return config.customers_bound, False
    public = CUSTOMERS.get(dataset, 0)
    if customers <= public:
        return public, False
    step = 10 ** max(0, len(str(customers)) - 2)
    return -(-customers // step) * step, True


def terms(
    config: PrivacyConfig, learner: Learner, stores: int, bound: int, *, measured: bool = False
) -> PrivacyTerms | None:
    """What the plan promises; None without epsilon.

    Args:
      measured: whether stores measure what they hold out, in a release of its own.

    Raises:
      ConfigError: a bound names no release, or the cohort cannot be built.
    """
    trust = trust_of(config, stores)
    if trust == "none":
        return None
    cohort: dict[str, Any] = {}
    if trust == "distributed":
        found = Cohort.default(stores, config.colluders, config.min_survivors)
        cohort = {"colluders": found.colluders, "min_survivors": found.min_survivors}
    elif config.colluders is not None or config.min_survivors is not None:
        raise ConfigError(
            f"[privacy] colluders and min_survivors have no meaning with trust {trust}; nothing was run",
            "they say how many shares of one noise are certain: trust distributed",
        )
    return PrivacyTerms(
        epsilon=config.epsilon,
        delta=auto_delta(bound) if config.delta is None else config.delta,
        overlap=config.overlap,
        bounds=with_changes(with_metrics_bound(learner.bounds()) if measured else learner.bounds(), config.bounds),
        **cohort,
    )
