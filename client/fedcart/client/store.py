"""The SDK's front: one object for a store's folder, to be used inside the shop's own process.

It starts no process, handles no signal and never exits; what goes wrong is an exception of `fedcart.shared.errors`.
Recommending is thread-safe; data and model are loaded once, and again when they were replaced.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedcart.client.recommend.models import Entry, current_name, list_models, use_model
from fedcart.client.recommend.repeats import Repeats
from fedcart.client.store_folder import StoreFolder

if TYPE_CHECKING:
    from fedcart.client.data.check import Check
    from fedcart.client.data.reading import Reading
    from fedcart.client.recommend.evaluate import Evaluation
    from fedcart.client.recommend.recommender import Recommendations, Recommender


class Store:
    """A store, from its folder.

    >>> store = Store("north")                           # doctest: +SKIP
    >>> store.recommend("4711", k=5).items[0].item       # doctest: +SKIP
    """

    def __init__(self, directory: Path | str) -> None:
        """Open a folder that `fedcart store init` made. Raises ConfigError when it is none."""
        self.folder = StoreFolder.open(Path(directory))
        self._guard = threading.Lock()
        self._loaded: tuple[object, Recommender] | None = None

    def read(self, *, everything: bool = False) -> Reading:
        """Read what is new at the source."""
        from fedcart.client.data.reading import read_new

        return read_new(self.folder, everything=everything)[1]

    def check(self, plan: Path | str | None = None, *, everything: bool = False, curve: bool = True) -> Check:
        """Read what is new, and see what a run would use and cost; as `fedcart store check`."""
        from fedcart.client.data.check import check

        return check(self.folder, plan=None if plan is None else Path(plan), everything=everything, curve=curve)

    def recommend(
        self, customer: str, k: int = 10, *, repeats: Repeats | None = None, because: bool = False
    ) -> Recommendations:
        """The k best items for a customer.

        Args:
          customer: the store's own number of the customer.
          repeats: of bought items; None = as store.toml says.
          because: name the items of the history that raised each score most.

        Raises:
          DataError: no such customer, no model, no data.
        """
        return self.recommender().for_customer(customer, k, repeats=repeats, because=because)

    def recommend_for_items(
        self, items: Sequence[str], k: int = 10, *, repeats: Repeats | None = None, because: bool = False
    ) -> Recommendations:
        """The k best items for somebody who bought these just now; popular ones where there are none."""
        return self.recommender().for_items(items, k, repeats=repeats, because=because)

    def evaluate(self, at: int | None = None) -> Evaluation:
        """Measure the model in use on this store's customers; see `recommend.evaluate.evaluate`."""
        from fedcart.client.recommend.evaluate import evaluate

        loaded = self.recommender()
        return evaluate(loaded.model, loaded.view, at)

    def models(self) -> list[Entry]:
        """The models that the store has, the latest to come in first."""
        return list_models(self.folder)

    def use(self, run: Path | str) -> Entry:
        """Use a model: by the name of one that the store has, or from a run's folder."""
        return use_model(self.folder, str(run))

    def status(self) -> dict[str, Any]:
        """What was read, which model is used, what was spent."""
        from fedcart.client.standing import status

        return status(self.folder)

    def budget(self) -> dict[str, Any]:
        """Epsilon spent, over the ledger's life and in the policy's window."""
        from fedcart.client.standing import budget

        return budget(self.folder)

    def forget(self, customer: str) -> str:
        """Erase a customer; returns what they are told."""
        from fedcart.client.data.forgetting import forget_customer

        return forget_customer(self.folder, customer)

    def recommender(self) -> Recommender:
        """The model in use over the data as they were last read; loaded again when either was replaced."""
        from fedcart.client.recommend.loading import load_recommender, version

        now = version(self.folder)
        with self._guard:
            if self._loaded is None or self._loaded[0] != now:
                self._loaded = (now, load_recommender(self.folder))
            return self._loaded[1]

    def __repr__(self) -> str:
        return f"Store({str(self.folder.directory)!r}, model={current_name(self.folder)!r})"
