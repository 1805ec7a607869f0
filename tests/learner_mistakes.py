"""Learners and readers with one well-known mistake each; the conformance kit must refuse every one of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_array

from fedcart.shared.interactions import build_histories
from fedcart.shared.learners.base import Round, State
from fedcart.shared.learners.popularity import POPULARITY, Popularity, scaled_history
from fedcart.shared.learners.spectral import Spectral
from fedcart.shared.privacy.release import Release


@dataclass(frozen=True, kw_only=True)
class StoreScaled(Popularity):
    """Each customer's row times a vector computed from the whole store."""

    def scale(self, counts):
        raise NotImplementedError

    def contribute(self, state, round_, customers, sums):
        counts = np.zeros(len(state.public[POPULARITY]))
        for block in customers.blocks():
            counts += np.bincount(block.histories.items, minlength=len(counts))
        for block in customers.blocks():
            x = scaled_history(block.histories, 0.0)
            x.data = x.data * self.scale(counts)[x.indices]
            sums.rows(POPULARITY, block, x)


@dataclass(frozen=True, kw_only=True)
class IdfOverCustomers(StoreScaled):
    def scale(self, counts):
        return np.log(1.0 + counts.sum() / np.maximum(counts, 1.0))


@dataclass(frozen=True, kw_only=True)
class KCore(StoreScaled):
    def scale(self, counts):
        return (counts >= 3).astype(float)


@dataclass(frozen=True, kw_only=True)
class ScaledByTheStoresLargestCount(StoreScaled):
    def scale(self, counts):
        return np.full(len(counts), 1.0 / max(1.0, counts.max()))


@dataclass(frozen=True, kw_only=True)
class CentredInTheBlock(Popularity):
    """Subtracts the block's mean number of items from every customer's row."""

    def contribute(self, state, round_, customers, sums):
        for block in customers.blocks():
            x = scaled_history(block.histories, 0.0)
            x.data = x.data * (1.0 - block.histories.counts.mean() / 100.0)
            sums.rows(POPULARITY, block, x)


@dataclass(frozen=True, kw_only=True)
class ForgottenBound(Popularity):
    """Releases something that its bounds do not name."""

    def bounds(self):
        return {}


@dataclass(frozen=True, kw_only=True)
class CentredByTheBlock(Popularity):
    """Every row less the block's mean row."""

    def contribute(self, state, round_, customers, sums):
        for block in customers.blocks():
            x = scaled_history(block.histories, 0.5).toarray()
            sums.rows(POPULARITY, block, csr_array(x - 0.9 * x.mean(axis=0, keepdims=True)))


@dataclass(frozen=True, kw_only=True)
class CountsEmptyHistories(Popularity):
    """The first item gets one from everybody, also from those without interactions."""

    def contribute(self, state, round_, customers, sums):
        for block in customers.blocks():
            x = scaled_history(block.histories, 0.0).tolil()
            x[:, 0] = 1.0
            sums.rows(POPULARITY, block, x.tocsr())


@dataclass(frozen=True, kw_only=True)
class NeedsCarriedState(Popularity):
    """Reads at the store what only the coordinator has."""

    def initial_state(self, catalogue, seed):
        return State(super().initial_state(catalogue, seed).public, {"secret": np.ones(1)})

    def contribute(self, state, round_, customers, sums):
        if "secret" in state.carried:
            super().contribute(state, round_, customers, sums)


@dataclass(frozen=True, kw_only=True)
class RoundsFromData(Popularity):
    """As many rounds as customers it has met."""

    def contribute(self, state, round_, customers, sums):
        met[0] += customers.count
        super().contribute(state, round_, customers, sums)

    def rounds(self, catalogue, customers_bound):
        release = Release(name=POPULARITY, shape=(len(catalogue),))
        return tuple(Round(index, "popularity", (release,)) for index in range(1 + min(met[0], 2)))


met = [0]


@dataclass(frozen=True, kw_only=True)
class DrawsWithoutASeed(Popularity):
    def update(self, state, round_, totals):
        return State({POPULARITY: np.random.default_rng().random(len(totals[POPULARITY]), np.float32)})


@dataclass(frozen=True, kw_only=True)
class ShareOfTheStore(Popularity):
    """Every store counts the same, however many customers it has."""

    def contribute(self, state, round_, customers, sums):
        for block in customers.blocks():
            x = scaled_history(block.histories, 0.0)
            x.data = x.data / max(1, customers.count)
            sums.rows(POPULARITY, block, x)


@dataclass(frozen=True, kw_only=True)
class ScoresNaN(Popularity):
    """Divides by a history's length when it scores."""

    def scorer(self, state, catalogue):
        inner = super().scorer(state, catalogue)

        class Divided:
            def score(self, block, local):
                with np.errstate(invalid="ignore", divide="ignore"):
                    return inner.score(block, local) * np.float32(0) / block.histories.counts[:, None]

        return Divided()


@dataclass
class NotFrozen:
    """Popularity whose fields anyone can change."""

    name: ClassVar[str] = "loose"
    summary: ClassVar[str] = "not frozen"
    count_exponent: float = 0.0

    rounds = Popularity.rounds
    initial_state = Popularity.initial_state
    contribute = Popularity.contribute
    update = Popularity.update
    scorer = Popularity.scorer


def k_core_reader(interactions, customers, items_total):
    """Drops items of fewer than three customers before anything else sees them."""
    pairs = {(int(c), int(i)) for c, i in zip(interactions.customer, interactions.item, strict=True)}
    counts = Counter(item for _, item in pairs)
    kept = np.array([counts[int(item)] >= 3 for item in interactions.item])
    return build_histories(interactions.select(kept), customers, items_total)


def last_event_reader(interactions, customers, items_total):
    """Weights by the age relative to the newest event of the whole table."""
    histories = build_histories(interactions, customers, items_total, as_of=int(interactions.time.max()))
    return replace(histories, weights=(1.0 / (1.0 + histories.ages)).astype(np.float32))


def careless_reader(interactions, customers, items_total):
    """Takes every unknown item for the last one."""
    items = np.minimum(np.abs(interactions.item), items_total - 1).astype(np.int32)
    return build_histories(replace(interactions, item=items), customers, items_total)


@dataclass(frozen=True, kw_only=True)
class CentredByOwnCounts(Spectral):
    """Centres histories by the store's own counts instead of released popularity."""

    def contribute(self, state, round_, customers, sums):
        counts = np.zeros(len(state.public[POPULARITY]))
        for block in customers.blocks():
            counts += np.bincount(block.histories.items, minlength=len(counts))
        q = ((counts + 0.25) / (counts + 0.25).sum()).astype(np.float32)
        super().contribute(State({**state.public, POPULARITY: q}), round_, customers, sums)
