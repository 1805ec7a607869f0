"""What a customer is shown: the public model, folded into their own history, over the items that this store sells.

Everything happens at the store. State that all stores received, the customer's own rows and what the store's consenting
customers have together decide; where a customer has no history, the popularity that the model carries, or the store's
own counts where it carries none. What the store's customers add is outside any epsilon, and `source` says where it is
in. With `private_only` nothing of another customer's is used.
"""

from __future__ import annotations

import difflib
import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedcart.client.data.view import View
from fedcart.client.recommend.repeats import RepeatRates, Repeats, categories_of, choose, repeat_rates
from fedcart.shared.errors import DataError, FedcartError
from fedcart.shared.interactions import BEHAVIOURS, DAY, Histories, Interactions, build_histories
from fedcart.shared.learners.base import Block, Scorer
from fedcart.shared.learners.popularity import POPULARITY
from fedcart.shared.learners.store_cooccurrences import beside_store
from fedcart.shared.model_files import Model

REASONS = 3
MOST_TO_COMPARE = 20_000
"""Items among which a misspelt one is looked for."""
MODEL_SOURCE, WITH_STORE = "model", "model with store"
MODEL_POPULARITY, STORE_POPULARITY = "model popularity", "store popularity"


@dataclass(frozen=True)
class Recommendation:
    """One place of a list.

    Attributes:
      item: the store's own number; catalogue_id: the public one.
      score: the model's; comparable within one list only.
      bought_before: whether the customer bought it.
      because: own numbers of the history's items that raised the score most; empty unless asked for.
    """

    rank: int
    item: str
    catalogue_id: str
    title: str
    score: float
    bought_before: bool
    because: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recommendations:
    """A list, and where its scores come from: the model on the customer's history, with the store's own co-occurrences
    beside it or not, or a popularity."""

    model: str
    source: str
    items: tuple[Recommendation, ...]


