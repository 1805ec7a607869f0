"""Small customers for the tests of the neural learners."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import Histories, Interactions, build_histories
from fedcart.shared.learners.memory import MemoryCustomers

torch = pytest.importorskip("torch", reason="the extra `neural` is not installed")
torch.set_num_threads(1)  # products this small only get slower on several

from fedcart.shared.learners.neural.mf import MatrixFactorization  # noqa: E402 (after the check for torch)
from fedcart.shared.learners.neural.ncf import NeuralCollaborativeFiltering  # noqa: E402

LEARNERS = (MatrixFactorization, NeuralCollaborativeFiltering)
ITEMS = 24


def histories(rows: list[list[int]], items: int = ITEMS) -> Histories:
    """One customer a row."""
    customer = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    item = np.concatenate([np.array(row, np.int32) for row in rows]) if rows else np.zeros(0, np.int32)
    return build_histories(Interactions.build(customer, item), len(rows), items)


def random_rows(customers: int, seed: int = 0, items: int = ITEMS, most: int = 8) -> list[list[int]]:
    """Customers with 1 to `most` random items."""
    generator = np.random.default_rng(seed)
    return [generator.choice(items, generator.integers(1, most + 1), replace=False).tolist() for _ in range(customers)]


def store(rows: list[list[int]], items: int = ITEMS) -> MemoryCustomers:
    """A store with these customers."""
    return MemoryCustomers(histories(rows, items))


def catalogue(items: int = ITEMS) -> Catalogue:
    """Items 0, 1, 2, ..."""
    return Catalogue(tuple(str(item) for item in range(items)), "given")


def small(kind: type[Any], **settings: Any) -> Any:
    """A learner of few numbers."""
    defaults = {"embedding_dim": 4, "negatives": 2, "round_count": 3, "local_steps": 4, "steps_per_epoch": 2}
    return kind(**(defaults | settings))


def one_gradient(kind: type[Any], **settings: Any) -> Any:
    """A learner of few numbers that releases one gradient a round."""
    return small(kind, local_steps=0, server_optimizer="adam", server_learning_rate=0.05, **settings)
