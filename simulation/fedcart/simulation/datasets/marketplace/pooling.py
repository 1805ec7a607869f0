"""What learners can make of the marketplace: the band-table rows that need a trained model. About a minute.

Split by time: train on all but the last ten weeks, rank what a customer has not bought yet, score what they then
bought for the first time (NDCG@10, full ranking). One customer here is one (person, shop) pair, as a shop sees it.
EASE: Steck 2019, arXiv:1905.03375, eq. 8. These few lines are a yardstick for the generator, not the product's
baselines (`fedcart.simulation.baselines`), so that a change there cannot move the bands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse as sp

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import BEHAVIOURS, DAY
from fedcart.simulation.datasets.dataset import Dataset
from fedcart.simulation.datasets.marketplace.world import World

Array = npt.NDArray[Any]
LATE = 70 * DAY
K = 10
TOGETHER = 150.0
"""EASE's regularization for all shops: one value, from a sweep over an earlier setting of the generator."""
ALONE = (50.0, 100.0, 250.0)
"""Each shop alone takes the best of these on the test rows themselves, so the gain of pooling is not flattered."""


@dataclass(frozen=True)
class Trial:
    """Customers (person and shop), their earlier items and the items they first bought later.

    Attributes:
      train, test: CSR of 0/1 [customers, items].
      person, store: [customers].
      tested: rows with both an earlier and a later item.
    """

    train: Any
    test: Any
    person: Array
    store: Array
    tested: Array


def split_late(data: Dataset) -> Trial:
    """The time split of purchases at the last ten weeks."""
    bought = data.interactions.select(data.interactions.behaviour == BEHAVIOURS.index("purchase"))
    stores = len(data.store_names)
    keys, row = np.unique(bought.customer.astype(np.int64) * stores + bought.store, return_inverse=True)
    late = bought.time >= bought.time.max() - LATE
    train, test = (_binary(row[part], bought.item[part], (len(keys), len(data.catalogue))) for part in (~late, late))
    test = sp.csr_matrix(test - test.multiply(train))
    test.eliminate_zeros()
    tested = np.flatnonzero((train.getnnz(axis=1) > 0) & (test.getnnz(axis=1) > 0))
    return Trial(train, test, keys // stores, keys % stores, tested)


def _binary(rows: Array, columns: Array, shape: tuple[int, int]) -> Any:
    table = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape)
    table.data[:] = 1
    return table


def ndcg(scores: Array, trial: Trial, rows: Array) -> Array:
    """NDCG@10 [rows] of scores [rows, items] over items not in the row's training set."""
    scores = np.array(scores, np.float32)
    scores[trial.train[rows].nonzero()] = -np.inf
    best = np.argpartition(-scores, K, axis=1)[:, :K]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    best = np.take_along_axis(best, order, axis=1)
    hit = trial.test[rows].toarray()[np.arange(len(rows))[:, None], best] > 0
    discount = 1 / np.log2(np.arange(2, K + 2))
    ideal = np.cumsum(discount)[np.minimum(trial.test[rows].getnnz(axis=1), K) - 1]
    return np.asarray((hit * discount).sum(axis=1) / ideal)


def ease(train: Any, regularization: float) -> Array:
    """EASE's item-item weights [items, items] for 0/1 rows."""
    gram = (train.T @ train).toarray().astype(np.float32)
    diagonal = np.diag_indices(len(gram))
    gram[diagonal] += regularization
    factor = scipy.linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    inverse = scipy.linalg.cho_solve(factor, np.eye(len(gram), dtype=np.float32), check_finite=False)
    weights = -inverse / np.diag(inverse)
    weights[diagonal] = 0
    return np.asarray(weights)


def item_knn(train: Any, shrink: float = 10.0, neighbours: int = 200) -> Array:
    """Cosine with shrinkage; each item keeps its 200 nearest."""
    gram = (train.T @ train).toarray().astype(np.float32)
    norm = np.sqrt(np.diag(gram))
    cosine = gram / (np.outer(norm, norm) + shrink)
    np.fill_diagonal(cosine, 0)
    least = np.partition(cosine, -neighbours, axis=1)[:, -neighbours, None]
    return np.where(cosine < least, 0, cosine)


def item_words(catalogue: Catalogue) -> Any:
    """TF-IDF rows of unit length over title words, brand, category, department and a tenth of the price range."""
    price = catalogue.number("price")
    assert price is not None
    tenth = np.digitize(price, np.quantile(price, np.linspace(0.1, 0.9, 9)))
    position: dict[str, int] = {}
    rows, columns = [], []
    for i in range(len(catalogue)):
        words = set(re.findall(r"[a-z]+", catalogue.columns["title"][i].lower()))
        words |= {f"{name}:{catalogue.columns[name][i]}" for name in ("brand", "category", "department")}
        for word in sorted(words | {f"price:{tenth[i]}"}):
            rows.append(i)
            columns.append(position.setdefault(word, len(position)))
    table = _binary(np.array(rows), np.array(columns), (len(catalogue), len(position)))
    return _unit(table @ sp.diags(np.log(len(catalogue) / table.getnnz(axis=0))))