class Recommender:
    """One model over one view of the store's data; thread-safe, as nothing in it changes."""

    def __init__(
        self,
        model: Model,
        view: View,
        repeats: Repeats = "rate",
        assortment: Mapping[str, int] | None = None,
        *,
        private_only: bool = False,
        store_cooccurrences: bool = True,
    ) -> None:
        """`view` is over the model's catalogue; `assortment` maps own items, sold or not yet, to positions; -1 = none.

        With one, nothing else is recommended. With `private_only` no row of another customer moves a list: it needs an
        assortment, and what would count other customers is refused or left out, `store_cooccurrences` too.
        """
        self.model, self.view, self.repeats = model, view, repeats
        self._private_only, self._midnight = private_only, (int(time.time()) // DAY + 1) * DAY
        self._with_store = store_cooccurrences and not private_only
        self._extra = None if assortment is None else dict(assortment)

    def for_customer(
        self, customer: str, k: int = 10, *, repeats: Repeats | None = None, because: bool = False
    ) -> Recommendations:
        """The k best for a customer that was read; popularity for one whose history has no item of the list.

        Raises:
          DataError: no such customer.
        """
        number = self.view.number_of(customer)
        if number is None:
            raise DataError(
                f"no such customer among the {len(self.view.kept.index)} that were read",
                "store check reads new rows; --items recommends to somebody without a history here",
            )
        return self._list(self._histories.slice(number, number + 1), k, repeats, because)

    def for_items(
        self, items: Sequence[str], k: int = 10, *, repeats: Repeats | None = None, because: bool = False
    ) -> Recommendations:
        """The k best for somebody who bought these (the store's own numbers), now; popularity where there are none.

        Raises:
          DataError: an item that the store does not have, or that is not in the catalogue.
        """
        events = Interactions.build(np.zeros(len(items)), [self._position(item) for item in items])
        weights = self.view.weights
        history = build_histories(events, 1, len(self.view.catalogue), behaviour_weights=weights)
        return self._list(history, k, repeats, because)

    def _position(self, item: str) -> int:
        place = self._own.get(item.strip())
        if place is None:
            near = difflib.get_close_matches(item, self._own, n=1) if len(self._own) <= MOST_TO_COMPARE else []
            raise DataError(f"the store has no item {item!r}", f"did you mean {near[0]!r}?" if near else None)
        if place < 0:
            raise DataError(f"item {item!r} is not in the model's catalogue", "see [items] in store.toml: match, map")
        return place

    @functools.cached_property
    def _histories(self) -> Histories:
        """Ages count from the latest event of all customers, or with `private_only` from the end of the day
        on which data and model were loaded."""
        if self._private_only and self.view.as_of is not None:
            return self.view.histories_as_of(self._midnight)
        return self.view.histories

    @functools.cached_property
    def scorer(self) -> Scorer:
        """The model, and beside it what the store's consenting customers have together."""
        model = self.model.scorer()
        return beside_store(model, self.view.histories.take(self.view.learned_from)) if self._with_store else model

    @functools.cached_property
    def _own(self) -> dict[str, int]:
        """Own item -> position, -1 = not in the catalogue."""
        if self._private_only:
            return self._extra or {}
        found = dict(zip(self.view.kept.items, self.view.mapped.position.tolist(), strict=True))
        return {**(self._extra or {}), **found}

    @functools.cached_property
    def _shown_as(self) -> dict[int, str]:
        """Position -> own number of what the store sells; of several own numbers the one with the most rows, or with
        `private_only` the last in order."""
        if self._private_only:
            return {position: item for item, position in sorted(self._own.items()) if position >= 0}
        counts = np.bincount(self.view.kept.rows["item"], minlength=len(self.view.kept.items))
        ranked = sorted(self._own.items(), key=lambda pair: self._rows(pair[0], counts))
        sold = [pair for pair in ranked if self._extra is None or pair[0] in self._extra]
        return {position: item for item, position in sold if position >= 0}

    def _rows(self, item: str, counts: npt.NDArray[np.int64]) -> int:
        return int(counts[self._place[item]]) if item in self._place else 0

    @functools.cached_property
    def _place(self) -> dict[str, int]:
        return {item: place for place, item in enumerate(self.view.kept.items)}

    @functools.cached_property
    def _rates(self) -> RepeatRates:
        return RepeatRates(0.0) if self._private_only else repeat_rates(self.view)

    @functools.cached_property
    def _categories(self) -> npt.NDArray[np.object_]:
        return categories_of(self.view)

    @functools.cached_property
    def _popularity(self) -> tuple[str, npt.NDArray[np.float32]]:
        carried = self.model.state.public.get(POPULARITY)
        if carried is not None and len(carried) == len(self.view.catalogue):
            return MODEL_POPULARITY, carried
        if self._private_only:
            raise DataError(
                "the model carries no popularity, and [serve] private_only keeps this store's own counts out: nothing "
                "was recommended to somebody without a history here"
            )
        histories = self.view.histories.take(self.view.learned_from)
        counts = np.bincount(histories.items, minlength=len(self.view.catalogue))
        return STORE_POPULARITY, counts.astype(np.float32)

    def _list(self, history: Histories, k: int, repeats: Repeats | None, because: bool) -> Recommendations:
        if k < 1:
            raise DataError(f"{k} recommendations were asked for; at least 1 is needed")
        repeats = repeats or self.repeats
        if self._private_only and repeats == "rate":
            raise DataError(
                "repeats by rate count what other customers buy again, and [serve] private_only keeps those out; "
                "nothing was recommended",
                "ask for never or always",
            )
        if len(history.items):
            source, scores = WITH_STORE if self._with_store else MODEL_SOURCE, self._scores(history)[0]
        else:
            source, scores = self._popularity
        bought = np.zeros(len(scores), np.bool_)
        bought[history.items[(history.behaviours >> BEHAVIOURS.index("purchase")) & 1 == 1]] = True
        ranked = (
            int(i) for i in np.argsort(-scores, kind="stable") if int(i) in self._shown_as and scores[i] > -np.inf
        )
        chosen = choose(ranked, bought, self._categories, self._rates, repeats, k)
        reasons = self._because(history, chosen) if because and source in (MODEL_SOURCE, WITH_STORE) else {}
        titles = self.view.catalogue.text("title")
        return Recommendations(
            self.model.name,
            source,
            tuple(
                Recommendation(
                    rank=rank,
                    item=self._shown_as[item],
                    catalogue_id=self.view.catalogue.ids[item],
                    title="" if titles is None else str(titles[item]),
                    score=float(scores[item]),
                    bought_before=bool(bought[item]),
                    because=reasons.get(item, ()),
                )
                for rank, item in enumerate(chosen, 1)
            ),
        )

    def _scores(self, histories: Histories) -> npt.NDArray[np.float32]:
        scores = np.asarray(self.scorer.score(Block(0, 0, histories), None), np.float32)
        if np.isnan(scores).any():
            raise FedcartError("the model gave scores that are no numbers; nothing was recommended")
        return scores

    def _because(self, history: Histories, chosen: Sequence[int]) -> dict[int, tuple[str, ...]]:
        """Item -> the history's items without which its score would fall most, at most `REASONS`."""
        count = len(history.items)
        if count < 2:
            return {item: tuple(self._name(i) for i in history.items.tolist()) for item in chosen}
        without = history.take(np.zeros(count, np.int64)).only(~np.eye(count, dtype=np.bool_).ravel())
        fall = self._scores(history)[0][None, :] - self._scores(without)
        found = {}
        for item in chosen:
            order = np.argsort(-fall[:, item], kind="stable")[:REASONS]
            found[item] = tuple(self._name(int(history.items[i])) for i in order if fall[i, item] > 0)
        return found

    def _name(self, position: int) -> str:
        return self._shown_as.get(position, self.view.catalogue.ids[position])
