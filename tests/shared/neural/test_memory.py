"""A catalogue of 100,000 items: a step needs a few item tables, not customers x items."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np, torch
torch.set_num_threads(1)
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.interactions import Interactions, build_histories
from fedcart.shared.learners.memory import MemoryCustomers, store_totals
from fedcart.shared.learners.neural.mf import MatrixFactorization

ITEMS, CUSTOMERS = 100_000, 2_000
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
def store(customers):
    who = np.repeat(np.arange(customers), 100)
    what = np.random.default_rng(0).integers(0, ITEMS, len(who))
    return MemoryCustomers(build_histories(Interactions.build(who, what), customers, ITEMS))
def totals(items, customers):
    learner = MatrixFactorization(positives=0, steps_per_epoch=2, local_steps=2, round_count=1)
    catalogue = Catalogue(tuple(map(str, range(items))), "given")
    state = learner.initial_state(catalogue, 0)
    return lambda: store_totals(learner, state, learner.rounds(catalogue, 9)[0], customers)
small = MemoryCustomers(build_histories(Interactions.build([0, 1], [0, 1]), 2, 10))
totals(10, small)()
ready, customers = totals(ITEMS, store(CUSTOMERS)), None
before = peak()
ready()
print((peak() - before) / (ITEMS * 64 * 4))
"""


@pytest.mark.slow
def test_a_round_over_100000_items_grows_by_a_few_item_tables():
    """Two steps of 1,000 customers with 100 items and 400 negatives each: all samples at once would be 5 tables,
    customers x items 16 (per step and tensor)."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 10