def _unit(table: Any) -> Any:
    norm = np.sqrt(np.asarray(table.multiply(table).sum(axis=1)).ravel())
    return sp.csr_matrix(sp.diags(1 / np.maximum(norm, 1e-12)) @ table)


def scores_of(world: World, data: Dataset) -> dict[str, Array]:
    """NDCG@10 [tested customers] of each method, and `store`, the shop of each."""
    trial = split_late(data)
    rows, mine = trial.tested, trial.train[trial.tested]
    loved = np.asarray(trial.train.sum(axis=0)).ravel()
    words = item_words(data.catalogue)
    likeness = (_unit(mine @ words) @ words.T).toarray()
    content = [likeness + share * np.log(loved + 0.5) for share in (0.1, 0.3, 0.6)]
    return {
        "store": trial.store[rows],
        "popularity": ndcg(np.broadcast_to(loved, likeness.shape), trial, rows),
        "content": max((ndcg(c, trial, rows) for c in content), key=np.mean),
        "item-kNN": ndcg(mine @ item_knn(trial.train), trial, rows),
        "EASE": ndcg(mine @ ease(trial.train, TOGETHER), trial, rows),
        "EASE alone": _each_alone(trial),
        "oracle": ndcg(world.wanted(trial.person[rows].astype(np.int32), 9), trial, rows),
    }


def _each_alone(trial: Trial) -> Array:
    """[tested] EASE trained on the customer's own shop only."""
    result = np.zeros(len(trial.tested))
    for store in np.unique(trial.store):
        own = trial.train[trial.store == store]
        sold = np.flatnonzero(own.getnnz(axis=0))
        here = np.flatnonzero(trial.store[trial.tested] == store)
        rows = trial.tested[here]
        tries = []
        for regularization in ALONE:
            scores = np.full((len(rows), trial.train.shape[1]), -1e9, np.float32)
            scores[:, sold] = trial.train[rows][:, sold] @ ease(own[:, sold], regularization)
            tries.append(ndcg(scores, trial, rows))
        result[here] = max(tries, key=np.mean)
    return result


def gains(scores: Mapping[str, Array]) -> Array:
    """[stores] what EASE together has over EASE alone, as a share; largest shop first."""
    return np.array(
        [
            scores["EASE"][scores["store"] == s].mean() / scores["EASE alone"][scores["store"] == s].mean() - 1
            for s in np.unique(scores["store"])
        ]
    )


def _ratio(above: str, below: str) -> Callable[[Mapping[str, Array]], float]:
    return lambda scores: float(scores[above].mean() / scores[below].mean())


def _smallest(scores: Mapping[str, Array]) -> float:
    """The gain in the mean over the smallest third (three) of the shops."""
    small = [scores["store"] == s for s in np.unique(scores["store"])[-3:]]
    return float(sum(scores["EASE"][s].mean() for s in small) / sum(scores["EASE alone"][s].mean() for s in small) - 1)


def _no_gain(scores: Mapping[str, Array]) -> float:
    """Of the shop that gains least."""
    return float(gains(scores).min())


@dataclass(frozen=True)
class ModelBand:
    """One row that needs a model; bounds as in `traits.Band`."""

    trait: str
    real: str
    low: float
    high: float
    measure: Callable[[Mapping[str, Array]], float]


MODEL_BANDS: tuple[ModelBand, ...] = (
    ModelBand("EASE over popularity", "2.3", 1.6, 2.6, _ratio("EASE", "popularity")),
    ModelBand("item-kNN over popularity", "above 1", 1.05, 2.6, _ratio("item-kNN", "popularity")),
    ModelBand("EASE over item-kNN", "at least 1", 1.0, 1.5, _ratio("EASE", "item-kNN")),
    ModelBand(
        "pooled EASE over alone, all customers",
        "+.15",
        0.10,
        0.30,
        lambda s: _ratio("EASE", "EASE alone")(s) - 1,
    ),
    ModelBand("the same, smallest third of the shops", "+.43 (macro)", 0.30, 1.0, _smallest),
    ModelBand("the same, the shop that gains least", "-.06", -0.05, 0.02, _no_gain),
    ModelBand("content over popularity", "-", 1.3, 2.6, _ratio("content", "popularity")),
    ModelBand("content over EASE", "about 1 / 0", 0.3, 1.05, _ratio("content", "EASE")),
    ModelBand("oracle over EASE", "-", 1.4, 5.0, _ratio("oracle", "EASE")),
)


def measure_models(world: World, data: Dataset) -> dict[str, float]:
    """Trait -> value of every row that needs a model."""
    scores = scores_of(world, data)
    return {band.trait: band.measure(scores) for band in MODEL_BANDS}
